"""Kill a training run repeatedly with SIGKILL, and compare its final bytes with those of an undisturbed run.

    python benchmarks/kills.py [--kills 50] [--seed 1] [--set section.key=value]... [--name kills]

Trains a small model with `zhuyi train` on generated data: once undisturbed, and once killed, resumed, killed, ...
until the run ends. The script observes the run from outside, as an operator would: the files that the run writes tell
when to kill it, and the files that it leaves tell what the kill interrupted. Compares the weights byte for byte, the
model card, and every loss and score of `metrics.jsonl`; writes results/NAME.json, and exits with 1 if anything
differs.
"""

import argparse
import hashlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from machine import describe
from stored import save

from zhuyi.directory import METRICS, WEIGHTS, read_metrics
from zhuyi.files import MANIFEST

SETTINGS = [
    *("text.vocabulary=400", "model.width=96", "model.heads=4", "model.encoder_layers=2", "model.decoder_layers=2"),
    *("model.feed_forward=192", "model.dropout=0.1", "model.attention_dropout=0.1", "model.max_length=64"),
    *("training.tokens_per_batch=600", "training.accumulate=2", "training.save_every=8", "training.steps=640"),
    *("training.keep=2", "training.average=3", "training.average_of=best", "training.ema=0.99"),
    *("training.metric=chrf", "training.patience=20", "training.warmup=60", "training.threads=1"),
    *("training.device=cpu", "training.log_every=1", "decoding.beam=1"),
]
"""Everything on that has a state of its own: dropout, accumulation, averaging, patience, epochs that end in between.

`log_every = 1` makes each update visible from outside, and its loss a part of what is compared.
"""

WRITING, ANYWHERE, VALIDATION = "writing a checkpoint", "training", "validation"
STORE, STARTING, ENDING = "building the store", "starting", "ending"
AIMS = {WRITING: 18, ANYWHERE: 12, VALIDATION: 6, STORE: 4, STARTING: 4, ENDING: 6}
"""What is aimed at, and how often of fifty. "Training" is any moment, a validation or a write too."""

POLL = 0.0005
"""Seconds between two looks at the files."""
LATE = 3
"""Checkpoints after which a moment that was missed is not waited for."""


@dataclass(frozen=True)
class Kill:
    """One kill: what it was meant to interrupt, what it did interrupt, and the last step that the run had reported."""

    aim: str
    fell: str
    step: int


