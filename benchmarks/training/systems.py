"""The systems that are measured, and how one is run: in its own process and environment, one line of JSON in return."""

import json
import os
import resource
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ALLOCATOR = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1)}
"""What zhuyi asks of glibc for itself; a user of a peer could set it."""
TUNED = "+malloc"
"""Ends the name of a system that is run with `ALLOCATOR`."""


@dataclass(frozen=True)
class System:
    """`module` in peers/ knows it by its name; `environment` is in requirements/."""

    title: str
    module: str
    environment: str


SYSTEMS = {
    "zhuyi": System("zhuyi", "zhuyi", "zhuyi"),
    "zhuyi-float32": System("zhuyi, float32", "zhuyi", "zhuyi"),
    "hf-trainer": System("HF Seq2SeqTrainer, as shipped", "huggingface", "huggingface"),
    "hf-trainer-grouped": System("HF Seq2SeqTrainer, group_by_length", "huggingface", "huggingface"),
    "hf-trainer-grouped-bf16": System("HF Seq2SeqTrainer, group_by_length, bf16", "huggingface", "huggingface"),
    "hf-hand": System("HF Marian, loop by hand", "huggingface", "huggingface"),
    "hf-hand-bf16": System("HF Marian, loop by hand, bf16 autocast", "huggingface", "huggingface"),
    "opennmt": System("OpenNMT-py", "opennmt", "opennmt"),
    "eole": System("eole", "eole", "eole"),
    "eole-bf16": System("eole, compute_dtype bf16", "eole", "eole"),
    "joeynmt": System("Joey NMT", "joeynmt", "joeynmt"),
    "torch-loop": System("torch.nn.Transformer, a student's loop", "plain_torch", "plain_torch"),
}


class RunError(Exception):
    """Why a run gave no figures, in one line."""


def title_of(name: str) -> str:
    plain = name.removesuffix(TUNED)
    return SYSTEMS[plain].title + (", glibc's allocator tuned" if plain != name else "")


def run(name: str, python: Path, options: Sequence[str], threads: int, device: str, limit: float) -> dict[str, Any]:
    """Run one system, and give what it says, with the most memory that its process held (`rss_bytes`).

    Args:
        options: of the runner, but for the system, the threads and the device.
        limit: seconds after which the process is killed.

    Raises:
        RunError: with the last line of its output.
    """
    plain = name.removesuffix(TUNED)
    command = [str(python), "-m", f"peers.{SYSTEMS[plain].module}", "--system", plain, *options]
    command += ["--threads", str(threads), "--device", device]
    environment = os.environ | {f"{library}_NUM_THREADS": str(threads) for library in ("OMP", "MKL", "OPENBLAS")}
    environment |= {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1"}
    if device == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""
    if name != plain:
        environment |= ALLOCATOR
    process = subprocess.Popen(
        command, cwd=HERE, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    late = threading.Event()

    def stop() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(limit, stop)
    timer.start()
    try:
        assert process.stdout
        lines = [line for line in process.stdout.read().splitlines() if line.strip()]
        _, status, usage = os.wait4(process.pid, 0)
    finally:
        timer.cancel()
    process.returncode = os.waitstatus_to_exitcode(status)
    if late.is_set():
        raise RunError(f"not done after {limit:.0f} seconds")
    if process.returncode or not lines or not lines[-1].startswith("{"):
        raise RunError(f"exit {process.returncode}: {lines[-1] if lines else 'no output'}"[:300])
    result: dict[str, Any] = json.loads(lines[-1])
    return result | {"rss_bytes": _bytes(usage)}


def _bytes(usage: resource.struct_rusage) -> int:
    return usage.ru_maxrss * 1024  # Linux counts in KiB
