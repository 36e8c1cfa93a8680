"""The pictures of the whole model, of its rivals and of positions, and the tour, in a real browser."""

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from command_line import in_shape, tiny_model
from pages import served, until, watch

from zhuyi.config import Config, ModelConfig, changed
from zhuyi.errors import ZhuyiWarning
from zhuyi.loading import load
from zhuyi.microscope.page import look
from zhuyi.microscope.trace import transformer_of
from zhuyi.translator import Translator

pytestmark = [pytest.mark.unix, pytest.mark.slow]

LINE = "two dogs run"
Open = Callable[..., Any]


def with_model(**settings: Any) -> Callable[[Config], Config]:
    def change(config: Config) -> Config:
        return config.model_copy(update={"model": changed(config.model, settings)})

    return change


def short(translator: Translator) -> Translator:
    """The tiny model writes what it likes: at most eight tokens of it."""
    if translator.config.model.shape == "encoder":
        return translator
    return translator.with_decoding(translator.decoding(max_ratio=0.0, max_extra=8))


@pytest.fixture(scope="module")
def translator(tmp_path_factory: pytest.TempPathFactory) -> Translator:
    return short(load(tiny_model(tmp_path_factory.mktemp("model")), engine="torch", device="cpu"))


@pytest.fixture
def opened(browser: Any) -> Iterator[Open]:
    """Opens the page of a model, and fails at the end if the page has complained."""
    complaints: list[str] = []
    with ExitStack() as ends:

        def open_page(
            translator: Translator,
            still: bool = True,
            width: int = 1280,
            height: int = 900,
            touch: bool = False,
            text: str = LINE,
            **selected: object,
        ) -> Any:
            server = ends.enter_context(served(translator))
            motion = "reduce" if still else "no-preference"
            size = {"width": width, "height": height}
            tab = browser.new_page(viewport=size, reduced_motion=motion, has_touch=touch)
            ends.callback(tab.close)
            watch(tab, complaints)
            tab.goto(f"{server.url}#{urlencode({'text': text, 'lang': 'en', **selected})}")
            if text:
                tab.wait_for_selector("[data-output]", state="attached")
            else:
                tab.wait_for_selector("article")
            return tab

        yield open_page
    assert complaints == []


NARRATION = "document.querySelector('.narration').textContent"


def test_the_picture_is_drawn_from_the_configuration(opened: Open, translator: Translator) -> None:
    tab = opened(translator)
    names = tab.eval_on_selector_all(".whole [data-name]", "all => all.map(each => each.dataset.name)")
    trace = look(translator, LINE)
    assert {"encoder.embedding", "encoder.0.self.output", "decoder.0.cross.output", "logits"} <= set(names)
    assert set(names) <= set(trace)
    assert tab.locator(".whole .wire.memory").count() == translator.config.model.decoder_layers
    assert tab.locator(".whole .wire.residual").count() == 2 + 3


@pytest.mark.parametrize(
    ("size", "projected"),
    [
        *[((1440, 900), True), ((1920, 1080), False)],
        *(pytest.param(*each, marks=pytest.mark.long) for each in (((1440, 900), False), ((1920, 1080), True))),
    ],
)
def test_the_picture_fits_the_first_screen(
    opened: Open, translator: Translator, size: tuple[int, int], projected: bool
) -> None:
    tab = opened(translator, width=size[0], height=size[1])
    if projected:
        tab.keyboard.press("p")
        assert until(tab, "document.documentElement.classList.contains('projector')")
        tab.wait_for_timeout(300)
    box = tab.locator(".whole .signs").bounding_box()
    assert box["y"] + box["height"] <= size[1]
    assert box["height"] > size[1] / 2
    texts = tab.locator(".whole .signs text")
    letters = {float(texts.nth(place).get_attribute("font-size")) for place in range(texts.count())}
    assert min(letters) >= (24 if projected else 11)
    lines = tab.eval_on_selector_all(
        ".whole .signs > .right text:not(.layer)",
        "all => all.map(each => each.getBoundingClientRect()).map(({y, height}) => y + height / 2)",
    )
    lines.sort()
    assert all(after - before >= min(letters) for before, after in pairwise(lines))


