"""The model inside the page computes what Python's does: every value by its name, in every configuration.

The built script runs in a browser's worker, as in a page; one process answers for all configurations.
"""

import base64
import json
import math
import unicodedata
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from contracts.conftest import CONFIGS, SMALL, every
from interop.byte_level_models import byte_level
from interop.sentencepiece_models import EVERY, LINES, NAMES, imported, trained, words
from torch import Tensor

from zhuyi.checkpoint import build_model
from zhuyi.config import (
    NOT_IN_SHAPE,
    Config,
    DataConfig,
    DecodingConfig,
    ModelConfig,
    Part,
    StoppingRule,
    TextConfig,
    TokenKind,
)
from zhuyi.interop.tokenizers import sentencepiece
from zhuyi.interop.tokenizers.vocabulary import Vocabulary, word_tokenizer
from zhuyi.loading import build_translator
from zhuyi.microscope import schema
from zhuyi.microscope.effects import head_effects, occlusion
from zhuyi.microscope.page import asset, look
from zhuyi.microscope.trace import TextError, WhatIf, transformer_of
from zhuyi.microscope.wire import (
    MAX_LISTED,
    PARAMETERS,
    describe_model,
    describe_trace,
    embed_all,
    embedded_weights,
    tensors,
)
from zhuyi.text.template import Template
from zhuyi.text.tokenizer import BYTES, Tokenizer, Tokenizers
from zhuyi.translator import Translator

pytestmark = [pytest.mark.unix, pytest.mark.slow]

FLOAT32 = 1e-4
"""Of the largest number of a tensor."""
FLOAT16 = 2e-2
"""The same with weights of float16, which themselves are off by up to 5e-4 of their size."""

WORKER = """script => {
  const worker = new Worker(URL.createObjectURL(new Blob([script], { type: "text/javascript" })));
  const waiting = new Map();
  worker.onmessage = ({ data }) => {
    waiting.get(data.number)(data);
    waiting.delete(data.number);
  };
  let number = 0;
  const bytes = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0)).buffer;
  const text = ({ buffer }) => {
    const all = new Uint8Array(buffer), parts = [];
    for (let first = 0; first < all.length; first += 9999) {
      parts.push(String.fromCharCode(...all.subarray(first, first + 9999)));
    }
    return btoa(parts.join(""));
  };
  const ask = (method, ...given) => new Promise((resolve) => {
    waiting.set(++number, resolve);
    worker.postMessage({ number, method, given });
  });
  window.ask = async (calls) => {
    const found = [];
    for (const [method, ...given] of JSON.parse(calls)) {
      found.push(await ask(method, ...(method === "load" ? [given[0], given[1], bytes(given[2])] : given)));
    }
    return JSON.stringify(found);
  };
  window.numbers = async (id, names) => {
    const found = {};
    for (const name of names) found[name] = text((await ask("floats", id, name)).value);
    return found;
  };
}"""


class PageModel:
    """The model in a page, as the page itself asks it."""

    def __init__(self, tab: Any) -> None:
        self._tab = tab
        tab.evaluate(WORKER, asset("model.js"))

    def load(self, translator: Translator, precision: schema.Precision = "float32") -> None:
        described = embed_all(describe_model(translator), translator)[""].model_dump(mode="json")
        described["model"]["precision"] = precision
        weights = base64.b64encode(embedded_weights(translator, precision)).decode()
        (loaded,) = self._ask(("load", "", described, weights))
        assert "problem" not in loaded, loaded

    def answer(self, method: str, *given: Any) -> Any:
        (reply,) = self._ask((method, *given))
        assert "value" in reply, reply
        return reply["value"]

    def refusal(self, method: str, *given: Any) -> dict[str, Any]:
        (reply,) = self._ask((method, *given))
        return reply["problem"]

    def look(self, **request: Any) -> tuple[schema.Trace, dict[str, np.ndarray]]:
        trace = schema.Trace.model_validate(self.answer("look", request))
        names = [name for name in trace.shapes if not name.startswith(PARAMETERS)]
        return trace, self.numbers(trace, names)

    def numbers(self, trace: schema.Trace, names: list[str]) -> dict[str, np.ndarray]:
        texts = self._tab.evaluate("([id, names]) => numbers(id, names)", [trace.id, names])
        flat = {name: np.frombuffer(base64.b64decode(text), "<f4") for name, text in texts.items()}
        return {name: flat[name].reshape(trace.shapes[name]) for name in names}

    def _ask(self, *calls: tuple[Any, ...]) -> Any:
        return json.loads(self._tab.evaluate("calls => ask(calls)", json.dumps(calls)))


