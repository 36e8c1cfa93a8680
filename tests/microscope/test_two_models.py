"""Two models on one page: each answers for itself, in every view, served or in a file."""

import json
import re
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from command_line import TINY, in_shape, tiny_model
from command_line import zhuyi as run
from pages import served, watch

from zhuyi.config import build_config
from zhuyi.errors import ConfigError
from zhuyi.loading import load
from zhuyi.microscope import wire
from zhuyi.microscope.page import living_html, look
from zhuyi.microscope.server import Microscope
from zhuyi.microscope.wire import embedded_weights
from zhuyi.translator import Translator

LINE, REFERENCE = "two dogs", "zwei Hunde"


def short(directory: Path) -> Translator:
    translator = load(directory, engine="torch", device="cpu")
    return translator.with_decoding(translator.decoding(max_ratio=0.0, max_extra=8))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Translator:
    return short(tiny_model(tmp_path_factory.mktemp("models") / "whole"))


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Translator:
    """Without its mask, of another size and with other tokens."""
    model = {**TINY["model"], "width": 24, "encoder_layers": 2, "without": ["mask"]}
    config = build_config({"text": {"source_kind": "character", "target_kind": "character"}, "model": model})
    with pytest.warns(match="trained without mask"):
        return short(tiny_model(tmp_path_factory.mktemp("models") / "broken", lambda _: config))


def ask(server: Microscope, path: str, body: dict[str, Any] | None = None) -> bytes:
    connection = HTTPConnection("127.0.0.1", server.server_address[1], timeout=60)
    headers = {"Content-Type": "application/json"}
    connection.request("POST" if body else "GET", path, json.dumps(body) if body else None, headers)
    answer = connection.getresponse()
    assert answer.status == 200, answer.read()
    return answer.read()


@pytest.fixture(scope="module")
def server(whole: Translator, broken: Translator) -> Iterator[Microscope]:
    with served(whole, checkpoints={"step-000001": lambda: whole}, beside=broken) as server:
        yield server


@pytest.mark.slow
def test_each_answers_for_itself(server: Microscope, whole: Translator, broken: Translator) -> None:
    model = json.loads(ask(server, "/api/model"))
    assert (model["name"], model["beside"]["name"]) == ("whole", "broken")
    assert model["checkpoints"] == ["step-000001"]
    assert model["beside"]["config"]["without"] == ["mask"]
    for checkpoint, translator in (("", whole), ("beside", broken)):
        asked = {"text": LINE, "target": REFERENCE, "checkpoint": checkpoint}
        trace = look(translator, LINE, target=REFERENCE)
        found = json.loads(ask(server, "/api/look", asked))
        assert (found["output"], found["checkpoint"]) == (trace.output, checkpoint)
        effects = json.loads(ask(server, "/api/heads", {**asked, "position": 0}))["heads"]
        assert len(effects) == 2 * (3 if checkpoint == "" else 4)
        embedded = json.loads(ask(server, f"/api/embedded?checkpoint={checkpoint}"))
        assert embedded["model"]["name"] == translator.name
        assert embedded["tokenizers"] == list(translator.tokenizers.files().values())
        assert ask(server, f"/api/weights?checkpoint={checkpoint}") == embedded_weights(translator, "float32")


@pytest.mark.slow
def test_a_page_computes_both_or_neither(
    whole: Translator, broken: Translator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "MAX_FLOAT16_PARAMETERS", wire.describe_model(whole).parameters)
    with Microscope(whole) as server:
        assert server.embedded("") is not None
    with Microscope(whole, beside=broken) as server:
        assert server.embedded("") is server.embedded("beside") is None
    larger = wire.describe_model(broken).parameters
    with pytest.raises(ConfigError, match=f"the model has {larger:,} parameters"):
        living_html(whole, {}, beside=broken)


