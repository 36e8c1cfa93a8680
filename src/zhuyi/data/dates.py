"""The built-in example: dates as people write them in sixteen locales → ISO 8601. Nothing is downloaded.

    Thursday, March 7, 2024      → 2024-03-07        7 марта 2024 г.  → 2024-03-07
    2024年3月7日木曜日           → 2024-03-07        ٧ مارس ٢٠٢٤      → 2024-03-07

The patterns are those of the Unicode CLDR (Technical Standard 35, part 4: the formats short, medium, long and full, and
the skeletons of year, month and day with or without the weekday), formatted by babel, including invisible characters.
Two kinds are left out because they are ambiguous: years of two digits (`3/7/24`), and day and month as numbers between
plain slashes (`03/04/2024` is in April in London and in March in Boston). The others name the month, or begin with the
year, or have full stops (`07.03.2024`, day first in every locale here), or have the digits and marks of Arabic
(`٧‏/٣‏/٢٠٢٤`, also day first). Lines therefore need no locale tag: the tests format every date of whole years in every
form, and find no line with two meanings.
"""

from __future__ import annotations

import os
import random
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import NamedTuple

from babel import Locale
from babel.dates import parse_pattern

from zhuyi.errors import DataError

FIRST_YEAR, LAST_YEAR = 1900, 2099
TRAIN_LINES, DEV_LINES, TEST_LINES = 60_000, 500, 2_000

LOCALES = {
    "en_US": "English (United States)",
    "en_GB": "English (United Kingdom)",
    "de_DE": "German",
    "fr_FR": "French",
    "es_ES": "Spanish",
    "it_IT": "Italian",
    "pt_BR": "Portuguese (Brazil)",
    "ru_RU": "Russian",
    "pl_PL": "Polish",
    "tr_TR": "Turkish",
    "zh_Hans_CN": "Chinese (simplified)",
    "ja_JP": "Japanese",
    "ko_KR": "Korean",
    "ar_EG": "Arabic (Egypt, with Arabic-Indic digits)",
    "hi_IN": "Hindi",
    "vi_VN": "Vietnamese",
}

_AMBIGUOUS = re.compile(r"(?<!y)yy(?!y)|[dM]/[dM]+/y")  # in CLDR's letters: yy is a year of two digits
# The numbering systems of CLDR, which babel ignores when it formats dates: it always writes 0 to 9.
_DIGITS = {"latn": {}, "arab": str.maketrans("0123456789", "٠١٢٣٤٥٦٧٨٩")}
_DATE_FIELDS = ({"y", "M", "d"}, {"y", "M", "d", "E"})


@dataclass(frozen=True)
class Form:
    """One way to write a date: a CLDR pattern (`d. MMMM y`) in a locale (`de_DE`)."""

    locale: str
    pattern: str

    def write(self, day: date) -> str:
        """`day` in this form, exactly as in CLDR, including invisible characters such as U+200F and U+202F."""
        locale = _locale(self.locale)
        return str(parse_pattern(self.pattern).apply(day, locale)).translate(_DIGITS[locale.default_numbering_system])


class DatePairs(NamedTuple):
    """(written, ISO 8601) pairs. No date occurs in two parts, whatever its form, and no line occurs twice."""

    train: list[tuple[str, str]]
    dev: list[tuple[str, str]]
    test: list[tuple[str, str]]


@cache
def forms() -> tuple[Form, ...]:
    """Every unambiguous form of every locale, in a fixed order."""
    return tuple(
        Form(locale, pattern) for locale in LOCALES for pattern in _patterns(locale) if not _AMBIGUOUS.search(pattern)
    )


def date_pairs(
    seed: int = 1, *, train_lines: int = TRAIN_LINES, dev_lines: int = DEV_LINES, test_lines: int = TEST_LINES
) -> DatePairs:
    """Draw dates from FIRST_YEAR to LAST_YEAR, each in a random form. The same `seed` gives the same pairs.

    Every line of dev and test has a date of its own, and these lines do not depend on `train_lines`. Training lines are
    drawn from the remaining dates, which may occur several times in different forms.

    Raises:
        DataError: if there are not enough dates for this many lines.
    """
    first = date(FIRST_YEAR, 1, 1)
    days = [first + timedelta(n) for n in range((date(LAST_YEAR + 1, 1, 1) - first).days)]
    available = len(days) - dev_lines - test_lines
    most = available * len(forms()) // 4  # beyond this, new lines are rarely drawn, because locales share forms
    if train_lines > most:
        raise DataError(
            f"{train_lines} training lines of dates are too many: {FIRST_YEAR} to {LAST_YEAR} gives at most "
            f"{max(0, most)} beside {dev_lines} of dev and {test_lines} of test; ask for fewer lines"
        )
    draw = random.Random(seed)
    draw.shuffle(days)
    held_out, train_days = days[: dev_lines + test_lines], days[dev_lines + test_lines :]
    pairs = [(draw.choice(forms()).write(day), day.isoformat()) for day in held_out]
    train: dict[str, str] = {}  # keyed by the written form, so that no line occurs twice
    while len(train) < train_lines:
        day = draw.choice(train_days)
        train[draw.choice(forms()).write(day)] = day.isoformat()
    return DatePairs(list(train.items()), pairs[:dev_lines], pairs[dev_lines:])


def write_dates(folder: Path, pairs: DatePairs) -> None:
    """Write `train.text`, `train.iso`, `dev.*` and `test.*` into `folder`, which is created if it does not exist.

    All six files are complete in a temporary folder before the first one replaces an old file, so that no partial file
    is ever visible.

    Raises:
        DataError: if the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".dates-") as unfinished:
            for part, lines in pairs._asdict().items():
                _write_lines(Path(unfinished, f"{part}.text"), [written for written, _ in lines])
                _write_lines(Path(unfinished, f"{part}.iso"), [iso for _, iso in lines])
            for path in sorted(Path(unfinished).iterdir()):
                os.replace(path, folder / path.name)
    except OSError as error:
        raise DataError(f"{folder}: cannot write the dates here ({error.strerror}); choose another folder") from error


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


def _patterns(locale: str) -> list[str]:
    formats = [pattern.pattern for pattern in _locale(locale).date_formats.values()]
    skeletons = _locale(locale).datetime_skeletons
    chosen = [pattern.pattern for fields, pattern in skeletons.items() if set(str(fields)) in _DATE_FIELDS]
    return sorted({*formats, *chosen})


@cache
def _locale(identifier: str) -> Locale:
    return Locale.parse(identifier)
