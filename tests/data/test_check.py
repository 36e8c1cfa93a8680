import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from zhuyi.config import Config, build_config
from zhuyi.data import build
from zhuyi.data import check as module
from zhuyi.data.build import build_store
from zhuyi.data.check import Report, TextReport, make_report
from zhuyi.data.corpus import Corpus
from zhuyi.data.prepare import prepare
from zhuyi.display import show_report
from zhuyi.errors import DataError
from zhuyi.text.tokenizer import Tokenizers

TRAIN = [
    ("a", "x"),
    ("a b", "x y"),
    ("a", "x"),
    ("a", "z"),
    ("", "x"),
    ("a b c d e f", "x"),
    ("a b c", "x y z"),
    ("a", "x"),
]
DEV = [("new", "x"), ("a", "x"), ("a", "new new"), ("a b", "x y"), ("b", "y")]


def write(folder: Path, name: str, pairs: list[tuple[str, str]]) -> dict[str, str]:
    specs = {}
    for side, column in (("source", 0), ("target", 1)):
        path = folder / f"{name}{side}.txt"
        path.write_text("".join(pair[column] + "\n" for pair in pairs), encoding="utf-8")
        specs[f"{name}{side}"] = str(path)
    return specs


def config_of(folder: Path, kind: str = "whitespace", long_lines: str = "skip", limit: int = 5, **sets: list) -> Config:
    specs = write(folder, "", sets.pop("train", TRAIN))
    for name, pairs in sets.items():
        specs |= write(folder, f"{name}_", pairs)
    return build_config(
        {
            "data": {**specs, "long_lines": long_lines},
            "text": {"kind": kind, "shared": False},
            "model": {"max_length": limit},
        }
    )


def report_of(config: Config) -> Report:
    assert config.data.source is not None
    assert config.data.target is not None
    corpus = Corpus(config.data.source, config.data.target)
    tokenizers = Tokenizers.train(config.text, (pair.source for pair in corpus), (pair.target for pair in corpus))
    store = build_store(corpus, tokenizers, config.model.max_length, config.data.long_lines)
    return make_report(config, tokenizers, store)


def printed(report: Report | TextReport, width: int = 80) -> str:
    console = Console(width=width, record=True, quiet=False, file=io.StringIO())
    show_report(report, console)
    return console.export_text()


def test_everything_is_counted(tmp_path: Path) -> None:
    report = report_of(config_of(tmp_path, dev=DEV, test=DEV[:1]))
    assert (report.outcome.pairs, report.outcome.kept) == (8, 6)
    assert (report.outcome.empty, report.outcome.empty_lines) == (1, (5,))
    assert (report.outcome.long, report.outcome.long_lines) == (1, (6,))
    assert report.duplicates == 2  # the third and the eighth repeat the first
    assert report.dev is not None
    assert (report.dev.pairs, report.dev.leaks, report.dev.leak_lines) == (5, 2, (2, 4))
    assert report.dev.known_sources == 3
    assert report.dev.source_unknown == pytest.approx(1 / 6)
    assert report.dev.target_unknown == pytest.approx(2 / 7)
    assert report.test is not None
    assert (report.test.leaks, report.test.known_sources) == (0, 0)
    assert (report.source.unknown, report.target.unknown) == (0, 0)


def test_lengths_are_of_what_is_kept(tmp_path: Path) -> None:
    report = report_of(config_of(tmp_path))
    lengths = report.source.lengths  # 1, 2, 1, 1, 3, 1
    assert report.source.tokens == 9
    assert lengths.longest == 3
    assert lengths.median == 1
    assert sum(lengths.histogram) == report.outcome.kept
    assert lengths.histogram == (4, 1, 1)


@pytest.mark.parametrize("longest", [1, 2, 27, 28, 29, 57, 400])
def test_histograms_count_every_line(tmp_path: Path, longest: int) -> None:
    pairs = [("a " * n, "x") for n in range(1, longest + 1)]
    lengths = report_of(config_of(tmp_path, limit=1000, train=pairs)).source.lengths
    assert sum(lengths.histogram) == longest
    assert len(lengths.histogram) <= 28
    assert lengths.histogram[0] == min(lengths.bin, longest)


def test_a_pair_is_more_than_its_sides_joined(tmp_path: Path) -> None:
    pairs = [("ab", "c"), ("a", "bc"), ("c", "ab")]
    assert report_of(config_of(tmp_path, train=pairs)).duplicates == 0


