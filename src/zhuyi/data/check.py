"""The corpus at a glance, before any training: what is in it, and what will hurt."""

import hashlib
import math
from array import array
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.table import Table
from rich.text import Text

from zhuyi.config import Config
from zhuyi.data.corpus import Corpus
from zhuyi.data.store import SHOWN, Outcome, Store, Tokens
from zhuyi.text.tokenizer import Tokenizer, Tokenizers

BINS = 28
BLOCKS = "▁▂▃▄▅▆▇█"

Digests = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class Lengths:
    """How long the lines of one side are, in tokens without BOS and EOS."""

    median: int
    most: int
    """95 % are no longer."""
    longest: int
    histogram: tuple[int, ...]
    """Lines of 1 to `bin` tokens, of bin + 1 to 2 bin, ...; the last number counts everything longer too."""
    bin: int


@dataclass(frozen=True)
class SideReport:
    """One side of the training pairs."""

    tokens: int
    vocabulary: int
    lengths: Lengths
    unknown: float
    """Share of tokens that stand for what is not in the vocabulary: UNK, or bytes in its place."""


@dataclass(frozen=True)
class HeldOutReport:
    """A dev or test set, beside the training pairs."""

    pairs: int
    leaks: int
    """Pairs that are training pairs too."""
    leak_lines: tuple[int, ...]
    """The first ten of them."""
    known_sources: int
    """Pairs whose source alone is also in training, the leaks among them."""
    long: int
    """Pairs with a side over the limit: in use it is cut."""
    source_unknown: float
    target_unknown: float


@dataclass(frozen=True)
class Report:
    """What `check` found."""

    outcome: Outcome
    limit: int
    """model.max_length, with BOS or EOS."""
    duplicates: int
    """Pairs that repeat an earlier one exactly."""
    source: SideReport
    target: SideReport
    dev: HeldOutReport | None
    test: HeldOutReport | None

    def to_dict(self) -> dict[str, Any]:
        """The same as plain dicts, lists and numbers, for JSON."""
        return asdict(self)


def check(config: Config, tokenizers: Tokenizers, store: Store, corpus: Corpus) -> Report:
    """Look at the training pairs, and for them in the dev and test sets.

    Args:
        config: whose `data` names the dev and test sets.
        tokenizers: of both sides.
        store: the training pairs, tokenised.
        corpus: the training pairs as they are; read once.

    Raises:
        DataError: naming the file and line that cannot be read.
    """
    data = config.data
    sources, pairs = _digests(corpus)
    held_out = [
        _held_out(Corpus(source, target), tokenizers, sources, pairs, config.model.max_length)
        if source and target
        else None
        for source, target in ((data.dev_source, data.dev_target), (data.test_source, data.test_target))
    ]
    return Report(
        store.outcome,
        config.model.max_length,
        len(pairs) - len(np.unique(pairs)),
        _side(tokenizers.source, store.source_lengths, store.runs("source")),
        _side(tokenizers.target, store.target_lengths, store.runs("target")),
        *held_out,
    )


def show(report: Report, console: Console) -> None:
    """Print the report, in at most 80 columns."""
    outcome = report.outcome
    kept = "all kept" if outcome.kept == outcome.pairs else f"{outcome.kept:,} kept"
    console.print(f"[bold]{outcome.pairs:,} pairs[/], {kept}", highlight=False)
    console.print(_lengths_table(report))
    console.print(_findings_table(report))


def _digests(corpus: Corpus) -> tuple[Digests, Digests]:
    """Eight bytes for each source and for each pair: two different ones meet by chance once in 10¹⁹."""
    sources, pairs = array("Q"), array("Q")
    for pair in corpus:
        source = hashlib.blake2b(pair.source.encode(), digest_size=8).digest()
        both = hashlib.blake2b(source + pair.target.encode(), digest_size=8).digest()
        sources.frombytes(source)
        pairs.frombytes(both)
    return np.frombuffer(sources, dtype=np.uint64), np.frombuffer(pairs, dtype=np.uint64)


