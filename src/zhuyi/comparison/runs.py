"""The runs of a comparison: each in its own process, several at the same time, and resumed if they were stopped."""

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
"""Interval between two reports of progress."""
SHOWN_OF_LOG = 300
"""Most characters of the last line of a log that an error message quotes."""


@dataclass(frozen=True)
class Run:
    """The training of a variant with one seed."""

    variant: Variant
    seed: int
    """From 1."""
    directory: Path

    @property
    def name(self) -> str:
        """The name of its directory."""
        return self.directory.name

    @property
    def log(self) -> Path:
        """The file with the output of its processes."""
        return self.directory.with_name(f"{self.name}.log")

    def share(self) -> float:
        """Share of its budget that is used, according to its files."""
        if finished(self.directory):
            return 1.0
        records = read_metrics(self.directory / METRICS)
        return _share(self.variant.config.training, records[-1]) if records else 0.0


@dataclass(frozen=True)
class Planned:
    """The cost of a comparison, reported before its first run."""

    runs: int
    """All runs."""
    finished: int
    """Runs that were finished earlier."""
    jobs: int
    """Runs at the same time."""
    minutes: float | None
    """Minutes of training of all remaining runs together; None if the budget is not in minutes."""
    updates: int | None
    """Updates of all remaining runs together; None if the budget is not in updates."""


@dataclass(frozen=True)
class Progress:
    """The progress of a comparison."""

    runs: int
    """All runs."""
    finished: int
    """Runs that are finished."""
    running: tuple[str, ...]
    """Names of the current runs."""
    share: float
    """Share of the budgets of all runs that is used, in [0, 1]."""
    seconds_left: float | None
    """Estimated from the progress of this process so far; None if it has made none."""


Listener = Callable[[Planned | Progress], None]


def runs_of(directory: Path, variants: Sequence[Variant], seeds: int) -> list[Run]:
    """All runs in the order in which they are trained: the first seed of each variant, the second, and so on."""
    return [
        Run(variant, seed, run_directory(directory, variant.name, seed))
        for seed in range(1, seeds + 1)
        for variant in variants
    ]


def planned(runs: Sequence[Run], jobs: int) -> Planned:
    """The cost of the runs that are not finished."""
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
    """Train the runs that are not finished, `jobs` of them at the same time.

    Args:
        directory: of the comparison.
        runs: all of its runs, in order.
        jobs: number of processes; with several GPUs, each process uses one.
        listener: called when a run begins or ends, and every few seconds in between.

    Returns:
        True if all runs are finished. False after Ctrl-C: then the current runs have been saved, and the same call
        continues them.

    Raises:
        TrainingError: if a run fails; the others are saved and stopped.
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
    """The processes of the current runs."""

    def __init__(self, directory: Path, jobs: int) -> None:
        self._directory = directory
        self._slots = list(range(jobs))
        self._gpus = _gpus()
        self.processes: dict[int, tuple[Run, subprocess.Popen[bytes]]] = {}
        """By slot, which determines the GPU."""

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
            # In its own process group, so that Ctrl-C reaches only this process, which then stops the others.
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
        """Remove the processes that have ended; returns whether there are any."""
        ended = {slot for slot, (_, process) in self.processes.items() if process.poll() is not None}
        for slot in ended:
            run, process = self.processes.pop(slot)
            assert process.stdin is not None
            process.stdin.close()
            if not finished(run.directory):
                raise TrainingError(f"{run.name}: {_last_line(run.log) or f'ended with code {process.returncode}'}")
        return bool(ended)

    def stop(self) -> None:
        """Let all processes save and end. A second Ctrl-C kills them."""
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
    """Reports the progress of a comparison to its listener, with an estimate of the remaining time."""

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
    """The value of CUDA_VISIBLE_DEVICES for each GPU."""
    if visible := os.environ.get("CUDA_VISIBLE_DEVICES"):
        return visible.split(",")
    return [str(number) for number in range(torch.cuda.device_count())]


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return lines[-1][-SHOWN_OF_LOG:] if lines else ""
