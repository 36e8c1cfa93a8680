"""Fine-tuning against training from scratch, and against forgetting.

    python benchmarks/finetune.py MULTI30K --demo DEMO --work runs/finetune

DEMO is what `zhuyi demo` has written. It is moved to 300 dates of a form that it has never seen, in 150 updates.

MULTI30K holds the raw captions (train, val, test_2016_flickr; .en and .de). A model is trained on those that are not
about sports (`SPORTS`), and then moved to 1,000 that are: by fine-tuning, by fine-tuning with as many of the old ones
mixed in (`data.mix`), and, to compare, a model of the same size is trained on the 1,000 from scratch. All three make as
many updates of as many tokens, which take the same time. Validations are of sports captions that are in no training
set; the old score is that of the captions of test_2016_flickr that are not about sports.

Times are of the processes' own processor, so that other programs on the machine do not count; that of a process which
was killed is lost. Complete runs under --work are read, and others resumed. Writes results/finetune.json;
docs/pictures/finetune.py draws it.
"""

import argparse
import json
import os
import random
import re
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from machine import describe
from stored import save

from zhuyi.directory import read_metrics

SPORTS = re.compile(
    r"\b(archery|arena|athletes?|athletic|ball|ballgame|baseball|basketball|batter|bmx|bowling|boxers?|boxing|catcher|"
    r"cleats|climbers?|cricket|cyclists?|cycling|defender|dirtbike|diver|dodgeball|fencing|football|frisbee|goalie|"
    r"goalkeeper|golf|golfer|golfing|gymnast|gymnastics|gymnasts|hockey|hurdles?|jockey|judo|karate|kayak|kayaker|"
    r"kayaking|kickboxing|lacrosse|league|marathon|motocross|opponent|pitcher|players?|polo|quarterback|racers?|racing|"
    r"racquet|referee|rodeo|rugby|runners?|sailing|skateboard|skateboarders?|skateboarding|skateboards|skaters?|"
    r"skating|ski|skiers?|skiing|snowboard|snowboarders?|snowboarding|soccer|softball|sports?|sprinter|stadium|surf|"
    r"surfboard|surfers?|surfing|swimmers?|teams?|teammates?|tennis|tournament|trampoline|volleyball|wakeboard|"
    r"wakeboarder|wakeboarding|waterskiing|wrestle|wrestlers?|wrestling)\b",
    re.IGNORECASE,
)
"""An English caption with one of these words is about sports."""
SPORTS_PAIRS, SPORTS_DEV, SPORTS_TEST = 1000, 500, 1000
BASE_UPDATES, UPDATES, VALIDATED_EVERY = 1500, 300, 20
DATES, DATES_TEST, DATES_UPDATES = 300, 500, 150

EVERY_RUN = {
    "training__tokens_per_batch": 4096,
    "training__threads": 1,
    "training__precision": "float32",
}
SCRATCH = {
    "preset": "tiny",
    "text__vocabulary": 4000,
    "model__max_length": 128,
    "training__learning_rate": 2.5e-3,  # as in examples/multi30k_en_de.toml; fine-tuning takes a tenth by itself
    "decoding__beam": 4,
}


def write_pairs(folder: Path, name: str, sides: tuple[str, str], pairs: list[tuple[str, str]]) -> None:
    for number, side in enumerate(sides):
        text = "".join(f"{pair[number]}\n" for pair in pairs)
        (folder / f"{name}.{side}").write_text(text, encoding="utf-8", newline="\n")


def captions(folder: Path, name: str) -> list[tuple[str, str]]:
    sides = ((folder / f"{name}.{side}").read_text(encoding="utf-8").splitlines() for side in ("en", "de"))
    return list(zip(*sides, strict=True))


def split_captions(multi30k: Path, work: Path) -> dict[str, int]:
    """The data of all runs; gives the number of pairs of each file."""
    train, dev, test = (captions(multi30k, name) for name in ("train", "val", "test_2016_flickr"))
    sports = [pair for pair in train if SPORTS.search(pair[0])]
    random.Random(1).shuffle(sports)
    ends = (SPORTS_PAIRS, SPORTS_PAIRS + SPORTS_DEV, SPORTS_PAIRS + SPORTS_DEV + SPORTS_TEST)
    parts = {
        "other": [pair for pair in train if not SPORTS.search(pair[0])],
        "other-dev": [pair for pair in dev if not SPORTS.search(pair[0])],
        "other-test": [pair for pair in test if not SPORTS.search(pair[0])],
        "sports": sports[: ends[0]],
        "sports-dev": sports[ends[0] : ends[1]],
        "sports-test": sports[ends[1] : ends[2]],
    }
    for name, pairs in parts.items():
        write_pairs(work, name, ("en", "de"), pairs)
    return {name: len(pairs) for name, pairs in parts.items()}


