"""One run in several processes: torchrun starts them, DDP or FSDP2 (Zhao et al. 2023) trains, rank 0 writes.

    torchrun --nproc-per-node N -m zhuyi train CONFIG.toml

An update is mathematically the same for any number of processes: its batches are distributed among them, and the
gradients are summed over all processes and divided by the target tokens of all processes. Decisions that depend on a
clock, a signal or a validation are made by one process and broadcast, so that all ranks do the same next.

There are two process groups. Torch's default group (NCCL between GPUs, otherwise gloo) is for gradients and numbers,
and gives up on a peer after `GRADIENT_TIMEOUT`. The second one (gloo) is for waiting until rank 0 has tokenised,
validated or saved, which may take hours. In both, the end of a peer's process is noticed at once.
"""

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TypeVar, cast

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from zhuyi.errors import ConfigError, TrainingError, ZhuyiError
from zhuyi.model.transformer import Network

GRADIENT_TIMEOUT = timedelta(minutes=10)
"""Time after which a peer that has not sent its gradients is considered lost."""
WAITING_TIMEOUT = timedelta(days=2)
"""How long the other ranks wait in `all_or_none` for rank 0, which tokenises, validates and saves."""
EXPLAINING_SECONDS = 5.0
"""How long other ranks wait before they exit, so that the rank with an error can print it: torchrun ends all of them
when the first one exits."""

Made = TypeVar("Made")


