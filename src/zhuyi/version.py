"""The version of the installed package."""

from importlib import metadata


def _installed() -> str:
    try:
        return metadata.version("zhuyi")
    except metadata.PackageNotFoundError:
        return "source"


__version__ = _installed()
"""The installed version; "source" for a source tree that is not installed."""