def test_duplicates_are_found_a_share_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = [(f"a{i % 37}", f"b{i % 11}") for i in range(500)]
    for sorted_at_once in (500, 100, 7):
        monkeypatch.setattr(module, "MAX_SORTED_PAIRS", sorted_at_once)
        assert report_of(config_of(tmp_path, train=pairs)).duplicates == 500 - 37 * 11


def test_bytes_count_as_unknown(tmp_path: Path) -> None:
    report = report_of(config_of(tmp_path, kind="bpe", limit=100, dev=[("☃", "x"), ("a", "x")]))
    assert report.dev is not None
    assert report.source.unknown == 0
    assert report.dev.source_unknown > 0.5
    assert report.dev.target_unknown == 0


def test_the_report_is_json(tmp_path: Path) -> None:
    report = report_of(config_of(tmp_path, train=TRAIN + REMARKED, dev=DEV + REMARKED))
    again = json.loads(json.dumps(report.to_dict()))
    assert again["outcome"]["long_lines"] == [6]
    assert again["outcome"]["marks"] == {"@@": 1}
    assert again["dev"]["empty_lines"] == [8]
    assert again["test"] is None
    assert Report.from_dict(again) == report


@pytest.mark.parametrize(("long_lines", "word"), [("skip", "left out"), ("truncate", "cut")])
def test_the_table_says_what_was_done(tmp_path: Path, long_lines: str, word: str) -> None:
    text = printed(report_of(config_of(tmp_path, long_lines=long_lines, dev=DEV)))
    assert "8 pairs" in text
    [row] = [line for line in text.splitlines() if line.startswith("over 4 tokens")]
    assert f"{word}: line 6" in row
    assert "lines 2, 4" in text
    assert "test" not in text  # there is none


REMARKED = [("a", "x"), ("same", "same"), ("", ""), ("e\u0301", "e\u0301"), ("b", "x@@ y"), ("Å", "y")]


def test_copies_and_other_forms_of_unicode_are_counted_in_every_set(tmp_path: Path) -> None:
    report = report_of(config_of(tmp_path, train=REMARKED, dev=REMARKED, test=DEV))
    assert (report.outcome.copies, report.outcome.not_nfc, report.outcome.marks) == (2, 2, {"@@": 1})
    assert report.dev is not None
    assert (report.dev.copies, report.dev.not_nfc, report.dev.marks) == (2, 2, {"@@": 1})
    assert (report.dev.empty, report.dev.empty_lines) == (1, (3,))
    assert report.test is not None
    assert (report.test.copies, report.test.not_nfc, report.test.marks, report.test.empty) == (0, 0, {}, 0)
    rows = printed(report).splitlines()
    for name, says in (
        ("source = target", "33.33 % of pairs"),
        ("dev source = target", "33.33 % of pairs"),
        ("lines not in NFC", "text.normalization"),
        ("dev lines not in NFC", "text.normalization"),
        ("dev empty lines", "scored: line 3"),
        ("test empty lines", "none"),
    ):
        (row,) = (row for row in rows if row.startswith(f"{name} "))
        assert says in row


def test_segmented_targets_are_warned_of(tmp_path: Path) -> None:
    report = report_of(config_of(tmp_path, train=REMARKED, dev=DEV * 2, test=[("a", "▁x y"), ("b", "▁y")]))
    warnings = [line for line in printed(report).splitlines() if "look segmented" in line]
    assert [warning.partition(")")[0] for warning in warnings] == [
        "the training targets look segmented (@@ in 1 of 6 lines",
        "the test targets look segmented (▁ in 2 of 2 lines",
    ]


@pytest.mark.slow
def test_many_chunks_count_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = REMARKED * 20
    config = config_of(tmp_path, train=pairs)
    monkeypatch.setattr(build, "CHUNK_PAIRS", 7)
    report = report_of(config)
    assert (report.outcome.copies, report.outcome.not_nfc, report.outcome.marks) == (40, 40, {"@@": 20})


@pytest.mark.slow
def test_the_table_fits_80_columns(tmp_path: Path) -> None:
    train = [("w " * (i % 300 + 1), "x " * (i % 40)) for i in range(1200)]
    dev = [(f"{source}new", target) for source, target in train] + train
    text = printed(report_of(config_of(tmp_path, limit=250, train=train, dev=dev, test=dev)))
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text  # nothing was cut off
    assert "█" in text
    assert "more" in text


