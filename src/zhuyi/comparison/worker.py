"""One run of a comparison, in its own process: `python -m zhuyi.comparison.worker DIR NAME SEED`.

It calls `zhuyi.train`, and resumes if an earlier process was stopped. In addition to the files of a run, its directory
gets `memory.json`, the peak memory of its processes, and at the end `outputs.json`, with its scores and outputs on the
dev and test sets. The process exits at once when its standard input is closed, that is, when its parent ends.
"""

import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

import torch

from zhuyi.comparison.plan import OUTPUTS, Plan, run_directory
from zhuyi.comparison.variants import with_seed
from zhuyi.errors import ZhuyiError
from zhuyi.evaluation import Evaluation
from zhuyi.files import write_atomically
from zhuyi.training.events import Event, Finished, Notice, Saved, Validated
from zhuyi.training.recipe import train

MEMORY = "memory.json"


def main(directory: Path, name: str, seed: int) -> int:
    """Train, and write `outputs.json`; returns the exit code."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    out = run_directory(directory, name, seed)
    config = with_seed(Plan.read(directory).variants[name], seed)
    try:
        result = train(config, out, resume=True, listeners=[_MemoryRecord(out), _log])
    except ZhuyiError as error:
        print(" ".join(str(error).splitlines()), file=sys.stderr)
        return 2
    if result.interrupted:
        return 130
    write_atomically(out / OUTPUTS, json.dumps(_to_dict(result.evaluations), ensure_ascii=False).encode())
    return 0


def peak_memory() -> int | None:
    """The peak memory of this process in bytes, of the GPU if it uses one; None if the system does not report it."""
    if torch.cuda.is_available() and (allocated := torch.cuda.max_memory_allocated()):
        return allocated
    try:  # Linux: `ru_maxrss` includes the memory of the parent, of which this process was a copy before `exec`
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return 1024 * next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        pass
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


class _MemoryRecord:
    """A listener that updates `memory.json`: the peak memory of this process and of earlier ones."""

    def __init__(self, out: Path) -> None:
        self._path = out / MEMORY
        self._before: int = json.loads(self._path.read_bytes()) if self._path.exists() else 0

    def __call__(self, event: Event) -> None:
        if isinstance(event, Saved | Finished) and (now := peak_memory()) is not None:
            write_atomically(self._path, json.dumps(max(now, self._before)).encode())


def _log(event: Event) -> None:
    match event:
        case Notice():
            print(f"{event.warning}: {event.text}" if event.warning else event.text, flush=True)
        case Validated():
            scores = ", ".join(f"{name} {value:.2f}" for name, value in event.scores.items())
            print(f"step {event.step:,}, {event.seconds / 60:.1f} minutes: loss {event.loss:.4f}, {scores}", flush=True)


def _to_dict(evaluations: dict[str, Evaluation]) -> dict[str, Any]:
    """The evaluations as JSON values, with the data for resampling: the outputs of lines, or statistics of windows."""
    return {
        name: {**each.to_dict(), "hypotheses": each.hypotheses, "windows": each.windows}
        for name, each in evaluations.items()
    }


def _end_with_parent() -> None:
    os.read(0, 1)  # returns when the pipe is closed, since nothing is written to it
    os._exit(1)  # as if killed, which a run can be resumed from


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