def test_a_box_says_its_shape_and_opens_its_view(opened: Open, translator: Translator) -> None:
    tab = opened(translator, stack="encoder")
    shape = " × ".join(map(str, look(translator, LINE)["decoder.0.cross.output"].shape))
    box = tab.locator('.whole [data-name="decoder.0.cross.output"]')
    box.focus()
    assert until(tab, "document.querySelector('[data-info]').textContent.includes('decoder.0.cross.output')")
    assert shape in tab.text_content("[data-info]")
    box.press("Enter")
    assert until(tab, "location.hash.includes('view=cross') && location.hash.includes('stack=decoder')")


def test_space_presses_a_box(opened: Open, translator: Translator) -> None:
    tab = opened(translator)
    tab.press('.whole [data-name="encoder.0.feed_forward.output"]', "Space")
    assert until(tab, "location.hash.includes('view=block')")


def test_a_finger_looks_first_and_opens_then(opened: Open, translator: Translator) -> None:
    tab = opened(translator, width=390, touch=True)
    box = tab.locator('.whole [data-name="encoder.0.feed_forward.output"]')
    box.tap()
    assert until(tab, "document.querySelector('[data-info]').textContent.includes('encoder.0.feed_forward.output')")
    assert "view=block" not in tab.evaluate("location.hash")
    box.tap()
    assert until(tab, "location.hash.includes('view=block')")


def test_the_light_stays_in_sight_on_a_phone(opened: Open, translator: Translator) -> None:
    """The encoder, which stands below the decoder, while it reads; the output when a token is written."""
    tab = opened(translator, width=390, height=800, touch=True)
    time = tab.locator(".transport input[type=range]")
    window = tab.locator(".whole .window").bounding_box()
    assert window["y"] + window["height"] <= 800
    for at, name in (("0", "encoder.embedding"), (time.get_attribute("max"), "logits")):
        time.fill(at)
        box = tab.locator(f'.whole [data-name="{name}"]').bounding_box()
        assert box["y"] >= window["y"] - 1
        assert box["y"] + box["height"] <= window["y"] + window["height"] + 1


def test_the_picture_writes_the_answer_token_by_token(opened: Open, translator: Translator) -> None:
    tab = opened(translator, still=False)
    tab.select_option(".transport select", "4")
    assert until(tab, f"{NARRATION}.includes('Encoder')")
    assert until(tab, f"{NARRATION}.includes('Step 2')")
    tab.click(".transport .main")
    before = tab.input_value(".transport input[type=range]")
    tab.wait_for_timeout(200)
    assert tab.input_value(".transport input[type=range]") == before
    assert until(tab, "/[#&]t=[1-7]/.test(location.hash)")  # where it stands is the step of all views


def test_steps_and_time_can_be_chosen(opened: Open, translator: Translator) -> None:
    tab = opened(translator, t=2)
    assert "Step 3 of 8" in tab.text_content(".narration")
    tab.click("[aria-label='To the next token']")
    assert "Step 4 of 8" in tab.text_content(".narration")
    assert until(tab, "location.hash.includes('t=3')")
    tab.click("[aria-label='To the part before']")
    assert "Step 4 of 8" in tab.text_content(".narration")
    tab.locator(".transport input[type=range]").fill("0")
    assert "Encoder" in tab.text_content(".narration")


def test_people_who_want_no_motion_see_the_end(opened: Open, translator: Translator) -> None:
    tab = opened(translator)
    assert until(tab, f"{NARRATION}.includes('Step 8 of 8')")
    assert "Play" in tab.text_content(".transport .main")


CHANGES = {
    "decoder": in_shape("decoder"),
    "encoder": in_shape("encoder"),
    "labels": in_shape("encoder", "token"),
    "post": with_model(norm="post", norm_kind="layer", positions="sinusoidal"),
    "deep": with_model(encoder_layers=6, decoder_layers=6),
    "convolution": with_model(mixer="convolution", encoder_mixer="convolution", decoder_mixer="convolution"),
    "recurrence": with_model(mixer="recurrence", encoder_mixer="recurrence", decoder_mixer="recurrence"),
}


