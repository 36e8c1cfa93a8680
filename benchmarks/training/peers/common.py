"""What every runner shares: its arguments, the sizes, the segmented corpus, and the meter.

A runner (`python -m peers.NAME`, in the peer's own environment) trains one system in a process of its own, and its last
line of output is JSON. Nothing here needs more than torch.
"""

import argparse
import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Never

import torch
from torch.optim.optimizer import register_optimizer_step_post_hook

PAD, UNK, BOS, EOS = 0, 1, 2, 3
"""As in the vocabulary that all systems are given."""
SENTENCES = 256
"""Pairs of a batch where a peer counts sentences: on Multi30k about as many tokens as the budget of the others."""
BETAS, EPSILON, SMOOTHING = (0.9, 0.98), 1e-9, 0.1
WARMUP = 400
"""Updates, for a trainer with a schedule of its own: only its speed is measured."""
LEAST = 10
"""Updates that are timed, however long they take."""


@dataclass(frozen=True)
class Size:
    """An encoder–decoder Transformer: as many layers in the encoder as in the decoder."""

    width: int
    feed_forward: int
    heads: int
    layers: int
    dropout: float

    def flop(self, vocabulary: int) -> tuple[int, int]:
        """Floating-point operations of an update for a source token and for a target token.

        6 × the weights of the matrices that a token is multiplied by (2 forward, 4 backward):

            source  layers · (4 d² + 2 d f)  in the encoder, layers · 2 d²  for the keys and values of cross-attention
            target  layers · (6 d² + 2 d f)  in the decoder, d · vocabulary  for the output projection

        The products of queries, keys and values with each other are left out: for sentences, they are little.
        """
        d, f = self.width, self.feed_forward
        source = self.layers * (4 * d * d + 2 * d * f + 2 * d * d)
        target = self.layers * (6 * d * d + 2 * d * f) + d * vocabulary
        return 6 * source, 6 * target


SIZES = {
    "tiny": Size(128, 256, 4, 4, 0.3),
    "base": Size(512, 2048, 8, 6, 0.1),
    "big": Size(1024, 4096, 16, 6, 0.3),
}


@dataclass(frozen=True)
class Run:
    """What a runner is asked for."""

    system: str
    size: str
    data: Path
    scratch: Path
    threads: int = 1
    device: str = "cpu"
    tokens: int = 4096
    seed: int = 1
    seconds: float = 15
    skip: int = 3
    minutes: float = 0
    every: float = 2
    rate: float = 1e-3
    warmup: float = 0.1

    @property
    def sizes(self) -> Size:
        return SIZES[self.size]

    @property
    def is_curve(self) -> bool:
        """Whether to train for `minutes`, translating the dev set now and then, rather than to time some batches."""
        return self.minutes > 0

    def learning_rate(self, share: float) -> float:
        """A line up to the peak, and a line down to 0 at the end of the budget, of which `share` is used."""
        return self.rate * min(share / self.warmup, (1 - share) / (1 - self.warmup))


def arguments() -> Run:
    parser = argparse.ArgumentParser(argument_default=argparse.SUPPRESS)  # `Run` has the defaults
    parser.add_argument("--system", required=True)
    parser.add_argument("--size", choices=SIZES, required=True)
    parser.add_argument("--data", type=Path, required=True, help="the segmented corpus")
    parser.add_argument("--scratch", type=Path, required=True, help="a folder for files that nobody will miss")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--device", choices=["cpu", "cuda"])
    parser.add_argument("--tokens", type=int, help="of a batch, a side")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--seconds", type=float, help="to be timed, after the first updates")
    parser.add_argument("--skip", type=int, help="updates before those that are timed")
    parser.add_argument("--minutes", type=float, help="of training, with translations of the dev set")
    parser.add_argument("--every", type=float, help="minutes of training between translations")
    parser.add_argument("--rate", type=float, help="peak learning rate")
    parser.add_argument("--warmup", type=float, help="share of the minutes until the peak")
    run = Run(**vars(parser.parse_args()))
    torch.set_num_threads(run.threads)
    torch.manual_seed(run.seed)
    random.seed(run.seed)
    return run


class Corpus:
    """The segmented text as ids, without BOS and EOS."""

    def __init__(self, folder: Path) -> None:
        self.vocabulary = (folder / "vocabulary.txt").read_text(encoding="utf-8").split("\n")[:-1]
        self._ids = {piece: i for i, piece in enumerate(self.vocabulary)}
        self.source, self.target = self._read(folder / "train.source"), self._read(folder / "train.target")
        self.dev = self._read(folder / "dev.source")

    def _read(self, path: Path) -> list[list[int]]:
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
        return [[self._ids.get(piece, UNK) for piece in line.split()] for line in lines]

    def _length(self, i: int) -> tuple[int, int]:
        """By target and, within one length, by source: up and down in turn, so that neighbours fit."""
        source, target = len(self.source[i]), len(self.target[i])
        return target, source if target % 2 else -source

    def batches(self, tokens: int, seed: int) -> Iterator[list[int]]:
        """For ever: numbers of pairs of like length, at most `2 * tokens` with padding; anew in each epoch."""
        random_ = random.Random(seed)
        while True:
            order = list(range(len(self.source)))
            random_.shuffle(order)
            order.sort(key=self._length)
            batches, batch, source, target = [], [], 0, 0
            for i in order:
                source, target = max(source, len(self.source[i]) + 1), max(target, len(self.target[i]) + 1)
                if batch and (len(batch) + 1) * (source + target) > 2 * tokens:
                    batches.append(batch)
                    batch, source, target = [], len(self.source[i]) + 1, len(self.target[i]) + 1
                batch.append(i)
            batches.append(batch)
            random_.shuffle(batches)
            yield from batches


