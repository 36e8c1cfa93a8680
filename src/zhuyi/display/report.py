"""The report on a corpus, as tables."""

import math
from functools import partial

from rich.console import Console
from rich.table import Table
from rich.text import Text

from zhuyi.data.check import HeldOutReport, LengthSummary, Report, SideReport, TextReport
from zhuyi.data.store import FilterReport
from zhuyi.text.segmentation import NOTABLE, segmentation_warning

BAR_HEIGHTS = "▁▂▃▄▅▆▇█"


def show_report(report: Report | TextReport, console: Console) -> None:
    """Print the report, in at most 80 columns."""
    if isinstance(report, TextReport):
        _show_text(report, console)
        return
    outcome = report.outcome
    kept = "all kept" if outcome.kept == outcome.pairs else f"{outcome.kept:,} kept"
    console.print(f"[bold]{outcome.pairs:,} pairs[/], {kept}", highlight=False)
    for mixed in report.mixed:
        kept = "" if mixed.kept == mixed.pairs else f", {mixed.kept:,} kept"
        console.print(
            f"mixed in: {mixed.drawn:,} pairs an epoch, of {mixed.pairs:,} in {mixed.source}{kept}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    console.print(_lengths_table({"source": report.source, "target": report.target}))
    console.print(_findings_table(report))
    for name, found in (("training", outcome), ("dev", report.dev), ("test", report.test)):
        if found and (warning := segmentation_warning(f"the {name} targets", found.marks, found.pairs)):
            console.print(Text(warning, "yellow"), soft_wrap=True)


def _show_text(report: TextReport, console: Console) -> None:
    parts = {name: part for name, part in (("train", report.train), ("dev", report.dev)) if part is not None}
    lines = sum(part.lines for part in parts.values())
    console.print(f"[bold]Running text[/] of {lines:,} lines", highlight=False)
    sizes = Table(box=None, padding=(0, 2, 0, 0))
    sizes.add_column(no_wrap=True)
    for heading in ("characters", "bytes", "lines", "blank", "unknown tokens"):
        sizes.add_column(heading, justify="right", header_style="dim", no_wrap=True)
    for name, part in parts.items():
        numbers = (part.characters, part.bytes, part.lines, part.blank)
        sizes.add_row(name, *(f"{number:,}" for number in numbers), _percent(part.tokens.unknown))
    console.print(sizes)
    console.print(_lengths_table({name: part.tokens for name, part in parts.items()}))
    findings = _findings()
    _add(
        findings,
        "repeated lines",
        report.repeated,
        f"of {report.train.lines - report.train.blank:,} that are not blank",
    )
    if report.dev is not None:
        known = f"of {report.dev.lines - report.dev.blank:,}: {_listed(report.known_lines, report.known)}"
        _add(findings, "dev lines in training", report.known, known)
    console.print(findings)


def _lengths_table(sides: dict[str, SideReport]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    for heading in ("tokens", "median", "95 %", "longest"):
        table.add_column(heading, justify="right", header_style="dim", no_wrap=True)
    table.add_column("lines by tokens", header_style="dim", no_wrap=True)
    for name, side in sides.items():
        lengths = side.lengths
        numbers = (side.tokens, lengths.median, lengths.most, lengths.longest)
        table.add_row(name, *(f"{number:,}" for number in numbers), _histogram(lengths))
    return table


def _histogram(lengths: LengthSummary) -> Text:
    tallest = max(lengths.histogram)
    blocks = (
        BAR_HEIGHTS[math.ceil(count / tallest * len(BAR_HEIGHTS)) - 1] if count else " " for count in lengths.histogram
    )
    end = len(lengths.histogram) * lengths.bin
    more = "+" if lengths.longest > end else ""
    return Text.assemble(("1 ", "dim"), ("".join(blocks), "cyan"), (f" {end}{more}", "dim"))


def _findings_table(report: Report) -> Table:
    outcome = report.outcome
    done = {"skip": "left out", "truncate": "cut"}[outcome.long_policy]
    held_out = [(name, found) for name, found in (("dev", report.dev), ("test", report.test)) if found is not None]
    table = _findings()
    add = partial(_add, table)
    add("empty lines", outcome.empty, f"left out: {_listed(outcome.empty_lines, outcome.empty)}")
    add(f"over {report.limit - 1} tokens", outcome.long, f"{done}: {_listed(outcome.long_lines, outcome.long)}")
    add("over the output limit", report.over_output, "targets that decoding may not write to their end")
    if outcome.returns:
        add("CR inside", outcome.returns, f"kept, and ends no line: {_listed(outcome.return_lines, outcome.returns)}")
    if outcome.quoted > NOTABLE * outcome.pairs:
        add("in quotes", outcome.quoted, "fields begin and end with a quote: a table with quotes is a .csv")
    if outcome.spaced:
        spaced = _listed(outcome.spaced_lines, outcome.spaced)
        add("white space", outcome.spaced, f"not kept: indents, tabs and runs, now single spaces: {spaced}")
    add("duplicates", report.duplicates, "repeat an earlier pair exactly")

    def add_remarks(name: str, found: FilterReport | HeldOutReport) -> None:
        if found.copies:
            share = _percent(found.copies / found.pairs)
            add(f"{name}source = target", found.copies, f"{share} of pairs: a copy is right")
        if found.not_nfc:
            add(f"{name}lines not in NFC", found.not_nfc, "made NFC, unless text.normalization is none")

    add_remarks("", outcome)
    for name, found in held_out:
        leaks = f"of {found.pairs:,}, a leak: {_listed(found.leak_lines, found.leaks)}"
        add(f"{name} empty lines", found.empty, f"scored: {_listed(found.empty_lines, found.empty)}")
        add_remarks(f"{name} ", found)
        add(f"{name} pairs in training", found.leaks, leaks)
        add(f"{name} over {report.limit - 1} tokens", found.long, "cut in use, and in validation")
        add(f"{name} over the output limit", found.over_output, "targets that decoding may not write to their end")
        add(f"{name} sources in training", found.known_sources, f"of {found.pairs:,}, whatever their target")
    for name, source, target in (
        ("training", report.source.unknown, report.target.unknown),
        *((name, found.source_unknown, found.target_unknown) for name, found in held_out),
    ):
        rate = f"source {_percent(source)}, target {_percent(target)}" if source or target else "[green]none[/]"
        table.add_row(f"unknown in {name}", "" if source or target else rate, rate if source or target else "")
    return table


def _findings() -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column()
    return table


def _add(table: Table, what: str, count: int, then: str) -> None:
    table.add_row(what, f"[yellow]{count:,}[/]" if count else "[green]none[/]", f"[dim]{then}[/]" if count else "")


def _listed(lines: tuple[int, ...], count: int) -> str:
    more = f" and {count - len(lines):,} more" if count > len(lines) else ""
    return f"{'line' if count == 1 else 'lines'} {', '.join(map(str, lines))}{more}"


def _percent(share: float) -> str:
    if not share:
        return "0 %"
    return f"{share:.2%}".replace("%", " %") if share >= 0.00005 else "< 0.01 %"
