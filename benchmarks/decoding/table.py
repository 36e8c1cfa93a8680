"""docs/decoding-speed.md from results/decoding-*.json; `benchmarks/report.py` writes it."""

import statistics
from collections.abc import Sequence
from typing import Any

from decoding.peers.common import TOKENS
from stored import RESULTS, load, spread

SAME_WORK = 0.05
"""Largest difference in the length of outputs that is not pointed out."""


def page() -> str:
    """The whole page."""
    lines = [
        "# Decoding speed, side by side",
        "",
        "Written by `benchmarks/report.py` from `benchmarks/results/decoding-*.json`, which",
        "[`benchmarks/decoding/run.py`](../benchmarks/decoding/run.py) measures: every system in its own process, in",
        "turn, with the same model, lines and limit on the length of outputs.",
        "",
        "- *Greedy* and *beam 5* give all lines in one call, and use all cores: lines per second. *Batch 1* gives one",
        "  line in a call: milliseconds (the median of the calls). Three figures are the smallest, the **median** and",
        "  the largest of the runs. *Text* is from text to text, with the tokenizer; the rest from tokens to tokens.",
        "- Ratio: how many times as fast the first system is as the second, by the medians. To reach: the target that",
        "  [`rows.py`](../benchmarks/decoding/rows.py) sets for it; it is listed also where it is missed.",
        "- Length: tokens (or characters of text) that a system writes, all lines together. Systems whose lengths",
        "  differ by more than 5 % do unequal work, and are marked.",
        "- GMAC/s: the products with weights that an output of this length needs, in billions of multiplications a",
        "  second; with a beam, once for each of its prefixes, whether they are computed or not.",
        "- *Products*: the fastest run of one core; in parentheses, the share of what its instructions can do if all",
        "  weights and rows are in registers.",
        "- A beam search of zhuyi goes on until no prefix can be better than what is finished; CTranslate2's ends when",
        "  as many hypotheses are finished as the beam is wide. The latter takes fewer steps, and may miss the best.",
        "- CTranslate2 has one worker a core, of one thread each; the fastest of some batch sizes; and for its own",
        "  kernels the fastest instruction set. They are chosen for each cell on its own.",
        "",
    ]
    for path in sorted(RESULTS.glob("decoding-*.json")):
        result = load(path.stem)
        lines += [f"## {result['name']}", "", f"[{path.name}](../benchmarks/results/{path.name})", ""]
        for row in result["rows"].values():
            lines += row_section(row)
    return "\n".join(lines)


def cost_of_lines(rows: Sequence[str] = ("tiny", "multi30k", "base"), lines: float = 1e8) -> list[str]:
    """What translating so many lines takes, at the median rates of zhuyi's fastest search: greedy, int8."""
    result = load("decoding-cpu2")
    table = [
        f"| model | tokens a line | lines/s | {lines:,.0f} lines on this machine | core hours | on 100 such machines |",
        "|---|---|---|---|---|---|",
    ]
    for row in (result["rows"][name] for name in rows):
        tokens = row["cells"]["greedy"]["native-int8"]["runs"][-1]["length"] / row["lines"]
        cell = row["cells"].get("greedy, text") or row["cells"]["greedy"]
        rate = statistics.median(run["lines_per_second"] for run in cell["native-int8"]["runs"])
        hours = lines / rate / 3600
        table.append(
            f"| {row['parameters'] / 1e6:.1f} M parameters | {tokens:.0f} | {rate:,.0f} | {hours:,.0f} h "
            f"| {hours * row['machine']['cores']:,.0f} | {60 * hours / 100:,.0f} min |"
        )
    machine = result["rows"][rows[0]]["machine"]
    return [*table, "", f"Measured on {machine['processor']} with {machine['cores']} cores."]


def row_section(row: dict[str, Any]) -> list[str]:
    """The lines of one row of the record."""
    machine = row["machine"]
    lines = [
        f"### {row['title']}",
        "",
        f"{machine['processor']}, {machine['cores']} cores, {' '.join(machine['instruction_sets'])}; load before and "
        f"after {row['load'][0]:.1f}, {row['load'][1]:.1f}; {row['rounds']} rounds.",
        "",
    ]
    if "engines" in row:
        return [*lines, *_commands(row), ""]
    if "products" in row:
        return [*lines, *_products(row), ""]
    versions = (
        f"{system['title']}: " + ", ".join(f"{name} {number}" for name, number in system["versions"].items())
        for system in row["systems"].values()
        if "versions" in system
    )
    failed = (
        f"{each['title']}: not measured: {each['failed']}" for each in row["systems"].values() if "failed" in each
    )
    body = _shared(row) if "shared" in row else _cells(row)
    return [*lines, *body, "", *(f"- {each}" for each in (*versions, *failed)), ""]


