"""`zhuyi export`: a model in the format of another program, and the proof that the program computes the same.

What is written is run before it is kept: some lines go through zhuyi and through the other program, and their outputs
and log-probabilities are compared.
"""

import json
import os
import random
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np

from zhuyi.checkpoint import Model
from zhuyi.config import DecodingConfig
from zhuyi.directory import read_model
from zhuyi.engine.protocol import Tokens
from zhuyi.engine.torch import TorchEngine
from zhuyi.errors import CheckpointError, ConfigError, DataError, ZhuyiError
from zhuyi.files import ensure_writable, readable_failure
from zhuyi.hub import LICENCE_FILES, card_head, fetched, licence_file, licence_of, upload
from zhuyi.interop.exports import ctranslate2, onnx, transformers
from zhuyi.loading import load, with_torch
from zhuyi.model.transformer import Transformer
from zhuyi.text.tokenizer import SPECIALS, UNK, Tokenizer, Tokenizers
from zhuyi.translator import Translator

COMPARED = 20
"""Lines that go through both programs."""
LONGEST = 64
"""Tokens of an output, at most: on lines without meaning, a model may repeat itself to the limit of its length."""
TOLERANCE = 1e-3
"""In float32, the largest difference of a token's log-probability that is rounding; 1e-5 is usual."""


class Peer(Protocol):
    """A written directory, and the program that it was written for."""

    def decode(self, sources: Sequence[Tokens], limit: int) -> list[list[int]]:
        """The output of greedy search for each source, without EOS; at most `limit` tokens, EOS counted."""
        ...

    def log_probabilities(self, sources: Sequence[Tokens], targets: Sequence[Tokens]) -> list[list[float]]:
        """The log-probability of each token of each target, and of EOS after them."""
        ...


@dataclass(frozen=True)
class Format:
    """What a model can be exported to."""

    library: str
    """Which opens it, as the hub calls it."""
    precisions: tuple[str, ...]
    """In which the weights can be written; the first is float32."""
    files: frozenset[str]
    """The names of all files that a directory of this format may hold, but for those of licences."""
    write: Callable[[Model, Path, str], None]
    """Writes a model into an empty directory, in one of the precisions."""
    open: Callable[[Path, Tokenizers], Peer]
    """Opens what was written for a model with these tokenizers."""


FORMATS = {
    "ctranslate2": Format(
        "ctranslate2", ctranslate2.PRECISIONS, ctranslate2.FILES, ctranslate2.write, ctranslate2.CTranslate2Directory
    ),
    "onnx": Format("onnx", onnx.PRECISIONS, onnx.FILES, onnx.write, onnx.OnnxDirectory),
    "huggingface": Format(
        "transformers",
        transformers.PRECISIONS,
        transformers.FILES,
        transformers.write,
        transformers.HuggingFaceDirectory,
    ),
}


@dataclass(frozen=True)
class Exported:
    """A directory that another program opens, and how its answers compare with zhuyi's."""

    directory: Path
    lines: int
    """Lines that both programs translated, by greedy search."""
    same: int
    """Those whose outputs are the same, token by token."""
    difference: float
    """The largest difference of the log-probability of a token of zhuyi's outputs, in nats."""


def export_model(
    model: str | Path | Translator,
    out: str | Path,
    to: str = "ctranslate2",
    *,
    precision: str = "float32",
    lines: Iterable[str] | None = None,
) -> Exported:
    """Write a model as a directory that another program opens, and compare the answers of both.

    Both translate the same lines by greedy search; the result says how many `lines` that were, how many outputs are the
    `same`, and the largest `difference` of the log-probability of a token. In float32, a difference that is not one of
    rounding is an error. The directory is written whole or not at all; an earlier export in it is replaced.

    Args:
        model: a model directory, or a translator. Unless its engine is torch's, the model is read again.
        out: the directory to write; it must not hold other files.
        to: the format, one of `FORMATS`.
        precision: of the weights: "float32", or one of fewer bits that the format has, whose answers may differ.
        lines: to compare the two by; the first 20 that are not blank are used. Unset: lines made of the vocabulary of
            the source, the same ones each time.

    Raises:
        CheckpointError: if there is no such model, or `out` cannot be written or holds other files.
        ConfigError: if there is no such format or precision, or the format cannot express the model: the message names
            the key.
        DataError: if `lines` has none that is not blank.
        MissingExtra: if the other program is not installed.
        ZhuyiError: if the other program computes something else.
    """
    form, out = _named(to, precision), Path(out)
    _ensure_replaceable(out, form)
    if not isinstance(model, Translator):
        model = load(model, device="cpu", engine="torch", precision="float32")
    translator = with_torch(model)
    transformer = _exportable(translator, to)
    compared = _to_compare(translator, lines)
    with _staged(out) as directory:
        form.write(Model(translator.config, translator.tokenizers, transformer, translator.name), directory, precision)
        _add_licence(directory, translator, form.library)
        same, difference = _compare(translator, form.open(directory, translator.tokenizers), compared)
        if precision == "float32" and not difference <= TOLERANCE:  # nor may it be NaN
            raise ZhuyiError(
                f"{to} computes other log-probabilities than zhuyi (by {difference:.2g}): {out} is not written; "
                f"try another version of {to}"
            )
    return Exported(out, len(compared), same, difference)


