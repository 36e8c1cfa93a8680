"""`zhuyi demo`: the main job on data that it makes itself: dates as people write them → ISO 8601."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib import resources
from pathlib import Path

from zhuyi.config import build_config, load_config
from zhuyi.data.dates import LOCALES, date_pairs, write_dates
from zhuyi.directory import checkpoints
from zhuyi.errors import CheckpointError
from zhuyi.files import ensure_writable, write_atomically
from zhuyi.loading import load
from zhuyi.microscope.page import save_page
from zhuyi.microscope.run import EXAMPLES
from zhuyi.training.events import Listener, Notice
from zhuyi.training.recipe import Result, train
from zhuyi.translator import Translator

SHOWN_ANSWERS = 12
OF_TEST = ("mardi 25 mars 1986", "2017年3月8日星期三", "الثلاثاء، ٢٧ يناير ٢٠٦٠", "pt., 28 września 2035")
"""Test dates to begin with in the microscope."""
SURE = math.log(0.8)
"""A token's log-probability from which on the model does not hesitate."""
OF_NO_LOCALE = (
    ("25/03/86", "1986-03-25"),
    ("March the 7th, 2024", "2024-03-07"),
    ("Samstag, 6. Jnuar 2018", "2018-01-06"),
    ("12 Agust 2031", "2031-08-12"),
    ("14 Setember 2033", "2033-09-14"),
    ("9 Dcember 2011", "2011-12-09"),
    ("2 Octobr 1987", "1987-10-02"),
    ("mercredi 21 aot 2003", "2003-08-21"),
    ("3 July 1998 at noon", "1998-07-03"),
    ("Rendez-vous le 14 septembre 2033", "2033-09-14"),
)
"""Dates as no locale writes them, some misspelt: a model that makes no mistake in the test hesitates and errs here."""


@dataclass(frozen=True)
class Demo:
    """What a demo has made. Of an interrupted one there is no answer and no page."""

    result: Result
    """Of the training run."""
    test_pairs: int
    """Dates that were not trained on."""
    answers: list[tuple[str, str, str]]
    """Some of them: as people write it, as ISO 8601, and as the model does."""
    page: Path
    """The microscope's page with the model in it, which opens with a date at which it hesitates."""


def demo(minutes: float = 2.0, out: str | Path = "zhuyi-demo", listeners: Sequence[Listener] = ()) -> Demo:
    """Make the dates, train on them, and ask the model for dates that it has never seen.

    Args:
        minutes: of training.
        out: gets the data, the configuration and the model.
        listeners: as for `train`.

    Raises:
        ConfigError: if no run can have so many minutes.
        CheckpointError: if `out` exists already, or cannot be written.
    """
    budget = f"training.minutes={minutes}"
    build_config({}, [budget])
    out = Path(out)
    if out.exists() and any(out.iterdir()):
        raise CheckpointError(f"{out} exists already: remove it, or choose another place with --out")
    ensure_writable(out)
    pairs = date_pairs()
    write_dates(out / "dates", pairs)
    configuration = out / "dates.toml"
    write_atomically(configuration, resources.files("zhuyi").joinpath("dates.toml").read_bytes())
    introduction = Notice(
        f"Dates of {len(LOCALES)} locales → ISO 8601. {len(pairs.train):,} pairs to learn from, "
        f"{len(pairs.test):,} of other dates to be tested on; an encoder–decoder Transformer from scratch."
    )
    for listener in listeners:
        listener(introduction)
    result = train(load_config(configuration, [budget]), out, listeners=listeners)
    page = out / "look.html"
    answers: list[tuple[str, str, str]] = []
    if not result.interrupted:
        translator, shown = load(out), pairs.test[:SHOWN_ANSWERS]
        translations = translator.translate([written for written, _ in shown])
        answers = [(*pair, translation) for pair, translation in zip(shown, translations, strict=True)]
        examples = _examples(translator, dict(pairs.test))
        lines = "".join(f"{written}\t{iso}\n" for written, iso in examples)
        write_atomically(out / EXAMPLES, lines.encode())
        kept = {path.name: partial(load, path) for path in checkpoints(out)}
        save_page(page, translator, *examples[0], kept)
    return Demo(result, len(pairs.test), answers, page)


def _examples(translator: Translator, test: Mapping[str, str]) -> list[tuple[str, str]]:
    """What to look at: first a date of which the model is not sure, a right one if there is, and last a mistake."""
    answers = translator.hypotheses([written for written, _ in OF_NO_LOCALE])
    found = [
        (pair, best.text == pair[1], min(best.token_logprobs))
        for pair, (best, *_) in zip(OF_NO_LOCALE, answers, strict=True)
    ]
    opening, *_ = min(found, key=lambda each: (not (each[1] and each[2] < SURE), each[2]))
    mistakes = [pair for pair, right, _ in found if not right and pair != opening]
    return [opening, *((written, test[written]) for written in OF_TEST), *mistakes[:1]]
