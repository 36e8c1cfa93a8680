"""A description of the machine and the software of a measurement."""

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import torch


def describe(threads: int) -> dict[str, Any]:
    """Processor, cores, memory, threads and the versions of the relevant packages."""
    cpu = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    models = [line.split(":")[1].strip() for line in cpu.splitlines() if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("zhuyi", "torch", "tokenizers", "sacrebleu")},
    }
