"""Byte-level BPE, learnt in a test as Hugging Face learns it, and the files that it has in a directory."""

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from tokenizers import ByteLevelBPETokenizer

from zhuyi.interop.tokenizers.byte_level import ByteLevelBPE, read_byte_level

SPECIAL = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]


def write_byte_level(directory: Path, lines: Iterable[str], size: int) -> int:
    """A vocab.json and a merges.txt; how many tokens were learnt."""
    learnt = ByteLevelBPETokenizer()
    learnt.train_from_iterator(lines, size, special_tokens=SPECIAL, show_progress=False)
    learnt.save_model(str(directory))
    return int(learnt.get_vocab_size())


def byte_level(lines: Iterable[str], size: int) -> ByteLevelBPE:
    with TemporaryDirectory() as directory:
        write_byte_level(Path(directory), lines, size)
        return read_byte_level(Path(directory))
