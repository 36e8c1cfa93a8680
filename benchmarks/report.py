"""Write the tables in both READMEs, in pages of docs/ and chapters of the course from the files in results/.

python benchmarks/report.py            write them
python benchmarks/report.py --check    check that they are up to date; the exit code is 1 if they are not
"""

import json
import re
import sys
from functools import partial
from pathlib import Path
from typing import Any

import corpus_table
import course_tables
import scaling
import serving_tables
from decoding import table as decoding_table
from published import table as published_table
from stored import RESULTS, load
from training import table

ROOT = Path(__file__).parent.parent
RECORDS = ROOT / "benchmarks" / "records"
TASKS = {
    "dates": ("Dates, 16 locales → ISO 8601 (`zhuyi demo`)", "日期，16 种语言写法 → ISO 8601（`zhuyi demo`）"),
    "multi30k": ("Multi30k En→De, test_2016_flickr", "Multi30k 英→德，test_2016_flickr"),
    "tatoeba": ("Tatoeba En→Zh, test", "Tatoeba 英→中，test"),
    "g2p-hungarian": ("SIGMORPHON 2021 G2P, Hungarian, test", "SIGMORPHON 2021 字音转换，匈牙利语，test"),
}

MOVED = {
    "fine-tuned": ("fine-tuned", "微调后"),
    "replay": ("fine-tuned, as many old pairs mixed in", "微调，并混入同样多的旧句对"),
    "scratch": ("trained on the new captions alone", "只用新的图片说明从头训练"),
}
WAYS = {
    "length penalty chosen on dev": "在验证集上挑选长度惩罚",
    "minimum Bayes risk by": "最小贝叶斯风险，按",
    "ensemble of": "集成，模型数",
    "beam of": "束搜索，宽",
    "samples": "条采样",
    "greedy": "贪心搜索",
    ", ": "，",
}
"""Parts of the names of ways to decode, in Chinese."""
FROM = {"dates": ("the demo", "演示模型"), "sports": ("the model before", "原来的模型")}
DATES_HEADS = ("| | new form | old forms |", "| | 新写法 | 旧写法 |")
SPORTS_HEADS = ("| | sports, BLEU | others, BLEU |", "| | 体育类，BLEU | 其他，BLEU |")


def quality_table(language: int) -> list[str]:
    head = (
        ["| task | scores on test | training | parameters | file |", "|---|---|---|---|---|"],
        ["| 任务 | 测试集得分 | 训练 | 参数量 | 文件 |", "|---|---|---|---|---|"],
    )[language]
    rows = list(head)
    for name, titles in TASKS.items():
        if result := load(f"quality-{name}"):
            scores = ", ".join(f"{s['name']} **{s['value']:.2f}**" for s in result["test"]["scores"].values())
            threads = result["machine"]["threads"]
            spent = (
                f"{result['training']['minutes']:g} min, {threads} thread{'s' * (threads > 1)}",
                f"{result['training']['minutes']:g} 分钟，{threads} 线程",
            )[language]
            file = f"quality-{name}.json"
            rows.append(
                f"| {titles[language]} | {scores} | {spent} | {result['parameters']:,} "
                f"| [{file}](benchmarks/results/{file}) |"
            )
    return rows


def results_page() -> str:
    lines = [
        "# Results",
        "",
        "Written by `benchmarks/report.py` from the files in `benchmarks/results/`, which name their machine and",
        "versions. `benchmarks/quality.py` measured the tasks. [training-speed.md](training-speed.md) compares the",
        "speed of training with other toolkits.",
        "",
        "## Quality",
        "",
        *[row.replace("](benchmarks/", "](../benchmarks/") for row in [*quality_table(0), "", *_beside_published(0)]],
    ]
    for name, (title, _) in TASKS.items():
        result = load(f"quality-{name}")
        if result is None:
            continue
        machine, training, settings = result["machine"], result["training"], result["config"]["training"]
        optimizer = {"adamw": "AdamW", "muon": "Muon"}[settings["optimizer"]]
        if settings["ema"]:
            optimizer += " and a moving average of the weights"
        lines += [f"### {title}", ""]
        if result["note"]:
            lines += [result["note"], ""]
        lines += [
            f"{machine['processor']}, {machine['threads']} of {machine['cores']} cores, torch {machine['torch']}; "
            f"{training['steps']:,} steps of {optimizer} in {training['minutes']:g} minutes, median "
            f"{training['tokens_per_second']['median']:,.0f} tokens/s. Loss on test {result['test']['loss']:.3f}.",
            "",
            *[f"- {s['name']} {s['value']:.2f} — `{s['signature']}`" for s in result["test"]["scores"].values()],
            "",
            "| source | reference | answer |",
            "|---|---|---|",
            *[
                "| " + " | ".join(_cell(s[key]) for key in ("source", "reference", "answer")) + " |"
                for s in result["samples"]
            ],
            "",
        ]
    return "\n".join([*lines, *beams_section()])