def upload_model(model: str | Path, to: str) -> str:
    """Upload a model directory to the Hugging Face hub, from where `zhuyi.load` reads it.

    All of its files go there in one commit. A repository that is not there yet is made, as a private one.

    Args:
        model: a model directory, or another model of the hub.
        to: `hub:USER/NAME[@BRANCH]`.

    Returns:
        The address of the commit.

    Raises:
        CheckpointError: if it is no model directory, or the hub refuses it.
        MissingExtra: if `huggingface_hub` is not installed.
    """
    directory = fetched(model)
    read_model(directory)
    return upload(directory, to)


def _exportable(translator: Translator, to: str) -> Transformer:
    """The network of a translator on torch's engine.

    Raises:
        ConfigError: naming the key, if no other program has such models.
    """
    assert isinstance(translator.engine, TorchEngine)
    if not isinstance(transformer := translator.engine.network, Transformer):
        raise ConfigError(
            f'model.shape = "{transformer.config.shape}": {to} is written for "encoder-decoder" only; use zhuyi itself'
        )
    if without := translator.config.model.without:
        raise ConfigError(f"model.without = {json.dumps(without)}: {to} has no such models; use zhuyi itself")
    return transformer


def _to_compare(translator: Translator, lines: Iterable[str] | None) -> list[str]:
    """The first of the lines that are not blank, or else made ones."""
    given = made_lines(translator.tokenizers.source) if lines is None else lines
    compared = list(islice((line for line in given if line.strip()), COMPARED))
    if not compared:
        raise DataError("there is no line to compare by: all are blank; give others, or none, and zhuyi makes some")
    return compared


def _add_licence(directory: Path, translator: Translator, library: str) -> None:
    """Put before the card what the hub reads of it, with the model's licence, and the licence's text beside it."""
    card, licence = directory / "README.md", None
    if translator.origin:
        licence = licence_of(translator.origin.directory)
        for name, content in licence_file(translator.origin.directory).items():
            (directory / name).write_bytes(content)
    head = card_head(translator.config, licence, library=library)
    card.write_text(head + card.read_text("utf-8"), "utf-8", newline="\n")


def made_lines(tokenizer: Tokenizer) -> list[str]:
    """Lines of 1 to 12 random tokens of a vocabulary, none blank; the same for the same vocabulary."""
    rng = random.Random(0)
    ordinary = [token for token in range(len(SPECIALS), len(tokenizer)) if token not in tokenizer.fallback]
    alone = tokenizer.decode([[token] for token in ordinary])
    visible = [token for token, text in zip(ordinary, alone, strict=True) if text.strip()] or [UNK]
    return tokenizer.decode([rng.choices(visible, k=rng.randint(1, 12)) for _ in range(COMPARED)])


def _compare(translator: Translator, peer: Peer, lines: Sequence[str]) -> tuple[int, float]:
    """How many lines have the same output in both, and the largest difference of a token's log-probability."""
    limit = min(LONGEST, translator.config.model.max_length)
    source, given = translator.tokenizers.source, translator.tokenizers.target.template.prefix
    sources = [source.cut(tokens, translator.longest) for tokens in source.encode(lines) if tokens]
    greedy = DecodingConfig(beam=1, length_penalty=0.0, max_repetition=0, max_ratio=0.0, max_extra=limit)
    ours = [best[0] for best in translator.engine.decode(sources, greedy, prefix=given)]
    theirs = peer.decode(sources, limit)
    forced = [each.tokens[: limit - 1] for each in ours]
    differences = [
        abs(mine - other)
        for each, tokens, log_probabilities in zip(ours, forced, peer.log_probabilities(sources, forced), strict=True)
        # After the tokens, the peer's next one is EOS, which an output that was cut off has not.
        for mine, other in zip(each.token_logprobs[: len(tokens) + each.finished], log_probabilities, strict=False)
    ]
    same = sum(each.tokens == tokens for each, tokens in zip(ours, theirs, strict=True))
    return same + len(lines) - len(sources), float(np.max(differences, initial=0.0))


def _named(to: str, precision: str) -> Format:
    if to not in FORMATS:
        raise ConfigError(f"format {to!r} is not one of {', '.join(FORMATS)}")
    if precision not in (known := FORMATS[to].precisions):
        raise ConfigError(f"precision {precision!r} is not one of {', '.join(known)}, which {to} can be written in")
    return FORMATS[to]


def _ensure_replaceable(out: Path, form: Format) -> None:
    """Nothing but an earlier export is ever overwritten."""
    if out.exists() and not out.is_dir():
        raise CheckpointError(f"{out}: a file, not a directory: choose another place")
    there = {path.name for path in out.iterdir()} if out.exists() else set()
    if there and not (there <= form.files.union(LICENCE_FILES) and _is_export(out)):
        raise CheckpointError(f"{out} holds other files: choose another directory")
    ensure_writable(out)


def _is_export(directory: Path) -> bool:
    """Whether zhuyi has written a directory for another program, as all formats say in the same place."""
    try:
        return "zhuyi" in json.loads((directory / "config.json").read_bytes())
    except (OSError, ValueError, TypeError):
        return False


@contextmanager
def _staged(out: Path) -> Iterator[Path]:
    """An empty directory that becomes `out` at the end, or disappears where an error comes before."""
    with readable_failure(out):
        place = Path(os.path.realpath(out))
        staging = place.with_name(f".{place.name}.writing")
        shutil.rmtree(staging, ignore_errors=True)
        try:
            (staging / "new").mkdir(parents=True)
            yield staging / "new"
            if place.exists():
                os.replace(place, staging / "old")
            os.replace(staging / "new", place)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