@pytest.mark.parametrize(
    ("change", "width"),
    [
        pytest.param(change, width, id=f"{name}-{width}", marks=[pytest.mark.long] if (i + j) % 2 else [])
        for i, (name, change) in enumerate(CHANGES.items())
        for j, width in enumerate((390, 1280))
    ],
)
def test_every_model_has_its_picture(
    opened: Open, tmp_path: Path, change: Callable[[Config], Config], width: int
) -> None:
    translator = short(load(tiny_model(tmp_path / "model", change), engine="torch", device="cpu"))
    tab = opened(translator, width=width, text="a dog runs")
    config: ModelConfig = translator.config.model
    layers = config.encoder_layers * (config.shape != "decoder") + config.decoder_layers * (config.shape != "encoder")
    assert tab.locator(".whole .sign.feed_forward").count() == layers
    assert until(tab, f"{NARRATION} !== ''")
    assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_what_a_broken_model_lacks_is_drawn_as_missing(opened: Open, tmp_path: Path) -> None:
    parts = ["positions", "residual", "cross"]
    directory = tiny_model(tmp_path, with_model(without=parts))
    with pytest.warns(ZhuyiWarning):
        translator = load(directory, engine="torch", device="cpu")
    tab = opened(short(translator))
    gone = tab.eval_on_selector_all(".whole .sign.gone", "all => all.map(each => each.dataset.name)")
    assert {"encoder.input", "decoder.0.cross.output", "encoder.0.self.residual"} <= set(gone)
    assert "decoder.0.self.output" not in gone


def test_a_residual_connection_begins_above_the_norm_of_the_embeddings(opened: Open, tmp_path: Path) -> None:
    directory = tiny_model(tmp_path, with_model(embedding_norm=True, positions="sinusoidal"))
    tab = opened(short(load(directory, engine="torch", device="cpu")))
    lower = tab.evaluate(
        "name => document.querySelector(`.sign.norm[data-name='${name}']`).getBBox().y", "encoder.input"
    )
    wire = tab.evaluate("(({ y, height }) => y + height)(document.querySelector('.wire.residual').getBBox())")
    assert wire < lower


def test_only_attention_turns_queries_and_keys(opened: Open, tmp_path: Path) -> None:
    change = with_model(encoder_mixer="convolution", decoder_mixer="attention")
    tab = opened(short(load(tiny_model(tmp_path, change), engine="torch", device="cpu")))
    said = tab.eval_on_selector_all(".whole .sign", "all => all.map(each => each.ariaLabel)")
    assert [each.split(":")[0] for each in said if "rotated" in each] == ["Decoder"]
    tab.keyboard.press("1")
    tab.click("text=Decoder 0, self")
    assert until(tab, "document.querySelector('.attend') !== null")


def test_a_formula_divides_what_the_model_divides(opened: Open, tmp_path: Path, translator: Translator) -> None:
    with pytest.warns(ZhuyiWarning):
        unscaled = load(tiny_model(tmp_path, with_model(without=["scaling"])), engine="torch", device="cpu")
    for view in ("query", "matrices"):
        assert opened(translator, view=view).locator(".formula msqrt").count() == 1
        tab = opened(short(unscaled), view=view)
        assert "√" not in tab.text_content("article")
        assert tab.locator(".formula msqrt").count() == 0


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_training_lacked_is_said_too(opened: Open, tmp_path: Path, language: str) -> None:
    directory = tiny_model(tmp_path, with_model(without=["begin", "end", "shift", "warmup"]))
    with pytest.warns(ZhuyiWarning):
        translator = load(directory, engine="torch", device="cpu")
    tab = opened(short(translator), lang=language)
    said = tab.text_content(".whole p.lack")
    assert all(part in said for part in ("BEGIN", "END", "shift" if language == "en" else "右移"))
    assert ("warm-up" if language == "en" else "预热") in said
    drawn = " ".join(tab.locator(".whole text.lack").all_text_contents())
    assert "BEGIN" in drawn
    assert "END" in drawn
    assert tab.locator(".whole .feedback.gone").count() == 1


def saved(tab: Any, place: str, kind: str) -> str:
    with tab.expect_download() as download:
        tab.locator(f"{place} .save button").get_by_text(kind, exact=True).first.click()
    return Path(download.value.path()).read_text(encoding="utf-8-sig")