@pytest.fixture(scope="module")
def page(browser: Any) -> PageModel:
    return PageModel(browser.new_page())


@cache
def tokenizers(text: TextConfig) -> Tokenizers:
    return Tokenizers.train(
        text, ["a dog runs", "two cats", "a cat runs"], ["ein Hund rennt", "zwei Katzen", "eine Katze"]
    ).with_templates_of(text)


def made(
    config: ModelConfig, text: TextConfig | None = None, data: DataConfig | None = None, **settings: Any
) -> Translator:
    """A model with weights none of which is special."""
    if text is None:
        kinds = {"source_kind": "whitespace" if config.labels == "token" else "bpe", "target_kind": "whitespace"}
        text = TextConfig(**(kinds if config.shape == "encoder" else {}), vocabulary=300)
    decoding = DecodingConfig(**{"max_ratio": 0.0, "max_extra": 8, "beam": 2, **settings})
    torch.manual_seed(1)
    model = build_model(Config(data=data or DataConfig(), model=config, text=text, decoding=decoding), tokenizers(text))
    with torch.no_grad():
        for parameter in model.transformer.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return build_translator(replace(model, transformer=model.transformer.eval()), "cpu")


def same(trace: schema.Trace, values: dict[str, np.ndarray], expected: Any, tolerance: float) -> None:
    """The page's answer is Python's."""
    wanted = describe_trace(expected)
    assert trace.shapes == wanted.shapes
    for name, tensor in tensors(expected).items():
        if not name.startswith(PARAMETERS):
            close(name, values[name], tensor, tolerance)
    assert difference(settled(trace.model_dump()), settled(wanted.model_dump()), tolerance) == []


def close(name: str, value: np.ndarray, tensor: Tensor, tolerance: float) -> None:
    right = tensor.double().numpy()
    if tensor.dtype == torch.bool:
        assert (value == right).all(), name
    else:
        assert np.abs(value - right).max() <= tolerance * max(np.abs(right).max(), 1e-3), name


LEFT_OUT = {"id", "difference"}
"""The trace's number, and the difference between decoding and replay, which is that of each program."""


def difference(one: Any, other: Any, tolerance: float, path: str = "") -> list[str]:
    """The places where two messages are not the same; numbers that are no integers may be off by `tolerance`."""
    if isinstance(one, dict):
        keys = [key for key in one if key not in LEFT_OUT]
        return [each for key in keys for each in difference(one[key], other[key], tolerance, f"{path}.{key}")]
    if isinstance(one, list | tuple) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [each for k, pair in pairs for each in difference(*pair, tolerance, f"{path}[{k}]")]
    if isinstance(one, float) and isinstance(other, float):
        equal = math.isclose(one, other, rel_tol=10 * tolerance, abs_tol=10 * tolerance)
    else:
        equal = one == other
    return [] if equal else [f"{path}: {one} is not {other}"]


def settled(message: dict[str, Any]) -> dict[str, Any]:
    """A trace in which what is equally probable, to four digits, cannot have changed places."""
    replays = [each for each in (message["replay"], message["reference"]) if each is not None]
    for step in (step for replay in replays for step in replay["steps"]):
        log_probs = [each["log_prob"] for each in step["top"]]
        assert log_probs == sorted(log_probs, reverse=True)
        listed = [
            each for each in step["top"] if len(log_probs) < MAX_LISTED or each["log_prob"] > log_probs[-1] + 1e-3
        ]
        step["top"] = sorted(listed, key=lambda each: each["id"])
    message["candidates"].sort(key=lambda each: each["number"])
    return message


