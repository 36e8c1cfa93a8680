"""Several models as one: the mean of their probabilities, whatever is asked of it, and which models are an ensemble."""

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import TINY, in_shape, tiny_model, zhuyi
from contracts.conftest import SMALL, build

from zhuyi.cli.commands.translate import is_model
from zhuyi.config import Config, DecodingConfig, ModelConfig, Shape, build_config
from zhuyi.decoding.ensemble import Ensemble
from zhuyi.engine.torch import TorchEngine
from zhuyi.errors import ConfigError
from zhuyi.interop.export import export_model
from zhuyi.loading import load, save
from zhuyi.microscope.page import look
from zhuyi.translator import Translator

LINES = ["a dog runs", "", "two cats", "cats run"]
SOURCES = [[7, 5, 9], [4], [11, 10, 6, 8, 5, 4, 9]]
BEAM = DecodingConfig(beam=4, n_best=3, max_ratio=0.5, max_extra=4)


def ensemble(shape: Shape, *changes: dict[str, Any]) -> Ensemble:
    return Ensemble([build.__wrapped__(ModelConfig(**{**SMALL, **each}, shape=shape, tie="none")) for each in changes])


def engine(network: Any) -> TorchEngine:
    return TorchEngine(network, 16, "cpu")


@pytest.mark.parametrize("shape", ["encoder-decoder", "decoder"])
def test_tokens_have_the_mean_of_the_probabilities(shape: Shape) -> None:
    together = ensemble(shape, {"width": 16}, {"width": 24, "decoder_layers": 3}, {"norm": "post"})
    found = engine(together).decode(SOURCES, BEAM)
    for source, hypotheses in zip(SOURCES, found, strict=True):
        for best in hypotheses:
            tokens = torch.tensor([[2, *best.tokens, 3]])
            row = torch.tensor([[*source, 3]])
            given = (row, torch.ones_like(row, dtype=torch.bool), tokens[:, :-1])
            logits = torch.stack([member(*given) for member in together.members])
            logits[..., [0, 2]] = -torch.inf  # PAD and BOS are never written
            mean = logits.softmax(dim=-1).mean(dim=0).log()[0]
            by_hand = mean.gather(1, tokens[0, 1:, None])[:, 0]
            torch.testing.assert_close(torch.tensor(best.token_logprobs), by_hand[: len(best.token_logprobs)])


@pytest.mark.parametrize("shape", ["encoder-decoder", "decoder"])
def test_a_model_twice_is_that_model_and_the_order_is_of_no_account(shape: Shape) -> None:
    one, other = ensemble(shape, {}, {"feed_forward": 8}).members
    texts = [
        [[each.tokens for each in line] for line in engine(network).decode(SOURCES, BEAM)]
        for network in (one, Ensemble([one, one]), Ensemble([one, other]), Ensemble([other, one]))
    ]
    assert texts[0] == texts[1] != texts[2] == texts[3]
    targets = SOURCES[::-1]
    alone, twice, mixed = (
        engine(each).loss(SOURCES, targets) for each in (one, Ensemble([one] * 2), Ensemble([one, other]))
    )
    assert twice == pytest.approx(alone, rel=1e-6)
    assert mixed != pytest.approx(alone, rel=1e-3)


def with_model(**changes: Any) -> Callable[[Config], Config]:
    return lambda _: build_config({**TINY, "model": {**TINY["model"], **changes}})


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("models")
    return [tiny_model(folder / "one"), tiny_model(folder / "two", with_model(width=24, max_length=20))]


def test_translate_and_evaluate_take_an_ensemble(models: list[Path], tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("\n".join(LINES) + "\n")
    expected = load(*models, engine="torch", device="cpu").translate(LINES)
    for arguments in ([*models, text], [models[0], text, models[1], "--engine", "torch"]):
        outcome = zhuyi("translate", *arguments)
        assert (outcome.code, outcome.lines) == (0, expected)
    outcome = zhuyi("translate", *models, "--in", text, "--out", tmp_path / "out")
    assert (outcome.code, (tmp_path / "out/text").read_text().splitlines()) == (0, expected)
    outcome = zhuyi("translate", models[0], "--in", text, "--out", tmp_path / "out")
    assert outcome.code == 2, "the directory holds an ensemble's translations"
    scored = zhuyi("evaluate", *models, "--source", text, "--target", text, "--json", "--metric", "chrf")
    assert scored.code == 0
    found = json.loads(scored.out)
    assert found["model"] == f"{models[0]} + {models[1]}"
    alone = [
        json.loads(zhuyi("evaluate", each, "--source", text, "--target", text, "--json").out)["loss"] for each in models
    ]
    assert found["loss"] < sum(alone) / 2  # Jensen's inequality


def test_an_ensemble_reads_what_each_of_its_models_can(models: list[Path]) -> None:
    assert load(*models).longest == 19
    outcome = zhuyi("translate", *models, stdin=b"a dog runs " * 20 + b"\n")
    assert (outcome.code, len(outcome.lines)) == (0, 1)
    assert "the model reads 19" in outcome.err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda _: build_config({**TINY, "text": {"vocabulary": 290}}), "its tokenizer"),
        (with_model(shape="decoder"), 'model.shape = "decoder"'),
        (in_shape("encoder"), 'model.shape = "encoder"'),
        (with_model(without=["mask"]), 'model.without = ["mask"]'),
    ],
    ids=["tokenizer", "shape", "encoder", "broken"],
)
def test_what_is_no_ensemble_is_refused_in_one_line(
    models: list[Path], tmp_path: Path, change: Callable[[Config], Config], message: str
) -> None:
    other = tiny_model(tmp_path / "other", change)
    for pair in ((models[0], other), (other, models[0])):
        outcome = zhuyi("translate", *pair, stdin=b"a dog\n")
        assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert message in zhuyi("translate", models[0], other, stdin=b"a dog\n").err


def test_a_data_set_of_the_hub_is_a_text_and_no_model(models: list[Path]) -> None:
    assert is_model(str(models[0]))
    assert is_model("hub:user/en-de@main")
    assert not is_model("hub:bentrevett/multi30k/test#en")
    assert not is_model("test.tsv#1")


def test_an_ensemble_has_no_weights_of_its_own(models: list[Path], tmp_path: Path) -> None:
    uses: list[Callable[[Translator], object]] = [
        lambda together: save(together, tmp_path / "out"),
        lambda together: look(together, "a dog"),
        lambda together: export_model(together, tmp_path / "out", to="ctranslate2"),
    ]
    for engine, use in product(("torch", "native"), uses):
        with pytest.raises(ConfigError, match=r"one \+ two has no weights that can be saved or looked into"):
            use(load(*models, engine=engine, device="cpu"))
