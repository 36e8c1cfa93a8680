"""The page in a real browser: every view, both languages, wide and narrow; its numbers are those of the model."""

import json
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import torch
from command_line import in_shape, tiny_model
from pages import served, settle, until, watch

from zhuyi.config import Shape, changed
from zhuyi.errors import CheckpointError, ZhuyiWarning
from zhuyi.loading import load
from zhuyi.microscope import page, wire
from zhuyi.microscope.effects import head_effects, occlusion
from zhuyi.microscope.page import frozen_html, look, stored
from zhuyi.microscope.server import MAX_TRACES, Microscope
from zhuyi.microscope.trace import Trace, WhatIf
from zhuyi.microscope.wire import describe_what_if
from zhuyi.translator import Translator

pytestmark = [pytest.mark.unix, pytest.mark.slow]

VIEWS = [
    "whole",
    "input",
    "query",
    "matrices",
    "heads",
    "positions",
    "block",
    "step",
    "mask",
    "cross",
    "loss",
    "beam",
    "training",
    "beside",
]
"""Of the encoder–decoder."""
OF_SHAPE = {
    "decoder": [name for name in VIEWS if name != "cross"],
    "encoder": [
        "whole",
        "input",
        "query",
        "matrices",
        "heads",
        "positions",
        "block",
        "labels",
        "loss",
        "training",
        "beside",
    ],
}
AXE = Path(__file__).parents[2] / "frontend" / "node_modules" / "axe-core" / "axe.min.js"
GRAVE = ("serious", "critical")
LINE, REFERENCE = "two dogs <b>", "zwei Hunde"
LONGER = WhatIf(prefix=(5, 6, 7))
"""The tiny model alone writes what it likes, up to the limit of eight tokens."""


@pytest.fixture(scope="module")
def translator(tmp_path_factory: pytest.TempPathFactory) -> Translator:
    translator = load(tiny_model(tmp_path_factory.mktemp("model")), engine="torch", device="cpu")
    return translator.with_decoding(translator.decoding(max_ratio=0.0, max_extra=8))


@pytest.fixture(scope="module")
def server(translator: Translator) -> Iterator[Microscope]:
    young = dict.fromkeys(("step-000001", "step-000002"), lambda: translator)
    with served(translator, checkpoints=young) as server:
        yield server


@pytest.fixture
def large(translator: Translator, monkeypatch: pytest.MonkeyPatch) -> Iterator[Microscope]:
    """The server of a model that is too large for the page: it computes itself."""
    monkeypatch.setattr(wire, "MAX_FLOAT16_PARAMETERS", 0)
    with served(translator) as server:
        yield server


@pytest.fixture(scope="module")
def url(server: Microscope) -> str:
    return server.url


def opened(browser: Any, url: str, complaints: list[str], width: int = 1280, **selected: str) -> Any:
    tab = browser.new_page(viewport={"width": width, "height": 900})
    watch(tab, complaints)
    tab.goto(f"{url}#{urlencode({'text': LINE, 'target': REFERENCE, **selected})}")
    tab.wait_for_selector("[data-output]", state="attached")
    return tab


def opened_file(browser: Any, trace: Trace, folder: Path, complaints: list[str], **selected: str) -> Any:
    written = folder / "look.html"
    trace.save(written, frozen=True)
    tab = browser.new_page()
    watch(tab, complaints)
    tab.goto(f"{written.as_uri()}#{urlencode(selected)}")
    tab.wait_for_selector("[data-output]", state="attached")
    return tab


def go(tab: Any, view: str, views: list[str] = VIEWS) -> None:
    tab.click(f".views button:nth-of-type({views.index(view) + 1})")


@pytest.mark.parametrize(
    ("language", "width"),
    [("en", 1280), ("zh", 390), *(pytest.param(*each, marks=pytest.mark.long) for each in (("en", 390), ("zh", 1280)))],
)
def test_every_view_opens(browser: Any, url: str, translator: Translator, language: str, width: int) -> None:
    complaints: list[str] = []
    tab = opened(browser, url, complaints, width, lang=language, view="input")
    assert tab.text_content("[data-output]") == translator.translate([LINE])[0]
    titles = set()
    for view in VIEWS:
        go(tab, view)
        settle(tab)
        titles.add(tab.text_content("h2"))
        assert tab.evaluate("document.documentElement.scrollWidth") <= width, f"{view} is wider than the screen"
    assert len(titles) == len(VIEWS)
    assert until(tab, "location.hash.includes('view=beside')")
    assert tab.get_attribute("html", "lang") == {"en": "en", "zh": "zh-Hans"}[language]
    assert complaints == []
    tab.close()


def test_the_server_computes_where_the_model_is_large(browser: Any, large: Microscope, translator: Translator) -> None:
    complaints: list[str] = []
    tab = opened(browser, large.url, complaints, view="loss")
    assert not tab.evaluate("performance.getEntriesByType('resource').some(({ name }) => name.includes('model.js'))")
    loss = translator.loss([LINE], [REFERENCE])
    assert float(tab.get_attribute("[data-mean]", "data-mean")) == pytest.approx(loss, abs=1e-6)
    for view in VIEWS:
        go(tab, view)
        settle(tab)
    assert complaints == []
    tab.close()


