"""Statistics of a corpus before training, and what in it may harm the model.

Everything is counted in passes over the store, in memory that does not grow with it.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from zhuyi.config import Config, readable
from zhuyi.data.corpus import Corpus
from zhuyi.data.limits import count_over_limit
from zhuyi.data.mix import share_of
from zhuyi.data.sequences import Integers
from zhuyi.data.store import MAX_LINES, FilterReport, Store
from zhuyi.data.tokenise import digests, remarks
from zhuyi.text.tokenizer import Tokenizer, Tokenizers

MAX_BINS = 28
BLANK = digests([""], ["\n"])[0, 1]
"""The digest of a line of running text that consists of its line break."""
MAX_SORTED_PAIRS = 1 << 25
"""Most digests that are sorted at once, to find duplicates: 256 MiB."""


@dataclass(frozen=True)
class LengthSummary:
    """How long the lines of one side are, in tokens without BOS and EOS."""

    median: int
    most: int
    """The 95th percentile."""
    longest: int
    histogram: tuple[int, ...]
    """Lines of 1 to `bin` tokens, of bin + 1 to 2 bin, ...; the last number counts everything longer too."""
    bin: int


@dataclass(frozen=True)
class SideReport:
    """One side of the training pairs."""

    tokens: int
    vocabulary: int
    lengths: LengthSummary
    unknown: float
    """Share of tokens that stand for text outside the vocabulary: UNK, or bytes."""


@dataclass(frozen=True)
class HeldOutReport:
    """A dev or test set, compared with the training pairs."""

    pairs: int
    leaks: int
    """Pairs that are training pairs too; pairs that are left out of training do not count."""
    leak_lines: tuple[int, ...]
    """The first ten of them."""
    known_sources: int
    """Pairs whose source alone is also in training, the leaks among them."""
    empty: int
    """Pairs with a side that has no tokens; they are scored like any other."""
    empty_lines: tuple[int, ...]
    """The first ten of them."""
    long: int
    """Pairs with a side over the limit, which is cut in use."""
    over_output: int
    """Pairs whose target is longer than decoding may write for their source."""
    source_unknown: float
    target_unknown: float
    copies: int
    """This and the next two are as in `FilterReport`."""
    not_nfc: int
    marks: dict[str, int]


@dataclass(frozen=True)
class MixedReport:
    """A corpus of `data.mix`."""

    source: str
    pairs: int
    """Pairs in the corpus."""
    kept: int
    """Pairs that can be trained on."""
    drawn: int
    """Pairs that each epoch draws."""


@dataclass(frozen=True)
class Report:
    """The result of the check of a corpus of pairs."""

    outcome: FilterReport
    limit: int
    """model.max_length, with BOS or EOS."""
    duplicates: int
    """Pairs of those kept that repeat an earlier one exactly."""
    over_output: int
    """Pairs of those kept whose target is longer than decoding may write for their source."""
    source: SideReport
    target: SideReport
    dev: HeldOutReport | None
    test: HeldOutReport | None
    mixed: tuple[MixedReport, ...] = ()
    """The corpora of `data.mix`, which are searched for leaks too."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain dicts, lists and numbers, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Report":
        """A report from `to_dict`'s, which may have been JSON in between."""
        outcome, held_out = FilterReport.from_dict(values["outcome"]), {}
        for name in ("dev", "test"):
            held_out[name] = HeldOutReport(**_tuples(values[name])) if values[name] else None
        sides = {name: _side_from_dict(values[name]) for name in ("source", "target")}
        mixed = tuple(MixedReport(**each) for each in values["mixed"])
        return cls(**{**values, "outcome": outcome, **held_out, **sides, "mixed": mixed})


@dataclass(frozen=True)
class TextPart:
    """The training part or the dev part of running text."""

    lines: int
    characters: int
    """Line breaks counted."""
    bytes: int
    """Of the same text in UTF-8."""
    blank: int
    """Lines that consist of a line break."""
    tokens: SideReport
    """Of the lines, with their line breaks."""


