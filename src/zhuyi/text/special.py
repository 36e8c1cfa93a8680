"""The tokens that are no text: their ids, and the names by which every vocabulary has them."""

from collections.abc import Iterable

PAD, UNK, BOS, EOS = 0, 1, 2, 3
SPECIALS = ("<pad>", "<unk>", "<s>", "</s>")
BYTES = tuple(f"<0x{byte:02X}>" for byte in range(256))
MASK = "<mask>"


_BYTE_OF = {name: bytes([byte]) for byte, name in enumerate(BYTES)}


def spell(tokens: Iterable[str | None]) -> str:
    """The text of bytes by their names, and of other tokens between them; `�` for each sequence that is no UTF-8."""
    parts = (_BYTE_OF.get(token) or token.encode() for token in tokens if token is not None)
    return b"".join(parts).decode(errors="replace")