LINE = "two dogs 👩 run"
REFERENCE = {"line": "Hund", "token": "ein Hund rennt ein"}


def broken() -> dict[str, ModelConfig]:
    """Each part taken away from each shape that has it."""
    return {
        f"{shape}-without-{part}": ModelConfig(**{**SMALL, "shape": shape, "positions": "learned", "without": (part,)})
        for part in get_args(Part)
        for shape in ("encoder-decoder", "decoder", "encoder")
        if part not in NOT_IN_SHAPE[shape]
    }


@every({**CONFIGS, **broken()})
def test_every_value_is_pythons(page: PageModel, config: ModelConfig) -> None:
    translator = made(config)
    reference = REFERENCE[config.labels if config.shape == "encoder" else "line"]
    page.load(translator)
    if config.shape == "encoder":
        same(*page.look(text=LINE, target=reference), look(translator, LINE, target=reference), FLOAT32)
        return
    same(*page.look(text=LINE, target=reference, beam=3), look(translator, LINE, target=reference, beam=3), FLOAT32)
    what_if = WhatIf(positions_off=True, mask_lifted=config.decoder_mixer == "attention", prefix=(5, 7))
    changed = {"positions_off": True, "mask_lifted": what_if.mask_lifted, "prefix": [5, 7]}
    same(*page.look(text=LINE, beam=1, **changed), look(translator, LINE, beam=1, what_if=what_if), FLOAT32)


def test_any_heads_can_be_off(page: PageModel) -> None:
    off = [("decoder.1.cross", 0), ("decoder.0.self", 3), ("encoder.1.self", 2)]
    translator = made(ModelConfig(**SMALL, key_value_heads=2))
    page.load(translator)
    found = page.look(text=LINE, target=REFERENCE["line"], heads_off=off)
    same(*found, look(translator, LINE, target=REFERENCE["line"], what_if=WhatIf(frozenset(off))), FLOAT32)


def test_effects_of_heads_and_of_hidden_tokens(page: PageModel) -> None:
    for config in (
        ModelConfig(**SMALL, key_value_heads=2),
        ModelConfig(**SMALL, encoder_mixer="convolution", norm="post"),
        ModelConfig(**SMALL, shape="decoder", positions="alibi"),
        ModelConfig(**SMALL, shape="encoder"),
    ):
        translator = made(config)
        page.load(translator)
        asked = {"text": LINE, "target": REFERENCE["line"], "heads_off": [["decoder.1.self", 1]], "mask_lifted": True}
        what_if = WhatIf(frozenset({("decoder.1.self", 1)}), mask_lifted=True)
        if config.shape == "encoder":
            asked, what_if = {"text": LINE, "target": REFERENCE["line"]}, WhatIf()
        trace = look(translator, LINE, target=REFERENCE["line"], what_if=what_if)
        for reference in (False, True):
            found = page.answer("heads", asked, 0, reference)
            right = head_effects(trace, 0, reference=reference)
            assert [(each["name"], each["head"]) for each in found] == [(each.name, each.head) for each in right]
            assert [each["loss"] for each in found] == pytest.approx([each.loss for each in right], abs=1e-5)
            hidden = occlusion(trace, 0, reference=reference)
            assert page.answer("occlusion", asked, 0, reference) == pytest.approx(hidden, abs=1e-5)
    page.load(made(CONFIGS["modern-mixer=recurrence"]))
    assert page.refusal("occlusion", {"text": LINE}, 0, False)["code"] == "carried"


def test_what_cannot_be_looked_at_is_refused_as_in_python(page: PageModel) -> None:
    translator = made(ModelConfig(**SMALL))
    page.load(translator)
    for asked in ({"text": " "}, {"text": "a", "target": " "}, {"text": "x" * 99}, {"text": "a", "target": "x" * 99}):
        with pytest.raises(TextError) as error:
            look(translator, asked["text"], target=asked.get("target"))
        refused = page.refusal("look", asked)
        assert (refused["code"], refused["values"]) == (error.value.code, error.value.values)
    tagger = made(CONFIGS["modern-shape=encoder-labels=token"])
    page.load(tagger)
    assert page.refusal("look", {"text": LINE, "target": "ein"})["values"] == {"labels": 1, "wanted": 4}
    with torch.no_grad():
        transformer_of(translator).projection.weight.fill_(torch.nan)
    page.load(translator)
    assert page.refusal("look", {"text": "a"})["code"] == "nan"


