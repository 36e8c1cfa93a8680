"""Running the real command line inside the test's own process, and a model small enough to be made for a test."""

import io
import os
import random
import runpy
import signal
import subprocess
import sys
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any
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


def forked(command: Sequence[str], env: dict[str, str] | None = None, **options: Any) -> "subprocess.Popen[Any]":
    """`subprocess.Popen` of `python -m MODULE ARGUMENTS`, as a fork of the test's own process.

    It need not import torch anew, which takes several seconds, more than a run in a test. What happens while a process
    begins is therefore not to be tested with this.
    """
    for late in ("torch._dynamo", "matplotlib.figure"):  # what training imports late: here once, not in each fork
        import_module(late)
    module, *arguments = command[command.index("-m") + 1 :]

    def instead_of_exec() -> None:
        code: object = 1
        try:
            os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # among them the pipe on which Popen awaits the exec
            opened = map(partial(open, buffering=1, encoding="utf-8"), range(3), "rww")
            sys.stdin, sys.stdout, sys.stderr = opened
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            if env is not None:
                os.environ.clear()
                os.environ.update(env)
            warnings.simplefilter("ignore")
            sys.argv = [module, *arguments]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
            code = 0
        except SystemExit as end:
            code = end.code or 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code if isinstance(code, int) else 1)

    return subprocess.Popen(command, preexec_fn=instead_of_exec, **options)


FORKING = SimpleNamespace(**{**vars(subprocess), "Popen": forked})
"""The module `subprocess` for a program whose processes are to be forks."""


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
