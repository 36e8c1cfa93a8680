"""The libraries of other programs, which only an export to them needs: optional dependencies of zhuyi."""

from importlib import import_module
from typing import Any

from zhuyi.errors import MissingExtra


def library(name: str, extra: str) -> Any:
    """Import a library.

    Args:
        name: of its module.
        extra: the extra of zhuyi that it belongs to, called as the format is.

    Raises:
        MissingExtra: if it is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingExtra(f"export to {extra}", extra) from error
