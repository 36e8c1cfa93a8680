"""The page in a real browser: every view, both languages, wide and narrow; its numbers are those of the model."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from command_line import tiny_model

from zhuyi.microscope.page import file_html
from zhuyi.microscope.server import Microscope
from zhuyi.translator import Translator, load

CHROMIUM = shutil.which("chromium")
if CHROMIUM is None:
    pytest.skip("no chromium on this machine", allow_module_level=True)
playwright = pytest.importorskip("playwright.sync_api", reason="no playwright")

VIEWS = ["input", "query", "matrices", "heads", "positions", "block", "step", "mask", "cross", "loss", "beam"]
LINE, REFERENCE = "two dogs <b>", "zwei Hunde"


@pytest.fixture(scope="module")
def translator(tmp_path_factory: pytest.TempPathFactory) -> Translator:
    return load(tiny_model(tmp_path_factory.mktemp("model")), "cpu")


@pytest.fixture(scope="module")
def url(translator: Translator) -> Iterator[str]:
    with Microscope(translator.model, "tiny", translator.look) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.url
        server.shutdown()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=options)
        yield chromium
        chromium.close()


def opened(browser: Any, url: str, complaints: list[str], width: int = 1280, **selected: str) -> Any:
    tab = browser.new_page(viewport={"width": width, "height": 900})
    tab.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.goto(f"{url}#{urlencode({'text': LINE, 'target': REFERENCE, **selected})}")
    tab.wait_for_selector("[data-output]", state="attached")
    return tab


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_view_opens(browser: Any, url: str, translator: Translator, language: str, width: int) -> None:
    complaints: list[str] = []
    tab = opened(browser, url, complaints, width, lang=language, view="input")
    assert tab.text_content("[data-output]") == translator.translate([LINE])[0]
    titles = set()
    for view in VIEWS:
        tab.click(f".views button:nth-of-type({VIEWS.index(view) + 1})")
        tab.wait_for_timeout(80)
        titles.add(tab.text_content("h2"))
        assert f"view={view}" in tab.url or view == "input"
        assert tab.evaluate("document.documentElement.scrollWidth") <= width, f"{view} is wider than the screen"
    assert len(titles) == len(VIEWS)
    assert tab.get_attribute("html", "lang") == {"en": "en", "zh": "zh-Hans"}[language]
    assert complaints == []
    tab.close()


def test_printed_numbers_are_the_models(browser: Any, url: str, translator: Translator) -> None:
    complaints: list[str] = []
    tab = opened(browser, url, complaints, view="loss")
    mean = float(tab.text_content("[data-mean]").replace("−", "-"))
    assert mean == pytest.approx(translator.loss([LINE], [REFERENCE]), abs=1e-6)

    trace = translator.look(LINE, target=REFERENCE)
    tab.goto(f"{url}#{urlencode({'text': LINE, 'view': 'matrices', 'layer': 0, 'head': 1, 'i': 2, 'j': 1})}")
    tab.reload()
    tab.wait_for_selector("figure:nth-of-type(2) .spoken")
    spoken = tab.text_content("figure:nth-of-type(2) .spoken")
    assert float(spoken.rsplit(":", 1)[1]) == pytest.approx(float(trace["encoder.0.self.weights"][1, 2, 1]), abs=1e-4)
    assert complaints == []
    tab.close()


def test_arrows_move_the_cell_and_the_address_follows(browser: Any, url: str) -> None:
    tab = opened(browser, url, [], view="matrices")
    tab.wait_for_selector("figure canvas")
    tab.focus("figure canvas")
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("ArrowRight")
    assert "i=1" in tab.url
    assert "j=2" in tab.url
    tab.close()


def test_switching_a_head_off_and_back(browser: Any, url: str, translator: Translator) -> None:
    tab = opened(browser, url, [], view="heads", lang="en")
    tab.click("text=Switch encoder.0.self · 0 off")
    tab.wait_for_selector(".changed")
    tab.click("text=Switch encoder.0.self · 0 on again")
    tab.wait_for_selector(".changed", state="detached")
    assert tab.text_content("[data-output]") == translator.translate([LINE])[0]
    tab.close()


def test_a_mistake_is_told_on_the_page(browser: Any, url: str) -> None:
    tab = opened(browser, url, [], view="input")
    tab.fill("form input", "dogs " * 300)
    tab.click("form button")
    tab.wait_for_selector("[role=alert]")
    assert "shorten it" in tab.text_content("[role=alert]")
    tab.close()


def test_the_file_opens_without_a_network(browser: Any, translator: Translator, tmp_path: Path) -> None:
    written = tmp_path / "look.html"
    written.write_text(file_html(translator.look(LINE, target=REFERENCE), "tiny"), encoding="utf-8")
    context = browser.new_context(offline=True)
    tab, asked, complaints = context.new_page(), [], []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.goto(written.as_uri())
    tab.wait_for_selector("[data-output]", state="attached")
    for place in range(1, len(VIEWS) + 1):
        tab.click(f".views button:nth-of-type({place})")
        tab.wait_for_timeout(50)
    assert [each for each in asked if not each.startswith(("file:", "data:"))] == []
    assert complaints == []
    assert tab.is_disabled("form button")
    context.close()
