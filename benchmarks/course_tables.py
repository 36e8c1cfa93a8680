"""What the course says of measurements: blocks of docs/course (language 0) and docs/zh/course (1), from results/.

`report.py` writes each of them between `<!-- name -->` and `<!-- /name -->`. A block has the same numbers in both
languages, and no lines where its results do not exist. Links lead from the chapter.
"""

from collections.abc import Callable
from pathlib import Path
from statistics import mean, stdev

from stored import load

ROOT = Path(__file__).parents[1]
UP = ("../..", "../../..")
"""From a chapter to the root of the repository."""
COLON = (": ", "：")
INTACT = {"intact": ("nothing", "什么也不缺"), "intact, post-norm": ("nothing, post-norm", "什么也不缺，post-norm")}
LABELS: dict[str, tuple[tuple[str, str], list[tuple[str, str]]]] = {
    "trec": (
        ("TREC: what a question asks for, six classes", "TREC：问题问的是什么，六类"),
        [("CNN, random word vectors (Kim 2014)", "CNN，词向量随机初始化（Kim，2014）")],
    ),
    "sst2": (
        ("SST-2: is a film review positive or negative?", "SST-2：影评是褒是贬"),
        [("CNN, random word vectors, with phrases too (Kim 2014)", "CNN，词向量随机初始化，还用了短语（Kim，2014）")],
    ),
    "weibo_ner": (
        ("Weibo NER: names in Chinese microblogs", "微博 NER：微博里的人名、地名、机构名"),
        [
            (
                "with embeddings trained on Weibo (Peng & Dredze 2015)",
                "加用微博语料训练的词嵌入（Peng 与 Dredze，2015）",
            ),
            ("and with word segmentation (Peng & Dredze 2016)", "再加上分词（Peng 与 Dredze，2016）"),
        ],
    ),
}
"""By example: what it is, and where its published scores come from, in their order in labels.json."""
METRICS = {
    "accuracy": ("accuracy", "准确率"),
    "span_f1": ("F1 of whole names", "整个名字的 F1"),
    "exact": ("right, %", "答对，%"),
    "wer": ("word error rate, %", "词错误率，%"),
    "bleu": ("BLEU", "BLEU"),
    "chrf": ("chrF", "chrF"),
}
MIXERS = {
    "attention": ("attention", "注意力"),
    "convolution": ("convolution", "卷积"),
    "recurrence": ("recurrence", "循环网络"),
}
VARIED = ("model.encoder_mixer", "model.decoder_mixer")
MIXED = {"dates": ("dates", "日期"), "g2p": ("G2P", "字音转换"), "multi30k": ("Multi30k", "Multi30k")}
SHAPES = {"encoder-decoder": ("encoder–decoder", "编码器–解码器"), "decoder": ("decoder", "解码器")}
COPIED = {
    "encoder-decoder/copy": ("encoder–decoder, copy", "编码器–解码器，照抄"),
    "encoder-decoder/reverse": ("encoder–decoder, reverse", "编码器–解码器，倒写"),
    "decoder/copy": ("decoder alone, copy", "只有解码器，照抄"),
    "decoder/reverse": ("decoder alone, reverse", "只有解码器，倒写"),
}
LENGTHS = (10, 50, 100, 200)
"""Of the lines of the copy task that are in the table."""


def without(language: int) -> list[str]:
    """The demo's dates, learned without each part (without.py)."""
    result = load("without-dates")
    if result is None:
        return []
    line, right, _ = result["runs"]["intact"]["answers"][0]
    rows = []
    for name, run in result["runs"].items():
        part, _, setting = name.partition(", ")
        missing = f"`{part}`{('，' if language else ', ') * bool(setting)}{setting}"
        answer = run["answers"][0][2]
        rows.append(
            [
                INTACT[name][language] if name in INTACT else missing,
                *(f"{run[loss]:.4f}" for loss in ("training_loss", "dev_loss")),
                *(f"{run[share]:.1f}" for share in ("exact", "finished")),
                f"`{answer}`" if answer else ("(empty)", "（空）")[language],
            ]
        )
    head = (
        ["without", "training loss", "dev loss", "right, %", "ended, %", f"`{line}`"],
        ["缺了", "训练损失", "验证损失", "答对，%", "自己停下，%", f"`{line}`"],
    )[language]
    said = (
        f"*Dates of the demo: 2 + 2 layers of width 64, {result['steps']} updates, one seed. Losses are in nats a "
        "token; the other columns are of the 500 dev lines, by greedy search. The last one shows an answer; the "
        f"right one is* `{right}`. *From* {_file('without-dates', language)}.",
        f"*demo 的日期：2 + 2 层，宽度 64，更新 {result['steps']} 次，一个种子。损失以纳特每词元计；"
        "后面几列取自验证集的 500 行，用贪心搜索。"
        f"最后一列是一条答案，正确的是* `{right}`。*数据：*{_file('without-dates', language)}。",
    )
    return [*_table(head, rows), "", said[language]]


