"""Running the real command line inside the test's own process, and a model small enough to be made for a test."""

import io
import os
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import torch

from zhuyi.checkpoint import build_model, save_model
from zhuyi.cli import main
from zhuyi.config import Config, Shape, build_config
from zhuyi.text.tokenizer import Tokenizers


@dataclass(frozen=True)
class Outcome:
    """What a command gave."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """Lines as `wc -l` counts them: `str.splitlines` would also split at U+2028 and the like."""
        *lines, rest = self.out.split("\n")
        assert rest == "", "the last line has no end"
        return lines


def zhuyi(*arguments: object, stdin: bytes = b"") -> Outcome:
    """`zhuyi ARGUMENTS < stdin`."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
    argv = ["zhuyi", *map(str, arguments)]
    stream = io.TextIOWrapper(io.BytesIO(stdin), "utf-8")
    with (
        patch.object(sys, "argv", argv),
        patch.object(sys, "stdin", stream),
        patch.object(sys, "stdout", out),
        patch.object(sys, "stderr", err),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code
    assert isinstance(code, int)
    return Outcome(code, *(_content(stream) for stream in (out, err)))


def _content(stream: io.TextIOWrapper) -> str:
    stream.flush()
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return os.fsdecode(buffer.getvalue())  # a file's name may be in it, as the bytes that it is


TINY = {
    "text": {"vocabulary": 300},
    "model": {
        "width": 16,
        "heads": 2,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "feed_forward": 16,
        "max_length": 32,
    },
    "training": {"seed": 1},
}


def tiny_model(directory: Path, change: Callable[[Config], Config] = lambda config: config) -> Path:
    """A model directory with random weights: fast, complete, and wrong about everything."""
    config = change(build_config(TINY))
    torch.manual_seed(1)
    model = build_model(config, Tokenizers.train(config.text, ["a dog runs", "two cats"], ["ein Hund", "zwei Katzen"]))
    save_model(model, directory)
    return directory


def in_shape(shape: Shape, labels: str = "line") -> Callable[[Config], Config]:
    """For `tiny_model`: of that shape. A label a token is for words."""
    text = {**TINY["text"], **({"source_kind": "whitespace"} if labels == "token" else {})}
    return lambda _: build_config({"text": text, "model": {**TINY["model"], "shape": shape, "labels": labels}})


def write_pairs(folder: Path, count: int = 60) -> tuple[Path, Path]:
    """Two aligned files: letters, and the same ones as capitals."""
    rng = random.Random(0)
    lines = [" ".join(rng.choices("abcdefgh", k=rng.randint(1, 6))) for _ in range(count)]
    source, target = folder / "train.source", folder / "train.target"
    source.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    target.write_text("".join(f"{line.upper()}\n" for line in lines), encoding="utf-8")
    return source, target
