"""`zhuyi demo`: the main job on data that it makes itself: dates as people write them → ISO 8601."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from zhuyi.config import build_config, load_config
from zhuyi.data.dates import LOCALES, date_pairs, write_dates
from zhuyi.errors import CheckpointError
from zhuyi.files import ensure_writable, write_atomically
from zhuyi.loading import load
from zhuyi.microscope.page import look
from zhuyi.training.events import Listener, Notice
from zhuyi.training.recipe import Result, train

SHOWN_ANSWERS = 12


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
    """The microscope's page of the first one."""


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
        written, iso = shown[0]
        look(translator, written, target=iso).save(page)
    return Demo(result, len(pairs.test), answers, page)