def shakespeare(language: int) -> list[str]:
    """The language model and what it writes (shakespeare.py)."""
    result = load("shakespeare")
    if result is None:
        return []
    losses, bits = ([run[key] for run in result["runs"]] for key in ("loss", "bits_per_byte"))
    (published,) = result["published"].values()
    steps, parameters, file = (
        result["settings"]["training"]["steps"],
        result["parameters"],
        _file("shakespeare", language),
    )
    said = (
        f"A decoder of {parameters:,} parameters reads Shakespeare's plays, character by character, for {steps:,} "
        f"updates. On the last tenth of the text, which it has not read, its loss is **{_spread(losses)}** nats a "
        f"character, or {_spread(bits)} bits a byte ({_seeds(len(losses), language)}; {file}). "
        f"nanoGPT, a small GPT that many have learned from, gives {published:g} in its README for a model of the same "
        "size that has read as many characters. After `ROMEO:`, sampling at temperature 0.8 wrote:",
        f"一个 {parameters:,} 个参数的解码器逐字符地读莎士比亚的剧本，更新 {steps:,} 次。"
        f"在没读过的最后十分之一上，损失是每字符 **{_spread(losses)}** 纳特，合每字节 {_spread(bits)} 比特"
        f"（{_seeds(len(losses), language)}；{file}）。nanoGPT 是许多人入门用的小型 GPT，"
        f"同样大小、读过同样多字符的模型，它的 README 给出的是 {published:g}。"
        "给模型开头 `ROMEO:`，以温度 0.8 采样，它往下写的是：",
    )
    return [said[language], "", "```text", *result["sample"].rstrip().splitlines(), "```"]


def shapes(language: int) -> list[str]:
    """An encoder–decoder and a decoder on the same pairs (shapes.py)."""
    result = load("shapes-multi30k")
    if result is None:
        return []
    rows = [
        [
            SHAPES[variant["settings"]["model.shape"]][language],
            f"{variant['parameters']:,}",
            _spread(variant["losses"]["test"]["values"]),
            _spread(variant["scores"]["test"]["values"]),
        ]
        for variant in result["variants"]
    ]
    metric, seeds = METRICS[result["metric"]][language], _seeds(len(result["seeds"]), language)
    head = (["shape", "parameters", "loss on test", metric], ["架构", "参数量", "测试集损失", metric])[language]
    said = (
        "Both on Multi30k, English to German, with about as many parameters: the feed-forward network of the one stack "
        f"is wider. Losses in nats a token ({seeds}; {_file('shapes-multi30k', language)}):",
        "在 Multi30k 英译德上，两者的参数差不多一样多（只有一个堆叠的，前馈网络更宽）。"
        f"损失的单位是纳特每词元（{seeds}；{_file('shapes-multi30k', language)}）：",
    )
    return [said[language], "", *_table(head, rows)]


def labels(language: int) -> list[str]:
    """The examples of labels (labels.py)."""
    result = load("labels")
    if result is None:
        return []
    rows = []
    for name, task in result["tasks"].items():
        title, sources = LABELS[name]
        metric = task["runs"][0]["metric"]
        published = [
            f"{each[metric]:g}{COLON[language]}{source[language]}"
            for each, source in zip(task["published"], sources, strict=True)
        ]
        rows.append(
            [
                f"[{title[language]}]({UP[language]}/examples/{name}.toml)",
                METRICS[metric][language],
                f"**{_spread([run['test'] for run in task['runs']])}**",
                str(len(task["runs"])),
                f"{task['runs'][0]['parameters']:,}",
                ("; ", "；")[language].join(published),
            ]
        )
    head = (
        ["task", "score", "on test", "seeds", "parameters", "published"],
        ["任务", "得分", "测试集", "种子", "参数量", "文献中的得分"],
    )[language]
    said = (
        "*Scores in per cent, the mean over the seeds ± their standard deviation. No text but that of the task was "
        f"read. From* {_file('labels', language)}.",
        "*得分为百分数，取各种子的平均值 ± 标准差。除了任务自己的数据，没有读过别的文字。"
        f"数据：*{_file('labels', language)}。",
    )
    return [*_table(head, rows), "", said[language]]


def measured(language: int) -> list[str]:
    """Attention, convolution and recurrence: a section with its heading, which would else stand alone."""
    lines = [line for part in (_copied, _mixed) for line in part(language)]
    return lines and [("## Measured", "## 测量")[language], *lines]


