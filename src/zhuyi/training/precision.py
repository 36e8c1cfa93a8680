"""What the machine is asked for: a device, bf16 products, threads, and an allocator that keeps its memory."""

import ctypes
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from zhuyi.config import TrainingConfig
from zhuyi.errors import ConfigError


def choose_device(config: TrainingConfig) -> torch.device:
    """The device of `training.device`.

    Raises:
        ConfigError: if there is no such device.
    """
    if config.device == "cuda" and not torch.cuda.is_available():
        raise ConfigError('training.device = "cuda", but torch sees no GPU; set training.device = "cpu"')
    if config.device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return torch.device(config.device)


def uses_bf16(config: TrainingConfig, device: torch.device) -> bool:
    """Whether matrix products run in bf16: where the hardware multiplies it faster, unless told otherwise."""
    if config.precision != "auto":
        return config.precision == "bf16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("bf16"))


def products(bf16: bool, device: torch.device) -> AbstractContextManager[object]:
    """Within this context matrix products are bf16, if asked; weights, norms and sums stay float32."""
    return torch.autocast(device.type, torch.bfloat16) if bf16 else nullcontext()


def engine(device: torch.device, bf16: bool, processes: int) -> str:
    """What a run is computed by: with another torch, processor or number of processes the last bits are others."""
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    of_many = f", {processes} processes" if processes > 1 else ""
    return f"torch {torch.__version__}, {kind}, {'bf16' if bf16 else 'float32'}{of_many}"


@contextmanager
def deterministic(wanted: bool) -> Iterator[None]:
    """Within, a GPU gives the same bytes for the same work, if that is wanted, more slowly; a CPU always does."""
    before = torch.are_deterministic_algorithms_enabled()
    if wanted:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when the first product is made
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def fastest_threads(trial: Callable[[], object]) -> int:
    """Set torch to the number of CPU threads that runs `trial` fastest, and say which.

    From all of them, halving as long as that helps: threads wait for each other after every operation, and a small
    model has many short ones. On a busy machine that costs more than the threads bring.
    """
    threads = torch.get_num_threads()
    fastest = _seconds(trial)
    while threads > 1:
        torch.set_num_threads(threads // 2)
        seconds = _seconds(trial)
        if seconds > fastest:
            break
        threads, fastest = threads // 2, seconds
    torch.set_num_threads(threads)
    return threads


class Pace:
    """Notices that a run has become much slower: another program may have taken a core."""

    WINDOW_SECONDS = 10.0
    COLLAPSE = 0.5

    def __init__(self) -> None:
        self._usual = 0.0
        self._tokens, self._seconds = 0, 0.0

    def collapsed(self, tokens: int, seconds: float) -> bool:
        """Whether the last ten seconds of updates were less than half as fast as any before.

        What they were is what is usual from then on.

        Args:
            tokens: source and target tokens of the update that has just been made.
            seconds: that it took, and nothing else.
        """
        self._tokens += tokens
        self._seconds += seconds
        if self._seconds < self.WINDOW_SECONDS:
            return False
        rate = self._tokens / self._seconds
        collapsed = rate < self.COLLAPSE * self._usual
        self._usual = rate if collapsed else max(rate, self._usual)
        self._tokens, self._seconds = 0, 0.0
        return collapsed


def _seconds(trial: Callable[[], object]) -> float:
    """The better of two, after one that warms up."""
    trial()
    times = []
    for _ in range(2):
        start = time.perf_counter()
        trial()
        times.append(time.perf_counter() - start)
    return min(times)


def keep_memory() -> None:
    """Tell glibc not to hand large blocks back to the system after each operation, to fault them in anew at the next.

    Training allocates the same large tensors at every step. Elsewhere than on Linux with glibc this does nothing.
    oneDNN, though, is to keep less: half a megabyte for each shape of product, of which every batch has some forty new
    ones. It hears of it if no product was made before.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "64")
    if sys.platform != "linux":
        return
    try:
        libc = ctypes.CDLL("libc.so.6")
    except OSError:
        return
    trim_threshold, mmap_max = -1, -4
    libc.mallopt(mmap_max, 0)
    libc.mallopt(trim_threshold, 2**31 - 1)
