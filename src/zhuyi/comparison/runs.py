"""The runs of a comparison: each in a process of its own, some at once, and all of them again where it was stopped."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from zhuyi.comparison.plan import finished, run_directory
from zhuyi.comparison.variants import Variant
from zhuyi.config import TrainingConfig
from zhuyi.directory import METRICS, read_metrics
from zhuyi.errors import TrainingError

POLL_SECONDS = 0.2
REPORT_SECONDS = 2.0
"""Between two reports of progress."""
SHOWN_OF_LOG = 300
"""Characters of the last line of a log that an error quotes."""


@dataclass(frozen=True)
class Run:
    """A variant with a seed."""

    variant: Variant
    seed: int
    """From 1."""
    directory: Path

    @property
    def name(self) -> str:
        """That of its directory."""
        return self.directory.name

    @property
    def log(self) -> Path:
        """What its processes have said."""
        return self.directory.with_name(f"{self.name}.log")

    def share(self) -> float:
        """Share of its budget that is used, as far as its files say."""
        if finished(self.directory):
            return 1.0
        records = read_metrics(self.directory / METRICS)
        return _share(self.variant.config.training, records[-1]) if records else 0.0


@dataclass(frozen=True)
class Planned:
    """What a comparison is going to cost, said before its first run."""

    runs: int
    finished: int
    """Of `runs`, in an earlier process."""
    jobs: int
    """How many run at once."""
    minutes: float | None
    """Of training, that the remaining runs take together; None where the budget is not in minutes."""
    updates: int | None
    """That the remaining runs make together; None where the budget is not in updates."""


@dataclass(frozen=True)
class Progress:
    """Where a comparison is."""

    runs: int
    finished: int
    running: tuple[str, ...]
    """Names of the runs that are at work."""
    share: float
    """Of all runs, in [0, 1]."""
    seconds_left: float | None
    """Estimated from the time since this process began; None while nothing is known."""


Listener = Callable[[Planned | Progress], None]


def runs_of(directory: Path, variants: Sequence[Variant], seeds: int) -> list[Run]:
    """All runs in the order in which they are trained: the first seed of each variant, the second, and so on."""
    return [
        Run(variant, seed, run_directory(directory, variant.name, seed))
        for seed in range(1, seeds + 1)
        for variant in variants
    ]


def planned(runs: Sequence[Run], jobs: int) -> Planned:
    """What the runs that have not finished are going to cost."""
    todo = [run for run in runs if not finished(run.directory)]
    budgets = [(run.variant.config.training, 1 - run.share()) for run in todo]
    minutes = [share * training.minutes for training, share in budgets if training.minutes is not None]
    updates = [share * training.steps for training, share in budgets if training.steps is not None]
    return Planned(
        runs=len(runs),
        finished=len(runs) - len(todo),
        jobs=jobs,
        minutes=sum(minutes) if len(minutes) == len(todo) else None,
        updates=round(sum(updates)) if len(updates) == len(todo) else None,
    )


def train_all(directory: Path, runs: Sequence[Run], jobs: int, listener: Listener) -> bool:
    """Train the runs that have not finished, `jobs` at once.

    Args:
        directory: of the comparison.
        runs: all of its runs, in order.
        jobs: processes at once; of several GPUs, each process gets one.
        listener: called when a run begins or ends, and every few seconds between.

    Returns:
        Whether all have finished: not, if Ctrl-C came. Then they are saved, and the same call continues them.

    Raises:
        TrainingError: if a run fails; the others are stopped, and saved.
    """
    waiting = [run for run in runs if not finished(run.directory)]
    pool = _Pool(directory, jobs)
    progress = _ProgressReport(runs, listener)
    try:
        while waiting or pool.processes:
            while waiting and len(pool.processes) < jobs:
                pool.start(waiting.pop(0))
                progress.report(pool.running)
            time.sleep(POLL_SECONDS)
            if pool.reap():
                progress.report(pool.running)
            progress.report_now_and_then(pool.running)
    except KeyboardInterrupt:
        pool.stop()
        return False
    except BaseException:
        pool.stop()
        raise
    return True


class _Pool:
    """The processes at work."""

    def __init__(self, directory: Path, jobs: int) -> None:
        self._directory = directory
        self._slots = list(range(jobs))
        self._gpus = _gpus()
        self.processes: dict[int, tuple[Run, subprocess.Popen[bytes]]] = {}
        """By their slot, which decides the GPU."""

    @property
    def running(self) -> list[Run]:
        return [run for run, _ in self.processes.values()]

    def start(self, run: Run) -> None:
        slot = next(number for number in self._slots if number not in self.processes)
        environment = dict(os.environ)
        if len(self._gpus) > 1:
            environment["CUDA_VISIBLE_DEVICES"] = self._gpus[slot % len(self._gpus)]
        run.log.parent.mkdir(parents=True, exist_ok=True)
        words = ["-m", "zhuyi.comparison.worker", str(self._directory), run.variant.name, str(run.seed)]
        with run.log.open("ab") as log:
            # In a group of its own: Ctrl-C reaches this process alone, which then stops the others, once.
            process = subprocess.Popen(
                [sys.executable, "-P", *words],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=os.name == "posix",
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        self.processes[slot] = (run, process)

    def reap(self) -> bool:
        """Take note of the processes that have ended; whether there are any."""
        ended = {slot for slot, (_, process) in self.processes.items() if process.poll() is not None}
        for slot in ended:
            run, process = self.processes.pop(slot)
            assert process.stdin is not None
            process.stdin.close()
            if not finished(run.directory):
                raise TrainingError(f"{run.name}: {_last_line(run.log) or f'ended with code {process.returncode}'}")
        return bool(ended)

    def stop(self) -> None:
        """Let each save and end; a second Ctrl-C ends them at once."""
        try:
            for _, process in self.processes.values():
                process.send_signal(signal.SIGTERM)
            for _, process in self.processes.values():
                process.wait()
        except KeyboardInterrupt:
            for _, process in self.processes.values():
                process.kill()
        finally:
            self.processes.clear()


class _ProgressReport:
    """Calls the listener of a comparison, and estimates the time that is left."""

    def __init__(self, runs: Sequence[Run], listener: Listener) -> None:
        self._runs, self._listener = runs, listener
        self._began, self._last = time.monotonic(), 0.0
        self._share_before = self._share()

    def report(self, running: Sequence[Run]) -> None:
        self._last = time.monotonic()
        share, done = self._share(), sum(finished(run.directory) for run in self._runs)
        gained, left = share - self._share_before, None
        if gained > 0 and share < 1:  # at the end, models are scored: how long that takes is not known
            left = (self._last - self._began) / gained * (1 - share)
        names = tuple(run.name for run in running)
        self._listener(Progress(len(self._runs), done, names, share, left))

    def report_now_and_then(self, running: Sequence[Run]) -> None:
        if time.monotonic() - self._last > REPORT_SECONDS:
            self.report(running)

    def _share(self) -> float:
        return sum(run.share() for run in self._runs) / len(self._runs)


def _share(training: TrainingConfig, record: dict[str, float]) -> float:
    """Share of the budget that a record of `metrics.jsonl` shows as used."""
    shares = [0.0]
    if training.steps is not None:
        shares.append(record["step"] / training.steps)
    if training.epochs is not None:
        shares.append(record.get("epoch", 0.0) / training.epochs)
    if training.minutes is not None:
        shares.append(record["seconds"] / 60 / training.minutes)
    return min(1.0, max(shares))


def _gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES may be set to, one for each GPU."""
    if visible := os.environ.get("CUDA_VISIBLE_DEVICES"):
        return visible.split(",")
    return [str(number) for number in range(torch.cuda.device_count())]


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return lines[-1][-SHOWN_OF_LOG:] if lines else ""
