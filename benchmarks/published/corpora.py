"""The corpora of published results, from the files of their origins: a folder each, as the configurations here want it.

train.source, train.target      a line of the source and its target
dev.*                           by which everything is chosen
test.*, or test.NAME.*          looked at once, at the end
"""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path

from zhuyi.files import write_atomically

Pair = tuple[str, str]

CARVED = 2670
"""Words of CMUdict that are its dev set, and as many its test set."""


def write(folder: Path, part: str, pairs: Iterable[Pair]) -> None:
    """Write a part, unless it is there: a run that goes on meanwhile may be reading it."""
    lines = list(pairs)
    folder.mkdir(parents=True, exist_ok=True)
    for side, suffix in enumerate(("source", "target")):
        path, content = folder / f"{part}.{suffix}", "".join(f"{pair[side]}\n" for pair in lines).encode()
        if not path.exists() or path.read_bytes() != content:
            write_atomically(path, content)


def read_lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").split("\n")[:-1]


def multi30k(origin: Path, folder: Path) -> None:
    """Lower-cased, tokenized as by Moses: the segmented text of Wu et al. 2021 (libeineu/fairseq_mmt), put together."""
    for part, name in (("train", "train"), ("dev", "valid"), ("test.2016", "test.2016"), ("test.2017", "test.2017")):
        sides = [
            [line.replace("@@ ", "") for line in read_lines(origin / f"{name}.{language}")] for language in ("en", "de")
        ]
        write(folder, part, zip(*sides, strict=True))


def g2p(language: str) -> Callable[[Path, Path], None]:
    """A language of the medium task of SIGMORPHON 2021 (sigmorphon/2021-task1, data/medium)."""

    def make(origin: Path, folder: Path) -> None:
        for part in ("train", "dev", "test"):
            write(folder, part, map(split, read_lines(origin / f"{language}_{part}.tsv")))

    return make


def split(line: str) -> Pair:
    word, phones = line.split("\t")
    return word, phones


def cmudict(origin: Path, folder: Path) -> None:
    """The training part of CMUdict's split of 2007 (steveash/jg2p): of its words, some are the dev and the test set.

    All pronunciations of a word are in the same part. A word is in a part by its hash.
    """
    pairs = [split(line) for line in read_lines(origin / "train.dic")]
    words = sorted({word for word, _ in pairs}, key=lambda word: hashlib.sha256(word.encode()).digest())
    part_of = dict.fromkeys(words, "train") | dict.fromkeys(words[:CARVED], "test")
    part_of |= dict.fromkeys(words[CARVED : 2 * CARVED], "dev")
    for part in ("train", "dev", "test"):
        write(folder, part, (pair for pair in pairs if part_of[pair[0]] == part))
