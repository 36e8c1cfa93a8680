"""docs/training-speed.md from files of results/; `benchmarks/report.py` writes it."""

import statistics
from typing import Any

from stored import RESULTS, load, spread


def page() -> str:
    """The whole page."""
    lines = [
        "# Training speed, side by side",
        "",
        "Written by `benchmarks/report.py`. The first tables are from `benchmarks/results/training-*.json`, which",
        "[`benchmarks/training/compare.py`](../benchmarks/training/compare.py) measures: every system in its own",
        "process and environment, in turn, on the same segmented corpus, sizes and number of tokens per batch. Each",
        "later section names its own file.",
        "",
        "- A token is a source or target subword, or the EOS of a side. Padding does not count.",
        "- Of the ceiling: 6 floating-point operations per token for each weight of a matrix by which the token is",
        "  multiplied (without the products of attention itself), divided by the rate of a square matrix product,",
        "  measured between the runs.",
        "- The optimiser is Adam or AdamW in every row. zhuyi's default, Muon, costs more per update: see the last",
        "  tables.",
        "- The fastest peer of the first round is also run with the allocator settings that zhuyi uses.",
        "- Updates: how many were timed, in all rounds together. × fastest peer: of the systems that took turns with",
        "  zhuyi; what another command measured has none.",
        "",
    ]
    for kind, section in (("training", _machine), ("curve", _curve), ("shares", _shares), ("recipes", _recipes)):
        for path in sorted(RESULTS.glob(f"{kind}-*.json")):
            lines += section(load(path.stem), path.stem)
    return "\n".join(lines)


def _link(name: str) -> str:
    return f"[{name}.json](../benchmarks/results/{name}.json)"


def sentences(language: int) -> list[str]:
    """The sentences of the READMEs: the speed relative to the fastest peer, for each file and size."""
    found = []
    for path in sorted(RESULTS.glob("training-*.json")):
        result = load(path.stem)
        threads = result["machine"]["threads"]
        for size, content in result["sizes"].items():
            speeds = in_turn(content)
            name, untuned = fastest_peer(speeds), fastest_peer(speeds, tuned=False)
            if name is None or untuned is None or "zhuyi" not in speeds:
                continue
            peer = content["systems"][name]["title"]
            ratio, other = speeds["zhuyi"] / speeds[name], speeds["zhuyi"] / speeds[untuned]
            on = result["machine"]["gpu"] if result["device"] == "cuda" else None
            where = (on or f"{threads} CPU thread{'s' * (threads > 1)}", on or f"{threads} 个 CPU 线程")[language]
            found.append(
                (
                    f"Training, size *{size}*, {where}, AdamW: **{ratio:.1f}×** the fastest of the peers in the same "
                    f"run ({peer}), {other:.1f}× the fastest peer with its default allocator "
                    "([docs/training-speed.md](docs/training-speed.md)).",
                    f"训练速度，*{size}* 规模，{where}，AdamW：同一次测量中最快的其他工具（{peer}）"
                    f"的 **{ratio:.1f} 倍**；其他工具都用默认内存分配器时，是其中最快者的 {other:.1f} 倍"
                    "（[docs/training-speed.md](docs/training-speed.md)，英文）。",
                )[language]
            )
    return ["  \n".join(found)] if found else []


def medians(content: dict[str, Any], began: str | None) -> dict[str, float]:
    """Tokens per second of each system of one size that the command of that time has measured."""
    return {
        name: statistics.median(each["tokens_per_second"] for each in row["runs"])
        for name, row in content["systems"].items()
        if row["runs"] and row.get("began") == began
    }


def in_turn(content: dict[str, Any]) -> dict[str, float]:
    """Tokens per second of the systems that took turns with zhuyi."""
    return medians(content, content["systems"].get("zhuyi", {}).get("began"))


def fastest_peer(speeds: dict[str, float], tuned: bool = True) -> str | None:
    """The fastest system other than zhuyi: of all, or of those without zhuyi's allocator settings."""
    peers = [name for name in speeds if not name.startswith("zhuyi") and (tuned or "+" not in name)]
    return max(peers, key=speeds.__getitem__, default=None)


def _machine(result: dict[str, Any], name: str) -> list[str]:
    machine, data = result["machine"], result["data"]
    on = machine["gpu"] if result["device"] == "cuda" else f"{machine['processor']}, {machine['threads']} threads"
    lines = [
        f"## {result['name']}: {on}",
        "",
        f"{data['corpus']}, {data['pairs']:,} pairs, {data['source_tokens']:,} + {data['target_tokens']:,} tokens, one "
        f"vocabulary of {data['vocabulary']:,} subwords; {result['tokens_per_batch']:,} tokens per batch; "
        f"{result['rounds']} rounds. {_link(name)}",
        "",
    ]
    for size, content in result["sizes"].items():
        lines += _size(size, content, result["device"])
    return lines


def _shares(result: dict[str, Any], name: str) -> list[str]:
    """The shares of the time of zhuyi's updates, one column per size."""
    machine, sizes = result["machine"], result["sizes"]
    heads = [f"{size}, {found['updates']} updates" for size, found in sizes.items()]
    columns = [size["shares"] for size in sizes.values()]
    rows = [[kind, *(f"{column.get(kind, 0):.0%}" for column in columns)] for kind in columns[0]]
    return [
        f"## Where the time of an update goes: {machine['processor']}, {machine['threads']} threads",
        "",
        "Measured by torch's profiler over updates of zhuyi, with AdamW and with the default, Muon and a moving "
        f"average ([`shares.py`](../benchmarks/training/shares.py), {_link(name)}).",
        "",
        f"| | {' | '.join(heads)} |",
        f"|---|{'---|' * len(sizes)}",
        *(f"| {' | '.join(row)} |" for row in rows),
        "",
    ]


