"""Our scores beside published ones, from results/published-*.json: a block of both READMEs and of docs/results.md."""

import statistics
from collections.abc import Mapping
from typing import Any

from published.tasks import TASKS
from stored import load

HEADS = (
    ["test set", "metric", "published", "ours", "ensemble", "parameters", "training of a model", "file"],
    ["测试集", "指标", "已发表", "我们的", "集成", "参数量", "每个模型的训练", "文件"],
)
COMMA = (", ", "，")
MEAN = ("SIGMORPHON 2021 G2P, mean of {n} languages", "SIGMORPHON 2021 字音转换，{n} 种语言的平均")


def scored() -> dict[str, Any]:
    """The results whose test sets were scored too, and not the dev set alone."""
    results = {name: load(f"published-{name}") for name in TASKS}
    return {
        name: result
        for name, result in results.items()
        if result and TASKS[name].published.keys() <= result["mean"].keys()
    }


def table(results: Mapping[str, Any], language: int) -> list[str]:
    """A row for each test set, and the mean of the languages of G2P."""
    lines = [f"| {' | '.join(HEADS[language])} |", f"|---|---|{'---:|' * 4}---|---|"]
    for name, result in results.items():
        lines += _rows(name, result, language)
    g2p = {name: result for name, result in results.items() if name.startswith("g2p-")}
    if len(g2p) > 1:
        lines.append(_mean(g2p, language))
    return lines


def whose(results: Mapping[str, Any], language: int) -> str:
    """A sentence on where the published scores are from."""
    of: dict[str, list[str]] = {}
    for name in results:
        title = "SIGMORPHON 2021 G2P" if name.startswith("g2p-") else TASKS[name].title[language]
        of.setdefault(TASKS[name].of[language], []).append(title)
    each = [f"{titles[0]}: {whose}" for whose, titles in of.items()]
    return (f"Published are: {'; '.join(each)}.", f"已发表的得分出自：{'；'.join(each)}。")[language]


def _rows(name: str, result: dict[str, Any], language: int) -> list[str]:
    task, runs, file = TASKS[name], result["runs"], f"published-{name}.json"
    minutes, steps = statistics.mean(run["minutes"] for run in runs), max(run["steps"] for run in runs)
    spent = (f"{steps:,} updates, {minutes:.0f} min", f"{steps:,} 次更新，{minutes:.0f} 分钟")[language]
    rows = []
    for part, published in task.published.items():
        title = task.title[language] + (f"{COMMA[language]}{part}" if len(task.published) > 1 else "")
        scores = [f"{published:g}", f"**{result['mean'][part]:.2f}**{_times(len(runs))}"]
        scores.append(f"{result['ensemble'][part]['value']:.2f}{_times(len(runs))}" if "ensemble" in result else "")
        rest = [f"{runs[0]['parameters']:,}", spent, f"[{file}](benchmarks/results/{file})"]
        rows.append(f"| {' | '.join([title, task.metric, *scores, *rest])} |")
    return rows


def _times(count: int) -> str:
    return f" ({count})" if count > 1 else ""


def _mean(results: Mapping[str, Any], language: int) -> str:
    means = [statistics.mean(TASKS[name].published["test"] for name in results)]
    means += [statistics.mean(result["mean"]["test"] for result in results.values())]
    cells = [f"{means[0]:.2f}", f"**{means[1]:.2f}**"]
    together = [result["ensemble"]["test"]["value"] for result in results.values() if "ensemble" in result]
    cells.append(f"{statistics.mean(together):.2f}" if len(together) == len(results) else "")
    return f"| {MEAN[language].format(n=len(results))} | wer | {' | '.join(cells)} | | | |"