def test_pictures_and_their_numbers_are_saved(opened: Open, translator: Translator) -> None:
    trace = look(translator, LINE)
    tab = opened(translator)
    drawn = saved(tab, ".whole", "SVG")
    assert 'href="data:image/png;base64,' in drawn
    assert "masked self-attention" in drawn
    rows = saved(tab, ".whole", "CSV").splitlines()
    assert rows[0] == '"Step","Token","p","Chosen"'
    assert [row.split(",")[0] for row in rows if row.endswith(",1")] == [str(step + 1) for step in range(8)]
    tab = opened(translator, view="block", stack="decoder")
    assert "<image" in saved(tab, "article", "SVG")
    wires = [row.split(",") for row in saved(tab, "article", "CSV").splitlines()[1:]]
    values = trace["decoder.0.self.residual"][0]
    (found,) = (row for row in wires if row[0] == '"decoder.0.self.residual"')
    assert [float(cell) for cell in found[2:]] == pytest.approx(values.tolist(), abs=1e-5)
    assert float(found[1]) == pytest.approx(float(values.norm()), abs=1e-4)
    tab = opened(translator, view="cross", layer=0, head=1)
    weights = [row.rsplit(",", 1) for row in saved(tab, ".wiring", "CSV").splitlines()[1:]]
    expected = trace["decoder.0.cross.weights"][1]
    assert [float(cell) for _, cell in weights] == pytest.approx(expected.flatten().tolist(), abs=1e-6)
    tab = opened(translator, view="positions")
    assert saved(tab, ".pairs + figcaption", "SVG").count("<circle") == translator.config.model.head_width // 2


@pytest.mark.parametrize(("view", "picture", "least"), [("block", "block-picture", 23.9), ("query", "attend", 19)])
def test_pictures_fill_a_projector(opened: Open, translator: Translator, view: str, picture: str, least: float) -> None:
    """Letters are large, all of the picture is on the screen, and another sentence can be typed above it."""
    tab = opened(translator, view=view, stack="decoder", width=1920, height=1080)
    tab.keyboard.press("p")
    tab.wait_for_timeout(300)
    drawn = f"document.querySelector('.{picture}')"
    assert tab.evaluate(f"parseFloat(getComputedStyle({drawn}).fontSize) * {drawn}.getScreenCTM().a") >= least
    box = tab.locator(f".{picture}").bounding_box()
    assert box["y"] + box["height"] <= 1080
    tab.locator(".sentence input").first.fill("a dog")
    tab.keyboard.press("Enter")
    assert until(tab, "location.hash.includes('a+dog')")


@pytest.mark.parametrize("view", ["mask", "heads"])
def test_all_of_a_matrix_is_on_a_projector(opened: Open, translator: Translator, view: str) -> None:
    tab = opened(translator, view=view, stack="decoder", width=1920, height=1080)
    tab.keyboard.press("p")
    tab.wait_for_timeout(300)
    for canvas in tab.locator(".matrix canvas[role=img]").all():
        box = canvas.bounding_box()
        assert box["y"] + box["height"] <= 1080
        assert box["x"] + box["width"] <= 1920


def words(pieces: list[str]) -> list[list[int]]:
    found: list[list[int]] = []
    for place, piece in enumerate(pieces):
        if not found or piece.startswith(("▁", "</s>")):
            found.append([])
        found[-1].append(place)
    return found


def test_pieces_are_joined_to_words(opened: Open, translator: Translator) -> None:
    line = "two dogs run at night"
    trace = look(translator, line)
    queries, keys = words(trace.pieces(trace.replay.target_out)), words(trace.source_pieces)
    assert len(keys) < len(trace.source)
    weights = trace["decoder.0.cross.weights"][0]
    expected = [float(weights[query][:, key].sum() / len(query)) for query in queries for key in keys]
    tab = opened(translator, view="cross", text=line, layer=0, head=0)
    tab.select_option(".chooser select >> nth=0", "head")
    tab.check("[data-words]")
    rows = [row.rsplit(",", 1) for row in saved(tab, ".wiring", "CSV").splitlines()[1:]]
    assert [float(number) for _, number in rows] == pytest.approx(expected, abs=1e-5)
    assert [cells.split(",")[1] for cells, _ in rows[: len(keys) - 1]] == [f'"{word}"' for word in line.split()]
    names = tab.locator(".matrix .names span:not(.lit)").all_text_contents()
    assert len(names) == len(keys)
    assert "" not in names
    assert tab.locator(".legend:has-text('averaged')").count() == 1