@dataclass(frozen=True)
class World:
    """The processes of a run, as seen from one of them: number `rank`, from 0, of `size`, which computes on `device`.

    In a run of one process, every method returns its argument, and nothing is sent.
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    patient: dist.ProcessGroup | None = None

    @property
    def is_main(self) -> bool:
        """Whether this is rank 0, which prints, validates and writes."""
        return self.rank == 0

    def sum(self, value: float) -> float:
        """The sum of `value` over all ranks."""
        return float(torch.stack(self.gather(torch.tensor(value, dtype=torch.float64))).sum())

    def any(self, flag: bool) -> bool:
        """Whether `flag` is true on any rank."""
        return self.sum(flag) > 0

    def gather(self, tensor: Tensor, group: dist.ProcessGroup | None = None) -> list[Tensor]:
        """The `tensor` of every rank, in order; all are on the CPU and have the same shape."""
        if self.size == 1:
            return [tensor]
        everyones = [torch.empty_like(tensor) for _ in range(self.size)]
        dist.all_gather(everyones, tensor, group=group)
        return everyones

    def broadcast(self, value: float) -> float:
        """The `value` of rank 0."""
        return float(self.gather(torch.tensor(value, dtype=torch.float64))[0])

    def broadcast_text(self, text: str) -> str:
        """The `text` of rank 0."""
        content = torch.from_numpy(np.frombuffer(text.encode(), dtype=np.uint8).copy())
        length = int(self.broadcast(len(content)))
        if self.size == 1:
            return text
        if not self.is_main:
            content = torch.empty(length, dtype=torch.uint8)
        dist.broadcast(content, src=0)
        return content.numpy().tobytes().decode()

    def seed(self, seed: int, step: int = 0) -> None:
        """Seed the random generator of this rank, for dropout; rank 0 keeps its seed, as in a run of one process."""
        if self.rank:
            torch.manual_seed(int(np.random.SeedSequence([seed, self.rank, step]).generate_state(1, np.uint64)[0]))

    @contextmanager
    def all_or_none(self) -> Iterator[None]:
        """All ranks leave this context together. If an error occurs on one, the run ends on all of them.

        Raises:
            ZhuyiError, OSError: the error, on the first rank where it occurred.
            SystemExit: with exit code 2, on the other ranks.
        """
        mine: Exception | None = None
        try:
            yield
        except (ZhuyiError, OSError) as error:
            mine = error
        failed = [bool(flag) for flag in self.gather(torch.tensor(mine is not None), self.patient)]
        if mine is not None and failed.index(True) == self.rank:
            raise mine
        if any(failed):
            time.sleep(EXPLAINING_SECONDS)
            raise SystemExit(2)

    def on_main(self, work: Callable[[], Made]) -> Made | None:
        """The result of `work`, which only rank 0 does; None on the others, which wait. Errors: as `all_or_none`."""
        with self.all_or_none():
            return work() if self.is_main else None

    def main_first(self, work: Callable[[], Made]) -> Made:
        """The result of `work`, which rank 0 does first, so that the others can use the files that it leaves."""
        made = self.on_main(work)
        with self.all_or_none():
            return work() if made is None else made

    def same(self, value: int) -> bool:
        """Whether `value` is the same on all ranks."""
        return len({int(each) for each in self.gather(torch.tensor(value, dtype=torch.int64))}) == 1

    def share(self, update: list[np.ndarray]) -> list[np.ndarray]:
        """This rank's part of the batches of an update. All ranks get as many batches; some may have no pairs.

        The parts are whole batches if the number of batches is a multiple of the number of ranks. Otherwise each batch
        is divided.
        """
        if len(update) % self.size == 0:
            return update[self.rank :: self.size]
        return [pairs[self.rank :: self.size] for pairs in update]

    def parallel(self, objective: nn.Module, shard: bool) -> nn.Module:
        """Wrap `objective`, so that its gradients are the mean over all ranks.

        Args:
            objective: has a `model`, a `Network`, and computes the loss in its forward pass.
            shard: whether each rank holds a shard of the weights, gradients and optimiser state (FSDP2), instead of
                all of them (DDP).
        """
        if self.size == 1:
            return objective
        if not shard:
            devices = [self.device] if self.device.type == "cuda" else None
            return nn.parallel.DistributedDataParallel(objective, devices, forward_sync_buffers=False)
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        mesh = init_device_mesh(self.device.type, (self.size,))
        network = cast(Network, objective.model)
        for block in (block for stack in network.stacks().values() for block in stack.blocks):
            fully_shard(block, mesh=mesh)
        fully_shard(objective, mesh=mesh)
        return objective


ALONE = World()


@contextmanager
def joined(device: torch.device) -> Iterator[World]:
    """The processes that torchrun has started, or this process alone.

    Args:
        device: of the type to train on; with several GPUs, each process uses its own.

    Raises:
        ConfigError: if there are more processes than GPUs.
        TrainingError: if another process is lost during the run.
    """
    if not dist.is_torchelastic_launched() or os.environ["WORLD_SIZE"] == "1":
        yield replace(ALONE, device=device)
        return
    if device.type == "cuda":
        device, gpus = torch.device("cuda", int(os.environ["LOCAL_RANK"])), torch.cuda.device_count()
        if device.index >= gpus:
            raise ConfigError(f"rank {os.environ['RANK']}: only {gpus} GPUs here: lower torchrun's --nproc-per-node")
        torch.cuda.set_device(device)
    try:
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        dist.init_process_group(backend, timeout=GRADIENT_TIMEOUT, store=_fresh_store(rank), rank=rank, world_size=size)
        patient = dist.new_group(backend="gloo", timeout=WAITING_TIMEOUT)
        yield World(rank, size, device, patient)
    except RuntimeError as error:
        if not _is_of_a_peer(error):
            raise
        raise TrainingError(
            f"rank {os.environ['RANK']}: another process of this run is lost "
            f"({str(error).splitlines()[0].partition('. This is')[0]}); go on from the last checkpoint with --resume"
        ) from error
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _fresh_store(rank: int) -> TCPStore:
    """The store through which the processes exchange their addresses, made by rank 0 for this attempt only.

    The store of torchrun (2.13) survives restarts, and still holds the addresses of earlier processes.
    """
    host, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") != "True":  # there is no store yet
        return TCPStore(host, port, is_master=rank == 0, timeout=GRADIENT_TIMEOUT, wait_for_workers=False)
    lasting = TCPStore(host, port, is_master=False, timeout=GRADIENT_TIMEOUT)
    if rank == 0:
        store = TCPStore(host, 0, is_master=True, timeout=GRADIENT_TIMEOUT, wait_for_workers=False)
        lasting.set("zhuyi/port", str(store.port))
        return store
    while True:
        found = int(lasting.get("zhuyi/port"))
        try:
            socket.create_connection((host, found), timeout=3).close()
            return TCPStore(host, found, is_master=False, timeout=GRADIENT_TIMEOUT, wait_for_workers=False)
        except OSError:  # the port of the previous attempt: rank 0 has not set a new one yet
            time.sleep(0.1)


def is_main_process() -> bool:
    """Whether this is the process of its run that prints: rank 0, or the only one."""
    return os.environ.get("RANK", "0") == "0" or not dist.is_torchelastic_launched()


def accumulating(objective: nn.Module, send: bool) -> AbstractContextManager[object]:
    """Within this context, backward passes accumulate gradients. DDP reduces them only if `send`; FSDP always does."""
    if isinstance(objective, nn.parallel.DistributedDataParallel) and not send:
        return cast(AbstractContextManager[object], objective.no_sync())
    return nullcontext()


def full_tensor(tensor: Tensor) -> Tensor:
    """The whole of a sharded tensor; every rank must call this. Another tensor is returned unchanged."""
    return cast(Tensor, tensor.full_tensor()) if hasattr(tensor, "full_tensor") else tensor


def shard_like(tensor: Tensor, like: Tensor) -> Tensor:
    """The inverse of `full_tensor`, without communication: shards `tensor`, which every rank has, like `like`."""
    if not hasattr(like, "full_tensor"):
        return tensor
    from torch.distributed.tensor import DTensor, distribute_tensor

    sharded = cast(DTensor, like)
    return distribute_tensor(tensor, sharded.device_mesh, sharded.placements, src_data_rank=None)


def is_sharded(trained: nn.Module) -> bool:
    """Whether each rank holds only a shard of the weights."""
    return hasattr(next(trained.parameters()), "full_tensor")


@torch.no_grad()
def gather_weights(trained: Network, transformer: Network, world: World) -> None:
    """Copy the weights of a sharded transformer into the whole one, which rank 0 validates and saves."""
    if not is_sharded(trained):
        return
    for sharded, complete in zip(trained.parameters(), transformer.parameters(), strict=True):
        weights = full_tensor(sharded)
        if world.is_main:
            complete.copy_(weights)


def _is_of_a_peer(error: RuntimeError) -> bool:
    return isinstance(error, dist.DistError) or "gloo" in str(error) or "NCCL" in str(error)