def test_a_file_with_its_model_answers_everything(browser: Any, translator: Translator, tmp_path: Path) -> None:
    file = tmp_path / "look.html"
    young = stored(look(translator, LINE, target=REFERENCE), "step-000001")
    opened = look(translator, LINE, target=REFERENCE)
    checkpoints = {"step-000001": young, "step-000002": translator}
    opening, first = page.opening_of(opened), page.first_answer(opened)
    page.write(file, page.living_html(translator, opening, checkpoints, first=first))
    complaints: list[str] = []
    tab = browser.new_page()
    watch(tab, complaints)
    tab.on("request", lambda asked: asked.url.startswith(("file:", "blob:")) or complaints.append(asked.url))
    tab.goto(f"{file.as_uri()}#lang=en")
    tab.wait_for_selector("[data-output]", state="attached")
    assert tab.text_content("[data-output]") == translator.translate([LINE])[0]
    for view in VIEWS:
        go(tab, view)
        settle(tab)
        assert "not in this file" not in tab.text_content("article").lower(), view

    go(tab, "training")
    tab.click("text=▶ Play")
    assert until(tab, "location.hash.includes('checkpoint=')")
    assert until(tab, "!location.hash.includes('checkpoint=')")
    assert until(tab, "[...document.querySelectorAll('.checkpoints td')].every(td => td.textContent)")
    tab.fill("form input >> nth=0", "cats")
    tab.fill("form input >> nth=1", "")
    tab.click("form button")
    assert until(tab, "document.querySelector('.output').textContent.startsWith('cats')")
    assert tab.text_content("[data-output]") == translator.translate(["cats"])[0]
    # step-000001 is here with its answer to the file's own sentence alone
    assert until(tab, "[...document.querySelectorAll('.checkpoints tbody th')].length === 2")
    assert tab.text_content(".checkpoints tbody th") == "step-000002"
    tab.goto(f"{file.as_uri()}#{urlencode({'text': 'cats', 'lang': 'en', 'checkpoint': 'step-000001'})}")
    tab.wait_for_selector("[role=alert]:has-text('--checkpoints')")

    changed = json.dumps({"positions_off": True, "beam": 3, "heads_off": [["encoder.0.self", 1]], "prefix": [7]})
    tab.goto(f"{file.as_uri()}#{urlencode({'text': 'cats', 'lang': 'en', 'view': 'loss', 'if': changed})}")
    tab.wait_for_selector(".changed")
    what_if = WhatIf(frozenset({("encoder.0.self", 1)}), positions_off=True, prefix=(7,))
    right = look(translator, "cats", beam=3, what_if=what_if)
    assert until(tab, "document.querySelector('[data-mean]') !== null")
    assert tab.text_content("[data-output]") == right.output
    assert float(tab.get_attribute("[data-mean]", "data-mean")) == pytest.approx(
        float(right.replay.losses.mean()), abs=1e-5
    )
    assert complaints == []
    tab.close()


@pytest.mark.parametrize("right", [True, False])
def test_the_first_answer_does_not_wait_for_the_model(
    browser: Any, translator: Translator, tmp_path: Path, right: bool
) -> None:
    """What the file stores of it is shown. Its numbers are the model's: there are none if that answers otherwise."""
    file, opened = tmp_path / "look.html", look(translator, LINE)
    other = opened if right else look(translator, LINE, what_if=WhatIf(prefix=(7,)))
    first = page.first_answer(opened).model_copy(
        update={"trace": page.first_answer(other).trace.model_copy(update={"what_if": describe_what_if(WhatIf())})}
    )
    html = page.living_html(translator, page.opening_of(opened), first=first)
    page.write(file, re.sub(r'<script type="text/plain" id="weights">.*?</script>', "", html))
    tab = browser.new_page()
    tab.goto(f"{file.as_uri()}#lang=en")
    tab.wait_for_selector("[data-output]", state="attached")
    assert tab.text_content("[data-output]") == other.output
    tab.goto("about:blank")
    page.write(file, html)
    tab.goto(f"{file.as_uri()}#lang=en&view=loss")
    tab.wait_for_selector("[data-output]", state="attached")
    if right:
        assert until(tab, "document.querySelectorAll('.headmap button').length > 0")  # only the model knows these
    go(tab, "input")
    if right:
        assert until(tab, "document.querySelector('article canvas') !== null")
        assert tab.query_selector("[role=alert]") is None
    else:
        tab.click("[role=alert] button")
        assert until(tab, f"document.querySelector('[data-output]').textContent === {json.dumps(opened.output)}")
    tab.close()


def test_a_page_without_a_worker_computes_itself(browser: Any, translator: Translator, tmp_path: Path) -> None:
    file = tmp_path / "look.html"
    page.write(file, page.living_html(translator, {"text": LINE}).replace("worker-src blob:; ", ""))
    tab = browser.new_page()
    tab.goto(file.as_uri())
    tab.wait_for_selector("[data-output]", state="attached")
    assert tab.text_content("[data-output]") == translator.translate([LINE])[0]
    tab.close()


def test_printed_numbers_are_the_models(browser: Any, url: str, translator: Translator) -> None:
    complaints: list[str] = []
    tab = opened(browser, url, complaints, view="loss")
    loss = translator.loss([LINE], [REFERENCE])
    assert float(tab.get_attribute("[data-mean]", "data-mean")) == pytest.approx(loss, abs=1e-6)
    assert float(tab.text_content("[data-mean]")) == pytest.approx(loss, abs=5.1e-5)

    trace = look(translator, LINE, target=REFERENCE)
    tab.goto(f"{url}#{urlencode({'text': LINE, 'view': 'matrices', 'layer': 0, 'head': 1, 'i': 2, 'j': 1, 'd': 3})}")
    places = {"weights": "A′ ·", "queries": "Q = .q¹ ⋯ q", "values": "V = .v¹ ⋯ v", "context": "O = .b¹ ⋯ b"}
    for title in places.values():
        tab.wait_for_selector(f"figure:has(figcaption:text-matches('^{title}')) .spoken")
    for name, title in places.items():
        tensor = trace[f"encoder.0.self.{name}"]
        row, column = (2, 1) if name == "weights" else (1 if name == "values" else 2, 3)
        spoken = tab.locator(f"figure:has(figcaption:text-matches('^{title}')) .spoken").first.text_content()
        number = float(spoken.rsplit("=", 1)[1].replace("−", "-"))
        assert number == pytest.approx(float(tensor[1, row, column]), abs=5.1e-5), name
    assert complaints == []
    tab.close()