DECODINGS: dict[str, dict[str, Any]] = {
    "to the longest": {"beam": 5, "n_best": 3, "max_extra": 100},
    "without length penalty": {"beam": 4, "n_best": 4, "length_penalty": 0.0},
    "filtered": {"beam": 3, "n_best": 2, "no_repeat_ngram": 2, "max_repetition": 4, "max_extra": 14},
    "greedy and filtered": {"beam": 1, "no_repeat_ngram": 1, "max_extra": 14},
    "greedy to the end of a repetition": {"beam": 1, "max_repetition": 2, "max_extra": 14},
    "no early end": {"beam": 3, "n_best": 2, "max_repetition": 2, "min_length": 9, "max_extra": 14},
    "greedy, and a limit before the least length": {"beam": 1, "min_length": 40, "end_at_limit": True, "max_extra": 9},
    "one token": {"beam": 4, "n_best": 4, "max_extra": 1},
    "power": {"beam": 3, "penalty": "power", "length_penalty": 0.6, "allow_unknown": False},
    "greedy to an end": {"beam": 1, "allow_unknown": False, "end_at_limit": True},
    **{rule: {"beam": 4, "n_best": 4, "stop": rule, "penalty": "power"} for rule in get_args(StoppingRule)},
    "Hugging Face to an end": {"beam": 4, "n_best": 4, "stop": "huggingface", "end_at_limit": True},
    "sampled": {"strategy": "sampling", "n_best": 3},
    "sampled as shaped": {
        **{"strategy": "sampling", "n_best": 2, "top_k": 5, "top_p": 0.8, "temperature": 0.7, "seed": 2**32 - 7},
        "max_extra": 14,
    },
}


@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        pytest.param(settings, shape, id=f"{name}-{shape}", marks=[pytest.mark.long] if (i + j) % 2 else [])
        for i, (name, settings) in enumerate(DECODINGS.items())
        for j, shape in enumerate(("encoder-decoder", "decoder"))
    ],
)
def test_every_search_is_pythons(page: PageModel, settings: dict[str, Any], shape: str) -> None:
    translator = made(ModelConfig(**SMALL, shape=shape), **settings)
    page.load(translator)
    for line in (LINE, "a", "cats cats cats"):
        same(*page.look(text=line), look(translator, line), FLOAT32)
    prefixed = WhatIf(prefix=(7, 5))
    same(*page.look(text=LINE, prefix=[7, 5]), look(translator, LINE, what_if=prefixed), FLOAT32)


def test_a_beam_wider_than_the_vocabulary(page: PageModel) -> None:
    text = TextConfig(source_kind="character", target_kind="whitespace", vocabulary=8)
    translator = made(ModelConfig(**SMALL), text=text, beam=9, n_best=9, max_extra=4)
    page.load(translator)
    same(*page.look(text="a dog"), look(translator, "a dog"), FLOAT32)


TEMPLATED = TextConfig(
    vocabulary=310,
    tags=(">>fra<<", ">>deu<<", "<en>", "<de>", "<fr>"),
    source_prefix=("<s>", ">>fra<<"),
    target_prefix=("<de>", "▁"),
)


