"""The device and the precision of a run, and the global state of its process that it changes."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from zhuyi.config import TrainingConfig
from zhuyi.errors import ConfigError

CUBLAS_WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"


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
    """Whether matrix products are in bf16: by default, if the hardware has instructions for them."""
    if config.precision != "auto":
        return config.precision == "bf16"
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16") or capabilities.get("bf16"))


def products(bf16: bool, device: torch.device) -> AbstractContextManager[object]:
    """Within this context, matrix products are in bf16 if `bf16`. Weights, norms and sums stay in float32."""
    return torch.autocast(device.type, torch.bfloat16) if bf16 else nullcontext()


def fingerprint(device: torch.device, bf16: bool, processes: int) -> str:
    """The torch, processor, precision and number of processes of a run, on which the last bits of results depend."""
    kind = torch.cuda.get_device_name(device) if device.type == "cuda" else torch.backends.cpu.get_cpu_capability()
    of_many = f", {processes} processes" if processes > 1 else ""
    return f"torch {torch.__version__}, {kind}, {'bf16' if bf16 else 'float32'}{of_many}"


@contextmanager
def process_state(device: torch.device, deterministic: bool) -> Iterator[None]:
    """Restore the threads, random generators and determinism of torch at the end of this context.

    Args:
        device: its random generator is restored, besides the CPU's.
        deterministic: whether a GPU must give the same bytes for the same work, at a lower speed. A CPU always does.
    """
    threads, before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    warn_only, workspace = torch.is_deterministic_algorithms_warn_only_enabled(), os.environ.get(CUBLAS_WORKSPACE)
    if deterministic:
        os.environ.setdefault(CUBLAS_WORKSPACE, ":4096:8")  # read at the first matrix product
        torch.use_deterministic_algorithms(True)
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            yield
    finally:
        torch.use_deterministic_algorithms(before, warn_only=warn_only)
        torch.set_num_threads(threads)
        if workspace is None:
            os.environ.pop(CUBLAS_WORKSPACE, None)


def keep_memory() -> None:
    """Tell glibc to keep large blocks of memory, instead of returning them to the system after each operation.

    Training allocates the same large tensors at every step, and new pages would have to be faulted in each time. This
    has an effect only on Linux with glibc. In contrast, oneDNN is set to cache fewer primitives: it keeps half a
    megabyte for each shape of a matrix product, and every batch has about forty new shapes. The latter setting has an
    effect only before the first product.
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