def test_arrows_move_the_cell_and_the_address_follows(browser: Any, url: str) -> None:
    tab = opened(browser, url, [], view="matrices")
    inputs = "figure:has(figcaption:text-matches('^I =')) canvas >> nth=0"
    tab.wait_for_selector(inputs)
    tab.focus(inputs)
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("ArrowRight")
    assert until(tab, "location.hash.includes('i=2') && location.hash.includes('c=1')")  # a column is a token
    result = "figure:has(figcaption:text-matches('^Q =')) canvas >> nth=0"
    tab.hover(result, position={"x": 3, "y": 3})
    assert until(tab, "!location.hash.includes('i=2') && location.hash.includes('c=1')")  # I has coordinates of its own
    tab.close()


def test_a_product_is_the_sum_that_is_written_below(browser: Any, url: str, translator: Translator) -> None:
    tab = opened(browser, url, [], view="matrices", layer="0", head="1", i="2", j="1", d="3")
    trace = look(translator, LINE)
    written = tab.locator(".product .numbers")
    assert until(tab, "document.querySelectorAll('.product .numbers').length === 6")
    found = [float(each.rsplit("=", 1)[1].replace("−", "-")) for each in written.all_text_contents()]
    values = [trace[f"encoder.0.self.{name}"] for name in ("queries", "keys", "values", "scores", "context", "output")]
    wanted = [values[0][1, 2, 3], values[1][1, 1, 3], values[2][1, 1, 3], values[3][1, 2, 1], values[4][1, 2, 3]]
    assert found == pytest.approx([*map(float, wanted), float(values[5][2, 0])], abs=5.1e-5)
    tab.close()


def test_switching_a_head_off_and_back(browser: Any, url: str, translator: Translator) -> None:
    tab = opened(browser, url, [], view="heads", lang="en")
    tab.click("text=Switch off: Encoder block 0, self attention, head 0")
    tab.wait_for_selector(".changed")
    go(tab, "input")
    go(tab, "heads")
    assert tab.text_content("[data-before]") == (translator.translate([LINE])[0] or "(nothing)")
    tab.click("text=Switch on again: Encoder block 0, self attention, head 0")
    tab.wait_for_selector(".changed", state="detached")
    assert tab.text_content("[data-output]") == translator.translate([LINE])[0]
    tab.close()


@pytest.mark.parametrize(("language", "words"), [("en", "shorten it"), ("zh", "请缩短")])
def test_a_mistake_is_reported_in_the_language_of_the_page(browser: Any, url: str, language: str, words: str) -> None:
    tab = opened(browser, url, [], view="input", lang=language)
    tab.fill("form input", "dogs " * 300)
    tab.click("form button")
    tab.wait_for_selector("[role=alert]")
    assert words in tab.text_content("[role=alert]")
    assert LINE in tab.text_content("[role=alert]")  # what is still shown
    tab.close()


def test_a_line_from_right_to_left_turns_nothing_else(browser: Any, translator: Translator, tmp_path: Path) -> None:
    tab = opened_file(browser, look(translator, "الثلاثاء ٢٧"), tmp_path, [], view="step", lang="en")
    places = """text => {
        const output = document.querySelector("[data-output]");
        output.textContent = text;
        return [...text].map((_, k) => {
            const range = document.createRange();
            range.setStart(output.firstChild, k);
            range.setEnd(output.firstChild, k + 1);
            return range.getBoundingClientRect().left;
        });
    }"""
    found = tab.evaluate(places, "2060-01-27")
    assert found == sorted(found)
    source, output = (tab.locator(f".output bdi >> nth={k}").bounding_box() for k in (0, 1))
    assert source["x"] + source["width"] <= output["x"]
    tab.close()


@pytest.mark.parametrize(
    ("language", "scheme"),
    [
        *[("en", "dark"), ("zh", "light")],
        *(pytest.param(*each, marks=pytest.mark.long) for each in (("en", "light"), ("zh", "dark"))),
    ],
)
def test_no_sentence_breaks_a_view(browser: Any, url: str, language: str, scheme: str) -> None:
    context = browser.new_context(color_scheme=scheme, reduced_motion="reduce", viewport={"width": 1280, "height": 900})
    tab, complaints = context.new_page(), []
    watch(tab, complaints)
    for sentence in ("a", "two dogs and two dogs run here", "二匹の犬", "الثلاثاء ٢٧", "<img onerror=x>\u202e“a"):
        tab.goto(f"{url}#{urlencode({'text': sentence, 'lang': language, 'view': 'input'})}")
        tab.wait_for_selector("[data-output]", state="attached")
        assert until(tab, f"document.querySelector('.output bdi').textContent === {json.dumps(sentence)}")
        for view in VIEWS:
            go(tab, view)
    assert complaints == []
    context.close()


def test_the_chosen_step_is_kept_in_all_views(browser: Any, url: str) -> None:
    tab = opened(browser, url, [], view="step", target="", **{"if": '{"prefix":[5,6,7]}'})
    assert until(tab, "document.querySelectorAll('.unrolled g').length > 3")
    tab.locator(".unrolled g").nth(2).dispatch_event("click")
    go(tab, "cross")
    assert until(tab, "document.querySelectorAll('.wires text.lit').length === 2")
    targets = tab.evaluate("[...document.querySelectorAll('.wires text:not([text-anchor])')].map(e => e.classList[0])")
    assert targets.index("lit") == 2
    go(tab, "loss")
    tab.wait_for_selector(".losses tr.lit")
    assert tab.evaluate("document.querySelector('.losses tr.lit').sectionRowIndex") == 2
    go(tab, "block")
    tab.select_option("article .chooser select >> nth=0", "decoder")
    assert until(tab, "[...document.querySelectorAll('.tokens .token')].findIndex(e => e.matches('.chosen')) === 2")
    tab.close()


