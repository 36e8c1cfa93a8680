"""The dates of the built-in example: one meaning a line, no date on both sides of a split, the same in every run."""

import os
import re
import subprocess
import sys
import unicodedata
from datetime import date, timedelta
from pathlib import Path

import pytest
from babel import Locale

from zhuyi.data import dates
from zhuyi.data.dates import LOCALES, Form, date_pairs, forms, write_dates
from zhuyi.errors import DataError

SMALL = {"train_lines": 3000, "dev_lines": 200, "test_lines": 300}


@pytest.mark.slow
def test_no_written_form_has_two_meanings():
    """Every day of two years (one of them a leap year) in every form, as the most forgetful tokenizer sees it."""
    meaning: dict[str, str] = {}
    first = date(2023, 1, 1)
    for day in (first + timedelta(n) for n in range(365 + 366)):
        for form in forms():
            written = unicodedata.normalize("NFKC", form.write(day)).casefold().replace("\u200f", "")
            written = " ".join(written.split())
            assert meaning.setdefault(written, day.isoformat()) == day.isoformat(), (form, written)


def test_the_year_stands_in_full_in_every_form():
    """So two years never look alike, and the proof above over two years holds for all of them."""
    for form in forms():
        for year in (dates.FIRST_YEAR, 1907, 1999, 2024, dates.LAST_YEAR):
            digits = "".join(
                str(unicodedata.digit(letter)) if letter.isdecimal() else letter
                for letter in form.write(date(year, 10, 5))
            )
            assert re.findall(r"\d{3,}", digits) == [str(year)], form


def test_what_americans_and_britons_read_differently_is_left_out():
    written = {form.write(date(2024, 3, 4)) for form in forms()}
    assert not written & {"3/4/2024", "03/04/2024", "4/3/2024", "04/03/2024", "3/4/24", "04.03.24"}
    assert {"04.03.2024", "2024/3/4", "March 4, 2024", "4 March 2024"} <= written


def test_forms_are_those_of_cldr():
    day = date(2024, 3, 7)
    written = {(form.locale, form.write(day)) for form in forms()}
    assert {
        ("de_DE", "Donnerstag, 7. März 2024"),
        ("fr_FR", "jeudi 7 mars 2024"),
        ("ru_RU", "7 марта 2024\u202fг."),
        ("zh_Hans_CN", "2024年3月7日星期四"),
        ("ko_KR", "2024년 3월 7일 목요일"),
        ("ar_EG", "٧\u200f/٣\u200f/٢٠٢٤"),
    } <= written


def test_every_locale_has_forms_in_its_own_digits():
    assert len(LOCALES) >= 12
    assert {form.locale for form in forms()} == set(LOCALES)
    for form in forms():
        own = {"latn": str.isascii, "arab": lambda digit: "\u0660" <= digit <= "\u0669"}
        is_own = own[Locale.parse(form.locale).default_numbering_system]
        digits = [letter for letter in form.write(date(2024, 3, 7)) if letter.isdecimal()]
        assert digits, form
        assert all(is_own(digit) for digit in digits), form


def test_splits_share_no_date_and_no_line_comes_twice():
    pairs = date_pairs(3, **SMALL)
    assert [len(part) for part in pairs] == [3000, 200, 300]
    days = [{iso for _, iso in part} for part in pairs]
    assert len(set.union(*days)) == sum(map(len, days))
    lines = [written for part in pairs for written, _ in part]
    assert len(set(lines)) == len(lines)
    assert all(written.splitlines() == [written] == [written.strip()] for written in lines)
    years = {int(iso[:4]) for part in pairs for _, iso in part}
    assert dates.FIRST_YEAR <= min(years) <= max(years) <= dates.LAST_YEAR


@pytest.mark.slow
def test_seed_decides_everything_also_in_another_process():
    assert date_pairs(3, **SMALL) == date_pairs(3, **SMALL)
    assert date_pairs(3, **SMALL) != date_pairs(4, **SMALL)
    code = f"from zhuyi.data.dates import date_pairs; print(ascii(tuple(date_pairs(3, **{SMALL}))))"
    other = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": "5", "LC_ALL": "tr_TR", "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert other.stdout.strip() == ascii(tuple(date_pairs(3, **SMALL)))


def test_more_training_lines_leave_dev_and_test_as_they_are():
    fewer, more = date_pairs(1, **SMALL), date_pairs(1, **{**SMALL, "train_lines": 4000})
    assert (fewer.dev, fewer.test) == (more.dev, more.test)
    assert set(fewer.train) < set(more.train)


@pytest.mark.parametrize("sizes", [{"train_lines": 10**9}, {"test_lines": 10**6, "train_lines": 0}])
def test_more_lines_than_dates_is_one_clear_line(sizes):
    with pytest.raises(DataError, match=r"^[^\n]*ask for fewer lines$"):
        date_pairs(1, **sizes)


def test_files_hold_the_pairs_line_by_line(tmp_path: Path):
    folder = tmp_path / "new" / "dates"
    pairs = date_pairs(1, train_lines=400, dev_lines=50, test_lines=50)
    write_dates(folder, pairs)
    assert sorted(path.name for path in folder.iterdir()) == [
        *("dev.iso", "dev.text", "test.iso", "test.text", "train.iso", "train.text")
    ]
    for part, lines in pairs._asdict().items():
        written, iso = ((folder / f"{part}.{side}").read_bytes().decode().split("\n") for side in ("text", "iso"))
        assert list(zip(written, iso, strict=True)) == [*lines, ("", "")]


def test_writing_again_replaces_the_files_and_keeps_the_others(tmp_path: Path):
    (tmp_path / "note.txt").write_text("mine")
    for seed in (1, 2):
        write_dates(tmp_path, date_pairs(seed, train_lines=40, dev_lines=5, test_lines=5))
    test = date_pairs(2, train_lines=40, dev_lines=5, test_lines=5).test
    assert (tmp_path / "test.iso").read_text().split() == [iso for _, iso in test]
    assert (tmp_path / "note.txt").read_text() == "mine"
    assert len(list(tmp_path.iterdir())) == 7


def test_a_failure_while_writing_leaves_the_old_files_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write_dates(tmp_path, date_pairs(1, train_lines=40, dev_lines=5, test_lines=5))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    write_text = Path.write_text

    def full_disk(path, *args, **kwargs):
        if path.name == "test.iso":
            raise OSError(28, "No space left on device")
        return write_text(path, *args, **kwargs)

    monkeypatch.setattr(Path, "write_text", full_disk)
    with pytest.raises(DataError, match="No space left on device"):
        write_dates(tmp_path, date_pairs(2, train_lines=40, dev_lines=5, test_lines=5))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_file_where_the_folder_should_be_is_one_clear_line(tmp_path: Path):
    (tmp_path / "dates").write_text("a file")
    with pytest.raises(DataError, match="choose another folder"):
        write_dates(tmp_path / "dates", date_pairs(1, train_lines=5, dev_lines=1, test_lines=1))


def test_a_form_may_be_asked_for_by_hand():
    assert Form("en_GB", "d MMMM y").write(date(1900, 1, 2)) == "2 January 1900"
