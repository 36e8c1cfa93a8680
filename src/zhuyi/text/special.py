"""The tokens that do not stand for text: their ids, and their names, which are the same in every vocabulary."""

from collections.abc import Iterable

PAD, UNK, BOS, EOS = 0, 1, 2, 3
SPECIALS = ("<pad>", "<unk>", "<s>", "</s>")
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
MASK = "<mask>"


_BYTE_OF = {name: bytes([byte]) for byte, name in enumerate(BYTES)}


def spell(tokens: Iterable[str | None]) -> str:
    """The text of tokens, some of which are names of bytes; `�` for each sequence of bytes that is not UTF-8."""
    parts = (_BYTE_OF.get(token) or token.encode() for token in tokens if token is not None)
    return b"".join(parts).decode(errors="replace")