def test_a_change_shows_what_it_makes_of_answer_and_loss(browser: Any, url: str, translator: Translator) -> None:
    lifted = look(translator, LINE, target=REFERENCE, what_if=WhatIf(mask_lifted=True))
    plain = look(translator, LINE, target=REFERENCE)
    assert lifted.reference is not None
    assert plain.reference is not None
    tab = opened(browser, url, [], view="mask", lang="en", **{"if": '{"mask_lifted":true}'})
    assert until(tab, "document.querySelectorAll('.outcome [data-before]').length === 1")
    before, after = tab.text_content(".outcome").rsplit(":", 1)[1].split("→")
    assert float(before) == pytest.approx(float(plain.reference.losses.sum()), abs=5.1e-4)
    assert float(after) == pytest.approx(float(lifted.reference.losses.sum()), abs=5.1e-4)
    assert "may not see" not in tab.text_content("article")
    go(tab, "step")
    assert "sees the whole target" in tab.text_content("article")
    assert "From the prefix" not in tab.text_content("article")
    tab.close()


def test_a_row_of_the_loss_opens_why(browser: Any, url: str, translator: Translator) -> None:
    tab = opened(browser, url, [], view="loss", lang="en")
    tab.click(".losses >> nth=0 >> tbody tr:nth-of-type(2) button")
    trace = look(translator, LINE, target=REFERENCE)
    effects = {(each.name, each.head): each.loss for each in head_effects(trace, 1, reference=True)}
    assert until(tab, "document.querySelectorAll('.headmap button').length > 0")
    for button in tab.locator(".headmap button").all():
        spoken, value = button.get_attribute("aria-label").rsplit(":", 1)
        stack, layer, kind, head = re.match(r"(\w+) block (\d+), (\w+) attention, head (\d+)", spoken).groups()
        right = effects[f"{stack.lower()}.{layer}.{kind}", int(head)]
        assert float(value.replace("−", "-")) == pytest.approx(right, rel=0.06, abs=6e-3)
    assert trace.reference is not None
    probabilities = trace.reference.values["logits"][1].softmax(dim=0)  # PAD and BOS have their share in a loss
    printed = [float(each) for each in tab.locator(".why tbody td:nth-of-type(2)").all_text_contents()]
    assert printed[0] == pytest.approx(float(probabilities[trace.reference.log_probs[1].argmax()]), abs=5.1e-5)
    right = float(tab.text_content(".why tr.lit td:nth-of-type(2)"))
    assert -math.log(right) == pytest.approx(float(trace.reference.losses[1]), rel=0.02)
    hidden = tab.locator(".why .token .small").all_text_contents()
    assert len(hidden) == len(occlusion(trace, 1, reference=True))
    tab.click(".headmap button >> nth=0")
    assert until(tab, "location.hash.includes('view=heads')")
    tab.close()


def test_keys_of_the_whole_page(browser: Any, url: str) -> None:
    tab = opened(browser, url, [], view="input", lang="en")
    for key, sign in (("3", "view=heads"), ("l", "head=1"), ("ArrowRight", "view=positions"), ("9", "view=loss")):
        tab.keyboard.press(key)
        assert until(tab, f"location.hash.includes('{sign}')"), key
    tab.keyboard.press("p")
    assert until(tab, "parseFloat(getComputedStyle(document.body).fontSize) >= 24")
    tab.keyboard.press("Escape")
    assert until(tab, "parseFloat(getComputedStyle(document.body).fontSize) === 16")
    tab.keyboard.press("p")
    tab.click(".leave")  # without a keyboard there must be a way back too
    assert until(tab, "parseFloat(getComputedStyle(document.body).fontSize) === 16")
    tab.keyboard.press("p")
    tab.keyboard.press("?")
    assert until(tab, "document.querySelector('dialog').open")
    tab.keyboard.press("Escape")
    assert until(tab, "!document.querySelector('dialog').open")
    assert tab.evaluate("document.documentElement.classList.contains('projector')")
    tab.keyboard.press("Escape")
    assert until(tab, "!document.documentElement.classList.contains('projector')")
    tab.focus("form input")
    tab.keyboard.press("3")
    assert "view=loss" in tab.evaluate("location.hash")
    tab.close()


def test_what_is_seen_can_be_saved(browser: Any, url: str, translator: Translator) -> None:
    tab = opened(browser, url, [], view="mask")
    figure = tab.locator("figure:has(.spoken)").nth(1)
    with tab.expect_download() as saved:
        figure.locator("text=CSV").click()
    rows = saved.value.path().read_text(encoding="utf-8-sig").splitlines()
    weights = look(translator, LINE)["decoder.0.self.weights"][0]
    assert len(rows) == len(weights) + 1
    assert float(rows[1].rsplit(",", len(weights))[1]) == pytest.approx(float(weights[0, 0]))
    for kind in ("PNG", "SVG"):
        with tab.expect_download() as saved:
            figure.locator(f"text={kind}").click()
        assert saved.value.suggested_filename.endswith(kind.lower())
    tab.close()


def test_what_is_never_written_is_never_offered(browser: Any, url: str) -> None:
    tab = opened(browser, url, [], view="step", lang="en", notation="torch")
    offered = tab.locator("table.bars tbody th button").all_text_contents()
    assert len(offered) > 2
    assert {"PAD", "BOS", "<pad>", "<s>"}.isdisjoint(offered)
    tab.close()


def test_the_file_opens_without_a_network(browser: Any, translator: Translator, tmp_path: Path) -> None:
    written = tmp_path / "look.html"
    written.write_text(frozen_html(look(translator, LINE, target=REFERENCE)), encoding="utf-8")
    context = browser.new_context(offline=True)
    tab, asked, complaints = context.new_page(), [], []
    tab.on("request", lambda request: asked.append(request.url))
    watch(tab, complaints)
    tab.goto(written.as_uri())
    tab.wait_for_selector("[data-output]", state="attached")
    for place in range(1, len(VIEWS) + 1):
        tab.click(f".views button:nth-of-type({place})")
        settle(tab)
    assert [each for each in asked if not each.startswith(("file:", "data:"))] == []
    assert complaints == []
    assert tab.is_disabled("form button")
    context.close()


