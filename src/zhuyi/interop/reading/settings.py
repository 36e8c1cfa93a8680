"""Settings of other programs in JSON, each checked where it is asked for."""

import reprlib
from pathlib import Path
from typing import Any

from zhuyi.errors import CheckpointError
from zhuyi.interop.reading.files import read_bytes
from zhuyi.interop.reading.json_text import parse

LARGEST_JSON = 1 << 26


class Settings:
    """A JSON file of settings.

    Args:
        directory: of the model.
        name: of the file.
        optional: whether it need not be there; it has no settings then.

    Raises:
        CheckpointError: here if it is no JSON object, and from the methods if a value is of another type.
    """

    def __init__(self, directory: Path, name: str, optional: bool = False) -> None:
        self.path = directory / name
        self._values: dict[str, Any] = {}
        if optional and not self.path.exists():
            return
        found = parse(self.path, read_bytes(self.path, LARGEST_JSON))
        if not isinstance(found, dict):
            raise CheckpointError(f"{self.path}: not a JSON object")
        self._values = found

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key, whatever it is; `default` where it is missing or null."""
        value = self._values.get(key)
        return default if value is None else value

    def number(self, key: str, default: int | None = None) -> int:
        """The value of a key that is a whole number, not negative."""
        value = self.get(key, default)
        if type(value) is not int or not 0 <= value < 2**31:
            raise CheckpointError(f"{self.path}: {key} = {reprlib.repr(value)} is not a whole number of 0 or more")
        return value

    def real(self, key: str, default: float) -> float:
        """The value of a key that is a number."""
        value = self.get(key, default)
        if type(value) not in (int, float) or not abs(value) < 1e300:
            raise CheckpointError(f"{self.path}: {key} = {reprlib.repr(value)} is not a number")
        return float(value)

    def text(self, key: str) -> str:
        """The value of a key that is a string."""
        value = self.get(key)
        if not isinstance(value, str):
            raise CheckpointError(f"{self.path}: {key} = {reprlib.repr(value)} is not a string")
        return value

    def name(self, key: str) -> str | None:
        """The value of a key that is a string; None where it is missing."""
        return None if self.get(key) is None else self.text(key)

    def entries(self, key: str) -> list[Any]:
        """The value of a key that is a list; empty where it is missing."""
        value = self.get(key, [])
        if not isinstance(value, list):
            raise CheckpointError(f"{self.path}: {key} is not a list")
        return value

    def table(self, key: str) -> dict[str, Any]:
        """The value of a key that is an object; empty where it is missing."""
        value = self.get(key, {})
        if not isinstance(value, dict):
            raise CheckpointError(f"{self.path}: {key} is not an object")
        return value

    def unsupported(self, key: str) -> CheckpointError:
        """That zhuyi has nothing like the value of a key."""
        return CheckpointError(f"{self.path}: {key} = {reprlib.repr(self.get(key))} has no counterpart in zhuyi")
