"""Reading files that others wrote, and that may be anything."""

import os
import stat
from pathlib import Path

from zhuyi.errors import CheckpointError


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
