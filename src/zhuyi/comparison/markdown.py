"""The report of a comparison in Markdown: tables, and explanations of them."""

from collections.abc import Sequence

from zhuyi.comparison.bootstrap import LEVEL, RESAMPLES
from zhuyi.comparison.measures import AT_ONCE, CONTINUED, DISTANCE, ONE_BY_ONE, Speed
from zhuyi.comparison.picture import PICTURE
from zhuyi.comparison.report import Comparison

MARKDOWN = "comparison.md"


def to_markdown(comparison: Comparison) -> str:
    """The whole report."""
    sections = (_what, _settings, _results, _differences, _cost, _reach, _conditions)
    return "\n".join([*(line for section in sections for line in section(comparison)), ""])


def _what(comparison: Comparison) -> list[str]:
    fitted = "model.feed_forward" if comparison.equal else None
    best = "higher is better" if comparison.higher_is_better else "lower is better"
    budget = "".join(f", {value:,g} {name}" for name, value in comparison.budget.items())
    seeds = f"{_count(len(comparison.seeds), 'seed')} each (`training.seed` {', '.join(map(str, comparison.seeds))})"
    return [
        f"# Variants of {' and '.join(key for key in _keys(comparison) if key != fitted)}",
        "",
        f"{len(comparison.variants)} variants, {seeds}{f'{budget} a run' if budget else ''}. "
        f"Scores are `{comparison.metric}` ({best}).",
        "",
        f"![Score over updates and over minutes]({PICTURE})",
        "",
    ]


def _settings(comparison: Comparison) -> list[str]:
    keys, first = _keys(comparison), comparison.variants[0]
    rows = [[each.name, *(str(each.settings.get(key, "")) for key in keys)] for each in comparison.variants]
    fitted = (
        f"`model.feed_forward` was fitted, so that all have about the {first.parameters:,} parameters of {first.name}."
    )
    return [
        *("## Settings that differ", "", *_table(["variant", *keys], rows), ""),
        *([fitted, ""] if comparison.equal else []),
    ]


def _results(comparison: Comparison) -> list[str]:
    sets, metric, digits = list(comparison.variants[0].scores), comparison.metric, _digits(comparison)
    head = ["variant", "parameters", *(f"{metric}, {name}" for name in sets), *(f"loss, {name}" for name in sets)]
    rows = [
        [
            each.name,
            f"{each.parameters:,}",
            *(each.scores[name].show(digits) for name in sets),
            *(f"{each.losses[name].mean:.4f}" for name in sets),
        ]
        for each in comparison.variants
    ]
    mean = ": the mean over the seeds ± their sample standard deviation" if len(comparison.seeds) > 1 else ""
    return [
        *("## Results", "", *_table(head, rows), ""),
        f"A score is that of the weights that a run kept{mean}. The loss is in nats a target token.",
        "",
    ]


def _differences(comparison: Comparison) -> list[str]:
    digits, unit, chosen = _digits(comparison), comparison.unit, comparison.compared_on
    head = ["variant", f"{comparison.metric}, {chosen}", f"{LEVEL:.0%} interval"]
    rows = [
        [
            each.name,
            f"{each.score.value:+.{digits}f}",
            f"{each.score.low:+.{digits}f} … {each.score.high:+.{digits}f}",
        ]
        for each in comparison.differences
    ]
    seeds = ", for which see the deviations above" if len(comparison.seeds) > 1 else ": give more --seeds"
    return [
        *(f"## Differences from {comparison.variants[0].name}", "", *_table(head, rows), ""),
        f"Paired bootstrap (Koehn 2004) over the {comparison.compared_lines:,} {unit} of the {chosen} set, "
        f"{RESAMPLES:,} resamples, of the mean over the seeds. An interval without 0 says that other {unit} of this "
        f"kind would hardly turn the difference around; it does not say what other seeds would do{seeds}.",
        "",
    ]


def _cost(comparison: Comparison) -> list[str]:
    columns, means = _decoding(comparison)
    rows = [
        [
            each.name,
            f"{each.tokens_per_second:,.0f}",
            f"{each.memory / 1e6:,.0f}" if each.memory is not None else "unknown",
            *_speeds(each.decoding),
        ]
        for each in comparison.variants
    ]
    return [
        *("## Cost", "", *_table(["variant", "training, tokens/s", "memory, MB", *columns], rows), ""),
        "Training: source and target tokens a second, the median over the records of all seeds. Memory: the most "
        "that a process of training used, Python and its libraries included (on a GPU, what was allocated there). "
        f"{means}All with {_count(comparison.threads, 'CPU thread')}.",
        "",
    ]


def _decoding(comparison: Comparison) -> tuple[list[str], str]:
    """The headers of the columns of `_speeds`, and their explanation."""
    speed = comparison.variants[0].decoding
    engine = f"all by {comparison.engine} (the native engine does not compute every variant). "
    if speed is None:
        return [], ""
    if speed.at_once is None:
        return ["writing, tokens/s"], f"Writing: up to {CONTINUED} tokens after one another, {engine}"
    means = f"Decoding: up to {AT_ONCE} dev lines in batches, and {ONE_BY_ONE} one by one, {engine}"
    return ["decoding, lines/s", "one by one"], means


def _speeds(decoding: Speed | None) -> list[str]:
    speeds = () if decoding is None else (decoding.at_once, decoding.one_by_one)
    return [f"{speed:,.1f}" for speed in speeds if speed is not None]


def _reach(comparison: Comparison) -> list[str]:
    head = ["variant", "stack", "mixer", "positions"]
    head += [f"layers for {DISTANCE} positions", f"path over {DISTANCE} positions"]
    rows = [
        [
            *(each.name, stack, reach.mixer),
            f"all ({reach.measured} and more)" if reach.positions == reach.measured else str(reach.positions),
            *(str(reach.layers), str(reach.steps)),
        ]
        for each in comparison.variants
        for stack, reach in each.reach.items()
    ]
    return [
        *("## How far one layer reaches", "", *_table(head, rows), ""),
        "Positions: the largest distance between an output and an input that it depends on, in one layer of the "
        "trained model, by gradient. Path: the operations one after another between them (Vaswani et al. 2017, "
        "table 1).",
        "",
    ]


def _conditions(comparison: Comparison) -> list[str]:
    differ = len(comparison.signatures) > 1
    return [
        *("## How it was measured", ""),
        *(f"- {name}: {value}" for name, value in comparison.machine.items() if value is not None),
        *(
            f"- scores{' of ' * differ}{', '.join(names) * differ}: `{signature}`"
            for signature, names in comparison.signatures.items()
        ),
    ]


def _keys(comparison: Comparison) -> list[str]:
    """The keys of the settings of all variants, in order."""
    return list(dict.fromkeys(key for each in comparison.variants for key in each.settings))


def _digits(comparison: Comparison) -> int:
    """The number of decimal places of a score."""
    return 4 if comparison.metric == "bits_per_byte" else 2


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}"
