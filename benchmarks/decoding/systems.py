"""The systems that are measured, and a process of one of them."""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

from peers.common import Cell

HERE = Path(__file__).parent
CORES = os.cpu_count() or 1
TORCH = ({"OMP_NUM_THREADS": "1"}, {"OMP_NUM_THREADS": str(CORES)})
"""Without OMP_WAIT_POLICY=active: the threads of a process that waits for its turn would not sleep."""
WORKERS = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "active"}
WIDE = {"CT2_FORCE_CPU_ISA": "AVX512"}
"""CTranslate2's own kernels have AVX-512, but do not choose it by themselves."""
AVX2 = {"CT2_FORCE_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "DNNL_MAX_CPU_ISA": "AVX2"}
"""CTranslate2's own setting does not bind the libraries that multiply its matrices."""


@dataclass(frozen=True)
class System:
    """`module` in peers/ knows it by its options; `environment` is in requirements/.

    Of several `variables` of the environment, the fastest are kept; for each cell on its own.
    """

    title: str
    module: str
    environment: str
    options: dict[str, Any] = field(default_factory=dict)
    variables: tuple[dict[str, str], ...] = ({},)


def _native(precision: str, **variables: str) -> System:
    title = f"zhuyi, native, {precision}{', AVX2' if variables else ''}"
    return System(title, "zhuyi", "zhuyi", {"engine": "native", "precision": precision}, (variables,))


def _ctranslate2(compute_type: str, *variables: dict[str, str], suffix: str = "") -> System:
    title = f"CTranslate2, {compute_type}{suffix}"
    return System(title, "ctranslate2", "ctranslate2", {"compute_type": compute_type}, variables)


SYSTEMS = {
    "native-float32": _native("float32"),
    "native-bf16": _native("bf16"),
    "native-int8": _native("int8"),
    "native-int8-avx2": _native("int8", ZHUYI_ENGINE_ISA="avx2"),
    "torch": System("zhuyi, torch", "zhuyi", "zhuyi", {"engine": "torch", "precision": "float32"}, TORCH),
    "ctranslate2-float32": _ctranslate2("float32", WORKERS, WORKERS | WIDE),
    "ctranslate2-int8": _ctranslate2("int8", WORKERS, WORKERS | WIDE),
    "ctranslate2-int8-avx2": _ctranslate2("int8", WORKERS | AVX2, suffix=", AVX2"),
    "huggingface": System(
        "Hugging Face generate (Marian, 13 tokens)", "huggingface", "huggingface", {"tokens": 13}, TORCH
    ),
}


class RunError(Exception):
    """Why a system gave no figures, in one line."""


class Process:
    """A system with a model, which waits for requests.

    Raises:
        RunError: if it cannot be started; with the last line that it had to say.
    """

    def __init__(self, system: System, python: Path, options: Mapping[str, Any], variables: dict[str, str]) -> None:
        self.variables = variables
        self._errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115  # closed by __exit__
        self._process = subprocess.Popen(
            [str(python), "-m", f"peers.{system.module}", json.dumps({**options, **system.options})],
            cwd=HERE,
            env=os.environ | {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"} | variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        self.introduction = self._answer()

    def tune(self, cell: Cell) -> dict[str, Any]:
        """The best setting for a cell, and its seconds a pass."""
        return self._ask({"cell": asdict(cell), "tune": True})

    def measure(self, cell: Cell, seconds: float) -> dict[str, Any]:
        """One run: see `Meter.measure`."""
        return self._ask({"cell": asdict(cell), "tune": False, "seconds": seconds})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()
        self._errors.close()

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # the missing answer says why
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        if line := self._process.stdout.readline():
            answer: dict[str, Any] = json.loads(line)
            return answer
        status = self._process.wait()
        self._errors.seek(0)
        said = self._errors.read().split("\n")
        last = next((line for line in reversed(said) if line.strip()), "no output")
        raise RunError(f"exit {status}: {last}"[:300])
