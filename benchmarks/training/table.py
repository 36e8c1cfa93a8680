"""docs/training-speed.md from results/training-*.json; `benchmarks/report.py` writes it."""

import json
import statistics
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent.parent / "results"


def page() -> str:
    """The whole page."""
    lines = [
        "# Training speed, side by side",
        "",
        "Written by `benchmarks/report.py` from `benchmarks/results/training-*.json`, which",
        "[`benchmarks/training/compare.py`](../benchmarks/training/README.md) measures: every system in its own",
        "process and environment, in turn, on the same segmented corpus, sizes and budget of tokens.",
        "",
        "- A token is a source or target piece, or the EOS of a side. Padding is not counted as speed.",
        "- Of the ceiling: 6 floating-point operations a token for each weight of a matrix that it is multiplied by",
        "  (attention's own products left out), over the rate of a square matrix product, measured between the runs.",
        "",
    ]
    for path in sorted(RESULTS.glob("training-*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        lines += _machine(result, path.name)
    return "\n".join(lines)


def _machine(result: dict[str, Any], file: str) -> list[str]:
    machine, data = result["machine"], result["data"]
    on = machine["gpu"] if result["device"] == "cuda" else f"{machine['processor']}, {machine['threads']} threads"
    lines = [
        f"## {result['name']}: {on}",
        "",
        f"{data['corpus']}, {data['pairs']:,} pairs, {data['source_tokens']:,} + {data['target_tokens']:,} tokens, one "
        f"vocabulary of {data['vocabulary']:,} pieces; {result['tokens_per_batch']:,} tokens a batch; "
        f"{result['rounds']} rounds. [{file}](../benchmarks/results/{file})",
        "",
    ]
    for size, content in result["sizes"].items():
        lines += _size(size, content, result["device"])
    return lines


def _size(size: str, content: dict[str, Any], device: str) -> list[str]:
    ceilings = {name: statistics.median(each[name] for each in content["ceilings"]) for name in ("float32", "bf16")}
    flop = content["flop"]
    lines = [
        f"### {size}",
        "",
        f"{flop['source'] / 1e6:.1f} MFLOP a source token, {flop['target'] / 1e6:.1f} a target token; ceiling "
        f"{ceilings['float32']:,.0f} GFLOP/s in float32, {ceilings['bf16']:,.0f} in bf16 (medians).",
        "",
        "| | tokens/s: min / median / max | × fastest peer | padding | memory | of the ceiling: float32 / bf16 "
        "| precision, flags | versions |",
        "|---|---|---|---|---|---|---|---|",
    ]
    medians = {name: _median(row) for name, row in content["systems"].items() if row["runs"]}
    peers = [speed for name, speed in medians.items() if not name.startswith("zhuyi") and "+" not in name]
    fastest = max(peers, default=None)
    order = sorted(content["systems"].items(), key=lambda each: -medians.get(each[0], 0))
    for name, row in order:
        if not row["runs"]:
            lines.append(f"| {row['title']} | not measured: {row['failed'].replace('|', '/')} | | | | | | |")
            continue
        runs = row["runs"]
        speeds = [each["tokens_per_second"] for each in runs]
        used, positions = sum(_tokens(each) for each in runs), sum(each["positions"] for each in runs)
        gflops = sum(
            each["source_tokens"] * flop["source"] + each["target_tokens"] * flop["target"] for each in runs
        ) / (sum(each["seconds"] for each in runs) * 1e9)
        memory = max(each["gpu_bytes" if device == "cuda" else "rss_bytes"] for each in runs)
        versions = ", ".join(f"{package} {version}" for package, version in runs[0]["versions"].items())
        ratio = f"{medians[name] / fastest:.2f}" if fastest else ""
        failed = f" (a later run failed: {row['failed'].replace('|', '/')})" if "failed" in row else ""
        lines.append(
            f"| {row['title']}{failed} | {min(speeds):,.0f} / **{medians[name]:,.0f}** / {max(speeds):,.0f} | {ratio} "
            f"| {1 - used / positions:.0%} | {memory / 2**30:.2f} GiB "
            f"| {gflops / ceilings['float32']:.0%} / {gflops / ceilings['bf16']:.0%} "
            f"| {runs[0]['precision']}; {runs[0]['flags']} | {versions} |"
        )
    return [*lines, ""]


def _tokens(run: dict[str, Any]) -> int:
    return int(run["source_tokens"] + run["target_tokens"])


def _median(row: dict[str, Any]) -> float:
    return statistics.median(each["tokens_per_second"] for each in row["runs"])


if __name__ == "__main__":
    print(page())