def _copied(language: int) -> list[str]:
    """Lines of random symbols, copied and reversed (copy_task.py)."""
    result = load("copy-task")
    if result is None:
        return []
    rows = []
    tasks = result["tasks"]
    for name, task in tasks.items():
        for mixer, found in task["mixers"].items():
            shares = {
                length: [each["symbols"] for seed in found["seeds"] for each in seed if each["length"] == length]
                for length in LENGTHS
            }
            updates = f"{task['updates']:,}"
            rows.append([COPIED[name][language], MIXERS[mixer][language], updates, *map(_spread, shares.values())])
    seeds = min(len(found["seeds"]) for task in tasks.values() for found in task["mixers"].values())
    said = (
        f"Lines of random symbols, of which there are {result['symbols']}, are to be copied or written backwards. "
        "Nothing in them can be guessed: each symbol has to be brought from its place in the source. In the encoder–"
        "decoder, cross attention can do that, and the mixer only has to say where a symbol stands."
        " In a decoder alone, the mixer itself has to bring it. "
        "The table has the right symbols, in per cent, by the length of the line, "
        f"where the right ones before are given ({_seeds(seeds, language)}). In a task, all mixers had the same number "
        "of updates: it shows what they had learned by then, and not what they could learn.",
        f"把一行随机符号（共 {result['symbols']} 种）照抄一遍，或者倒着写一遍。"
        "里面没有什么可猜的，每个符号都得从原文的那个位置取来。在编码器–解码器里，这件事可以交给交叉注意力，"
        "三者只需给出每个符号的位置；只有解码器时，就得由它们自己把符号搬过来。"
        f"表里是给出前面的正确符号时，答对的符号占百分之几，按行的长度分列（{_seeds(seeds, language)}）。"
        "同一个任务里，三者更新的次数一样，所以看到的是到那时学会了多少，不是最终能学会多少。",
    )
    length = ("{} symbols", "{} 个符号")[language]
    head = (["task", "mixer", "updates"], ["任务", "位置之间靠什么交换信息（mixer）", "更新次数"])[language]
    head += [length.format(each) for each in LENGTHS]
    picture = ROOT / "docs/pictures/copy-task.svg"
    file = _file("copy-task", language)
    lines = (
        "*Across: the symbols of a line. Upwards: what is right, in per cent. Solid: symbols, given the right ones "
        "before. Dotted: whole lines, by greedy search. Dashed: what guessing one of the symbols would give.*",
        "*横轴：一行的符号数；纵轴：答对的百分比。"
        "实线：给出前面的正确符号时，答对的符号；点线：贪心搜索整行写对；虚线：瞎猜能得多少。*",
    )[language]
    drawn = ("Right symbols by the length of the line", "答对的符号，按行的长度")[language]
    return [
        *("", said[language], "", *_table(head, rows), "", (f"*From* {file}.", f"*数据：*{file}。")[language]),
        *(
            ["", f"![{drawn}]({('..', '../..')[language]}/pictures/copy-task.svg)", "", lines]
            if picture.exists()
            else []
        ),
    ]


def _mixed(language: int) -> list[str]:
    """All nine combinations in encoder and decoder (mixers.py)."""
    results = {name: result for name in MIXED if (result := load(f"mixers-{name}"))}
    if not results:
        return []
    head = (["encoder", "decoder"], ["编码器", "解码器"])[language]
    columns = []
    for name, result in results.items():
        one = (", one seed", "，一个种子")[language] if len(result["seeds"]) == 1 else ""
        head.append(f"{MIXED[name][language]}{COLON[language]}{METRICS[result['metric']][language]}{one}")
        columns.append({tuple(each["settings"][key] for key in VARIED): each for each in result["variants"]})
    rows = [
        [
            *(MIXERS[mixer][language] for mixer in variant),
            *(_spread(column[variant]["scores"]["test"]["values"]) for column in columns),
        ]
        for variant in columns[0]
    ]
    seeds = max(len(result["seeds"]) for result in results.values())
    files = ("、" if language else ", ").join(_file(f"mixers-{name}", language) for name in results)
    said = (
        "The three in the encoder and in the decoder, in every combination, all with about the same number of "
        f"parameters and of updates; scores on test ({_seeds(seeds, language)}):",
        "三者用在编码器和解码器里，各种搭配都试一遍，参数和更新次数都差不多一样多。"
        f"测试集上的得分（{_seeds(seeds, language)}）：",
    )
    return ["", said[language], "", *_table(head, rows), "", (f"*From* {files}.", f"*数据：*{files}。")[language]]


BLOCKS: dict[str, Callable[[int], list[str]]] = {
    "without": without,
    "shapes": shapes,
    "shakespeare": shakespeare,
    "labels": labels,
    "measured": measured,
}
"""By the name of the block."""


def _spread(values: list[float]) -> str:
    return f"{mean(values):.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "")


def _seeds(number: int, language: int) -> str:
    if number == 1:
        return ("one seed", "一个种子")[language]
    return (f"mean ± standard deviation of {number} seeds", f"{number} 个种子的平均值 ± 标准差")[language]


def _file(name: str, language: int) -> str:
    return f"[{name}.json]({UP[language]}/benchmarks/results/{name}.json)"


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]
