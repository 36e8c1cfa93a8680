"""Reading files that others wrote, and that may be anything."""

import os
import stat
from pathlib import Path

from zhuyi.errors import CheckpointError

LARGEST_CARD = 1 << 26


def read_bytes(path: Path, most: int) -> bytes:
    """The content of a file.

    Args:
        path: of a regular file.
        most: the number of bytes that it can have.

    Raises:
        CheckpointError: if it is no file, cannot be read, or is longer.
    """
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0))) as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise CheckpointError(f"{path}: not a file")
            if found.st_size > most:
                raise CheckpointError(f"{path}: {found.st_size:,} bytes are too many: at most {most:,} can be")
            return file.read(most)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot read: {error.strerror}") from error


def licence_of(path: Path) -> str | None:
    """The licence of the model in a directory: what the head of its card names, or else the name of a file."""
    card = path / "README.md"
    if card.is_file():
        for line in read_bytes(card, LARGEST_CARD).decode("utf-8", "replace").split("\n")[:100]:
            if line.startswith("license:"):
                return line.removeprefix("license:").strip().strip("\"'") or None
    return next((name for name in ("LICENSE", "LICENSE.txt", "COPYING") if (path / name).is_file()), None)
