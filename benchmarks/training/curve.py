"""Score over minutes of training: zhuyi and peers on the same corpus, size, budget of tokens and cores.

    python benchmarks/training/curve.py CONFIG.toml --set text.vocabulary=10000 --name cpu2 --threads 2 --minutes 40

One system after the other trains from nothing; its clock stands still while the dev set is translated (greedily, by
its own search). Every answer is joined by the tokeniser that cut the text and scored with the same cased sacreBLEU on
the raw references. Writes ../results/curve-NAME.json after every system; docs/pictures/training_curve.py draws it.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))  # machine.py is there

import segmented
from environments import InstallError, python_of
from machine import describe
from peers.common import SIZES
from systems import SYSTEMS, RunError, run, title_of

from zhuyi.evaluation import score

HERE = Path(__file__).parent
RECIPE = {"hf-hand": 2e-3, "hf-hand-bf16": 2e-3, "torch-loop": 2e-3}
"""Peak learning rates of the peers: Adam(W), a line up to the peak, then ∝ 1/√step."""


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
    parser.add_argument("--systems", default="zhuyi,hf-hand-bf16,torch-loop", help=f"zhuyi, {', '.join(RECIPE)}")
    parser.add_argument("--size", choices=SIZES, default="tiny")
    parser.add_argument("--minutes", type=float, default=40, help="of training, for each")
    parser.add_argument("--every", type=float, default=2, help="minutes of training between translations")
    parser.add_argument("--tokens", type=int, default=2048, help="of a batch, a side")
    parser.add_argument("--warmup", type=int, default=400, help="of the peers: updates until the peak")
    parser.add_argument("--rate", type=float, help=f"of the peers: peak learning rate; unset: {RECIPE}")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--results", type=Path, default=HERE.parent / "results")
    arguments = parser.parse_args()

    names, work = arguments.systems.split(","), arguments.work.resolve()
    if unknown := [name for name in names if name != "zhuyi" and name not in RECIPE]:
        parser.error(f"no curve for {', '.join(unknown)}")
    work.mkdir(parents=True, exist_ok=True)
    data = segmented.make(arguments.config, arguments.set, work / "data")
    curves: dict[str, Any] = {}
    path = arguments.results / f"curve-{arguments.name}.json"
    for name in names:
        options = {
            "size": arguments.size,
            "data": work / "data",
            "tokens": arguments.tokens,
            "minutes": arguments.minutes,
            "every": arguments.every,
            "warmup": arguments.warmup,
            "rate": arguments.rate or RECIPE.get(name, 0),
            "seed": arguments.seed,
        }
        curve: dict[str, Any] = {"title": title_of(name)}
        if name != "zhuyi":
            curve["recipe"] = f"inverse square root, peak {options['rate']:g} after {arguments.warmup} updates"
        try:
            with tempfile.TemporaryDirectory(dir=work) as scratch:
                words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
                limit = 60 * 5 * arguments.minutes + 600
                python = python_of(SYSTEMS[name].environment, work)
                result = run(name, python, [*words, "--scratch", scratch], arguments.threads, arguments.device, limit)
                curve |= {key: result[key] for key in ("precision", "flags", "updates", "parameters", "versions")}
                curve["points"] = points(Path(scratch), work / "data")
        except (RunError, InstallError) as error:
            curve["failed"] = str(error)
            print(f"{name}: {error}", flush=True)
        else:
            print(f"{name}: BLEU {curve['points'][-1]['bleu']:.2f}", flush=True)
        curves[name] = curve
        whole = {
            "name": arguments.name,
            "machine": describe(arguments.threads),
            "device": arguments.device,
            "data": data,
            "size": arguments.size,
            "minutes": arguments.minutes,
            "tokens_per_batch": 2 * arguments.tokens,
            "overrides": arguments.set,
            "curves": curves,
        }
        path.write_text(json.dumps(whole, indent=1) + "\n", encoding="utf-8")
    print(path)


if __name__ == "__main__":
    main()