def test_every_name_of_a_long_sentence_can_be_read(opened: Open, tmp_path: Path) -> None:
    directory = tiny_model(tmp_path, with_model(max_length=128))
    translator = short(load(directory, engine="torch", device="cpu"))
    tab = opened(translator, view="cross", text="a dog and a man " * 4)
    tab.wait_for_selector(".matrix .names span")
    assert tab.locator(".matrix .names span:not(.lit)").count() > 40
    for place in (".matrix .names > span:not(.lit)", ".wires text[text-anchor=end]"):
        boxes = tab.eval_on_selector_all(
            place, "all => all.map(each => [each.textContent, each.getBoundingClientRect().y])"
        )
        assert all(name for name, _ in boxes)
        assert all(below - above >= 12 for (_, above), (_, below) in pairwise(boxes))


@pytest.mark.parametrize("projected", [False, True])
def test_a_query_has_room_for_a_long_sentence(opened: Open, tmp_path: Path, projected: bool) -> None:
    directory = tiny_model(tmp_path, with_model(max_length=128))
    translator = short(load(directory, engine="torch", device="cpu"))
    tab = opened(translator, view="query", text="a dog and a man " * 4)
    if projected:
        tab.keyboard.press("p")
        tab.wait_for_timeout(300)
    names = tab.locator(".attend .token-name")
    assert names.count() > 40
    picture = tab.locator(".attend").bounding_box()
    assert picture["width"] <= tab.evaluate("document.querySelector('.attend').parentElement.clientWidth")
    for name in names.all():
        box = name.bounding_box()
        assert box["x"] >= picture["x"] - 1
        assert box["y"] + box["height"] <= picture["y"] + picture["height"] + 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_paper_is_white_whatever_the_screen_is(opened: Open, translator: Translator, scheme: str) -> None:
    tab = opened(translator)
    tab.emulate_media(color_scheme=scheme)
    darkest = "canvas => Math.min(...canvas.getContext('2d').getImageData(0, 0, 1, 1).data.slice(0, 3))"
    for view, picture in (("whole", None), ("cross", ".matrix canvas")):
        tab.evaluate(f"location.hash = 'view={view}&lang=en&text={LINE}'")
        assert until(tab, f"document.querySelector('{picture or '.whole canvas'}') !== null")
        tab.wait_for_timeout(300)
        tab.evaluate("dispatchEvent(new Event('beforeprint'))")
        ink = tab.evaluate("getComputedStyle(document.documentElement).getPropertyValue('--ink')")
        assert ink == "#1b1f24"
        if picture is None:
            assert tab.get_attribute(".printed image", "href").startswith("data:image/png")
        else:
            assert tab.locator(".legend canvas").first.evaluate(darkest) == 255
        tab.evaluate("dispatchEvent(new Event('afterprint'))")
        tab.wait_for_timeout(200)
        assert tab.locator(".printed").count() == 0
        if picture:
            assert (tab.locator(".legend canvas").first.evaluate(darkest) < 50) == (scheme == "dark")


def test_attention_beside_its_rivals_needs_no_sentence(opened: Open, translator: Translator) -> None:
    tab = opened(translator, text="", view="beside")
    layers, window = (tab.locator(".dials input").nth(place) for place in range(2))

    def seen() -> list[str]:
        return [
            text.split("sees ")[1].split(" ")[0] for text in tab.locator(".net p:first-of-type").all_text_contents()
        ]

    layers.fill("1")
    assert seen() == ["9", "2", "9"]
    layers.fill("3")
    assert seen() == ["9", "4", "9"]
    window.fill("5")
    assert seen() == ["9", "7", "9"]
    steps = [
        text.split("steps is ")[1].split(",")[0] for text in tab.locator(".net p:nth-of-type(2)").all_text_contents()
    ]
    assert steps == ["1", "4", "9"]


KINDS = ["sinusoidal", "tensor2tensor", "learned", "rotary", "alibi", "relative", "none"]