def pad(sequences: Sequence[Sequence[int]], device: str) -> torch.Tensor:
    longest = max(map(len, sequences))
    return torch.tensor([[*ids, *[PAD] * (longest - len(ids))] for ids in sequences]).to(device, non_blocking=True)


class TimeUp(BaseException):
    """Not an Exception, so that no trainer catches it."""


class Meter:
    """Counts what is trained on and how long it takes, after the first updates, until the time is up.

    For a curve all updates count, and the clock stands still while the dev set is translated.

    Args:
        run: what is asked for.
        translate: gives the pieces of each line of the dev set, translated.
        cycle: updates after which the lengths of batches come again: only whole cycles are timed.
    """

    def __init__(self, run: Run, translate: Callable[[], list[list[str]]] | None = None, cycle: int = 1) -> None:
        self.run, self.translate, self.cycle = run, translate, cycle
        self.skip, self.least = (0, 0) if run.is_curve else (run.skip, LEAST)
        self.limit = 60 * run.minutes if run.is_curve else run.seconds
        self.steps = self.points = 0
        self.seconds = 0.0
        self._restart()

    def count(self, source: Any, target: Any, positions: int) -> None:
        """Tokens of a batch, EOS included and padding not; and its positions with padding, both sides together."""
        self.source, self.target = self.source + source, self.target + target
        self.positions += positions

    def step(self, *_: Any) -> None:
        """To be called after each update; raises TimeUp in the end."""
        self.steps += 1
        if self.steps == self.skip:
            self._restart()
        elif self.steps > self.skip and self._seconds() >= min(self.limit, self._next_point()):
            self._wait()
            seconds = self._seconds()
            if self.translate and seconds >= self._next_point():
                self._write_point(seconds)
            updates = self.steps - self.skip
            if seconds >= self.limit and updates >= self.least and updates % self.cycle == 0:
                self.seconds = seconds
                raise TimeUp

    @property
    def share(self) -> float:
        """Of the time that is used."""
        return min(self._seconds() / self.limit, 1.0)

    def report(self, parameters: int, precision: str, flags: str, *packages: str) -> None:
        """Print the line of JSON."""
        gpu = torch.cuda.max_memory_allocated() if self.run.device == "cuda" else None
        result = {
            "system": self.run.system,
            "size": self.run.size,
            "source_tokens": int(self.source),
            "target_tokens": int(self.target),
            "positions": int(self.positions),
            "seconds": self.seconds,
            "updates": self.steps - self.skip,
            "parameters": parameters,
            "precision": precision,
            "flags": flags,
            "gpu_bytes": gpu,
            "versions": {name: metadata.version(name) for name in ("torch", *packages)},
        }
        print("\n" + json.dumps(result), flush=True)

    def _restart(self) -> None:
        self._wait()
        self.source, self.target, self.positions = 0, 0, 0
        self.began = time.perf_counter()

    def _seconds(self) -> float:
        return time.perf_counter() - self.began

    def _next_point(self) -> float:
        return 60 * self.run.every * (self.points + 1) if self.translate else float("inf")

    def _write_point(self, seconds: float) -> None:
        assert self.translate
        stopped = time.perf_counter()
        point = {"minutes": seconds / 60, "updates": self.steps, "hypotheses": self.translate()}
        with open(self.run.scratch / "points.jsonl", "a", encoding="utf-8") as file:
            file.write(json.dumps(point) + "\n")
        self.points += 1
        self.began += time.perf_counter() - stopped

    def _wait(self) -> None:
        if self.run.device == "cuda":
            torch.cuda.synchronize()


def after_each_update(meter: Meter) -> None:
    """Let torch call the meter after the step of any optimiser: for trainers whose loop is not ours."""
    register_optimizer_step_post_hook(meter.step)


def before_each_forward(model: type[torch.nn.Module], count: Callable[..., None]) -> None:
    """Let a class of models give itself and the arguments of every forward pass to `count` first."""
    forward = model.forward

    def counted(self: torch.nn.Module, *inputs: Any, **named: Any) -> Any:
        count(self, *inputs, **named)
        return forward(self, *inputs, **named)

    model.forward = counted


def leave() -> Never:
    """End the process at once: some trainers have threads and workers that would go on."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)