def beams_section() -> list[str]:
    """Scores and time of several beams."""
    lines = [
        "## Beams",
        "",
        "Scores, and seconds of torch's search on one thread, measured by `benchmarks/beams.py`. *Worse*: the number",
        "of lines whose answer scores lower than that of greedy search.",
        "",
        "| task | lines | beam | scores | worse | seconds |",
        "|---|---:|---:|---|---:|---:|",
    ]
    for path in sorted(RESULTS.glob("beams-*.json")):
        result = load(path.stem)
        for each in result["beams"]:
            scores = ", ".join(f"{key} {value:.2f}" for key, value in each["scores"].items())
            lines.append(
                f"| {result['name']} | {result['lines']:,} | {each['beam']} | {scores} | {each['worse_than_greedy']} "
                f"| {each['seconds']['median']:.2f} |"
            )
    return [*lines, ""]


def microscope_page() -> str:
    lines = [
        "# Speed and size of the page",
        "",
        "Written by `benchmarks/report.py` from `benchmarks/results/microscope-*.json`, which",
        "[`benchmarks/microscope.py`](../benchmarks/microscope.py) measures. Three figures are the smallest,",
        "the **median** and the largest.",
        "",
    ]
    for path in sorted(RESULTS.glob("microscope-*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        machine, assets, tap, served = (result[key] for key in ("machine", "assets", "tap", "served"))
        lines += [
            f"## {machine['processor']}, {machine['threads']} threads, {result['browser']}",
            "",
            f"A model of {result['parameters']:,} parameters: 6 + 6 layers of width 512, 8 heads. Random weights.",
            "",
            f"- Script and style sheet: {assets['gzip'] / 1000:.0f} kB, gzipped ({assets['bytes'] / 1000:.0f} kB).",
            f"- Time from the request for the page until it is usable: {_spread(served['ready'])} s.",
            f"- Time from a trace of 30 + 30 tokens until its first picture: {_spread(served['first_picture'])} s.",
            f"- Response to a movement of the mouse: {1000 * served['hover']['p95']:.1f} ms (95th percentile), and "
            f"{served['hover']['fetched']} requests to the server.",
            f"- Without recording: a forward pass of {tap['tokens']} tokens with silent taps takes {_spread(tap)}",
            f"  times as long as one of a copy of the code without any taps ({tap['rounds']} alternating rounds).",
            "",
            "| tokens | trace, s | file | whole file | page ready, s | movement of the mouse, 95th percentile, ms |",
            "|---|---|---|---|---|---|",
        ]
        for each in result["lengths"]:
            small, whole = each["files"]
            lines.append(
                f"| {each['tokens']} + {each['tokens']} | {_spread(each['trace'])} | {small['bytes'] / 1e6:.2f} MB "
                f"| {whole['bytes'] / 1e6:.0f} MB (`--full`) | {small['ready']:.2f}, whole {whole['ready']:.2f} "
                f"| {1000 * small['hover']['p95']:.1f}, whole {1000 * whole['hover']['p95']:.1f} |"
            )
        lines += [
            "",
            "A trace decodes with a beam of 4, and replays the result with every value recorded. The files are frozen:",
            "the model is too large for a page. The smaller one contains all pictures of weights, and as many tensors",
            "as fit into 1.9 MB; the page says what was left out. The mouse is moved over the heads of all layers, one",
            "of them enlarged; the time includes the event handler, rendering and layout.",
            "",
        ]
    return "\n".join(lines)


def _spread(values: dict[str, float]) -> str:
    return f"{values['min']:.2f} / **{values['median']:.2f}** / {values['max']:.2f}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def readme_results(language: int) -> list[str]:
    """The block of results in a README."""
    return [*quality_table(language), "", *_beside_published(language), *table.sentences(language)]


def _beside_published(language: int) -> list[str]:
    results = published_table.scored()
    said = (
        "Beside published scores, scored in the same way; in brackets, of how many models:",
        "与已发表的得分对照，评分方法相同；括号里是模型数：",
    )
    tables = [*published_table.table(results, language), "", published_table.whose(results, language), ""]
    return [said[language], "", *tables] if results else []


def moved_to(part: str, heads: tuple[str, str], language: int) -> list[str]:
    """What a model that was moved to other pairs knows of these, and still of the old ones."""
    runs = load("finetune")[part]["runs"]
    unit = {"sports": "", "dates": " %"}[part]
    lines = [heads[language], "|---|---:|---:|"]
    for name, found in runs.items():
        title = MOVED.get(name) or FROM[part]
        scores = " | ".join(f"{found[side]['value']:.2f}{unit}" for side in ("new", "old"))
        lines.append(f"| {title[language]} | {scores} |")
    return lines


def exports(language: int) -> list[str]:
    """What `zhuyi export` makes of each variant of a model."""
    head = ("model", "模型")[language]
    lines = [f"| {head} | CTranslate2 | ONNX | transformers |", "|---|---|---|---|"]
    for name, formats in load("exports")["models"].items():
        cells = [_exported(formats[to]) for to in ("ctranslate2", "onnx", "huggingface")]
        lines.append(f"| {' | '.join([name, *cells])} |")
    return lines


def _exported(found: dict[str, Any]) -> str:
    if "refused" in found:
        return "–"
    which = f"{found['class'].removesuffix('ForConditionalGeneration')}: " if "class" in found else ""
    return f"{which}{found['same']} / {found['lines']}, {found['difference']:.0e}"


def better_answers(language: int) -> list[str]:
    """What other ways to decode the same models gain, and what they cost (better_answers.py)."""
    result = load("better-answers-multi30k")
    if result is None:
        return []
    file = "better-answers-multi30k.json"
    said = (
        f"What they gain and cost, for {result['lines']} captions and small models that were trained briefly "
        f"([{file}](../benchmarks/results/{file})); the time is a ratio:",
        f"各自的得失，用只训练了一小会儿的小模型在 {result['lines']} 条图片说明上测得"
        f"（[{file}](../../benchmarks/results/{file})）；时间是比值：",
    )
    head = (["", result["metric"], "time"], ["", result["metric"], "时间"])[language]
    lines = [said[language], "", f"| {' | '.join(head)} |", "|---|---:|---:|"]
    for name, way in result["ways"].items():
        title = name
        for english, chinese in WAYS.items() if language else ():
            title = title.replace(english, chinese)
        lines.append(f"| {title} | {way['score']:.2f} | {way['time']['median']:.1f}× |")
    return lines


def records(_: int) -> list[str]:
    """The runs that made a record, the fastest of each size first."""
    found = [(path.parent.name, json.loads(path.read_text(encoding="utf-8"))) for path in RECORDS.glob("*/record.json")]
    lines = [
        "| size | minutes | test2016 | dev | parameters | updates | run | machine |",
        "|---|---:|---:|---:|---:|---:|---|---|",
    ]
    for name, record in sorted(found, key=lambda each: (each[1]["size"], each[1]["minutes"])):
        lines.append(
            f"| {record['size']} | **{record['minutes']:.1f}** | {record['test.2016']['value']:.2f} "
            f"| {record['dev']['value']:.2f} | {record['parameters']:,} | {record['steps']:,} "
            f"| [{name}]({name}/record.json): {_cell(record['note'])} | {record['machine']['processor']} |"
        )
    return lines


BLOCKS = {
    "results": readme_results,
    "records": records,
    "exports": exports,
    "better answers": better_answers,
    "scaling": lambda _: scaling.tables(load("scaling")),
    "cost of lines": lambda _: decoding_table.cost_of_lines(),
    "fine-tuned dates": partial(moved_to, "dates", DATES_HEADS),
    "fine-tuned captions": partial(moved_to, "sports", SPORTS_HEADS),
    **course_tables.BLOCKS,
    **serving_tables.BLOCKS,
}
"""By its name, what a document has between `<!-- name -->` and `<!-- /name -->`."""


def filled(path: Path, language: int) -> str:
    """The text of a document with its blocks replaced."""

    def block(found: re.Match[str]) -> str:
        name = found[1]
        return "\n".join([f"<!-- {name} -->", *BLOCKS[name](language), f"<!-- /{name} -->"])

    names = "|".join(BLOCKS)
    return re.sub(rf"<!-- ({names}) -->.*?<!-- /\1 -->", block, path.read_text(encoding="utf-8"), flags=re.DOTALL)


def main() -> None:
    pages = {
        ROOT / "docs" / "results.md": results_page(),
        ROOT / "docs" / "training-speed.md": table.page(),
        ROOT / "docs" / "decoding-speed.md": decoding_table.page(),
        ROOT / "docs" / "large-corpora.md": corpus_table.page(),
        ROOT / "docs" / "microscope.md": microscope_page(),
    }
    english, chinese = (
        [
            ROOT / readme,
            *(ROOT / docs / f"{name}.md" for name in ("finetune", "export", "serving", "use")),
            *sorted((ROOT / docs / "course").glob("*.md")),
        ]
        for readme, docs in (("README.md", "docs"), ("README.zh.md", "docs/zh"))
    )
    english += [ROOT / "docs" / "distributed.md", ROOT / "docs" / "scaling.md", RECORDS / "README.md"]
    pages |= {path: filled(path, language) for language, paths in enumerate((english, chinese)) for path in paths}
    stale = [path for path, text in pages.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if "--check" in sys.argv:
        for path in stale:
            print(f"{path.relative_to(ROOT)} is not what benchmarks/report.py writes", file=sys.stderr)
        sys.exit(bool(stale))
    for path in stale:
        path.write_text(pages[path], encoding="utf-8")
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
