"""Score over minutes of training: zhuyi and peers on the same corpus, size, budget of tokens and cores.

    python benchmarks/training/curve.py CONFIG.toml --set text.vocabulary=10000 --name cpu2 --threads 2 --ours 12

One system after the other trains from nothing; its clock stands still while the dev set is translated (greedily, by
its own search). zhuyi has the settings of CONFIG. The learning rate of a peer rises for a share of its minutes, and
falls to 0 at their end; several peaks are tried before, each in a short run with the same shares, and the best is
taken. Every answer is joined by the tokeniser that cut the text and scored with the same cased sacreBLEU on the raw
references. Writes ../results/curve-NAME.json after every system, and keeps what it holds of others;
docs/pictures/training_curve.py draws it.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))  # machine.py and stored.py are there

import segmented
from earlier import earlier
from environments import InstallError, python_of
from machine import describe
from peers.common import SIZES, Run
from stored import save
from systems import SYSTEMS, RunError, run, title_of

from zhuyi.evaluation import score

PEERS = ("hf-hand", "hf-hand-bf16", "torch-loop")


@dataclass(frozen=True)
class Runs:
    """How systems are trained: on what, how large, for how long."""

    data: Path
    size: str
    tokens: int
    every: float
    warmup: float
    seed: int
    threads: int
    device: str
    work: Path

    def curve(self, name: str, minutes: float, rate: float) -> dict[str, Any]:
        """Train a system from nothing, and score its translations of the dev set on the way."""
        options = {key: getattr(self, key) for key in ("size", "data", "tokens", "every", "warmup", "seed")}
        words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
        words += ["--minutes", str(minutes), "--rate", str(rate)]
        with tempfile.TemporaryDirectory(dir=self.work) as scratch:
            limit = 60 * 5 * minutes + 600
            python = python_of(SYSTEMS[name].environment, self.work)
            result = run(name, python, [*words, "--scratch", scratch], self.threads, self.device, limit)
            return {
                **{key: result[key] for key in ("precision", "flags", "updates", "parameters", "versions")},
                "points": points(Path(scratch), self.data),
            }

    def best_rate(self, name: str, rates: Sequence[float], minutes: float) -> tuple[float, dict[str, float]]:
        """The peak learning rate of a peer with the highest score after a short run, and the scores of all."""
        scores = {f"{rate:g}": self.curve(name, minutes, rate)["points"][-1]["bleu"] for rate in rates}
        return float(max(scores, key=scores.__getitem__)), scores


def points(folder: Path, data: Path) -> list[dict[str, Any]]:
    """What a runner wrote, scored."""
    references = (data / "dev.reference").read_text(encoding="utf-8").split("\n")[:-1]
    found = []
    for line in (folder / "points.jsonl").read_text(encoding="utf-8").splitlines():
        point = json.loads(line)
        if "hypotheses" in point:
            answers = segmented.joined(data, point.pop("hypotheses"))
            point["bleu"] = score(["bleu"], answers, references)["bleu"].value
        found.append(point)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="names the corpus, and for zhuyi the recipe")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--work", type=Path, default=Path("runs/peers"), help="environments and the segmented corpus")
    parser.add_argument("--name", required=True, help="of the machine, as in results/curve-NAME.json")
    parser.add_argument(
        "--systems", nargs="+", choices=("zhuyi", *PEERS), default=["zhuyi", "hf-hand-bf16", "torch-loop"]
    )
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--minutes", type=float, default=60, help="of training, for each peer")
    parser.add_argument("--ours", type=float, help="of zhuyi's training; unset: as many")
    parser.add_argument("--every", type=float, default=2, help="minutes of training between translations")
    parser.add_argument("--tokens", type=int, default=2048, help="of a batch, a side")
    parser.add_argument("--warmup", type=float, default=Run.warmup, help="of the peers: share of the minutes")
    parser.add_argument("--rates", type=float, nargs="+", default=[1e-3, 2e-3, 4e-3], help="peaks that each peer tries")
    parser.add_argument("--trial", type=float, default=8, help="minutes of training with each rate")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    arguments = parser.parse_args()
    if arguments.every > min(arguments.minutes, arguments.ours or arguments.minutes, arguments.trial):
        parser.error("--every is longer than a run, so that nothing would be scored")
    if not 0 < arguments.warmup < 1:
        parser.error("--warmup is a share, between 0 and 1")

    work = arguments.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    data = segmented.make(arguments.config, arguments.set, work / "data")
    config = json.loads((work / "data/config.json").read_text(encoding="utf-8"))
    machine, ours = describe(arguments.threads), config["training"]
    head = {
        "machine": machine,
        "device": arguments.device,
        "data": data,
        "size": arguments.size,
        "tokens_per_batch": 2 * arguments.tokens,
        "config": {section: config[section] for section in ("text", "model", "training")},
    }
    file = f"curve-{arguments.name}"
    result = {"name": arguments.name, **head, "curves": {}, **earlier(file, head)}
    shared = ("size", "tokens", "every", "warmup", "seed", "threads", "device")
    runs = Runs(data=work / "data", work=work, **{key: getattr(arguments, key) for key in shared})
    for name in arguments.systems:
        curve: dict[str, Any] = {"title": title_of(name), "commit": machine["commit"]}
        try:
            if name in PEERS:
                rate, curve["bleu_by_rate"] = runs.best_rate(name, arguments.rates, arguments.trial)
                curve["recipe"] = f"linear, peak {rate:g} after {arguments.warmup:.0%} of the minutes"
                curve |= runs.curve(name, arguments.minutes, rate)
            else:
                peak = f"peak {ours['learning_rate']:g} after {ours['warmup']} updates"
                curve["recipe"] = f"{arguments.config.name}: {ours['schedule']}, {peak}"
                curve |= runs.curve(name, arguments.ours or arguments.minutes, Run.rate)
        except (RunError, InstallError) as error:
            result["curves"].setdefault(name, curve | {"failed": str(error)})
            print(f"{name}: {error}", flush=True)
        else:
            result["curves"][name] = curve
            print(f"{name}: BLEU {curve['points'][-1]['bleu']:.2f}", flush=True)
        print(save(file, result))


if __name__ == "__main__":
    main()
