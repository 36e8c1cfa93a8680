"""Prepares the data of a run: opens the corpus, learns its vocabularies, tokenises and checks it.

The result of each step is kept in the cache, and read from it if the data and the settings are the same.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, cast

import tokenizers as library

from zhuyi.config import TEMPLATE, Config
from zhuyi.data.build import build_store
from zhuyi.data.cache import cached
from zhuyi.data.check import Report, TextReport, make_report, make_text_report
from zhuyi.data.corpus import MAX_LINE_CHARACTERS, Corpus, Pair, Text, read_lines
from zhuyi.data.labelled import Labelled, check_labels
from zhuyi.data.limits import choose_limits, limits_of_text
from zhuyi.data.masked import Masked
from zhuyi.data.mix import Mix
from zhuyi.data.sequences import Numbered
from zhuyi.data.store import Store
from zhuyi.data.windows import Windows
from zhuyi.errors import ConfigError, DataError
from zhuyi.text.tokenizer import Tokenizer, Tokenizers
from zhuyi.text.trainers import FORMAT
from zhuyi.version import __version__


@dataclass(frozen=True)
class Prepared:
    """The data of a run, ready for training."""

    config: Config
    """The configuration, with the settings that are chosen from the data."""
    corpus: Corpus | Text
    """The training pairs, or the running text for training."""
    tokenizers: Tokenizers
    """Of both sides; one object where the vocabulary is shared."""
    store: Store
    """The tokens of `corpus`."""
    mixed: tuple[Store, ...]
    """The tokens of the corpora of `data.mix`."""
    dev: Store | None
    """The tokens of the dev part of running text."""
    report: Report | TextReport
    """The result of the check."""

    def fingerprint(self) -> str:
        """A string that identifies the training pairs."""
        mix = [
            [each.fingerprint(), mixed.weight]
            for each, mixed in zip(open_mix(self.config), self.config.data.mix, strict=True)
        ]
        return self.corpus.fingerprint() + (json.dumps(mix) if mix else "")


@dataclass(frozen=True)
class Preparing:
    """The data is being prepared."""

    task: str
    """The current step, in words; empty when all steps are done."""
    pairs: int = 0
    """Pairs, or lines of running text, for which the step is done."""
    total: int | None = None
    """All pairs or lines; None if their number is not known."""


def prepare(
    config: Config,
    tokenizers: Tokenizers | None = None,
    epoch: int = 0,
    notify: Callable[[Preparing], None] = lambda event: None,
) -> Prepared:
    """Prepare the training data, and check it against the dev and test sets.

    Args:
        config: its `data`, `text` and `model.max_length` are used.
        tokenizers: of a resumed run, with any templates. None: they are learnt from the corpus.
        epoch: the first epoch, which is not 0 in a resumed run.
        notify: called with the progress.

    Raises:
        ConfigError: if there is no training data, or if [text] names a piece that is not in the vocabulary.
        DataError: naming the file and the line that cannot be used.
    """
    corpus, total = open_corpus(config), None
    if tokenizers is None:
        notify(Preparing("Reading the corpus and learning its vocabulary"))
        learned = learn(config, corpus)
        tokenizers, total = Tokenizers.from_files(learned["files"]), learned["pairs"]
    tokenizers = tokenizers.with_templates_of(config.text)

    def progress(done: int) -> None:
        notify(Preparing("Tokenising", done, total))

    store = store_of_epoch(config, corpus, tokenizers, epoch, progress=progress)
    if isinstance(corpus, Text):
        return _prepare_text(config, corpus, tokenizers, store, notify)
    mixed = mixed_of_epoch(config, tokenizers, epoch)
    if config.model.shape == "encoder":
        check_labels(config, tokenizers, store)
    else:
        pairs = examples(config, store, tokenizers, epoch=0, mixed=mixed)
        config = config.model_copy(update={"decoding": choose_limits(config.decoding, pairs)})
    notify(Preparing("Checking the corpus"))
    data, limits = config.data, config.decoding.model_dump(include={"max_ratio", "max_extra"})
    held_out = [
        Corpus(source, target).fingerprint() if source and target else None
        for source, target in ((data.dev_source, data.dev_target), (data.test_source, data.test_target))
    ]
    mix = [each.path.name for each in mixed], data.model_dump(mode="json", include={"mix"})
    made_of = {"report": store.path.name, "mix": mix, "held out": held_out, "limits": limits, "version": __version__}
    report = cached(made_of, lambda: make_report(config, tokenizers, store, mixed).to_dict())
    notify(Preparing(""))
    return Prepared(config, corpus, tokenizers, store, mixed, None, Report.from_dict(report))


def _prepare_text(
    config: Config, corpus: Text, tokenizers: Tokenizers, store: Store, notify: Callable[[Preparing], None]
) -> Prepared:
    """The rest of `prepare` for running text, whose dev part is tokenised too."""
    dev_text = open_dev_text(config)
    dev = build_store(dev_text, tokenizers, None, config.data.long_lines) if dev_text else None
    for part, text in ((store, corpus), (dev, dev_text)):
        if part is not None and text is not None and not part.text_tokens:
            raise DataError(f"{text.target}: has no tokens, but only white space (text.whitespace is collapse)")
    config = config.model_copy(update={"decoding": limits_of_text(config.decoding, config.model.max_length)})
    notify(Preparing("Checking the corpus"))
    report = cached(
        {"report": store.path.name, "dev": dev and dev.path.name, "version": __version__},
        lambda: make_text_report(tokenizers, store, dev).to_dict(),
    )
    notify(Preparing(""))
    return Prepared(config, corpus, tokenizers, store, (), dev, TextReport.from_dict(report))


def examples(
    config: Config, store: Store, tokenizers: Tokenizers, epoch: int | None, mixed: Sequence[Store] = ()
) -> Numbered:
    """The examples of an epoch.

    These are pairs, including those of `mixed` that the epoch draws; or lines and their labels; or windows of running
    text, which differ in each epoch, as do the tokens that are masked.

    Args:
        config: of the run.
        store: the training pairs, or the running text.
        tokenizers: of both sides.
        epoch: from 0. None, for validation: windows begin at the first token, and the same tokens are always masked.
        mixed: the corpora of `data.mix`.
    """
    seed = config.training.seed
    if config.data.text is not None:
        length = config.model.max_length - 1
        windows = Windows(store, length) if epoch is None else Windows.of_epoch(store, length, seed, epoch)
        if config.training.objective != "masked":
            return windows
        assert tokenizers.target.mask is not None
        return Masked(windows, tokenizers.target.mask, seed, epoch or 0)
    if mixed and epoch is not None:
        return Mix(store, mixed, [each.weight for each in config.data.mix], seed, epoch)
    return Labelled(store, config.model.labels) if config.model.shape == "encoder" else store


def check(config: Config, listeners: Sequence[Callable[[Preparing], None]] = ()) -> Report | TextReport:
    """Check a corpus without training on it.

    Args:
        config: its `data`, `text` and `model.max_length` are used.
        listeners: called with the progress.

    Raises:
        ConfigError, DataError: as `prepare`.
    """

    def notify(event: Preparing) -> None:
        for listener in listeners:
            listener(event)

    return prepare(config, notify=notify).report


def open_corpus(config: Config) -> Corpus | Text:
    """The training corpus of a configuration.

    Raises:
        ConfigError: if the configuration names no corpus.
        DataError: if it cannot be opened, or running text cannot be divided into training and dev parts.
    """
    if config.data.text is not None:
        return Text(config.data.text, end=_dev_begins(config))
    if config.data.source is None or config.data.target is None:
        raise ConfigError("data.source is not set: give --source and --target, or [data] source and target in the file")
    return Corpus(config.data.source, config.data.target)


def open_mix(config: Config) -> list[Corpus]:
    """The corpora of `data.mix`.

    Raises:
        DataError: as `open_corpus`.
    """
    return [Corpus(each.source, each.target) for each in config.data.mix]


def open_dev_text(config: Config) -> Text | None:
    """The running text for validation: `data.dev_text`, or the end of `data.text`.

    Raises:
        DataError: as `open_corpus`.
    """
    if config.data.dev_text is not None:
        return Text(config.data.dev_text)
    begins = _dev_begins(config)
    return None if begins is None or config.data.text is None else Text(config.data.text, first=begins)


def _dev_begins(config: Config) -> int | None:
    """The number, from 0, of the first line of `data.text` that is kept for validation; None if none is."""
    data = config.data
    if data.text is None or data.dev_text is not None or not data.dev_share:
        return None
    text = Text(data.text)
    made_of = {"split": text.fingerprint(), "share": data.dev_share, "lines": MAX_LINE_CHARACTERS}
    return cast(int, cached(made_of, lambda: text.split_at(data.dev_share)))


def store_of_epoch(
    config: Config,
    corpus: Corpus | Text,
    tokenizers: Tokenizers,
    epoch: int,
    oldest: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Store:
    """The tokenised corpus. It is the same in every epoch, unless BPE-dropout segments it differently in each.

    Segmentations of epochs before `oldest` are removed.
    """
    dropout = config.text.bpe_dropout
    return build_store(
        corpus,
        tokenizers,
        None if isinstance(corpus, Text) else config.model.max_length,
        config.data.long_lines,
        dropout=dropout,
        epoch=epoch if dropout else None,
        oldest=oldest,
        progress=progress,
    )


def mixed_of_epoch(config: Config, tokenizers: Tokenizers, epoch: int, oldest: int = 0) -> tuple[Store, ...]:
    """The tokenised corpora of `data.mix`, as `store_of_epoch`."""
    return tuple(store_of_epoch(config, corpus, tokenizers, epoch, oldest) for corpus in open_mix(config))


def learn(config: Config, corpus: Corpus | Text) -> dict[str, Any]:
    """The vocabularies of a corpus, as `files`, and its number of pairs or lines, as `pairs`; from the cache if there.

    Raises:
        ConfigError: if `text.add_pieces` is set, which needs a vocabulary that exists.
        DataError: as `open_corpus`, and if the corpus cannot be read.
    """
    if config.text.add_pieces:
        raise ConfigError(
            "text.add_pieces adds to the vocabulary of another model: name it as training.start_from, or leave it out"
        )
    made_of = {
        "format": FORMAT,
        "vocabulary": config.text.model_dump(exclude={"bpe_dropout", "add_pieces", *TEMPLATE}),
        "corpus": corpus.fingerprint(),
        "version": __version__,
        "library": library.__version__,
    }
    if mix := open_mix(config):
        made_of["mix"] = [each.fingerprint() for each in mix]
    return cast("dict[str, Any]", cached(made_of, lambda: _learn(config, corpus)))


def learn_labels(config: Config) -> Tokenizer:
    """The vocabulary of the target side of a configuration's training data.

    Raises:
        ConfigError, DataError: as `open_corpus`, and if the targets cannot be read.
    """
    text = config.text
    assert text.target_kind is not None
    settings = text.vocabulary, text.lowercase, text.normalization
    return Tokenizer.train(read_lines(open_corpus(config).target), text.target_kind, *settings)


def _learn(config: Config, corpus: Corpus | Text) -> dict[str, Any]:
    count = 0

    def pairs() -> Iterator[Pair]:
        """Read, and count, the pairs. This raises an error if the sides have different numbers of lines."""
        nonlocal count
        for pair in corpus:
            count += 1
            yield pair

    if isinstance(corpus, Text):
        learned = Tokenizers.train(config.text, (), (pair.target for pair in pairs()))
    else:
        mix = open_mix(config)
        sources = chain((pair.source for pair in pairs()), (pair.source for each in mix for pair in each))
        targets = chain.from_iterable(read_lines(each.target) for each in (corpus, *mix))
        learned = Tokenizers.train(config.text, sources, targets)
    return {"files": learned.files(), "pairs": count}
