"""Training speed: non-padding source + target tokens per second, and where the time goes.

    python benchmarks/speed.py CONFIG.toml --preset tiny [--set section.key=value]... [--threads 2] [--profile]

Runs whole updates (forward, loss, backward, clipping, AdamW) over batches of the corpus, as `zhuyi train` does, and
writes results/speed-NAME.json.
"""

import argparse
import json
import time
from pathlib import Path

import torch
from machine import describe

from zhuyi.checkpoint import build_model
from zhuyi.config import load_config
from zhuyi.data.batches import collate, padding_share, plan
from zhuyi.data.prepare import prepare
from zhuyi.training.optimizers import Optimizer
from zhuyi.training.precision import choose_device, keep_memory, uses_bf16
from zhuyi.training.state import Progress
from zhuyi.training.update import Objective, update

RESULTS = Path(__file__).parent / "results"


def product_rate(dtype: torch.dtype, size: int = 2048) -> float:
    """The best of ten matrix products, in GFLOP/s: the ceiling of this machine, now."""
    a = torch.randn(size, size).to(dtype)
    seconds = []
    for _ in range(10):
        start = time.perf_counter()
        a @ a
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds) / 1e9


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--name", required=True)
    parser.add_argument("--preset")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batches", type=int, default=12, help="of each repetition")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--profile", action="store_true", help="print the operators that take the time")
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    keep_memory()
    config = load_config(arguments.config, arguments.set, arguments.preset)
    device = choose_device(config.training)
    bf16 = uses_bf16(config.training, device)
    data = prepare(config)
    torch.manual_seed(config.training.seed)
    model = build_model(config, data.tokenizers).transformer.to(device)
    objective = Objective(model, config.training.label_smoothing, bf16)
    optimizer, progress = Optimizer(model, config.training), Progress()
    batches = plan(data.store, config.training.tokens_per_batch, config.training.seed, epoch=0)
    some = [collate(data.store, pairs) for pairs in batches[: arguments.batches]]

    def run() -> float:
        start = time.perf_counter()
        for batch in some:
            update(objective, optimizer, [batch], 1e-4, config.training.clip, progress)
        return sum(batch.tokens for batch in some) / (time.perf_counter() - start)

    run()  # warm-up
    speeds = sorted(run() for _ in range(arguments.repeat))
    result = {
        "name": arguments.name,
        "machine": describe(arguments.threads),
        "corpus": config.data.source and Path(config.data.source).name,
        "parameters": model.parameter_count(),
        "precision": "bf16" if bf16 else "float32",
        "tokens_per_second": {"min": speeds[0], "median": speeds[len(speeds) // 2], "max": speeds[-1]},
        "padding": padding_share(data.store, batches),
        "product_gflops": {"float32": product_rate(torch.float32), "bf16": product_rate(torch.bfloat16)},
        "model": config.model.model_dump(),
        "tokens_per_batch": config.training.tokens_per_batch,
    }
    path = RESULTS / f"speed-{arguments.name}.json"
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result["tokens_per_second"]), path)
    if arguments.profile:
        with torch.profiler.profile() as profile:
            run()
        print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=15, max_name_column_width=45))


if __name__ == "__main__":
    main()