@pytest.mark.parametrize("strategy", ["beam", "sampling"])
@pytest.mark.parametrize("shape", ["encoder-decoder", "decoder"])
def test_what_stands_around_every_line(page: PageModel, shape: str, strategy: str) -> None:
    suffix = ("</s>", "<fr>") if shape == "encoder-decoder" else ()
    text = TEMPLATED.model_copy(update={"shared": shape == "decoder", "source_suffix": suffix})
    translator = made(ModelConfig(**SMALL, shape=shape), text=text, strategy=strategy, n_best=2)
    page.load(translator)
    for line in ("a dog", " >>deu<< a dog", ">>i<< a"):
        expected = look(translator, line, target="Hund")
        assert expected.given == 2
        same(*page.look(text=line, target="Hund"), expected, FLOAT32)
    other = translator.tokenizers.target.find("<fr>")
    for prefix in ((other,), (other, 9, 10)):
        expected = look(translator, "a dog", what_if=WhatIf(prefix=prefix))
        same(*page.look(text="a dog", prefix=prefix), expected, FLOAT32)
    assert page.refusal("look", {"text": ">>deu<<"})["code"] == "empty_sentence"


def test_a_language_model_continues_the_text(page: PageModel) -> None:
    translator = made(ModelConfig(**SMALL, shape="decoder"), data=DataConfig(text="any.txt"), max_extra=3)
    assert translator.config.continues
    page.load(translator)
    same(*page.look(text="two dogs"), look(translator, "two dogs"), FLOAT32)
    same(*page.look(text="two", prefix=[9]), look(translator, "two", what_if=WhatIf(prefix=(9,))), FLOAT32)


@pytest.mark.parametrize("config", [ModelConfig(**SMALL), CONFIGS["paper"], CONFIGS["modern-mixer=recurrence"]])
def test_weights_of_half_the_size(page: PageModel, config: ModelConfig) -> None:
    translator = made(config)
    page.load(translator, "float16")
    trace, values = page.look(text=LINE, prefix=[5, 7, 9], beam=1)
    for name, tensor in look(translator, LINE, beam=1, what_if=WhatIf(prefix=(5, 7, 9))).replay.values.items():
        if values[name].shape == tensor.shape:  # else the rest of the output is another one
            close(name, values[name], tensor, FLOAT16)
    learned = tensors(look(translator, LINE))
    for name, number in page.numbers(trace, [name for name in learned if name.startswith(PARAMETERS)]).items():
        close(name, number, learned[name].half(), 0.0)


ODD = [
    *("two dogs run", "Zwei HUNDE, <b>laufen</b>!", "naïve cafe\u0301 ÅÅ A\u030a", "▁two▁ dogs ▁"),
    *("👩\u200d👧 🇩🇪 ½ ² ① Ⅳ ٣ 12345", "a\tb \u00a0 c\u3000d\u200be", "\ufeffbom\x85next\x1cfs\x1fus"),
    *("الثلاثاء 25 مارس 1986", "两只狗在跑。", "ΟΔΥΣΣΕΥΣ Σ İI ẞ", "<s> </s> <pad> <0x41> <mask> <unk>", "   ", ""),
    *("  leading and trailing  ", "l'été—d'après “lui” …", "ﬁ Ǆ ℡ 한국어 \u1112\u1161\u11ab", "x" * 70),
    *(
        "a\u0323\u0307 a\u0307\u0323",
        "don't 3.14 e-mail@x.org",
        "def f(x):\n\treturn x\n\n\n    y\r\n",
        "\n",
        " \n \t\n",
    ),
]
CORPUS = [
    *(
        "two dogs run",
        "a dog runs 12 times",
        "l'été, d'après lui.",
        "两只狗在跑",
        "الثلاثاء 25 مارس",
        "def f(x):",
        "    y",
    ),
    *("</s> is a word", "<en> >>fra<<", "the dogs ran; the cats <b>slept</b>", "naïve café"),
]


@pytest.mark.parametrize("whitespace", ["collapse", "keep"])
@pytest.mark.parametrize("lowercase", [False, True])
@pytest.mark.parametrize("kind", get_args(TokenKind))
def test_tokens_are_pythons(page: PageModel, kind: Any, lowercase: bool, whitespace: Any) -> None:
    normalization = "none" if kind == "character" and lowercase else "nfc"
    tags = (">>fra<<", ">>zh-Hans<<", "<en>")
    tokenizer = Tokenizer.train(CORPUS * 3, kind, 400, lowercase, normalization, whitespace, mask=True, tags=tags)
    same_tokens(page, tokenizer, ODD)
    ids = {tag: tokenizer.find(tag) for tag in tags}
    template = Template((2, ids[">>fra<<"]), tuple(ids.values()), {tag: ids[tag] for tag in tags[:2]})
    of_lines = [">>zh-Hans<< two dogs", "  >>fra<<two >>fra<< <en> dogs", ">>ita<< two", ">>fra<<", "\t>>fra<< two"]
    same_tokens(page, tokenizer.with_template(template), [*of_lines, *ODD])