@dataclass(frozen=True)
class TextReport:
    """The result of the check of running text."""

    train: TextPart
    repeated: int
    """Training lines that repeat an earlier one exactly, except for blank ones."""
    dev: TextPart | None
    known: int
    """Dev lines that are training lines too, except for blank ones."""
    known_lines: tuple[int, ...]
    """The numbers of the first ten of them in their file."""

    def to_dict(self) -> dict[str, Any]:
        """The same as plain dicts, lists and numbers, for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "TextReport":
        """A report from `to_dict`'s, which may have been JSON in between."""
        parts = {
            name: TextPart(**{**values[name], "tokens": _side_from_dict(values[name]["tokens"])})
            if values[name]
            else None
            for name in ("train", "dev")
        }
        return cls(**{**_tuples(values), **parts})


def _side_from_dict(values: dict[str, Any]) -> SideReport:
    return SideReport(**{**values, "lengths": LengthSummary(**_tuples(values["lengths"]))})


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    """JSON has no tuples."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


def make_report(config: Config, tokenizers: Tokenizers, store: Store, mixed: Sequence[Store] = ()) -> Report:
    """Check the training pairs, and look for them in the dev and test sets.

    Args:
        config: its `data` names the dev and test sets, and its `decoding` limits the length of an output.
        tokenizers: of both sides.
        store: the training pairs, tokenised.
        mixed: the corpora of `data.mix`, tokenised.

    Raises:
        DataError: naming the file and line that cannot be read.
    """
    data, limit = config.data, config.model.max_length
    held_out = [
        _HeldOut(Corpus(source, target), tokenizers, config) if source and target else None
        for source, target in ((data.dev_source, data.dev_target), (data.test_source, data.test_target))
    ]
    sets = [found for found in held_out if found is not None]
    source_unknown = target_unknown = 0
    for each in (store, *mixed):
        for part in each.parts():
            for found in sets:
                found.look_among(part.source_digest, part.pair_digest)
            if each is store:
                source_unknown += _unknown(tokenizers.source, part.values["source"])
                target_unknown += _unknown(tokenizers.target, part.values["target"])
    dev, test = (found.report() if found is not None else None for found in held_out)
    return Report(
        store.outcome,
        limit,
        _duplicates(store),
        count_over_limit(config.decoding, store, limit),
        _side(tokenizers.source, store.source_lengths, source_unknown),
        _side(tokenizers.target, store.target_lengths, target_unknown),
        dev,
        test,
        tuple(
            MixedReport(readable(each.source), of.outcome.pairs, len(of), share_of(len(store), each.weight))
            for each, of in zip(data.mix, mixed, strict=True)
        ),
    )


def make_text_report(tokenizers: Tokenizers, store: Store, dev: Store | None) -> TextReport:
    """Check running text, and look for lines of its training part in its dev part.

    Args:
        tokenizers: the target side has tokenised the text.
        store: the training part.
        dev: the dev part.
    """
    train = _part(tokenizers.target, store)
    known = np.zeros(0, bool) if dev is None else _known(dev, store)
    lines = tuple(dev.line(i) for i in np.flatnonzero(known)[:MAX_LINES].tolist()) if dev is not None else ()
    return TextReport(
        train,
        _duplicates(store) - max(train.blank - 1, 0),
        None if dev is None else _part(tokenizers.target, dev),
        int(known.sum()),
        lines,
    )


def _part(tokenizer: Tokenizer, store: Store) -> TextPart:
    unknown = blank = 0
    for part in store.parts():
        unknown += _unknown(tokenizer, part.values["target"])
        blank += int((part.pair_digest == BLANK).sum())
    found, side = store.outcome, _side(tokenizer, store.target_lengths, unknown)
    return TextPart(len(store), found.characters, found.bytes, blank, side)


def _known(dev: Store, training: Store) -> npt.NDArray[np.bool_]:
    """Which dev lines are training lines too, except for blank ones."""
    digests = np.concatenate([part.pair_digest for part in dev.parts()])
    distinct, numbers = np.unique(digests, return_inverse=True)
    found = np.zeros(len(distinct), bool)
    for part in training.parts():
        places = np.searchsorted(distinct[:-1], part.pair_digest)
        found[places[distinct[places] == part.pair_digest]] = True
    known: npt.NDArray[np.bool_] = found[numbers] & (digests != BLANK)
    return known


class _HeldOut:
    """A dev or test set, to be compared with training pairs."""

    def __init__(self, corpus: Corpus, tokenizers: Tokenizers, config: Config) -> None:
        pairs = list(corpus)
        texts = [pair.source for pair in pairs], [pair.target for pair in pairs]
        self._digests, self._remarks = digests(*texts), remarks(*texts)
        self._known = np.zeros(self._digests.shape, bool)
        sides = tokenizers.source.encode(texts[0]), tokenizers.target.encode(texts[1])
        self._empty = [line for line, both in enumerate(zip(*sides, strict=True), start=1) if not all(both)]
        self.source_lengths, self.target_lengths = (np.array([len(line) for line in side]) for side in sides)
        limit = config.model.max_length
        self._long = int((np.maximum(self.source_lengths, self.target_lengths) >= limit).sum())
        self._over_output = count_over_limit(config.decoding, self, limit)
        self._unknown = [
            sum(_unknown(tokenizer, np.array(line, np.int64)) for line in side) / max(sum(map(len, side)), 1)
            for tokenizer, side in zip((tokenizers.source, tokenizers.target), sides, strict=True)
        ]

    def look_among(self, *training: npt.NDArray[np.uint64]) -> None:
        """Note which sources and pairs are among these training sources and training pairs, given by their digests."""
        for known, ours, theirs in zip(self._known.T, self._digests.T, training, strict=True):
            known |= np.isin(ours, theirs)

    def report(self) -> HeldOutReport:
        sources, leaks = self._known.T
        lines = tuple((np.flatnonzero(leaks)[:MAX_LINES] + 1).tolist())
        return HeldOutReport(
            pairs=len(leaks),
            leaks=int(leaks.sum()),
            leak_lines=lines,
            known_sources=int(sources.sum()),
            empty=len(self._empty),
            empty_lines=tuple(self._empty[:MAX_LINES]),
            long=self._long,
            over_output=self._over_output,
            source_unknown=self._unknown[0],
            target_unknown=self._unknown[1],
            **self._remarks,
        )


def _duplicates(store: Store) -> int:
    """The number of pairs that repeat an earlier one. Sorts the digests with the same remainder together."""
    shares = math.ceil(len(store) / MAX_SORTED_PAIRS)
    repeated = 0
    for share in range(shares):
        some = [part.pair_digest for part in store.parts()]
        digest = np.concatenate([part[part % shares == share] if shares > 1 else part for part in some])
        digest.sort()
        repeated += int((digest[1:] == digest[:-1]).sum())
    return repeated


def _unknown(tokenizer: Tokenizer, tokens: Integers) -> int:
    fallback = tokenizer.fallback
    return int(((tokens >= fallback.start) & (tokens < fallback.stop)).sum())


def _side(tokenizer: Tokenizer, lengths: Integers, unknown: int) -> SideReport:
    counts = np.zeros(int(lengths.max()) + 1, np.int64)
    for start in range(0, len(lengths), 1 << 20):  # bincount converts each length to eight bytes
        counts += np.bincount(lengths[start : start + (1 << 20)], minlength=len(counts))
    ranks = [math.ceil(share * (len(lengths) - 1)) for share in (0.5, 0.95, 0.99)]
    median, most, nearly_all = np.searchsorted(np.cumsum(counts), ranks, side="right").tolist()
    nearly_all = max(nearly_all, 1)  # most lines of running text may be blank, without tokens
    width = math.ceil(nearly_all / MAX_BINS)
    firsts = range(1, math.ceil(nearly_all / width) * width + 1, width)
    tokens = int(counts @ np.arange(len(counts)))
    histogram = tuple(np.add.reduceat(counts, firsts).tolist())
    found = LengthSummary(median, most, len(counts) - 1, histogram, width)
    return SideReport(tokens, len(tokenizer), found, unknown / tokens)
