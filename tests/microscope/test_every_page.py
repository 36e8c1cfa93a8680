"""Every view, for sentences of all kinds, in both languages and themes, on screens of three sizes.

pytest tests/microscope/test_every_page.py             a few of the combinations
pytest -m long tests/microscope/test_every_page.py     all of them
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from command_line import TINY, tiny_model
from foreign_models import FAMILIES, imported, lines_of
from pages import served, settle, watch

from zhuyi.config import build_config
from zhuyi.loading import load, with_torch
from zhuyi.translator import Translator

pytestmark = [pytest.mark.unix, pytest.mark.slow]

AXE = Path(__file__).parents[2] / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
GRAVE = ("serious", "critical")
SENTENCES = {
    "short": "two dogs",
    "60 characters": "Le rendez-vous est fixé au mercredi 14 septembre 2033, 12 h.",
    "Japanese": "2024年3月7日木曜日",
    "Arabic": "الثلاثاء، ٢٧ يناير ٢٠٦٠",
    "hostile": '</script><img src=x onerror="evil = 1">\u202e{text} & \\\'"\u2028',
}
REFERENCE = "2060-01-27 <b>"
LANGUAGES, THEMES, WIDTHS = ("en", "zh"), ("light", "dark"), (1920, 1440, 390)
EVERY = list(product(SENTENCES, LANGUAGES, THEMES, WIDTHS))
SOME = [
    ("short", "en", "light", 1920),
    ("60 characters", "zh", "dark", 390),
    ("Japanese", "zh", "light", 1440),
    ("Arabic", "en", "dark", 390),
    ("hostile", "en", "light", 1440),
]
"""Each sentence, language, theme and width at least once."""


@pytest.fixture(scope="module")
def translator(tmp_path_factory: pytest.TempPathFactory) -> Translator:
    """Writes what it likes, at most eight characters of it."""
    text = {"source_kind": "character", "target_kind": "character"}
    config = build_config({"text": text, "model": {**TINY["model"], "max_length": 80}})
    folder = tmp_path_factory.mktemp("model")
    translator = load(tiny_model(folder, lambda _: config), engine="torch", device="cpu")
    return translator.with_decoding(translator.decoding(max_ratio=0.0, max_extra=8))


@pytest.fixture(scope="module")
def url(translator: Translator) -> Iterator[str]:
    with served(translator, checkpoints={"step-000001": lambda: translator}) as server:
        yield server.url


@contextmanager
def opened(browser: Any, url: str, width: int, theme: str, **asked: str) -> Iterator[Any]:
    """A page that shows an answer. Until it is closed it says nothing on the console, and asks nobody else."""
    context = browser.new_context(color_scheme=theme, reduced_motion="reduce", viewport={"width": width, "height": 900})
    tab, complaints, requests = context.new_page(), [], []
    watch(tab, complaints, "warning")
    tab.on("request", lambda request: requests.append(request.url))
    tab.goto(f"{url}#{urlencode(asked)}")
    tab.wait_for_selector("[data-output]", state="attached")
    yield tab
    assert [each for each in requests if not each.startswith((url, "data:", "blob:"))] == []
    assert complaints == []
    context.close()


def views_of(tab: Any) -> Iterator[str]:
    """Opens one view after another, and gives their titles."""
    views = tab.locator(".views button")
    titles: set[str] = set()
    for place in range(views.count()):
        views.nth(place).click()
        settle(tab)
        titles.add(title := tab.text_content("h2"))
        yield title
    assert len(titles) == views.count() > 10


def mean_loss(tab: Any) -> float:
    tab.evaluate("location.hash = location.hash.replace(/view=\\w+/, 'view=loss')")
    tab.wait_for_selector("[data-mean]")
    return float(tab.get_attribute("[data-mean]", "data-mean"))


@pytest.mark.parametrize(
    ("kind", "language", "theme", "width"),
    [*SOME, *(pytest.param(*each, marks=pytest.mark.long) for each in EVERY if each not in SOME)],
)
def test_every_view_of_every_sentence(
    browser: Any, url: str, translator: Translator, kind: str, language: str, theme: str, width: int
) -> None:
    """It fits the screen, runs no text, and its numbers are Python's."""
    text = SENTENCES[kind]
    with opened(browser, url, width, theme, text=text, target=REFERENCE, lang=language) as tab:
        if AXE.exists():
            tab.evaluate(AXE.read_text(encoding="utf-8"))
        for place, title in enumerate(views_of(tab)):
            assert tab.evaluate("document.documentElement.scrollWidth") <= width, f"{title} is wider than the screen"
            assert tab.text_content("[data-output]") == translator.translate([text])[0]
            if AXE.exists() and place % len(SENTENCES) == list(SENTENCES).index(kind):  # together all views
                found = tab.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
                assert {each["id"]: each["nodes"][0]["html"] for each in found if each["impact"] in GRAVE} == {}, title
        assert mean_loss(tab) == pytest.approx(translator.loss([text], [REFERENCE]), abs=1e-5)
        assert tab.evaluate("typeof evil") == "undefined"
        assert tab.locator("img").count() == 0


@pytest.mark.parametrize(
    "family", ["mbart-50", *(pytest.param(each, marks=pytest.mark.long) for each in FAMILIES if each != "mbart-50")]
)
def test_every_view_of_an_imported_model(browser: Any, tmp_path: Path, family: str) -> None:
    translator = with_torch(imported(family, tmp_path))
    text, reference, *_ = lines_of(family)
    asked = {"text": text, "target": reference}
    with served(translator) as server, opened(browser, server.url, 1440, "light", **asked) as tab:
        for _ in views_of(tab):
            assert tab.text_content("[data-output]") == translator.translate([text])[0].strip()
        assert mean_loss(tab) == pytest.approx(translator.loss([text], [reference]), abs=1e-5)