def run(*command: Any, pipe: bool = False) -> tuple[float, str]:
    """Run zhuyi: the seconds of processor that it took, and what it printed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "zhuyi", *map(str, command)], stdout=subprocess.PIPE if pipe else None, text=True
    )
    printed = process.stdout.read() if process.stdout else ""
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"zhuyi {command[0]} ended with {os.waitstatus_to_exitcode(status)}")
    return usage.ru_utime + usage.ru_stime, printed


def train(out: Path, data: Path, sides: tuple[str, str], name: str, *options: Any, **settings: Any) -> dict[str, Any]:
    """A run on the pairs `name` and `name-dev`: what it took, and its validations."""
    source, target = sides
    files = ("--source", data / f"{name}.{source}", "--target", data / f"{name}.{target}")
    dev = ("--dev-source", data / f"{name}-dev.{source}", "--dev-target", data / f"{name}-dev.{target}")
    given = [each for key, value in settings.items() for each in ("--set", f"{key.replace('__', '.')}={value}")]
    spent = out.with_suffix(".seconds")  # a line for each process that came to its end
    if not (out / "manifest.json").exists():
        seconds, _ = run("train", *files, *dev, *options, *given, "--out", out, "--resume")
        with spent.open("a") as file:
            file.write(f"{seconds}\n")
    records = [record for record in read_metrics(out / "metrics.jsonl") if "dev_loss" in record]
    metric = next(key for key in records[0] if key.startswith("dev_") and key != "dev_loss")
    return {
        "processor_minutes": round(sum(map(float, spent.read_text().split())) / 60, 2),
        "validations": [{"step": record["step"], "dev": record[metric]} for record in records],
    }


def evaluate(model: Path, data: Path, sides: tuple[str, str], name: str, metric: str) -> dict[str, Any]:
    files = ("--source", data / f"{name}.{sides[0]}", "--target", data / f"{name}.{sides[1]}")
    _, printed = run("evaluate", model, *files, "--json", "--metric", metric, pipe=True)
    score = json.loads(printed)["scores"][metric]
    return {"value": round(score["value"], 2), "signature": score["signature"]}


def sports(multi30k: Path, work: Path) -> dict[str, Any]:
    """Captions without sports → captions of sports."""
    sides, pairs = ("en", "de"), split_captions(multi30k, work)
    old = mix_of(work / "other.en", work / "other.de")
    updates = {"training__steps": UPDATES, "training__save_every": VALIDATED_EVERY, **EVERY_RUN}
    begin = ("--from", work / "base")
    runs = {
        "base": train(work / "base", work, sides, "other", training__steps=BASE_UPDATES, **SCRATCH, **EVERY_RUN),
        "fine-tuned": train(work / "fine-tuned", work, sides, "sports", *begin, **updates),
        "replay": train(
            *(work / "replay", work, sides, "sports", *begin),
            **updates,
            data__mix=old,
        ),
        "scratch": train(work / "scratch", work, sides, "sports", **SCRATCH, **updates),
    }
    for name, found in runs.items():
        found["new"] = evaluate(work / name, work, sides, "sports-test", "bleu")
        found["old"] = evaluate(work / name, work, sides, "other-test", "bleu")
    return {"pairs": pairs, "updates": UPDATES, "base_updates": BASE_UPDATES, "runs": runs}


def dates(demo: Path, work: Path) -> dict[str, Any]:
    """The demo → dates of a form that it has never seen."""
    days, sides = random.Random(1).sample(range(40_000), 2 * DATES + DATES_TEST), ("text", "iso")
    written = [(f"D{day:%d}-M{day:%m}-Y{day:%Y}", day.isoformat()) for day in map(_day, days)]
    ends = (DATES, 2 * DATES)
    for name, some in (
        *(("dates", written[: ends[0]]), ("dates-dev", written[ends[0] : ends[1]])),
        ("dates-test", written[ends[1] :]),
    ):
        write_pairs(work, name, sides, some)
    settings = {"training__steps": DATES_UPDATES, "training__threads": 1}
    old = mix_of(demo / "dates/train.text", demo / "dates/train.iso")
    runs: dict[str, dict[str, Any]] = {
        "before": {},
        "fine-tuned": train(work / "dates", work, sides, "dates", "--from", demo, **settings),
        "replay": train(work / "dates-replay", work, sides, "dates", "--from", demo, **settings, data__mix=old),
    }
    for found, model in zip(runs.values(), (demo, work / "dates", work / "dates-replay"), strict=True):
        found["new"] = evaluate(model, work, sides, "dates-test", "exact")
        found["old"] = evaluate(model, demo / "dates", sides, "test", "exact")
    return {"pairs": DATES, "updates": DATES_UPDATES, "runs": runs}


def mix_of(source: Path, target: Path) -> str:
    """`data.mix` with as many pairs of these files as there are new ones."""
    return f"[{{source = {json.dumps(str(source))}, target = {json.dumps(str(target))}}}]"


def _day(number: int) -> date:
    return date(1950, 1, 1) + timedelta(days=number)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("multi30k", type=Path)
    parser.add_argument("--demo", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--note", default="")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {"machine": describe(threads=1), "note": arguments.note}
    for name, measure in (
        ("dates", lambda: dates(arguments.demo, arguments.work)),
        ("sports", lambda: sports(arguments.multi30k, arguments.work)),
    ):
        found[name] = measure()
        save("finetune", found)
        print(json.dumps(found[name], indent=1), flush=True)


if __name__ == "__main__":
    main()