def same_tokens(page: PageModel, tokenizer: Tokenizer, lines: list[str]) -> None:
    """The page cuts the lines as Python does, and joins any tokens as it does."""
    encoded, ids = tokenizer.encode(lines), list(range(len(tokenizer)))
    pairs = zip(ids, reversed(ids), strict=True)
    sequences = [*encoded, *map(list, pairs), [240, 163, 4, 0, 2, 1], [4 + 0xE2, 4 + 0x98, 4 + 0x41, 4 + 0x80]]
    asked = {"json": tokenizer.to_json(), "template": asdict(tokenizer.template), "lines": lines, "ids": sequences}
    found = page.answer("tokenise", asked)
    for line, mine, right in zip(lines, found["encoded"], encoded, strict=True):
        assert mine == right, line
    assert found["normalised"] == [tokenizer.normalise(line) for line in lines]
    assert found["decoded"] == tokenizer.decode(sequences)
    assert found["pieces"] == [tokenizer.pieces(each) for each in sequences]


@pytest.mark.parametrize(("algorithm", "rule", "fallback"), EVERY)
def test_imported_tokens_are_pythons(
    page: PageModel, tmp_path: Path, algorithm: str, rule: str, fallback: bool
) -> None:
    model = imported(trained(algorithm, rule, fallback), tmp_path)
    lines = [unicodedata.normalize(form, line) for form in ("NFC", "NFD") for line in [*ODD, *LINES, *NAMES[::5]]]
    same_tokens(page, sentencepiece.tokenizer(model), lines)


@pytest.mark.parametrize("spaced", [False, True])
def test_tokens_of_bytes_are_pythons(page: PageModel, spaced: bool) -> None:
    model = replace(byte_level(CORPUS * 3, 400), add_prefix_space=spaced)
    vocabulary = Vocabulary.of("vocab.json", model.pieces, 1, 3, 2, 2, special=[0, 4])
    lines = [unicodedata.normalize(form, line) for form in ("NFC", "NFD") for line in [*ODD, *LINES, *NAMES[::5]]]
    same_tokens(page, vocabulary.tokenizer(model.engine()), lines)
    some = [piece for piece in model.pieces if piece not in ("Ã", "©")]  # bytes that this vocabulary lacks
    fewer = replace(model, pieces=some, merges=[])
    same_tokens(page, Vocabulary.of("vocab.json", some, 1, 3, 2, 2).tokenizer(fewer.engine()), lines)


def test_tokens_that_are_looked_up_are_pythons(page: PageModel) -> None:
    listed = ["</s>", "<unk>", "▁a", "b", "c", "▁b", "é", ">>fra<<", "àà", "<pad>"]
    vocabulary = Vocabulary.of("vocab.json", listed, unk=1, eos=0, pad=9, special=[7])
    lines = ["ab és", "aàà aààà", ">>fra<< </s> <pad> b", "", "▁", "ab c"]
    for pieces in (("▁a", "▁", "b", "é", "s"), ("▁b", "▁", "c", "▁a", ">>fra<<")):
        same_tokens(page, sentencepiece.tokenizer(words(*pieces), vocabulary), lines)
    same_tokens(page, word_tokenizer(vocabulary), lines)
    unlisted = Vocabulary.of(
        "vocab.json", [*BYTES, "<extra_id_0>", "</s>", "<unk>", "<pad>"], 259, 258, None, 257, special=[256]
    )
    engine = json.loads(Tokenizer.train([], "bytes", 260, lowercase=False).to_json())
    same_tokens(page, unlisted.tokenizer(engine), [*lines, *ODD])