@pytest.mark.slow
def test_the_command_takes_another_model(tmp_path: Path) -> None:
    one, other = (tiny_model(tmp_path / name) for name in ("one", "other"))
    page = tmp_path / "two.html"
    assert run("look", one, LINE, "--beside", other, "--html", page).code == 0
    ids = re.findall(r'<script type="[^"]*" id="([^"]*)">', page.read_text(encoding="utf-8"))
    assert {"embedded", "weights", "embedded.beside", "weights.beside"} <= set(ids)
    refused = run("look", one, LINE, "--beside", other, "--html", page, "--frozen")
    assert (refused.code, refused.err.count("\n")) == (2, 1)


@pytest.fixture(params=["served", "labels", "file"])
def page_of_two(
    request: pytest.FixtureRequest, server: Microscope, whole: Translator, broken: Translator, tmp_path: Path
) -> Iterator[tuple[str, Translator, str]]:
    """The address of a page, the model beside `whole`, and a reference that both can be given."""
    if request.param == "served":
        yield server.url, broken, REFERENCE
    elif request.param == "labels":  # a model of another shape, which has other views
        other = load(tiny_model(tmp_path / "labels", in_shape("encoder")), engine="torch")
        with served(whole, beside=other) as labels:
            yield labels.url, other, ""
    else:
        (tmp_path / "two.html").write_text(living_html(whole, {}, beside=broken), encoding="utf-8")
        yield (tmp_path / "two.html").as_uri(), broken, REFERENCE


@pytest.mark.unix
@pytest.mark.slow
def test_the_views_show_the_one_that_is_chosen(
    browser: Any, whole: Translator, page_of_two: tuple[str, Translator, str]
) -> None:
    complaints: list[str] = []
    url, other, reference = page_of_two
    tab = browser.new_page()
    watch(tab, complaints)
    tab.goto(f"{url}#{urlencode({'text': LINE, 'target': reference, 'view': 'loss', 'lang': 'en'})}")
    for letter, translator in (("B", other), ("A", whole), ("B", other)):
        tab.click(f".two-models button:has(b:text-is('{letter}'))")
        tab.wait_for_selector(f".two-models button[aria-pressed=true]:has(b:text-is('{letter}'))")
        assert tab.text_content("[data-output]") == translator.translate([LINE])[0]
        if reference:
            mean = float(tab.get_attribute("[data-mean]", "data-mean"))
            assert mean == pytest.approx(translator.loss([LINE], [REFERENCE]), abs=1e-5)
    both = tab.locator(".two-models button").all_text_contents()
    for shown, translator in zip(both, (whole, other), strict=True):
        assert (translator.translate([LINE])[0] or "(nothing)") in shown
    tab.close()
    assert complaints == []


@pytest.mark.unix
@pytest.mark.slow
def test_keys_alone_choose_the_model(browser: Any, server: Microscope, whole: Translator, broken: Translator) -> None:
    tab = browser.new_page()
    tab.goto(f"{server.url}#{urlencode({'text': LINE, 'view': 'whole', 'lang': 'en'})}")
    tab.wait_for_selector(".two-models button[aria-pressed=true]:has(b:text-is('A'))")
    for _ in range(40):
        tab.keyboard.press("Tab")
        if tab.evaluate("document.activeElement.closest('.two-models') !== null"):
            break
    for letter, translator in (("A", whole), ("B", broken)):
        assert tab.evaluate("document.activeElement.querySelector('b').textContent") == letter
        tab.keyboard.press("Enter")
        tab.wait_for_selector(f".two-models button[aria-pressed=true]:has(b:text-is('{letter}'))")
        assert tab.text_content("[data-output]") == translator.translate([LINE])[0]
        # What is chosen keeps the keys: the next one is one step away.
        assert tab.evaluate("document.activeElement.querySelector('b')?.textContent") == letter
        tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.closest('.transport') !== null")
    for key, view in (("3", "heads"), ("ArrowRight", "positions")):
        tab.evaluate("document.activeElement.blur()")
        tab.keyboard.press(key)
        tab.wait_for_selector(f"article[data-view={view}] .two-models")
    assert tab.locator(".two-models button[aria-pressed=true] b").text_content() == "B"
    tab.close()
