"""Messages of protobuf, field by field, without a schema (https://protobuf.dev/programming-guides/encoding/).

No dependency of zhuyi reads them, and of the one message that is imported, few fields matter.
"""

import sys
from collections.abc import Iterator
from typing import Any


def fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """The fields of a message: numbers, and integers or bytes (4, 8 or any number of them).

    Raises:
        ValueError: where it is no message.
    """
    place, end = 0, len(data)
    while place < end:
        key, place = _varint(data, place)
        wire = key & 7
        if wire == 0:
            value, place = _varint(data, place)
            yield key >> 3, value
            continue
        if wire == 2:
            length, place = _varint(data, place)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError(f"byte {place:,} is no field of a message")
        if length > end - place:
            raise ValueError("it is truncated, or a length in it is wrong")
        yield key >> 3, data[place : place + length]
        place += length


def _varint(data: bytes, place: int) -> tuple[int, int]:
    """A number of one to ten bytes, of which most have one, and the place behind it."""
    value = data[place] if place < len(data) else 0x80
    if value < 0x80:
        return value, place + 1
    value, shift = 0, 0
    for byte in data[place : place + 10]:
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, place + shift // 7
    raise ValueError("it is truncated, or a number in it has no end")


def as_bytes(value: Any, what: str) -> bytes:
    """The value of a field that is a message, or of bytes.

    Raises:
        ValueError: naming `what` it is, if it is a number.
    """
    if not isinstance(value, bytes):
        raise ValueError(f"{what} is a number")
    return value


def as_text(value: Any, what: str) -> str:
    """The value of a field that is a string; equal ones are the same object.

    Raises:
        ValueError: naming `what` it is, if it is none.
    """
    try:
        return sys.intern(as_bytes(value, what).decode())
    except UnicodeDecodeError as error:
        raise ValueError(f"{what} is not UTF-8") from error