def _held_out(
    corpus: Corpus, tokenizers: Tokenizers, train_sources: Digests, train_pairs: Digests, limit: int
) -> HeldOutReport:
    sources, pairs = _digests(corpus)
    source_tokens = tokenizers.source.encode([pair.source for pair in corpus])
    target_tokens = tokenizers.target.encode([pair.target for pair in corpus])
    leaks = np.isin(pairs, train_pairs)
    return HeldOutReport(
        len(pairs),
        int(leaks.sum()),
        tuple((np.flatnonzero(leaks)[:SHOWN] + 1).tolist()),
        int(np.isin(sources, train_sources).sum()),
        sum(max(map(len, both)) >= limit for both in zip(source_tokens, target_tokens, strict=True)),
        _unknown(tokenizers.source, map(np.array, source_tokens)),
        _unknown(tokenizers.target, map(np.array, target_tokens)),
    )


def _unknown(tokenizer: Tokenizer, runs: Iterator[Tokens]) -> float:
    fallback, unknown, total = tokenizer.fallback, 0, 0
    for tokens in runs:
        unknown += int(((tokens >= fallback.start) & (tokens < fallback.stop)).sum())
        total += len(tokens)
    return unknown / max(total, 1)


def _side(tokenizer: Tokenizer, lengths: Tokens, runs: Iterator[Tokens]) -> SideReport:
    median, most, nearly_all = np.quantile(lengths, [0.5, 0.95, 0.99], method="higher").tolist()
    width = math.ceil(nearly_all / BINS)
    bins = np.minimum((lengths - 1) // width, math.ceil(nearly_all / width) - 1)
    return SideReport(
        int(lengths.sum(dtype=np.int64)),
        len(tokenizer),
        Lengths(median, most, int(lengths.max()), tuple(np.bincount(bins).tolist()), width),
        _unknown(tokenizer, runs),
    )


def _lengths_table(report: Report) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    for heading in ("tokens", "median", "95 %", "longest"):
        table.add_column(heading, justify="right", header_style="dim", no_wrap=True)
    table.add_column("lines by tokens", header_style="dim", no_wrap=True)
    for name, side in (("source", report.source), ("target", report.target)):
        lengths = side.lengths
        numbers = (side.tokens, lengths.median, lengths.most, lengths.longest)
        table.add_row(name, *(f"{number:,}" for number in numbers), _bar(lengths))
    return table


def _bar(lengths: Lengths) -> Text:
    tallest = max(lengths.histogram)
    blocks = (BLOCKS[math.ceil(count / tallest * len(BLOCKS)) - 1] if count else " " for count in lengths.histogram)
    end = len(lengths.histogram) * lengths.bin
    more = "+" if lengths.longest > end else ""
    return Text.assemble(("1 ", "dim"), ("".join(blocks), "cyan"), (f" {end}{more}", "dim"))


def _findings_table(report: Report) -> Table:
    outcome = report.outcome
    done = {"skip": "left out", "truncate": "cut"}[outcome.long_policy]
    held_out = [(name, found) for name, found in (("dev", report.dev), ("test", report.test)) if found is not None]
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column()

    def add(what: str, count: int, then: str) -> None:
        table.add_row(what, f"[yellow]{count:,}[/]" if count else "[green]none[/]", f"[dim]{then}[/]" if count else "")

    add("empty lines", outcome.empty, f"left out: {_listed(outcome.empty_lines, outcome.empty)}")
    add(f"over {report.limit - 1} tokens", outcome.long, f"{done}: {_listed(outcome.long_lines, outcome.long)}")
    add("duplicates", report.duplicates, "repeat an earlier pair exactly")
    for name, found in held_out:
        leaks = f"of {found.pairs:,}, a leak: {_listed(found.leak_lines, found.leaks)}"
        add(f"{name} pairs in training", found.leaks, leaks)
        add(f"{name} over {report.limit - 1} tokens", found.long, "cut in use, and in validation")
        add(f"{name} sources in training", found.known_sources, f"of {found.pairs:,}, whatever their target")
    for name, source, target in (
        ("training", report.source.unknown, report.target.unknown),
        *((name, found.source_unknown, found.target_unknown) for name, found in held_out),
    ):
        rate = f"source {_percent(source)}, target {_percent(target)}" if source or target else "[green]none[/]"
        table.add_row(f"unknown in {name}", "" if source or target else rate, rate if source or target else "")
    return table


def _listed(lines: tuple[int, ...], count: int) -> str:
    more = f" and {count - len(lines):,} more" if count > len(lines) else ""
    return f"{'line' if count == 1 else 'lines'} {', '.join(map(str, lines))}{more}"


def _percent(share: float) -> str:
    if not share:
        return "0 %"
    return f"{share:.2%}".replace("%", " %") if share >= 0.00005 else "< 0.01 %"
