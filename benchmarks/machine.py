"""A description of the machine and the software of a measurement."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

import torch


def describe(threads: int | None) -> dict[str, Any]:
    """Processor, cores, threads (None: not limited), and the versions of the code and of the relevant packages."""
    cpu = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    models = [line.split(":")[1].strip() for line in cpu.splitlines() if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("zhuyi", "torch", "tokenizers", "sacrebleu")},
        "commit": commit(),
    }


def commit() -> str | None:
    """The commit of this checkout, with "-dirty" if files differ from it; None without git."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, check=True, capture_output=True, encoding="utf-8").stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
