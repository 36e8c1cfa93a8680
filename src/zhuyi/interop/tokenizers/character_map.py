"""The character map of a SentencePiece model (`precompiled_charsmap`): which strings the normal form replaces by which.

It consists of a double-array trie (Aoe 1989) as Darts-clone writes it, and of the strings that replace its keys. A unit
of the trie has 32 bits:

    0–7, 31    label: the byte that leads to this unit; where bit 31 is set, it is no child but a value
    8          whether a key ends here: the unit at its offset has the value then, a place in the strings
    9, 10–30   offset, times 256 where bit 9 is set; its exclusive or with a byte is the place of that child
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

LARGEST_MAP = 1 << 22
"""Bytes of a character map; the largest of SentencePiece's own is of 300,000."""
NAME = "its character map (precompiled_charsmap)"


@dataclass(frozen=True)
class CharacterMap:
    """The trie and the strings."""

    units: Any  # a NumPy array of 32 bits each, in 64
    strings: bytes

    @classmethod
    def read(cls, data: bytes) -> "CharacterMap":
        """Read one, and see that no text whatever leads out of it: the library does not.

        Raises:
            ValueError: if it is damaged.
        """
        if len(data) > LARGEST_MAP:
            raise ValueError(f"a character map of {len(data):,} bytes")
        size = int.from_bytes(data[:4], "little")
        if not 1024 <= size <= len(data) - 4 or size % 4:
            raise ValueError(f"{NAME} is truncated")
        found = cls(np.frombuffer(data, "<u4", size // 4, 4).astype(np.int64), data[4 + size :])
        try:
            found.strings.decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"{NAME} is not UTF-8") from error
        found._ensure_closed()
        return found

    def replacement(self, key: str) -> str | None:
        """What replaces a string; None if nothing does."""
        unit = self.units[0]
        base = _offset(unit)
        for byte in key.encode():
            unit = self.units[base ^ byte]
            if _label(unit) != byte:
                return None
            base ^= byte ^ _offset(unit)
        if not _ends_key(unit):
            return None
        start = int(_value(self.units[base]))
        return self.strings[start:].split(b"\0", 1)[0].decode()

    def _ensure_closed(self) -> None:
        """See that each unit that can be reached has its children in the trie, and its value in the strings."""
        labels = np.arange(1, 256)
        seen = np.zeros(len(self.units), bool)
        bases = np.array([_offset(self.units[0])])  # of the units of one depth
        while len(bases):
            self._ensure_inside(bases | 0xFF)
            following = []
            for some in np.split(bases, range(1 << 12, len(bases), 1 << 12)):
                places = some[:, None] ^ labels
                units = self.units[places]
                is_child = (_label(units) == labels) & ~seen[places]
                places, units = places[is_child], units[is_child]
                seen[places] = True
                following.append(places ^ _offset(units))
                self._ensure_values(following[-1][_ends_key(units)])
            bases = np.unique(np.concatenate(following))

    def _ensure_inside(self, places: Any) -> None:
        if places.max(initial=0) >= len(self.units):
            raise ValueError(f"{NAME} leads out of itself")

    def _ensure_values(self, places: Any) -> None:
        """See that the values in these units are places where a character begins."""
        self._ensure_inside(places)
        values = _value(self.units[places])
        strings = np.frombuffer(self.strings, np.uint8)
        if values.max(initial=-1) >= len(strings) or (strings[values] & 0xC0 == 0x80).any():  # within a character
            raise ValueError(f"{NAME} leads to no string")


def _offset(unit: Any) -> Any:
    return (unit >> 10) << ((unit & 0x200) >> 6)


def _label(unit: Any) -> Any:
    return unit & 0x800000FF


def _ends_key(unit: Any) -> Any:
    return (unit >> 8) & 1 == 1


def _value(unit: Any) -> Any:
    return unit & 0x7FFFFFFF
