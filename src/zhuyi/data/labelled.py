"""Pairs for the encoder shape: the target is a label for the source line, or one for each of its tokens."""

from typing import Literal

import numpy as np
import torch

from zhuyi.config import Config
from zhuyi.data.batches import Batch, pad_sources
from zhuyi.data.corpus import Corpus
from zhuyi.data.sequences import Lengths, Numbered
from zhuyi.data.store import Store
from zhuyi.errors import DataError
from zhuyi.text.tokenizer import PAD, UNK, Tokenizers


class Labelled:
    """`Sequences` whose batches have labels: `target_out` is `batch 1` for lines, and `batch source` for tokens.

    The EOS of a source has no label: there, and in the padding, `target_out` is PAD.

    Args:
        pairs: sources, and their labels as targets.
        labels: "line" or "token", as `model.labels`.
    """

    ends = 1, 0
    """Tokens that a batch adds to source and labels: EOS to the source."""

    def __init__(self, pairs: Numbered, labels: Literal["line", "token"]) -> None:
        self.source, self.target, self.line = pairs.source, pairs.target, pairs.line
        self.source_lengths, self.target_lengths = pairs.source_lengths, pairs.target_lengths
        self._labels = labels

    def collate(self, pairs: np.ndarray) -> Batch:
        """The batch of these pairs; `target_in` is `batch 0`, since there is no decoder."""
        source, source_mask = pad_sources([self.source(pair) for pair in pairs])
        labels = np.full((len(pairs), source.shape[1] if self._labels == "token" else 1), PAD, dtype=np.int64)
        for row, pair in zip(labels, pairs, strict=True):
            right = self.target(pair)
            row[: len(right)] = right
        return Batch(source, source_mask, source[:, :0], torch.from_numpy(labels), pairs)


def check_labels(config: Config, tokenizers: Tokenizers, store: Store) -> None:
    """Check that each line of the data has one label or, with `model.labels = "token"`, one for each token.

    Raises:
        DataError: naming the first line that does not; or if there are more labels than the vocabulary can have.
    """
    assert config.data.source is not None
    if any((part.values["target"] == UNK).any() for part in store.parts()):
        raise DataError(
            f"{config.data.target}: has more kinds of labels than text.vocabulary = {config.text.vocabulary} allows: "
            "raise it"
        )
    if (pair := _first_wrong(store, config)) is not None:
        found = int(store.source_lengths[pair]), int(store.target_lengths[pair])
        raise _wrong(config, config.data.source, store.line(pair), *found)
    for source, target in (
        (config.data.dev_source, config.data.dev_target),
        (config.data.test_source, config.data.test_target),
    ):
        if source is None or target is None:
            continue
        lines, labels = zip(*((pair.source, pair.target) for pair in Corpus(source, target)), strict=True)
        sides = zip(tokenizers.source.encode(lines), tokenizers.target.encode(labels), strict=True)
        for line, (tokens, right) in enumerate(sides, start=1):
            if (tokens or right) and len(right) != (len(tokens) if config.model.labels == "token" else 1):
                raise _wrong(config, source, line, len(tokens), len(right))


def _first_wrong(lengths: Lengths, config: Config) -> int | None:
    wanted = lengths.source_lengths if config.model.labels == "token" else 1
    wrong = np.flatnonzero(lengths.target_lengths != wanted)
    return int(wrong[0]) if len(wrong) else None


def _wrong(config: Config, source: str, line: int, tokens: int, labels: int) -> DataError:
    if config.model.labels == "token":
        return DataError(
            f'{source}, line {line}: {tokens} tokens and {labels} labels: with model.labels = "token" each token has '
            "one; labels stand between spaces, and text.source_kind says what a token is"
        )
    return DataError(
        f'{source}, line {line}: {labels} labels: with model.labels = "line" each line has one, which is a word '
        "without spaces"
    )
