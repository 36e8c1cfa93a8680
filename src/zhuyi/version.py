"""Which zhuyi this is."""

from importlib import metadata


def version() -> str:
    """The installed version; "source" for a source tree that is not installed."""
    try:
        return metadata.version("zhuyi")
    except metadata.PackageNotFoundError:
        return "source"