class Run:
    """A training run on disk, and its process."""

    def __init__(self, folder: Path, settings: list[str], cache: Path) -> None:
        self.out, self.cache, self.log = folder / "out", cache, folder / "log.txt"
        self._command = [sys.executable, "-m", "zhuyi", "train", "--out", str(self.out), "--resume"]
        for name, file in write_corpus(folder.parent).items():
            self._command += ["--set", f"data.{name}={file}"]
        for setting in settings:
            self._command += ["--set", setting]
        self._process: subprocess.Popen[bytes] | None = None
        self._started, self._metrics = 0, 0

    def start(self) -> None:
        """Start or resume the run."""
        self._started, self._metrics = time.time_ns(), self._metrics_inode()
        environment = {**os.environ, "ZHUYI_CACHE": str(self.cache), "COLUMNS": "500"}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, env=environment)

    def lives(self) -> bool:
        """Whether the process runs. If it ended with an error, so does this script."""
        assert self._process is not None
        code = self._process.poll()
        if code not in (None, 0):
            raise SystemExit(f"zhuyi train ended with exit code {code}:\n{self.log.read_text()[-2000:]}")
        return code is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal. SIGKILL runs no handlers and flushes no files."""
        assert self._process is not None
        self._process.send_signal(number)
        if number == signal.SIGKILL:
            self._process.wait()

    def records(self) -> list[dict[str, Any]]:
        """The records of `metrics.jsonl`: one for each update, and one for each validation."""
        return read_metrics(self.out / METRICS)

    def saved(self) -> int:
        """The step of the newest complete checkpoint."""
        whole = self.out.glob(f"checkpoints/step-*/{MANIFEST}")
        return max((int(path.parent.name.removeprefix("step-")) for path in whole), default=0)

    def writes(self) -> bool:
        """Whether this process is writing a checkpoint, or was when it died."""
        return any(self._is_of_this_life(path) for path in self.out.glob("checkpoints/step-*/.writing"))

    def builds_store(self) -> bool:
        """Whether this process is building the store, or was when it died."""
        return any(self._is_of_this_life(path) for path in self.cache.glob("*.tmp"))

    def trains(self) -> bool:
        """Whether training has started, which truncates the metrics to those before the checkpoint."""
        return self._metrics_inode() != self._metrics

    def validates(self, save_every: int) -> bool:
        """Whether the last record is that of an update after which a validation is due."""
        last = self.records()[-1:]
        return self.trains() and bool(last) and "loss" in last[0] and last[0]["step"] % save_every == 0

    def ends(self, last: int) -> bool:
        """Whether the checkpoint of the last step is complete, so that only choosing, averaging and saving remain."""
        return (self.out / f"checkpoints/step-{last:06d}" / MANIFEST).exists() and not self.writes()

    def step(self) -> int:
        """The last step that the run has reported."""
        return max((record["step"] for record in self.records()), default=0)

    def _is_of_this_life(self, path: Path) -> bool:
        try:
            return path.stat().st_mtime_ns >= self._started
        except FileNotFoundError:
            return False

    def _metrics_inode(self) -> int:
        path = self.out / METRICS
        return path.stat().st_ino if path.exists() else 0


def write_corpus(folder: Path) -> dict[str, str]:
    """Write lines of invented words, and the same lines reversed: a task at which a small model keeps improving."""
    rng = random.Random(7)
    words = ["".join(rng.choices("aeiouklmnprst", k=rng.randint(2, 6))) for _ in range(200)]
    files = {}
    for name, count in {"": 1500, "dev_": 16}.items():
        lines = [rng.choices(words, k=rng.randint(1, 8)) for _ in range(count)]
        for side, order in {"source": 1, "target": -1}.items():
            path = folder / f"{name}{side}.txt"
            path.write_text("".join(" ".join(line[::order]) + "\n" for line in lines), encoding="utf-8")
            files[f"{name}{side}"] = str(path)
    return files


def where(run: Run, save_every: int, last: int) -> str:
    """What a killed run was doing, judged by the files that it left."""
    if run.builds_store():
        return STORE
    if run.writes():
        return WRITING
    if run.ends(last):  # a run that is resumed here has no update left to do
        return ENDING if run.trains() else STARTING
    if not run.trains():
        return STARTING
    return VALIDATION if run.validates(save_every) else ANYWHERE


def aims(kills: int, rng: random.Random) -> list[str]:
    """One aim per kill, in the proportions of `AIMS`, in random order; the end of the run comes last."""
    total = sum(AIMS.values())
    ending = max(1, round(kills * AIMS[ENDING] / total))
    rest = [aim for aim, share in AIMS.items() if aim != ENDING for _ in range(share)]
    chosen = [rest[i * len(rest) // (kills - ending)] for i in range(kills - ending)]
    rng.shuffle(chosen)
    return [*chosen, *[ENDING] * ending]


def spans(run: Run, save_every: int) -> dict[str, float]:
    """The seconds that each activity took in the undisturbed run; kills come at random moments within them."""
    records = run.records()
    updates = [(record["step"], record["seconds"]) for record in records if "loss" in record]
    scored = {record["step"] for record in records if "dev_loss" in record}
    between = sorted((later - before, step) for (step, before), (_, later) in pairwise(updates))
    pauses = [gap for gap, step in between if step in scored]
    last = run.out / f"checkpoints/step-{run.saved():06d}" / MANIFEST
    ending = (run.out / MANIFEST).stat().st_mtime - last.stat().st_mtime
    step = between[len(between) // 2][0]
    return {
        ANYWHERE: save_every * step,
        VALIDATION: pauses[len(pauses) // 2],
        STARTING: 2.0,
        ENDING: ending + 0.3,
        WRITING: 0.01,
        STORE: 0.05,
    }


def killed(run: Run, aim: str, due: int, save_every: int, last: int, span: float, rng: random.Random) -> str | None:
    """Start the run, wait until step `due` is saved and the aim is reached, wait for a random time, and kill it.

    The process is first stopped and inspected. If it is no longer at the aim, it continues until the next such moment.
    After `LATE` further checkpoints it is killed whatever it is doing.

    Returns:
        What the kill interrupted, or None if the run ended before.
    """
    if aim == STORE:
        for path in run.cache.glob("*.arrow"):  # and not what an earlier kill has left half built
            path.unlink()
    come = {
        WRITING: lambda: run.saved() >= due and run.writes(),
        ANYWHERE: lambda: run.saved() >= due and run.trains(),
        VALIDATION: lambda: run.saved() >= due and run.validates(save_every),
        STORE: run.builds_store,
        STARTING: lambda: True,
        ENDING: lambda: run.trains() and run.ends(last),
    }[aim]
    run.start()
    while run.lives():
        if aim != ENDING and run.saved() >= due + LATE * save_every:
            fell = where(run, save_every, last)
            run.send(signal.SIGKILL)
            return fell
        if not come():
            time.sleep(POLL)
            continue
        time.sleep(rng.uniform(0, span))
        run.send(signal.SIGSTOP)
        fell = where(run, save_every, last)
        if fell == aim or aim == ANYWHERE:
            run.send(signal.SIGKILL)
            return fell
        run.send(signal.SIGCONT)
    return None


def compare(peaceful: Run, other: Run) -> dict[str, bool]:
    """What must be equal, and whether it is."""

    def printed(run: Run) -> list[dict[str, Any]]:
        clock = {"seconds", "tokens_per_second"}
        return [{key: value for key, value in record.items() if key not in clock} for record in run.records()]

    names = (WEIGHTS, "config.json", "tokenizer.json", "README.md")
    same = {name: (peaceful.out / name).read_bytes() == (other.out / name).read_bytes() for name in names}
    return {**same, "losses and scores": printed(peaceful) == printed(other)}


def trial(folder: Path, kills: int, seed: int, settings: list[str]) -> dict[str, Any]:
    """Both runs, in `folder`: the kills, and whether the results are identical."""
    save_every = int(next(s for s in reversed(settings) if s.startswith("training.save_every=")).partition("=")[2])
    runs = []
    for name in ("peaceful", "killed"):
        (folder / name).mkdir()
        runs.append(Run(folder / name, settings, folder / name / "cache"))
    peaceful, run = runs
    peaceful.start()
    while peaceful.lives():
        time.sleep(0.05)
    last, span, rng = peaceful.step(), spans(peaceful, save_every), random.Random(seed)

    deaths: list[Kill] = []
    for number, aim in enumerate(aims(kills, rng)):
        due = last * number // kills // save_every * save_every
        if fell := killed(run, aim, due, save_every, last, span[aim], rng):
            deaths.append(Kill(aim, fell, run.step()))
            print(f"{len(deaths):>3}  aimed at {aim:<22} fell in {fell:<22} step {run.step()}", flush=True)
    run.start()
    while run.lives():
        time.sleep(0.05)

    log = run.log.read_text(encoding="utf-8")
    same = compare(peaceful, run)
    return {
        "steps": last,
        "kills": len(deaths),
        "fell": dict(Counter(kill.fell for kill in deaths)),
        "aimed": dict(Counter(kill.aim for kill in deaths)),
        "resumed_at": [int(step.replace(",", "")) for step in re.findall(r"Going on from step ([\d,]+)", log)],
        "broken_checkpoints_passed_over": log.count("Passing over a broken checkpoint"),
        "ended_by_patience": "the run ends early" in log,
        "same": same,
        "identical": all(same.values()),
        "sha256": hashlib.sha256((run.out / WEIGHTS).read_bytes()).hexdigest(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1, help="of when to kill")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--name", default="kills")
    arguments = parser.parse_args()

    began = time.perf_counter()
    settings = [*SETTINGS, *arguments.set]
    with tempfile.TemporaryDirectory(prefix="zhuyi-kills-") as folder:
        result = trial(Path(folder), arguments.kills, arguments.seed, settings)
    result = {
        "command": " ".join(["python", "benchmarks/kills.py", *sys.argv[1:]]),
        "machine": describe(threads=1),
        "settings": settings,
        "minutes": round((time.perf_counter() - began) / 60, 1),
        **result,
    }
    path = save(arguments.name, result)
    print(json.dumps({key: result[key] for key in ("kills", "fell", "same", "identical")}, indent=2), path)
    sys.exit(not result["identical"])


if __name__ == "__main__":
    main()