def _curve(result: dict[str, Any], name: str) -> list[str]:
    """Dev BLEU over minutes of training, side by side."""
    machine, curves = result["machine"], [each for each in result["curves"].values() if "points" in each]
    marks = sorted({round(point["minutes"]) for each in curves for point in each["points"]})
    tried = next((each["bleu_by_rate"] for each in curves if "bleu_by_rate" in each), None)
    peaks = f"the best of {len(tried)} peaks" if tried else "a peak that was not searched for"
    lines = [
        f"## Score over minutes: {machine['processor']}, {machine['threads']} threads",
        "",
        f"Size {result['size']}, batches of {result['tokens_per_batch']:,} tokens, one system after the other; the "
        "clock is stopped while the dev set is translated. Cased BLEU on the raw dev references. zhuyi has the "
        "settings of its configuration. The last column has the schedule of the learning rate; a peer's has "
        f"{peaks} ([`curve.py`](../benchmarks/training/curve.py), {_link(name)}).",
        "",
        "![Dev BLEU over minutes of training](pictures/training-curve.svg)",
        "",
        "| minutes | " + " | ".join(f"{mark}" for mark in marks) + " | updates | learning rate |",
        "|---" * (len(marks) + 3) + "|",
    ]
    for each in curves:
        at = {round(point["minutes"]): point["bleu"] for point in each["points"]}
        cells = [f"{at[mark]:.1f}" if mark in at else "" for mark in marks]
        recipe = each.get("recipe", "of the configuration: to 0 at the end")
        lines.append(f"| {each['title']} | {' | '.join(cells)} | {each['updates']:,} | {recipe} |")
    return [*lines, ""]


def _recipes(result: dict[str, Any], name: str) -> list[str]:
    """Dev scores of each recipe after equal minutes or updates."""
    machine = result["machine"]
    lines = [
        f"## Recipes, {name.removeprefix('recipes-')}: {machine['processor']}, threads: {machine['threads']}",
        "",
        "Dev scores at the end of short runs of zhuyi, a few settings apart "
        f"([`recipes.py`](../benchmarks/recipes.py), {_link(name)}). "
        f"Where the budget is minutes, the updates show how much the machine drifts. {result['note']}",
        "",
        "| configuration | recipe | seed | minutes | updates | dev loss | dev scores |",
        "|---|---|---|---|---|---|---|",
    ]
    for run in result["runs"]:
        scores = [
            f"{key.removeprefix('dev_')} {value:.2f}"
            for key, value in run.items()
            if key.startswith("dev_") and key != "dev_loss"
        ]
        lines.append(
            f"| {run['config']} | {run['recipe']} | {run.get('seed', 1)} | {run['minutes']:.1f} | {run['step']:,} "
            f"| {run['dev_loss']:.3f} | {', '.join(scores)} |"
        )
    return [*lines, ""]


def _size(size: str, content: dict[str, Any], device: str) -> list[str]:
    ceilings = {name: statistics.median(each[name] for each in content["ceilings"]) for name in ("float32", "bf16")}
    flop = content["flop"]
    lines = [
        f"### {size}",
        "",
        f"{flop['source'] / 1e6:.1f} MFLOP a source token, {flop['target'] / 1e6:.1f} a target token; ceiling "
        f"{ceilings['float32']:,.0f} GFLOP/s in float32, {ceilings['bf16']:,.0f} in bf16 (medians).",
        "",
        "| | tokens/s: min / median / max | updates | × fastest peer | padding | memory "
        "| of the ceiling: float32 / bf16 | precision, flags | versions |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    compared = in_turn(content)
    peer = fastest_peer(compared)
    rows = {
        name: spread([each["tokens_per_second"] for each in row["runs"]] or [0])
        for name, row in content["systems"].items()
    }
    for name, speed in sorted(rows.items(), key=lambda each: -each[1]["median"]):
        row = content["systems"][name]
        if not row["runs"]:
            lines.append(f"| {row['title']} | not measured: {row['failed'].replace('|', '/')} | | | | | | | |")
            continue
        runs = row["runs"]
        updates = sum(each["updates"] for each in runs)
        used, positions = sum(_tokens(each) for each in runs), sum(each["positions"] for each in runs)
        gflops = sum(
            each["source_tokens"] * flop["source"] + each["target_tokens"] * flop["target"] for each in runs
        ) / (sum(each["seconds"] for each in runs) * 1e9)
        memory = max(each["gpu_bytes" if device == "cuda" else "rss_bytes"] for each in runs)
        versions = ", ".join(f"{package} {version}" for package, version in runs[0]["versions"].items())
        ratio = f"{compared[name] / compared[peer]:.2f}" if peer and name in compared else ""
        failed = f" (a later run failed: {row['failed'].replace('|', '/')})" if "failed" in row else ""
        lines.append(
            f"| {row['title']}{failed} | {speed['min']:,.0f} / **{speed['median']:,.0f}** / {speed['max']:,.0f} "
            f"| {updates} | {ratio} | {1 - used / positions:.0%} | {memory / 2**30:.2f} GiB "
            f"| {gflops / ceilings['float32']:.0%} / {gflops / ceilings['bf16']:.0%} "
            f"| {runs[0]['precision']}; {runs[0]['flags']} | {versions} |"
        )
    return [*lines, ""]


def _tokens(run: dict[str, Any]) -> int:
    return int(run["source_tokens"] + run["target_tokens"])
