"""Byte-level BPE (Radford et al. 2019) in directories of Hugging Face: `tokenizer.json`, or a list and merges."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer as Engine
from tokenizers import decoders, models, normalizers, pre_tokenizers

from zhuyi.errors import CheckpointError
from zhuyi.interop.reading.files import read_bytes
from zhuyi.interop.reading.settings import Settings
from zhuyi.interop.tokenizers import sentencepiece
from zhuyi.interop.tokenizers.sentencepiece import UNKNOWN
from zhuyi.interop.tokenizers.tokenizer_json import FILE, Merges, TokenizerJson, checked_merges
from zhuyi.interop.tokenizers.vocabulary import LARGEST_FILE, read_pieces
from zhuyi.text.special import MASK, SPECIALS


@dataclass(frozen=True)
class ByteLevelBPE:
    """Tokens, in the alphabet of `text.byte_level`, and merges."""

    pieces: list[str | None]
    """By row."""
    merges: Merges
    special: list[int]
    """The rows of tokens that no text has."""
    add_prefix_space: bool = False
    """Whether a line begins with a space."""

    def engine(self) -> dict[str, Any]:
        """The library's `tokenizer.json`, without special tokens: bytes that have no token are unknown."""
        engine = Engine(models.BPE())
        engine.normalizer = normalizers.Sequence([])
        engine.pre_tokenizer = pre_tokenizers.ByteLevel(self.add_prefix_space, trim_offsets=False)
        engine.decoder = decoders.ByteLevel()
        special = {*self.special}
        text = [piece for i, piece in enumerate(self.pieces) if piece is not None and i not in special]
        vocabulary = {piece: i for i, piece in enumerate([UNKNOWN, *text])}
        content: dict[str, Any] = json.loads(engine.to_str())
        merges = sentencepiece.merges_within(self.merges, vocabulary)
        content["model"] |= {"unk_token": UNKNOWN, "vocab": vocabulary, "merges": merges}
        return content


def read_byte_level(path: Path) -> ByteLevelBPE:
    """The byte-level BPE of a directory, from tokenizer.json or else from vocab.json and merges.txt.

    Raises:
        CheckpointError: naming the file, and what is missing, damaged, or of another kind.
    """
    if not (path / FILE).is_file():
        return _from_list(path)
    tokenizer = TokenizerJson(path)
    tokenizer.ensure_model("BPE")
    tokenizer.ensure_steps("normalizer", ())
    words = tokenizer.ensure_steps("pre_tokenizer", ("ByteLevel",))
    if len(words) != 1 or words[0].get("use_regex", True) is not True:
        raise tokenizer.unsupported("pre_tokenizer", "is not ByteLevel alone")
    pieces, special = tokenizer.pieces()
    return ByteLevelBPE(pieces, tokenizer.merges(pieces), special, bool(words[0].get("add_prefix_space")))


def _from_list(path: Path) -> ByteLevelBPE:
    """Of a directory with vocab.json and merges.txt."""
    pieces, file = read_pieces(path / "vocab.json"), path / "merges.txt"
    special = [row for row, piece in enumerate(pieces) if piece in (*SPECIALS, MASK)]
    spaced = bool(Settings(path, "tokenizer_config.json", optional=True).get("add_prefix_space"))
    return ByteLevelBPE(pieces, checked_merges(file, pieces, _lines(file)), special, spaced)


def _lines(file: Path) -> list[str]:
    """The merges in a file, without its first line, a comment that names the version."""
    try:
        lines = read_bytes(file, LARGEST_FILE).decode().split("\n")
    except UnicodeDecodeError as error:
        raise CheckpointError(f"{file}: not UTF-8") from error
    return [line for i, line in enumerate(lines) if line and not (i == 0 and line.startswith("#version"))]
