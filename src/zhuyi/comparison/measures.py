"""Measurements of a trained variant: its validation curves, its speed, and how far one of its layers reaches."""

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median
from typing import cast

import torch

from zhuyi.config import Metric
from zhuyi.directory import METRICS, read_metrics
from zhuyi.evaluation.held_out import Lines
from zhuyi.model.blocks import Block
from zhuyi.model.mixers import Recurrence
from zhuyi.model.stack import Stack
from zhuyi.model.transformer import Network
from zhuyi.translator import Translator

DISTANCE = 100
"""The distance between an output and an input position for which layers and operations are counted."""
AT_ONCE, ONE_BY_ONE = 200, 20
"""Lines of the dev set that are translated in batches, and one by one, to measure the speed of decoding."""
CONTINUED = 200
"""Most tokens that a language model writes to measure its speed."""


@dataclass(frozen=True)
class Curve:
    """The validations of one run, in order."""

    updates: list[int]
    minutes: list[float]
    """Since the run began; validations are not deducted."""
    losses: list[float]
    """On the dev set, in nats a target token."""
    scores: list[float]
    """On the dev lines that validations score."""


@dataclass(frozen=True)
class Speed:
    """The speed of decoding in lines per second; that of a language model in tokens per second."""

    at_once: float | None
    """In batches; None for a language model."""
    one_by_one: float
    """One line, or token, after the other."""


@dataclass(frozen=True)
class Reach:
    """How far information travels in one layer of a stack."""

    mixer: str
    """The kind of mixer in its layers."""
    positions: int
    """Largest distance between an output position and an input position with a non-zero gradient, in one layer."""
    measured: int
    """Largest distance that was measured. A layer whose `positions` equals this may reach further."""
    layers: int
    """Layers that information needs to travel `DISTANCE` positions."""
    steps: int
    """Sequential operations on the path over `DISTANCE` positions: the path length of Vaswani et al. 2017, table 1.
    A recurrence needs one operation per position, in a single layer."""


def read_curve(run: Path, metric: Metric) -> Curve:
    """The validations in `metrics.jsonl` of a run."""
    records = [record for record in read_metrics(run / METRICS) if "dev_loss" in record]
    return Curve(
        updates=[record["step"] for record in records],
        minutes=[record["seconds"] / 60 for record in records],
        losses=[record["dev_loss"] for record in records],
        scores=[record[f"dev_{metric}"] for record in records],
    )


def tokens_per_second(runs: Sequence[Path]) -> float:
    """Source and target tokens per second of training, without padding: the median over the records of some runs."""
    records = [record for run in runs for record in read_metrics(run / METRICS)]
    return float(median(record["tokens_per_second"] for record in records if "tokens_per_second" in record))


def decoding_speed(translator: Translator, dev: Lines | None, threads: int) -> Speed:
    """Measure the speed of translating dev lines, in batches and one by one; without `dev`, of a language model."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        return _writing_speed(translator) if dev is None else _translating_speed(translator, dev)
    finally:
        torch.set_num_threads(before)


def _translating_speed(translator: Translator, dev: Lines) -> Speed:
    many, few = (dev.evenly(min(count, len(dev))).sources for count in (AT_ONCE, ONE_BY_ONE))
    translator.translate(few[:1])  # what comes first takes longer
    start = time.perf_counter()
    translator.translate(many)
    between = time.perf_counter()
    for line in few:
        translator.translate([line])
    return Speed(len(many) / (between - start), len(few) / (time.perf_counter() - between))


def _writing_speed(translator: Translator) -> Speed:
    decoding = translator.decoding(strategy="sampling", n_best=1)
    first = next(translator.engine.stream([], decoding), None)  # what comes first takes longer
    start = time.perf_counter()
    written = sum(1 for _ in islice(translator.engine.stream([], decoding), CONTINUED))
    return Speed(None, written / (time.perf_counter() - start) if first is not None else 0.0)


def reaches(transformer: Network) -> dict[str, Reach]:
    """The reach of the layers of each stack ("encoder", "decoder"), which is that of the layer that reaches farthest.

    It is measured by the gradients of the output of the layer's mixer, at the first and at the last position, with
    respect to its inputs.
    """
    return {
        name: _reach(stack, transformer.config.mixer_of(name == "decoder"), transformer.config.max_length)
        for name, stack in transformer.stacks().items()
    }


def _reach(stack: Stack, kind: str, max_length: int) -> Reach:
    length = min(max_length, DISTANCE + 1)
    stack = copy.deepcopy(stack).cpu().double()  # a gradient that is tiny is not zero
    positions = max(_reach_of_layer(stack, layer, length) for layer in range(len(stack.blocks)))
    everything = positions == length - 1
    layers = 1 if everything else -(-DISTANCE // max(positions, 1))
    recurrent = isinstance(stack.blocks[0].mixer, Recurrence)
    return Reach(kind, positions, length - 1, layers, DISTANCE if recurrent else layers)


def _reach_of_layer(stack: Stack, layer: int, length: int) -> int:
    width = stack.embedding.embedding_dim
    generator = torch.Generator().manual_seed(1)
    found = 0
    for position in (0, length - 1):
        x = torch.randn(1, length, width, dtype=torch.float64, generator=generator).requires_grad_()
        with torch.enable_grad():
            output = cast(Block, stack.blocks[layer]).mixer(x, None, stack.positions)
            (gradient,) = torch.autograd.grad(output[0, position].sum(), x)
        seen = gradient[0].abs().sum(dim=1).nonzero()
        found = max(found, int((seen - position).abs().max()) if len(seen) else 0)
    return found
