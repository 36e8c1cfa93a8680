"""Where the time of an update goes: torch's profiler over updates of zhuyi, its operations in a few kinds.

    python benchmarks/training/shares.py CONFIG.toml --set text.vocabulary=10000 --name cpu2 --threads 2 --work DIR

Writes ../results/shares-NAME.json; `python benchmarks/report.py` puts it into docs/training-speed.md. DIR is that of
compare.py. A profiled update is a little slower than another, which counts as time between the operations: only the
shares are meant.
"""

import argparse
import json
import math
import sys
import time
from collections import Counter
from collections.abc import Iterable
from itertools import islice
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))  # machine.py and stored.py are there

import segmented
import torch
from machine import describe
from peers.common import SIZES, Run
from peers.zhuyi import configuration
from stored import save
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

from zhuyi.checkpoint import build_model
from zhuyi.data.batches import collate, plan
from zhuyi.data.prepare import prepare
from zhuyi.training.objective import Objective, TeacherForcing
from zhuyi.training.optimizers import Optimizer
from zhuyi.training.precision import choose_device, keep_memory, uses_bf16
from zhuyi.training.update import gradient

KINDS = {
    "matrix products": ("mm", "bmm", "addmm", "baddbmm", "linear"),
    "copies, casts, joins": ("copy_", "cat", "clone", "roll", "fill_", "zero_", "index_select", "index"),
    "softmax": ("_softmax", "_softmax_backward_data", "exp_", "amax", "log"),
    "random numbers": ("random_",),
}
OPTIMISER = "optimiser, with the norm of the gradient"
ELEMENTWISE = "other operations on elements, and sums"
BETWEEN = "between the operations: Python, autograd"


def kind_of(operation: str) -> str:
    return next((kind for kind, names in KINDS.items() if operation in names), ELEMENTWISE)


RECIPES: dict[str, dict[str, Any]] = {
    "AdamW": {"optimizer": "adamw", "ema": 0.0},
    "Muon": {"optimizer": "muon", "ema": 0.998},
}


def shares(run: Run, recipe: str, updates: int) -> dict[str, Any]:
    config = configuration(run)
    training = config.training.model_copy(update=RECIPES[recipe])
    torch.set_num_threads(run.threads)
    keep_memory()
    prepared = prepare(config)
    torch.manual_seed(1)
    transformer = build_model(config, prepared.tokenizers).transformer
    bf16 = uses_bf16(training, choose_device(training))
    objective = Objective(transformer, TeacherForcing(training.label_smoothing, bf16))
    optimizer = Optimizer(transformer, training, bf16)
    found: Counter[str] = Counter()
    tokens = 0
    for number, pairs in enumerate(islice(plan(prepared.store, training.tokens_per_batch, 1, 0), 2 + updates)):
        batch = collate(prepared.store, pairs)
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            began = time.perf_counter()
            gradient(objective, [batch], batch.target_tokens)
            with record_function(OPTIMISER):
                nn.utils.clip_grad_norm_(objective.parameters(), training.clip or math.inf)
                optimizer.step()
                optimizer.zero_grad()
            seconds = time.perf_counter() - began
        if number >= 2:  # those before warm up
            found += kinds_of(profiler.events(), seconds)
            tokens += batch.tokens
    total = found.total()
    kinds = {kind: seconds / total for kind, seconds in found.most_common()}
    return {"updates": updates, "tokens": tokens, "seconds": total, "shares": kinds}


def kinds_of(events: Iterable[Any], seconds: float) -> Counter[str]:
    """The seconds of each kind in an update, whose last part is the optimiser's."""
    [optimiser] = (event for event in events if event.name == OPTIMISER)
    found = Counter({OPTIMISER: optimiser.cpu_time_total / 1e6})
    for event in events:
        if event.name.startswith("aten::") and event.time_range.start < optimiser.time_range.start:
            found[kind_of(event.name.removeprefix("aten::"))] += event.self_cpu_time_total / 1e6
    found[BETWEEN] = seconds - found.total()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--work", type=Path, default=Path("runs/peers"))
    parser.add_argument("--name", required=True)
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=["tiny", "base"])
    parser.add_argument("--updates", type=int, default=10)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    if arguments.updates < 1:
        parser.error("--updates: give at least 1")
    data = arguments.work.resolve() / "data"
    segmented.make(arguments.config, arguments.set, data)
    found = {}
    for size in arguments.sizes:
        run = Run("zhuyi", size, data, scratch=data, threads=arguments.threads)
        found |= {f"{size}, {recipe}": shares(run, recipe, arguments.updates) for recipe in RECIPES}
    save(f"shares-{arguments.name}", {"machine": describe(arguments.threads), "sizes": found})
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
