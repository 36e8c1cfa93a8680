"""Compare the predictions of `scaling.py` with this machine: parameters, memory, step time, bytes on the network.

    python benchmarks/scaling_checks.py [--threads 1 2]

Writes results/scaling.json, from which `report.py` makes the last table of docs/scaling.md.
"""

import argparse
import os
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from machine import describe
from scaling import (
    LENGTH,
    SIZES,
    VOCABULARY,
    Machine,
    activation_bytes,
    copies_bytes,
    estimate,
    flop,
    model_of,
    optimiser_bytes,
    parts_of,
    state_bytes,
    store_bytes,
    wire_bytes,
)
from stored import save
from torch import Tensor, nn
from torch.multiprocessing.spawn import spawn
from training.ceiling import product_rate

from zhuyi.config import ModelConfig, TrainingConfig, build_config
from zhuyi.data.batches import Batch
from zhuyi.data.build import build_store
from zhuyi.data.corpus import Corpus
from zhuyi.model.transformer import Transformer
from zhuyi.text.tokenizer import Tokenizers
from zhuyi.training.objective import Objective, TeacherForcing
from zhuyi.training.optimizers import Optimizer
from zhuyi.training.precision import choose_device, keep_memory, uses_bf16

SMALL_VOCABULARY = 8_000
TOKENS = 2_000
"""Of an update whose memory or time is measured."""
FITTED = "25M"
"""The size at which the share of the product rate is measured; the others are predicted with it."""
REPEAT = 3


def check(
    what: str, predicted: float, measured: float, unit: str = "bytes", digits: int = 0, **more: Any
) -> dict[str, Any]:
    """One row of the table."""
    return {"what": what, "predicted": predicted, "measured": measured, "unit": unit, "digits": digits, **more}


def measure(threads: list[int]) -> dict[str, Any]:
    """All checks."""
    keep_memory()
    torch.set_num_threads(1)
    checks = [*parameters(), *state(), *activations(), *store(), *wire()]
    rates = {}
    for count in threads:
        torch.set_num_threads(count)
        rows, rate = step_time(count)
        checks += rows
        rates[str(count)] = rate
    return {"machine": describe(max(threads, default=1)), "product_gflops_and_share": rates, "checks": checks}


def parameters() -> list[dict[str, Any]]:
    """Count the parameters of models on torch's device "meta", which needs no memory."""
    rows = []
    for size in SIZES:
        with torch.device("meta"):
            real = Transformer(model_of(size), VOCABULARY).parameter_count()
        rows.append(check(f"parameters, {size}", parts_of(model_of(size), VOCABULARY).total, real, ""))
    return rows


def state() -> list[dict[str, Any]]:
    """Weights, gradients, moments and the moving average, tensor by tensor, after one update."""
    model = model_of("10M")
    optimizer, objective = _trained(model, bf16=False, ema=0.99)
    _backward(objective, _batch(200))
    gradients = sum(parameter.grad.nbytes for parameter in objective.parameters() if parameter.grad is not None)
    optimizer.step()
    tensors = [tensor for each in optimizer.state.values() for tensor in each.values() if tensor.dim() > 0]
    real = sum(map(_nbytes, objective.parameters())) + gradients + sum(map(_nbytes, tensors))
    return [check("state of AdamW with a moving average, 10M", state_bytes(model, SMALL_VOCABULARY, ema=True), real)]


def activations() -> list[dict[str, Any]]:
    """The storages that autograd keeps in the forward pass of a real update, without the weights."""
    rows = []
    for size, bf16 in (("10M", False), ("10M", True), ("50M", False), ("50M", True)):
        model = model_of(size)
        predicted = activation_bytes(model, TOKENS, bf16) + copies_bytes(model, SMALL_VOCABULARY, bf16)
        what = f"kept for the backward pass, {size}, {'bf16' if bf16 else 'float32'}"
        rows.append(check(what, predicted / 1e6, kept_bytes(model, bf16) / 1e6, "MB", 1))
    return rows


