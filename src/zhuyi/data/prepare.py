"""From a configuration to a tokenised corpus: open, learn the vocabularies, tokenise, check."""

from collections.abc import Callable
from dataclasses import dataclass

from rich.console import Console

from zhuyi.config import Config
from zhuyi.data.check import Report
from zhuyi.data.check import check as check_pairs
from zhuyi.data.corpus import Corpus
from zhuyi.data.store import Store, build_store
from zhuyi.errors import ConfigError
from zhuyi.text.tokenizer import Tokenizers


@dataclass(frozen=True)
class Prepared:
    """All that training needs of its data."""

    corpus: Corpus
    tokenizers: Tokenizers
    store: Store
    report: Report


def prepare(config: Config, console: Console | None = None, tokenizers: Tokenizers | None = None) -> Prepared:
    """Make the training data ready, and check it against the dev and test sets.

    Args:
        config: whose `data`, `text` and `model.max_length` are used.
        console: where to say what is being done.
        tokenizers: those of a run that is resumed; learned from the corpus otherwise.

    Raises:
        ConfigError: without training data.
        DataError: naming the file and the line that cannot be used.
    """
    corpus, console = open_corpus(config), console or Console(quiet=True)
    with console.status("Reading the corpus and learning its vocabulary ..."):
        if tokenizers is None:
            tokenizers = Tokenizers.train(
                config.text, (pair.source for pair in corpus), (pair.target for pair in corpus)
            )
    with console.status("Tokenising ...") as status:
        store = store_of_epoch(
            config, corpus, tokenizers, 0, lambda pairs: status.update(f"Tokenising ... {pairs:,} pairs")
        )
    with console.status("Checking the corpus ..."):
        report = check_pairs(config, tokenizers, store, corpus)
    return Prepared(corpus, tokenizers, store, report)


def check(config: Config, console: Console | None = None) -> Report:
    """Look at a corpus without training on it. Arguments and errors are those of `prepare`."""
    return prepare(config, console).report


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
    progress: Callable[[int], None] | None = None,
) -> Store:
    """The tokenised corpus: the same for every epoch, but for BPE-dropout, which cuts words anew each time."""
    dropout = config.text.bpe_dropout
    return build_store(
        corpus,
        tokenizers,
        config.model.max_length,
        config.data.long_lines,
        dropout=dropout,
        epoch=epoch if dropout else None,
        progress=progress,
    )