def test_a_model_that_samples_says_so_and_has_no_beam_to_choose(browser: Any, translator: Translator) -> None:
    sampling = translator.with_decoding(translator.decoding(strategy="sampling", temperature=0.7, seed=5))
    complaints: list[str] = []
    with served(sampling) as server:
        tab = opened(browser, server.url, complaints, lang="en", view="beam")
        assert tab.text_content("[data-output]") == sampling.translate([LINE])[0]
        assert "Temperature 0.7, top-k 0, top-p 1, seed 5." in tab.text_content(".sampling")
        assert tab.is_disabled(".slider:has-text('Beam') input")
        assert tab.is_enabled(".slider:has-text('Length penalty') input")
        tab.close()
    assert complaints == []


@pytest.mark.parametrize("left", ["nothing", "weights and scores"])
def test_a_file_says_what_was_left_out(
    browser: Any, translator: Translator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: str
) -> None:
    trace = look(translator, LINE, target=REFERENCE, what_if=LONGER)
    monkeypatch.setattr(page, "MAX_FILE_BYTES", 0)
    if left != "nothing":
        size = sum(4 * 4 * trace[name].numel() // 3 + 100 for name in trace if name.endswith(("weights", "scores")))
        monkeypatch.setattr(page, "MAX_FILE_BYTES", len(frozen_html(trace).encode()) + size)
    complaints: list[str] = []
    tab = opened_file(browser, trace, tmp_path, complaints, lang="en", stack="decoder")
    for view in VIEWS:
        go(tab, view)
        settle(tab)
        shown = tab.text_content("article")
        lacks = {"input", "query", "matrices", "heads", "positions", "block"} | (
            {"mask"} if left == "nothing" else set()
        )
        assert ("Not in this file" in shown) == (view in lacks), view
        if view == "mask" and left != "nothing":
            figure = tab.locator("figure:has-text('· scores')")
            figure.locator("text=as table").click()
            last = trace["decoder.0.self.scores"].shape[-1] - 1
            assert figure.locator("tbody td").all_text_contents().count("−∞") == last * (last + 1) // 2
    assert complaints == []
    tab.close()


def test_heads_together_are_a_mean_of_weights(browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    translator = load(tiny_model(tmp_path / "model"), engine="torch", device="cpu")
    with torch.no_grad():
        translator.engine.transformer.decoder.blocks[0].cross.query.weight.mul_(30)  # so that the heads differ
    trace = look(translator, LINE, what_if=LONGER)
    monkeypatch.setattr(page, "MAX_FILE_BYTES", 0)
    tab = opened_file(browser, trace, tmp_path, [], view="cross", i="0", j="0")
    tab.select_option("article .chooser label:nth-of-type(1) select", "mean")
    tab.wait_for_timeout(60)
    drawn = tab.eval_on_selector_all(".wires line", "lines => lines.map(line => +line.getAttribute('stroke-opacity'))")
    shares = trace["decoder.0.cross.weights"].mean(dim=0)
    shares[1:, 1:] *= 0.45  # what is not selected is fainter
    assert sum(drawn) == pytest.approx(float(shares.sum()), abs=0.03 * shares.numel() / 2)
    assert max(drawn) == pytest.approx(float(shares.max()), abs=0.008)
    tab.close()


def test_a_file_shows_the_search_that_was_made(browser: Any, translator: Translator, tmp_path: Path) -> None:
    trace = look(translator, LINE, beam=3, length_penalty=0.7)
    tab = opened_file(browser, trace, tmp_path, [], view="beam")
    assert tab.locator(".slider output").all_text_contents() == ["3", "0.7"]
    tab.close()


def test_one_click_makes_a_tree_of_a_greedy_search(browser: Any, url: str, translator: Translator) -> None:
    tab = opened(browser, url, [], view="beam", lang="en", **{"if": '{"beam":1}'})
    assert tab.locator(".forest .node").count() == len(look(translator, LINE, beam=1).candidates)
    tab.click("text=Beam width 4")
    candidates = look(translator, LINE, beam=4).candidates
    assert until(tab, f"document.querySelectorAll('.forest .node').length === {len(candidates)}")
    assert tab.locator("text=is greedy search").count() == 0
    tab.close()


def test_two_quick_changes_are_both_made(browser: Any, url: str) -> None:
    tab = opened(browser, url, [], view="beam")
    for place, value in enumerate(("2", "0.5")):
        change = (
            "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input', {bubbles: true})); }"
        )
        tab.locator(".slider input").nth(place).evaluate(change, value)
    assert until(tab, "[...document.querySelectorAll('.slider output')].map(each => each.value).join() === '2,0.5'")
    tab.close()


def test_a_query_of_the_decoder_sees_no_future(browser: Any, translator: Translator, tmp_path: Path) -> None:
    trace = look(translator, LINE, what_if=LONGER)
    tab = opened_file(browser, trace, tmp_path, [], view="query", stack="decoder", kind="self", t="1")
    tab.focus(".scroll:has(.answers)")
    tab.keyboard.press("ArrowDown")
    assert until(tab, "location.hash.includes('j=1')")
    printed = tab.locator(".answers td:nth-of-type(3)").all_text_contents()
    shown = [float(each.replace("−", "-").replace("∞", "inf")) for each in printed]
    assert shown[:2] == pytest.approx(trace["decoder.0.self.scores"][0, 1, :2].tolist(), abs=5.1e-4)
    assert set(shown[2:]) == {-math.inf}
    tab.close()


def test_alibi_is_drawn_as_a_bias_on_the_scores(browser: Any, tmp_path: Path) -> None:
    directory = tiny_model(
        tmp_path / "model",
        lambda config: changed(config, {"model": changed(config.model, {"positions": "alibi"}).model_dump()}),
    )
    trace = look(load(directory, device="cpu"), LINE, what_if=LONGER)
    complaints: list[str] = []
    tab = opened_file(browser, trace, tmp_path, complaints, lang="en", view="positions", head="1", i="0")
    tab.locator("figure:has-text('the bias on the scores')").locator("text=as table").click()
    drawn = tab.locator("figure tbody tr:first-of-type td").all_text_contents()
    slope = trace["encoder.0.self.bias"][1, 0, 1].item()
    assert [float(each.replace("−", "-")) for each in drawn[:3]] == pytest.approx([0, slope, 2 * slope], abs=5e-3)
    tab.goto(tab.url.replace("view=positions", "view=query").replace("head=1", "head=0"))
    tab.wait_for_selector(".answers")
    scores = trace["encoder.0.self.scores"][0, 0] + trace["encoder.0.self.bias"][0, 0]
    shown = [float(each.replace("−", "-")) for each in tab.locator(".answers td:nth-of-type(3)").all_text_contents()]
    assert shown == pytest.approx(scores.tolist(), abs=5.1e-4)
    assert complaints == []
    tab.close()


def test_a_forgotten_trace_can_be_looked_at_again(browser: Any, large: Microscope) -> None:
    tab = opened(browser, large.url, [], view="beam", lang="en")
    for _ in range(MAX_TRACES):
        large.look(b'{"text": "a"}')
    go(tab, "matrices")
    tab.wait_for_selector("text=has forgotten")
    assert "Not in this file" not in tab.text_content("article")
    tab.click("text=Look again")
    tab.wait_for_selector("figure canvas")
    assert tab.locator("text=has forgotten").count() == 0
    tab.close()


def test_a_pasted_link_is_followed(browser: Any, url: str, translator: Translator) -> None:
    complaints: list[str] = []
    tab = opened(browser, url, complaints, view="input")
    tab.goto(f"{url}#{urlencode({'text': 'cats', 'view': 'constructor', 'layer': 99, 'stack': 'decoder', 'i': -3})}")
    assert until(tab, "document.querySelector('.output').textContent.startsWith('cats')")
    assert tab.text_content("[data-output]") == translator.translate(["cats"])[0]
    for view in ("query", "matrices", "heads", "mask", "cross"):
        go(tab, view)
        settle(tab)
    assert complaints == []
    tab.close()


def test_an_address_that_was_given_is_never_overwritten(
    browser: Any, large: Microscope, translator: Translator
) -> None:
    tab = opened(browser, large.url, [], view="input")
    tab.evaluate(
        "() => { location.hash = 'text=cats&view=loss'; document.querySelector('.views button:last-child').click(); }"
    )  # the page hears of the address only after this task
    assert until(tab, "document.querySelector('.output').textContent.startsWith('cats')")
    assert "text=cats" in tab.evaluate("location.hash")

    held: list[Any] = []
    tab.route("**/api/look", lambda route: held.append(route) if not held else route.continue_())
    tab.fill("form input", "an older question")
    tab.click("form button")
    assert until(tab, "document.querySelector('article').ariaBusy === 'true'")
    tab.evaluate("location.hash = 'text=dogs&view=loss'")
    tab.wait_for_timeout(50)
    held[0].continue_()
    assert until(tab, "document.querySelector('.output').textContent.startsWith('dogs')")
    tab.wait_for_timeout(300)
    assert "text=dogs" in tab.evaluate("location.hash")
    assert tab.text_content("[data-output]") == translator.translate(["dogs"])[0]
    tab.close()


def test_back_leads_to_the_view_before(browser: Any, url: str) -> None:
    tab = opened(browser, url, [], view="input", i="1")
    for view in ("heads", "loss"):
        go(tab, view)
    tab.go_back()
    assert until(tab, "location.hash.includes('view=heads') && document.querySelector('.multiples') !== null")
    tab.go_back()
    assert until(tab, "location.hash.includes('view=input') && location.hash.includes('i=1')")
    tab.go_forward()
    assert until(tab, "location.hash.includes('view=heads') && document.querySelector('.multiples') !== null")
    tab.close()


def test_a_link_carries_what_ifs(browser: Any, url: str, translator: Translator) -> None:
    tab = opened(browser, url, [], view="heads", lang="en")
    tab.click("text=Switch off: Encoder block 0, self attention, head 0")
    go(tab, "beam")
    slider = tab.locator(".slider input").first
    slider.focus()
    slider.press("Home")
    assert until(tab, "location.hash.includes('heads_off') && location.hash.includes('beam%22')")
    other = browser.new_page()
    other.goto(tab.url)
    other.wait_for_selector(".changed")
    printed = other.text_content(".changed")
    assert "Encoder block 0, self attention, head 0" in printed
    assert "Beam width 1" in printed
    other.click("text=Back to the model as it is")
    assert until(other, "!location.hash.includes('if=')")
    assert other.text_content("[data-output]") == translator.translate([LINE])[0]
    tab.goto(f"{url}#{urlencode({'text': 'cats', 'if': '{broken'})}")
    assert until(tab, "document.querySelector('.output').textContent.startsWith('cats')")
    other.close()
    tab.close()


def test_playing_the_training_stops_where_a_checkpoint_fails(browser: Any, translator: Translator) -> None:
    def broken() -> Translator:
        raise CheckpointError("this one is broken")

    with served(translator, checkpoints={"step-000001": broken}) as server:
        tab = opened(browser, server.url, [], view="training", lang="en")
        tab.click("text=▶ Play")
        tab.wait_for_selector("[role=alert]")
        assert until(tab, "!document.querySelector('article p button').disabled")
        tab.fill("form input", "cats")
        tab.click("form button")
        assert until(tab, "document.querySelector('.output').textContent.startsWith('cats')")
        assert "checkpoint" not in tab.evaluate("location.hash")
        tab.goto(f"{server.url}#{urlencode({'text': 'cats', 'checkpoint': 'step-000001'})}")
        tab.wait_for_selector("[role=alert]")
        assert until(tab, "!location.hash.includes('checkpoint')")
        tab.close()


def test_going_on_from_another_token_and_back(browser: Any, url: str, translator: Translator) -> None:
    tab = opened(browser, url, [], view="step", t=0, lang="en")
    plain = look(translator, LINE)
    other = int(plain.replay.log_probs[0].argsort(descending=True)[2])
    tab.click("table.bars tbody tr:nth-of-type(3) button")
    tab.wait_for_selector(".changed")
    given = look(translator, LINE, what_if=WhatIf(prefix=(other,)))
    assert tab.text_content("[data-output]") == given.output
    tab.click("text=Back to the model as it is")
    tab.wait_for_selector(".changed", state="detached")
    assert tab.text_content("[data-output]") == plain.output
    tab.close()


def test_a_drawn_token_is_forgotten_with_its_distribution(browser: Any, url: str) -> None:
    tab = opened(browser, url, [], view="step", t=0, lang="en")
    tab.click("text=Draw a token")
    assert "Drawn:" in tab.text_content("article")
    tab.fill("form input", "cats")
    tab.press("form input >> nth=0", "Enter")
    assert until(tab, "document.querySelector('.output').textContent.startsWith('cats')")
    assert "Drawn:" not in tab.text_content("article")
    assert tab.evaluate("document.activeElement.value") == "cats"  # who writes can write on
    tab.close()


def test_a_temperature_changes_the_bars(browser: Any, url: str, translator: Translator) -> None:
    tab = opened(browser, url, [], view="step")
    slider = tab.locator("input[type=range]").nth(1)
    slider.focus()
    slider.press("End")
    logits = look(translator, LINE).replay.log_probs[0] / 3.0
    shown = [float(each) for each in tab.locator("table.bars tbody td.number").all_text_contents()]
    assert shown[:20] == pytest.approx(logits.softmax(dim=0).topk(20).values.tolist(), abs=1e-4)
    assert sum(shown) == pytest.approx(1, abs=2e-3)
    tab.close()


def test_every_checkpoint_answers_each_question(browser: Any, url: str) -> None:
    """Also the one that is asked when a head is switched on again."""
    tab = opened(browser, url, [], view="training", lang="en", **{"if": '{"heads_off": [["encoder.0.self", 0]]}'})
    answered = "[...document.querySelectorAll('.checkpoints td:nth-of-type(2)')].every(td => td.textContent)"
    tab.wait_for_selector(".checkpoints")
    assert until(tab, answered)
    tab.click("text=Back to the model as it is")
    tab.wait_for_selector(".changed", state="detached")
    assert until(tab, answered)
    tab.close()


def test_one_sentence_over_the_training(browser: Any, url: str) -> None:
    tab = opened(browser, url, [], view="training", lang="en")
    tab.click("text=▶ Play")
    assert until(tab, "[...document.querySelectorAll('.checkpoints td:nth-of-type(2)')].every(td => td.textContent)")
    assert tab.locator(".checkpoints tbody tr").count() == 3
    go(tab, "input")
    tab.select_option("article select", "step-000002")
    assert until(tab, "location.hash.includes('checkpoint=step-000002')")
    tab.close()


@pytest.mark.parametrize("computes", ["page", "server"])
def test_the_answers_of_many_checkpoints_make_it_forget_nothing(
    browser: Any, translator: Translator, monkeypatch: pytest.MonkeyPatch, computes: str
) -> None:
    if computes == "server":
        monkeypatch.setattr(wire, "MAX_FLOAT16_PARAMETERS", 0)
    kept = dict.fromkeys((f"step-{step:06d}" for step in range(MAX_TRACES + 2)), lambda: translator)
    with served(translator, checkpoints=kept) as server:
        tab = opened(browser, server.url, [], view="training", lang="en")
        assert until(
            tab, "[...document.querySelectorAll('.checkpoints td:nth-of-type(2)')].every(td => td.textContent)"
        )
        go(tab, "matrices")
        tab.wait_for_selector("article canvas")
        assert "Not in this file" not in tab.text_content("article")
        tab.close()


def test_all_of_it_with_the_keyboard_alone(browser: Any, url: str) -> None:
    tab = opened(browser, url, [], lang="en")

    def tab_to(selector: str) -> None:
        for _ in range(80):
            tab.keyboard.press("Tab")
            if tab.evaluate("selector => document.activeElement.matches(selector)", selector):
                return
        raise AssertionError(f"no way to {selector}")

    tab_to(".views button:nth-of-type(5)")
    tab.keyboard.press("Enter")
    tab_to(".multiples td:nth-of-type(2) button")
    tab.keyboard.press("Enter")
    tab_to("figure canvas")
    tab.keyboard.press("ArrowRight")
    assert until(tab, "['view=heads', 'head=1', 't=1'].every(word => location.hash.includes(word))")
    tab.reload()
    tab.wait_for_selector("[data-output]", state="attached")
    tab_to(".views button:nth-of-type(12)")
    tab.keyboard.press("Enter")
    tab_to(".forest")
    for key in ("ArrowRight", "ArrowRight", "Enter"):
        tab.keyboard.press(key)
    assert until(tab, "location.hash.includes('view=step')")
    tab.close()


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is not installed: npm ci in frontend/")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_serious_is_wrong_for_people_with_impairments(browser: Any, url: str, scheme: str) -> None:
    context = browser.new_context(color_scheme=scheme, reduced_motion="reduce", viewport={"width": 1280, "height": 900})
    tab = context.new_page()
    tab.goto(f"{url}#{urlencode({'text': LINE, 'target': REFERENCE})}")
    tab.wait_for_selector("[data-output]", state="attached")
    tab.evaluate(AXE.read_text(encoding="utf-8"))
    for place, view in enumerate(VIEWS, start=1):
        tab.click(f".views button:nth-of-type({place})")
        settle(tab)
        found = tab.evaluate(
            "axe.run({resultTypes: ['violations']})" if scheme == "light" else "axe.run({runOnly: ['color-contrast']})"
        )
        serious = {each["id"]: each["nodes"][0]["html"] for each in found["violations"] if each["impact"] in GRAVE}
        assert serious == {}, view
    context.close()


def test_a_notebook_shows_it_in_a_frame(browser: Any, translator: Translator) -> None:
    complaints: list[str] = []
    tab = browser.new_page()
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.set_content(f"<html><body>{look(translator, LINE)._repr_html_()}</body></html>")
    frame = tab.frame_locator("iframe")
    frame.locator(".views button:nth-of-type(10)").click()
    frame.locator("svg.wires").wait_for()
    tab.wait_for_timeout(300)
    assert complaints == []
    tab.close()


@pytest.mark.parametrize(
    ("shape", "labels", "language"),
    [
        *[("decoder", "line", "zh"), ("encoder", "line", "en"), ("encoder", "token", "zh")],
        *(
            pytest.param(*each, marks=pytest.mark.long)
            for each in (("decoder", "line", "en"), ("encoder", "line", "zh"), ("encoder", "token", "en"))
        ),
    ],
)
def test_a_shape_has_the_views_of_its_stacks(
    browser: Any, tmp_path: Path, shape: Shape, labels: str, language: str
) -> None:
    model = load(tiny_model(tmp_path / "model", in_shape(shape, labels)), engine="torch", device="cpu")
    complaints: list[str] = []
    with served(model) as server:
        tab = opened(
            browser, server.url, complaints, lang=language, target="", view="cross", stack="decoder", layer="9"
        )
        assert tab.text_content("[data-output]") == model.translate([LINE])[0]
        assert tab.locator(".shape").text_content() != ""
        assert tab.locator(".views button").count() == len(OF_SHAPE[shape])
        titles = set()
        for view in OF_SHAPE[shape]:
            go(tab, view, OF_SHAPE[shape])
            titles.add(tab.text_content("h2"))
            settle(tab)
        assert len(titles) == len(OF_SHAPE[shape])
        assert tab.locator(".map section").count() == 1
        tab.close()
    assert complaints == []


def test_source_and_target_of_one_sequence_are_told_apart(browser: Any, tmp_path: Path) -> None:
    model = load(tiny_model(tmp_path / "model", in_shape("decoder")), engine="torch", device="cpu")
    trace = look(model, LINE, target=REFERENCE)
    begin, length = len(trace.source) - 1, len(trace.replay.decoder_in)
    tab = opened_file(browser, trace, tmp_path, [], lang="en", view="mask", notation="torch", i="5", j="2")
    for axis in (".above", ".names"):
        figure = tab.locator(f"figure:has-text('P · weights') {axis}")
        kinds = [figure.locator(f".of-{part}").count() for part in ("source", "begin", "target")]
        assert kinds == [begin, 1, length - begin - 1]
    spoken = tab.locator("figure:has-text('P · weights') .spoken").text_content()
    assert float(spoken.rsplit(":", 1)[1]) == pytest.approx(float(trace["decoder.0.self.weights"][0, 5, 2]), abs=5.1e-5)
    figure = tab.locator("figure:has-text('S · scores')")
    figure.locator("text=as table").click()
    pieces = [each.replace("▁", "␣").replace("<s>", "BOS") for each in trace.pieces(trace.replay.decoder_in)]
    names = figure.locator("tbody th").all_text_contents()
    assert [name for name, piece in zip(names, pieces, strict=True) if not piece.startswith("<0x")] == [
        piece for piece in pieces if not piece.startswith("<0x")
    ]
    assert figure.locator("tbody td").all_text_contents().count("−∞") == length * (length - 1) // 2
    go(tab, "loss", OF_SHAPE["decoder"])
    loss = model.loss([LINE], [REFERENCE])
    assert float(tab.get_attribute("[data-mean]", "data-mean")) == pytest.approx(loss, abs=1e-6)
    tab.close()


def test_labels_are_shown_with_their_probabilities(browser: Any, tmp_path: Path) -> None:
    model = load(tiny_model(tmp_path / "model", in_shape("encoder", "token")), engine="torch", device="cpu")
    trace = look(model, "a dog runs")
    tab = opened_file(browser, trace, tmp_path, [], lang="en", view="labels")
    assert tab.locator("table.labels tbody th").all_text_contents() == ["a", "dog", "runs"]
    assert tab.locator("table.labels tbody td:nth-of-type(1)").all_text_contents() == trace.output.split()
    shown = [float(each) for each in tab.locator("table.labels td.number").all_text_contents()]
    assert shown == pytest.approx(trace.replay.log_probs.max(dim=1).values.exp().tolist(), abs=5.1e-5)
    tab.click("table.labels tbody tr:nth-of-type(2)")
    others = tab.locator("table.bars:not(.labels) tbody td.number").all_text_contents()
    right = trace.replay.log_probs[1].exp().sort(descending=True).values[:4]  # there are four labels
    assert [float(each) for each in others] == pytest.approx(right.tolist(), abs=5.1e-5)
    go(tab, "loss", OF_SHAPE["encoder"])
    for row, answer in enumerate(trace.output.split()):
        tab.click(f".losses tbody tr >> nth={row}")
        assert tab.text_content(".why h3") == f"Why {answer}?"
        # Of what may be answered it is the first, even if the loss has UNK before it.
        assert f"finds {answer} most probable" in tab.text_content(".why > p")
    tab.close()


def test_a_model_without_its_mask_hides_no_score(browser: Any, tmp_path: Path) -> None:
    directory = tiny_model(
        tmp_path / "model",
        lambda config: changed(
            config, {"model": changed(config.model, {"without": ["mask", "positions"]}).model_dump()}
        ),
    )
    with pytest.warns(ZhuyiWarning, match="trained without mask, positions"):
        model = load(directory, engine="torch", device="cpu")
    trace = look(model, LINE, what_if=LONGER)
    tab = opened_file(browser, trace, tmp_path, [], lang="en", view="mask")
    assert "the causal mask, positions" in tab.text_content(".shape")
    assert "Lift the mask" not in tab.text_content("article")
    figure = tab.locator("figure:has-text('· scores')")
    figure.locator("text=as table").click()
    assert "−∞" not in figure.locator("tbody td").all_text_contents()
    go(tab, "positions")
    assert tab.get_attribute("[aria-selected=true]", "data-kind") == "none"
    tab.close()
