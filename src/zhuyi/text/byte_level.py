"""The alphabet of byte-level BPE (Radford et al. 2019): each byte of UTF-8 as a visible character.

Tokens are strings of these characters. The visible bytes of Latin-1 stand for themselves, and the other bytes, in
order, for the characters from U+0100 on: a space is `Ġ`, and é, which is two bytes, is `Ã©`.
"""

import codecs

_VISIBLE = (*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100))
_OTHERS = [byte for byte in range(256) if byte not in _VISIBLE]
_CHARACTER = {**{byte: chr(byte) for byte in _VISIBLE}, **{byte: chr(256 + i) for i, byte in enumerate(_OTHERS)}}
_BYTE = {character: byte for byte, character in _CHARACTER.items()}


def spell(text: str) -> str:
    """The text in this alphabet, as in tokens."""
    return "".join(_CHARACTER[byte] for byte in text.encode())


def read(token: str) -> str:
    """The text of a token, with `<0xE2>` for each byte that is not UTF-8. Text outside the alphabet is unchanged."""
    if not all(character in _BYTE for character in token):
        return token
    return bytes(_BYTE[character] for character in token).decode(errors="zhuyi.bytes")


def _names_of_bytes(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "".join(f"<0x{byte:02X}>" for byte in error.object[error.start : error.end]), error.end


codecs.register_error("zhuyi.bytes", _names_of_bytes)