def kept_bytes(model: ModelConfig, bf16: bool) -> int:
    """Bytes of what autograd keeps, each storage counted once."""
    _, objective = _trained(model, bf16)
    own = {parameter.untyped_storage().data_ptr() for parameter in objective.parameters()}
    own |= {buffer.untyped_storage().data_ptr() for buffer in objective.buffers()}
    kept: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    objective.train()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = objective(_batch(TOKENS))
    del loss
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def step_time(threads: int) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """The time of whole updates. The rate of matrix products is measured between the sizes."""
    bf16 = uses_bf16(TrainingConfig(), choose_device(TrainingConfig(device="cpu")))
    times, rates = {}, []
    bandwidth = _copy_rate()
    for size in ("10M", "25M", "50M", "100M"):
        model = model_of(size)
        optimizer, objective = _trained(model, bf16)
        batch, seconds = _batch(TOKENS), []
        rates.append(product_rate(torch.bfloat16 if bf16 else torch.float32, "cpu", 2048) * 1e9)
        for _ in range(REPEAT + 1):
            start = time.perf_counter()
            _backward(objective, batch)
            nn.utils.clip_grad_norm_(objective.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            seconds.append(time.perf_counter() - start)
        times[size] = min(seconds[1:])
    rate = max(rates)
    model = model_of(FITTED)
    rest = times[FITTED] - optimiser_bytes(parts_of(model, SMALL_VOCABULARY).total) / bandwidth
    share = flop(model, SMALL_VOCABULARY, TOKENS) / rate / rest
    here = Machine(rate, share, bandwidth, memory=0, link=1, network=1, per_host=1)
    rows = []
    for size, seconds in times.items():
        found = estimate(model_of(size), here, tokens=TOKENS, vocabulary=SMALL_VOCABULARY, bf16=bf16)
        what = f"update of {TOKENS:,} tokens, {size}, {threads} core{'s' * (threads > 1)}"
        rows.append(check(what, found.step_seconds, seconds, "s", 2, fitted=size == FITTED))
    return rows, {"gflops": rate / 1e9, "share": share, "copy_bytes_per_second": bandwidth}


def store() -> list[dict[str, Any]]:
    """The size of the store of a generated corpus."""
    rng = random.Random(1)
    pairs = 20_000
    with tempfile.TemporaryDirectory() as folder:
        lines = [" ".join(str(rng.randrange(1000)) for _ in range(LENGTH - 1)) for _ in range(pairs)]
        path = Path(folder) / "lines.txt"
        path.write_text("\n".join(lines) + "\n")
        os.environ["ZHUYI_CACHE"] = folder
        text = build_config({"text": {"kind": "whitespace"}}).text
        build_store(Corpus(str(path), str(path)), Tokenizers.train(text, lines[:2000], lines[:2000]), 256, "skip")
        real = sum(file.stat().st_size for file in Path(folder).glob("*.arrow"))
    return [check(f"store of {pairs:,} pairs", store_bytes(pairs), real)]


def wire() -> list[dict[str, Any]]:
    """The bytes that two processes send through gloo and the loopback device in one update, from /proc/net/dev."""
    model = model_of("10M")
    rows = []
    for shard in (False, True):
        real = _sent_by_two(model, shard)
        predicted = 2 * wire_bytes(model, SMALL_VOCABULARY, 2, shard, reduce=2)
        what = f"sent by two processes in an update, 10M, {'FSDP' if shard else 'DDP'}"
        rows.append(check(what, predicted / 1e6, real / 1e6, "MB", 1))
    return rows


def _sent_by_two(model: ModelConfig, shard: bool) -> float:
    with tempfile.TemporaryDirectory() as folder:
        spawn(_rank, args=(model, shard, Path(folder)), nprocs=2)
        return float((Path(folder) / "bytes").read_text())


def _rank(rank: int, model: ModelConfig, shard: bool, folder: Path) -> None:
    """One of two processes: a few updates, with the counter of the loopback device read before and after each."""
    import torch.distributed as dist

    from zhuyi.training.distributed import World

    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    _, objective = _trained(model, bf16=False)
    parallel = World(rank, 2).parallel(objective, shard)
    sent = []
    for _ in range(5):
        dist.barrier()
        before = _loopback_bytes()
        dist.barrier()
        _backward(parallel, _batch(200))
        dist.barrier()
        sent.append(_loopback_bytes() - before)
        parallel.zero_grad()
    if rank == 0:
        (folder / "bytes").write_text(str(min(sent[1:])))
    dist.destroy_process_group()


def _loopback_bytes() -> int:
    (line,) = [line for line in Path("/proc/net/dev").read_text().splitlines() if line.strip().startswith("lo:")]
    return int(line.split()[9])


def _trained(model: ModelConfig, bf16: bool, ema: float = 0.0) -> tuple[Optimizer, nn.Module]:
    torch.manual_seed(1)
    objective = Objective(Transformer(model, SMALL_VOCABULARY), TeacherForcing(0.1, bf16))
    return Optimizer(objective.model, TrainingConfig(optimizer="adamw", ema=ema)), objective


def _batch(tokens: int) -> Batch:
    """Lines of `LENGTH` on both sides, without padding."""
    rows = tokens // (2 * LENGTH)
    source, target_in, target_out = (torch.randint(4, SMALL_VOCABULARY, (rows, LENGTH)) for _ in range(3))
    return Batch(source, torch.ones_like(source, dtype=torch.bool), target_in, target_out, torch.arange(rows).numpy())


def _backward(objective: nn.Module, batch: Batch) -> None:
    objective.train()
    smoothed, _ = objective(batch)
    (smoothed / batch.target_tokens).backward()


def _copy_rate(size: int = 1 << 26) -> float:
    """Bytes per second that are read and written, the best of five copies."""
    source, target = torch.ones(size), torch.empty(size)
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        target.copy_(source)
        seconds.append(time.perf_counter() - start)
    return 2 * source.nbytes / min(seconds)


def _nbytes(tensor: Tensor) -> int:
    return tensor.nbytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="*", default=[1], help="of the updates that are timed")
    print(save("scaling", measure(parser.parse_args().threads)))


if __name__ == "__main__":
    main()