def _commands(row: dict[str, Any]) -> list[str]:
    lines = ["| engine | s | MB |", "|---|---|---|"]
    for name, content in row["engines"].items():
        if not content["runs"]:
            lines.append(f"| {name} | not measured: {content.get('failed', '')} | |")
            continue
        memory = max(run["peak_bytes"] for run in content["runs"]) / 1e6
        lines.append(f"| {name} | {_spread([run['seconds'] for run in content['runs']], 2)} | {memory:.0f} |")
    return lines


def _products(row: dict[str, Any]) -> list[str]:
    sizes = (f"64 rows · {size}" for size in row["sizes"])
    lines = [f"| library | precision | GMAC/s in registers | {' | '.join(sizes)} |"]
    lines.append("|---|---|---|" + "---|" * len(row["sizes"]))
    for name, runs in row["products"].items():
        for i, precision in enumerate(row["precisions"]):
            best, *linear = (max(run[i][j] for run in runs) for j in range(1 + len(row["sizes"])))
            shares = " | ".join(f"{rate:,.0f} ({rate / best:.0%})" for rate in linear)
            lines.append(f"| {name} | {precision} | {best:,.0f} | {shares} |")
    return lines


def _shared(row: dict[str, Any]) -> list[str]:
    lines = ["| | quiet, lines/s | a core taken, lines/s | of the quiet rate |", "|---|---|---|---|"]
    for name, kinds in row["shared"].items():
        quiet, taken = ([run["lines_per_second"] for run in kinds[kind]] for kind in ("quiet", "taken"))
        share = statistics.median(taken) / statistics.median(quiet)
        title = row["systems"][name]["title"]
        lines.append(f"| {title} | {_spread(quiet, 0)} | {_spread(taken, 0)} | **{share:.0%}** |")
    return lines


def _cells(row: dict[str, Any]) -> list[str]:
    lines = [
        "| | | lines/s, or ms (batch 1) | ratio | to reach | length | GMAC/s | setting |",
        "|---|---|---|---|---|---|---|---|",
    ]
    ours, peer = [*row["systems"]][:2] if len(row["systems"]) > 1 else ("", "")
    for cell, found in row["cells"].items():
        found = {name: content for name, content in found.items() if content["runs"]}
        target = dict(zip(TOKENS, row["targets"], strict=False)).get(cell)
        for name, content in found.items():
            runs, one = content["runs"], cell.startswith("batch 1")
            speed = [run["milliseconds"]["median"] if one else run["lines_per_second"] for run in runs]
            ratio = wanted = ""
            if name == ours and peer in found:
                ratio, wanted = f"**{_ratio(found, ours, peer, one):.2f}×**", f"{target:g}×" if target else ""
            length = runs[-1]["length"]
            usual = statistics.median(each["runs"][-1]["length"] for each in found.values())
            mark = " (unequal)" if abs(length - usual) > SAME_WORK * usual else ""
            setting = ", ".join(f"{key} {value}" for key, value in (content["setting"] | content["variables"]).items())
            rate = (
                f"{_macs(row, cell, name, length) * statistics.median(speed) / 1e9:.0f}" if cell in TOKENS[:2] else ""
            )
            lines.append(
                f"| {cell} | {row['systems'][name]['title']} | {_spread(speed, 2 if one else 0)} | {ratio} | {wanted} "
                f"| {length:,}{mark} | {rate} | {setting} |"
            )
    return lines


def _ratio(found: dict[str, Any], ours: str, peer: str, one: bool) -> float:
    """How many times as fast as the peer, by the medians."""
    if one:
        a, b = (
            statistics.median(run["milliseconds"]["median"] for run in found[name]["runs"]) for name in (peer, ours)
        )
    else:
        a, b = (statistics.median(run["lines_per_second"] for run in found[name]["runs"]) for name in (ours, peer))
    return a / b


def _macs(row: dict[str, Any], cell: str, name: str, length: int) -> float:
    """Multiplications with weights for a line, on average.

    With d the width, f the feed-forward's inner width, m its matrices (3 where it is gated) and g the share of heads
    that have keys and values of their own:

        source  encoder layers · ((2 + 2g) d² + m d f) + decoder layers · 2g d² for keys and values of cross-attention
        target  decoder layers · ((4 + 2g) d² + m d f) + d · vocabulary
    """
    model, beam = row["model"], 5 if cell.startswith("beam") else 1
    d, inner = model["width"], (3 if model["activation"] == "swiglu" else 2) * model["width"] * model["feed_forward"]
    g = (model["key_value_heads"] or model["heads"]) / model["heads"]
    source = model["encoder_layers"] * ((2 + 2 * g) * d * d + inner) + model["decoder_layers"] * 2 * g * d * d
    target = model["decoder_layers"] * ((4 + 2 * g) * d * d + inner) + d * row["vocabulary"]
    sources = row["systems"][name]["source_tokens"] / row["lines"] + 1
    steps = length / row["lines"] + (not row["fixed"])  # EOS is a token too
    return float(source * sources + beam * target * steps)


def _spread(values: list[float], digits: int) -> str:
    low, middle, high = (f"{each:,.{digits}f}" for each in spread(values).values())
    return f"{low} / **{middle}** / {high}"