@pytest.mark.parametrize("own", KINDS)
def test_every_kind_of_positions_can_be_seen(opened: Open, tmp_path: Path, own: str) -> None:
    translator = short(load(tiny_model(tmp_path, with_model(positions=own)), engine="torch", device="cpu"))
    tab = opened(translator, view="positions", i=2)
    assert tab.locator("[role=tab]").count() == len(KINDS)
    assert tab.get_attribute("[aria-selected=true]", "data-kind") == own
    assert tab.locator("[role=tab]:has-text('this model')").count() == 1
    for kind in KINDS:
        tab.click(f"[data-kind={kind}]")
        drawn = kind != "none" and (kind not in ("learned", "relative") or own == kind)
        figures = "document.querySelectorAll('[role=tabpanel] figure').length"
        assert until(tab, f"{figures} > 0" if drawn else f"{figures} === 0")
        assert tab.locator(".pairs svg").count() == (translator.config.model.head_width // 2 if kind == "rotary" else 0)


def test_sinusoids_are_the_models(opened: Open, tmp_path: Path) -> None:
    translator = short(load(tiny_model(tmp_path, with_model(positions="sinusoidal")), engine="torch", device="cpu"))
    trace = look(translator, LINE)
    added = float((trace["encoder.input"] - trace["encoder.embedding"])[2, 5])
    tab = opened(translator, view="positions", i=2, c=5)
    assert float(tab.text_content("[role=tabpanel] .spoken").rsplit(":", 1)[1].replace("−", "-")) == pytest.approx(
        added, abs=1e-4
    )


def test_shuffling_the_words_shows_what_positions_are_for(opened: Open, translator: Translator) -> None:
    tab = opened(translator, view="positions")
    tab.click("text=Shuffle the words")
    table = ".orders tbody"
    assert until(tab, f"document.querySelectorAll('{table} td bdi').length === 4")
    other = tab.locator(f"{table} th").nth(1).text_content()
    assert sorted(other.split()) == sorted(LINE.split())
    assert other != LINE
    answers = tab.locator(f"{table} td").all_text_contents()
    assert answers[0] == translator.translate([LINE])[0]
    assert answers[2] == translator.translate([other])[0]
    assert answers[1] == answers[3]  # a bag of words


def stop_of_tour(tab: Any, number: int, before: Iterable[str]) -> tuple[str, list[str]]:
    """The view and the sentences of a stop, once its view is opened: one that is none of those `before`."""
    view = "new URLSearchParams(location.hash.slice(1)).get('view') ?? 'whole'"
    assert until(tab, f"document.querySelector('.tour b').textContent.startsWith('{number} / ')")
    assert until(tab, f"document.querySelector('.tour p') && !{json.dumps([*before])}.includes({view})")
    sentences = tab.locator(".tour p").all_text_contents()
    assert not any("{" in each or "NaN" in each for each in sentences)
    return tab.evaluate(view), sentences


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_tour_is_about_this_sentence_and_this_model(opened: Open, translator: Translator, language: str) -> None:
    reference = "zwei Hunde"
    trace = look(translator, LINE, target=reference)
    assert trace.reference is not None
    tab = opened(translator, lang=language, target=reference)
    tab.click(".start-tour")
    said: dict[str, str] = {}
    for number in range(1, 12):
        view, sentences = stop_of_tour(tab, number, said)
        assert len(sentences) == 3
        said[view] = " ".join(sentences)
        if number < 11:
            tab.keyboard.press("ArrowRight")
    assert tab.locator(".tour .progress button").count() == len(said) == 11
    weights = trace["encoder.0.self.weights"]
    back = max(
        float(sum(weights[head, i, :i].sum() for i in range(1, weights.shape[1])) / (weights.shape[1] - 1))
        for head in range(weights.shape[0])
    )
    assert f"{100 * back:.0f}\u202f%" in said["heads"]
    assert f"{float(trace.reference.losses.sum()):.4f}" in said["loss"]
    assert f"{transformer_of(translator).parameter_count():,}" in said["whole"]
    count = len(trace.replay.decoder_in)
    assert str(count * (count - 1) // 2) in said["mask"]
    tab.keyboard.press("ArrowLeft")
    assert until(tab, "document.querySelector('.tour b').textContent.startsWith('10 / 11')")
    tab.keyboard.press("Escape")
    assert until(tab, "document.querySelector('.tour') === null")


@pytest.mark.parametrize("change", [in_shape("decoder"), in_shape("encoder")], ids=["decoder", "encoder"])
def test_every_shape_has_its_tour(opened: Open, tmp_path: Path, change: Callable[[Config], Config]) -> None:
    translator = short(load(tiny_model(tmp_path, change), engine="torch", device="cpu"))
    tab = opened(translator, text="a dog runs", tour=1)
    tab.wait_for_selector(".tour p")
    stops, views = tab.locator(".tour .progress button"), list[str]()
    for number in range(1, stops.count() + 1):
        stops.nth(number - 1).click()
        view, _ = stop_of_tour(tab, number, views)
        views.append(view)
    assert len(views) > 5
