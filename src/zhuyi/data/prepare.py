"""From a configuration to a tokenised corpus: open, learn the vocabularies, tokenise, check.

Each of these is done once for the same data, and read from the cache ever after.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import tokenizers as library

from zhuyi.config import Config
from zhuyi.data.build import build_store
from zhuyi.data.cache import cached
from zhuyi.data.check import Report, make_report
from zhuyi.data.corpus import Corpus, read_lines
from zhuyi.data.limits import choose_limits
from zhuyi.data.store import Store
from zhuyi.errors import ConfigError
from zhuyi.text.tokenizer import FORMAT, Tokenizers
from zhuyi.version import __version__


@dataclass(frozen=True)
class Prepared:
    """All that training needs of its data."""

    config: Config
    """The configuration, with what was left to be chosen from the data."""
    corpus: Corpus
    """The training pairs as text."""
    tokenizers: Tokenizers
    """Of both sides; one object where the vocabulary is shared."""
    store: Store
    """The training pairs as tokens."""
    report: Report
    """What the check of them found."""


@dataclass(frozen=True)
class Preparing:
    """The data is being made ready."""

    task: str
    """What is being done, in words; empty when all is done."""
    pairs: int = 0
    """How many pairs it has been done for."""
    total: int | None = None
    """How many pairs there are, where that is known."""


def prepare(
    config: Config,
    tokenizers: Tokenizers | None = None,
    epoch: int = 0,
    notify: Callable[[Preparing], None] = lambda event: None,
) -> Prepared:
    """Make the training data ready, and check it against the dev and test sets.

    Args:
        config: whose `data`, `text` and `model.max_length` are used.
        tokenizers: those of a run that is resumed; learned from the corpus otherwise.
        epoch: the one that is resumed.
        notify: called with what is being done.

    Raises:
        ConfigError: without training data.
        DataError: naming the file and the line that cannot be used.
    """
    corpus, pairs = open_corpus(config), None
    if tokenizers is None:
        notify(Preparing("Reading the corpus and learning its vocabulary"))
        learned = learn(config, corpus)
        tokenizers, pairs = Tokenizers.from_files(learned["files"]), learned["pairs"]

    def progress(done: int) -> None:
        notify(Preparing("Tokenising", done, pairs))

    store = store_of_epoch(config, corpus, tokenizers, epoch, progress=progress)
    config = config.model_copy(update={"decoding": choose_limits(config.decoding, store)})
    notify(Preparing("Checking the corpus"))
    data, limits = config.data, config.decoding.model_dump(include={"max_ratio", "max_extra"})
    held_out = [
        Corpus(source, target).fingerprint() if source and target else None
        for source, target in ((data.dev_source, data.dev_target), (data.test_source, data.test_target))
    ]
    report = cached(
        {"report": store.path.name, "held out": held_out, "limits": limits, "version": __version__},
        lambda: make_report(config, tokenizers, store).to_dict(),
    )
    notify(Preparing(""))
    return Prepared(config, corpus, tokenizers, store, Report.from_dict(report))


def check(config: Config, listeners: Sequence[Callable[[Preparing], None]] = ()) -> Report:
    """Look at a corpus without training on it. Errors are those of `prepare`.

    Args:
        config: whose `data`, `text` and `model.max_length` are used.
        listeners: called with what is being done.
    """

    def notify(event: Preparing) -> None:
        for listener in listeners:
            listener(event)

    return prepare(config, notify=notify).report


def open_corpus(config: Config) -> Corpus:
    """The training corpus of a configuration.

    Raises:
        ConfigError: if it names none.
    """
    if config.data.source is None or config.data.target is None:
        raise ConfigError("data.source is not set: give --source and --target, or [data] source and target in the file")
    return Corpus(config.data.source, config.data.target)


def store_of_epoch(
    config: Config,
    corpus: Corpus,
    tokenizers: Tokenizers,
    epoch: int,
    oldest: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Store:
    """The tokenised corpus: the same for every epoch, except with BPE-dropout, which cuts words differently each time.

    Segmentations of epochs before `oldest` are removed.
    """
    dropout = config.text.bpe_dropout
    return build_store(
        corpus,
        tokenizers,
        config.model.max_length,
        config.data.long_lines,
        dropout=dropout,
        epoch=epoch if dropout else None,
        oldest=oldest,
        progress=progress,
    )


def learn(config: Config, corpus: Corpus) -> dict[str, Any]:
    """The vocabularies of a corpus, as `files`, and its number of `pairs`: kept in the cache."""
    made_of = {
        "format": FORMAT,
        "vocabulary": config.text.model_dump(exclude={"bpe_dropout"}),
        "corpus": corpus.fingerprint(),
        "version": __version__,
        "library": library.__version__,
    }
    return cast("dict[str, Any]", cached(made_of, lambda: _learn(config, corpus)))


def _learn(config: Config, corpus: Corpus) -> dict[str, Any]:
    pairs = 0

    def sources() -> Iterator[str]:
        """The first reading: it shows whether the sides are of one length."""
        nonlocal pairs
        for pair in corpus:
            pairs = pair.line
            yield pair.source

    learned = Tokenizers.train(config.text, sources(), read_lines(corpus.target))
    return {"files": learned.files(), "pairs": pairs}