def test_quotes_and_carriage_returns_are_named(tmp_path: Path) -> None:
    train = [('"a"', '"x"'), ('"a', 'x"'), ('"', '""'), ("a\rb", "x"), ("a", "x\ry")]
    report = report_of(config_of(tmp_path, train=train))
    assert report.outcome.quoted == 3
    assert (report.outcome.returns, report.outcome.return_lines) == (2, (4, 5))
    assert Report.from_dict(json.loads(json.dumps(report.to_dict()))) == report
    text = " ".join(printed(report).split())
    assert "in quotes 3 fields begin and end with a quote" in text
    assert "CR inside 2 kept, and ends no line: lines 4, 5" in text
    plain = printed(report_of(config_of(tmp_path)))
    assert "quote" not in plain
    assert "CR" not in plain


def test_white_space_that_is_not_kept_is_named(tmp_path: Path) -> None:
    """Of code in which it means something, nothing comes back of it."""
    code = [("f(x):", "    return x"), ("a  b", "x"), ("a\tb", "x"), ("\u3000a", "x"), ("a b  ", "x y"), (" ", "x")]
    report = report_of(config_of(tmp_path, train=code))
    assert (report.outcome.spaced, report.outcome.spaced_lines) == (4, (1, 2, 3, 4))
    text = " ".join(printed(report).split())
    assert "white space 4 not kept" in text
    assert Report.from_dict(json.loads(json.dumps(report.to_dict()))) == report
    assert "white space" not in printed(report_of(config_of(tmp_path)))


def test_a_bad_line_in_dev_is_found_before_training(tmp_path: Path) -> None:
    config = config_of(tmp_path, dev=DEV)
    (tmp_path / "dev_target.txt").write_bytes(b"x\n\xff\n")
    with pytest.raises(DataError, match=r"dev_target\.txt:2"):
        report_of(config)


def text_report(folder: Path, text: str, dev: str | None, **settings: object) -> TextReport:
    files = {"text": str(folder / "text.txt"), "dev_share": 0.0}
    (folder / "text.txt").write_text(text, encoding="utf-8")
    if dev is not None:
        files["dev_text"] = str(folder / "dev.txt")
        (folder / "dev.txt").write_text(dev, encoding="utf-8")
    sections = {"text": {"kind": "character", **settings}, "model": {"shape": "decoder"}}
    report = prepare(build_config({"data": files, **sections})).report
    assert isinstance(report, TextReport)
    return report


def test_everything_in_running_text_is_counted(tmp_path: Path) -> None:
    report = text_report(tmp_path, "ab\n\nab\n\n\nab\n狗\n", "狗\n\nnew\nab\n")
    train, dev = report.train, report.dev
    assert dev is not None
    assert (train.lines, train.blank, train.characters, train.bytes) == (7, 3, 14, 16)
    assert (dev.lines, dev.blank, dev.characters, dev.bytes) == (4, 1, 10, 12)
    assert report.repeated == 2  # blank lines do not count
    assert (report.known, report.known_lines) == (2, (1, 4))
    assert (train.tokens.tokens, train.tokens.lengths.longest, train.tokens.unknown) == (14, 3, 0)
    assert dev.tokens.unknown == pytest.approx(3 / 10)
    assert TextReport.from_dict(json.loads(json.dumps(report.to_dict()))) == report


def test_many_chunks_of_running_text_count_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "CHUNK_PAIRS", 3)
    report = text_report(tmp_path, "".join(f"{i % 7}\n\n" for i in range(40)), "".join(f"{i}\n" for i in range(20)))
    assert (report.train.blank, report.repeated) == (40, 33)
    assert (report.known, report.known_lines) == (7, tuple(range(1, 8)))


def test_blank_lines_that_are_not_kept_have_no_tokens(tmp_path: Path) -> None:
    report = text_report(tmp_path, "\n" * 500 + "a\n", None, whitespace="collapse")
    assert (report.train.blank, report.train.tokens.tokens, report.dev) == (500, 1, None)
    assert "a" not in printed(report).split()


def test_the_table_of_running_text_fits_80_columns(tmp_path: Path) -> None:
    song = "".join(f"{i} green bottles\n\n" for i in range(2000))
    text = printed(text_report(tmp_path, song, song))
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    [row] = [line for line in text.splitlines() if line.startswith("dev lines in training")]
    assert "2,000  of 2,000: lines 1, 3, 5" in row
    [row] = [line for line in text.splitlines() if line.startswith("repeated lines")]
    assert row.split()[2:] == ["none"]


def test_white_space_that_is_kept_is_not_complained_of(tmp_path: Path) -> None:
    specs = write(tmp_path, "", [("  a  b", "\tx")])
    config = build_config({"data": specs, "text": {"kind": "character", "whitespace": "keep"}})
    assert report_of(config).outcome.spaced == 0
