"""Each part is taken away from a small model, and what it was for is seen: copying and reversing strings of digits."""

import random
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from itertools import permutations
from pathlib import Path
from statistics import mean
from typing import Any, get_args
from unittest.mock import patch

import jaxtyping
import pytest
import torch
from command_line import write_pairs, zhuyi
from runs import copying, with_training
from torch import Tensor

from zhuyi.config import NOT_IN_SHAPE, Config, Part, Shape, build_config
from zhuyi.data.labelled import Labelled
from zhuyi.data.sequences import InMemory, Sequences
from zhuyi.decoding.hypothesis import Hypothesis
from zhuyi.engine.torch import TorchEngine
from zhuyi.errors import ConfigError, ZhuyiWarning
from zhuyi.interop.export import export_model
from zhuyi.loading import load
from zhuyi.model import Recording
from zhuyi.model.broken import PARTS, break_network, targets_without, training_without
from zhuyi.model.shapes import SHAPES, DecoderOnly
from zhuyi.model.transformer import Network, Transformer
from zhuyi.text.tokenizer import BOS, EOS, PAD
from zhuyi.training.events import Event, Updated
from zhuyi.training.loop import DivergenceError, fit
from zhuyi.training.recipe import train

SEED = 1
FIRST = 4
VOCABULARY = FIRST + 10
SMALL = {"width": 32, "heads": 2, "encoder_layers": 2, "decoder_layers": 2, "feed_forward": 64, "max_length": 32}
DEEP = {"shape": "encoder", "labels": "token", "width": 16, "heads": 2, "feed_forward": 32, "encoder_layers": 10}
TRAINING = {
    **{"steps": 100, "warmup": 20, "learning_rate": 1e-2, "weight_decay": 0.1, "label_smoothing": 0.0},
    **{"tokens_per_batch": 600, "ema": 0.0, "precision": "float32", "seed": SEED},
}
DECODING = build_config({"decoding": {"beam": 1, "max_ratio": 1.0, "max_extra": 4}}).decoding

Lines = list[list[int]]


@dataclass(frozen=True)
class Trained:
    """A model, and how it reverses strings that it has not seen."""

    engine: TorchEngine
    training_loss: float
    """Mean of the last 20 updates, in nats per target token."""
    loss: float
    """On the unseen strings."""
    outputs: list[Hypothesis]

    @property
    def exact(self) -> float:
        """Share of the outputs that are right."""
        return mean(each.tokens == right for each, right in zip(self.outputs, TARGETS, strict=True))

    @property
    def finished(self) -> float:
        """Share of the outputs that end by themselves."""
        return mean(each.finished for each in self.outputs)


def strings(number: int, seed: int) -> Lines:
    draw = random.Random(seed)
    return [[FIRST + draw.randrange(10) for _ in range(draw.randint(3, 4))] for _ in range(number)]


SOURCES = strings(200, SEED + 1000)
TARGETS = [source[::-1] for source in SOURCES]


def configured(*without: Part, model: dict[str, Any] = SMALL, training: dict[str, Any] | None = None) -> Config:
    model = {**model, "dropout": 0.0, "without": list(without)}
    return build_config({"text": {"kind": "character"}, "model": model, "training": {**TRAINING, **(training or {})}})


def network_of(config: Config) -> Network:
    torch.manual_seed(config.training.seed)
    network = SHAPES[config.model.shape](config.model, VOCABULARY, None)
    break_network(network)
    return network.eval()


def fitted(network: Network, config: Config, data: Sequences) -> float:
    """Train; gives the mean loss of the last 20 updates, in nats per target token."""
    losses: list[float] = []

    def listen(event: Event) -> None:
        if isinstance(event, Updated):
            losses.append(event.loss)

    with patch.object(jaxtyping.config, "jaxtyping_disable", True):  # to check shapes takes longer than to train
        fit(network, data, training_without(config.model.without, config.training), listeners=[listen])
    return mean(losses[-20:])


def reversing(*without: Part) -> Trained:
    config, sources = configured(*without), strings(3000, SEED)
    network = network_of(config)
    loss = fitted(network, config, InMemory(sources, [source[::-1] for source in sources]))
    engine = TorchEngine(network, config.model.max_length, "cpu")
    outputs = [each[0] for each in engine.decode(SOURCES, DECODING)]
    return Trained(engine, loss, engine.loss(SOURCES, TARGETS), outputs)


@cache
def intact() -> Trained:
    """The same model with all its parts: about 0.95 of its outputs are right."""
    return reversing()


def values_at_start(*without: Part, **sizes: Any) -> dict[str, Tensor]:
    """Everything that a model computes before its first update."""
    network, tap = network_of(configured(*without, model={**SMALL, **sizes})), Recording()
    source = torch.randint(FIRST, VOCABULARY, (50, 16), generator=torch.Generator().manual_seed(SEED))
    with torch.inference_mode():
        network(source, source > PAD, source, tap)
    return tap.values


def first_right(outputs: Sequence[Hypothesis]) -> float:
    return mean(each.tokens[:1] == right[:1] for each, right in zip(outputs, TARGETS, strict=True))


@pytest.mark.slow
def test_the_intact_model_learns() -> None:
    whole = intact()
    assert whole.training_loss < 0.2
    assert whole.exact > 0.7
    assert whole.finished > 0.95


@pytest.mark.slow
def test_without_mask_the_loss_vanishes_and_the_output_is_nonsense() -> None:
    """Each position sees the next one, whose token is its answer: the encoder need not be read at all."""
    broken = reversing("mask")
    assert broken.training_loss < 0.05
    assert broken.loss < 0.05
    assert broken.exact < 0.1


@pytest.mark.slow
def test_without_positions_a_source_is_a_bag_of_words() -> None:
    broken = reversing("positions")
    orders = [list(each) for each in permutations([5, 7, 8, 12])]
    assert len({tuple(each[0].tokens) for each in broken.engine.decode(orders, DECODING)}) == 1
    assert len({tuple(each[0].tokens) for each in intact().engine.decode(orders, DECODING)}) > 12
    assert broken.loss > 3 * intact().loss
    assert broken.exact < 0.4


@pytest.mark.slow
def test_without_residual_connections_a_deep_model_does_not_learn() -> None:
    """Ten layers are to give back each token of their input. To guess costs log 10 = 2.3 nats."""
    sources, losses = strings(2000, SEED), list[float]()
    for without in ((), ("residual",)):
        config = configured(*without, model=DEEP, training={"steps": 60, "learning_rate": 3e-3})
        losses.append(fitted(network_of(config), config, Labelled(InMemory(sources, sources), "token")))
    assert losses[0] < 1.2
    assert losses[1] > 2.1


def test_without_norms_hidden_states_grow_from_layer_to_layer() -> None:
    def growth(*without: Part) -> float:
        values = values_at_start(*without, encoder_layers=6)
        first, last = (values[f"encoder.{layer}.feed_forward.residual"].square().mean() for layer in (0, 5))
        return float((last / first).sqrt())

    assert growth() < 4
    assert growth("norm") > 100


def test_without_norms_a_deep_model_diverges_at_its_first_update() -> None:
    config = configured("norm", model={**SMALL, "encoder_layers": 8, "decoder_layers": 8})
    sources = strings(200, SEED)
    with pytest.raises(DivergenceError, match="step 1:"):
        fitted(network_of(config), config, InMemory(sources, sources))


def test_without_scaling_the_softmax_is_saturated() -> None:
    """Scores of width 64 have a standard deviation of about 8 instead of 1: one key takes nearly all attention."""

    def entropy(*without: Part) -> float:
        weights = values_at_start(*without, width=64, heads=1)["encoder.0.self.weights"]
        return float(torch.special.entr(weights).sum(dim=-1).mean())

    assert entropy() > 2.2  # of log 16 = 2.77 nats at most
    assert entropy("scaling") < 1.0


@pytest.mark.slow
def test_without_cross_attention_the_output_has_nothing_to_do_with_the_source() -> None:
    broken = reversing("cross")
    longest = max((each.tokens for each in broken.outputs), key=len)
    assert all(each.tokens == longest[: len(each.tokens)] for each in broken.outputs)
    assert broken.training_loss > 1.8  # that of strings whose source is unknown
    assert broken.exact < 0.1


@pytest.mark.slow
def test_without_begin_the_first_token_is_a_guess() -> None:
    broken = reversing("begin")
    assert broken.loss < 0.8  # what it was taught, it has learnt
    assert first_right(broken.outputs) < 0.6
    assert first_right(intact().outputs) > 0.9


@pytest.mark.slow
def test_without_end_no_output_ends() -> None:
    broken = reversing("end")
    assert broken.finished == 0
    begins = mean(each.tokens[: len(right)] == right for each, right in zip(broken.outputs, TARGETS, strict=True))
    assert begins > 0.6  # the right answer, and then on and on
    assert broken.exact == 0


@pytest.mark.slow
def test_without_shift_the_loss_vanishes_and_the_model_repeats_what_it_is_given() -> None:
    broken = reversing("shift")
    assert broken.loss < 0.05
    assert mean(len(set(each.tokens)) <= 2 for each in broken.outputs) > 0.9
    assert broken.exact == 0


@pytest.mark.slow
def test_without_warmup_a_deep_post_norm_model_fails_at_a_high_learning_rate() -> None:
    """Xiong et al. 2020: at the start, gradients near the output of a post-norm model are large."""
    model = {**DEEP, "norm": "post", "norm_kind": "layer", "encoder_layers": 12}
    training = {
        **{"optimizer": "adamw", "learning_rate": 1.5e-2, "schedule": "constant", "clip": 0.0},
        **{"steps": 100, "warmup": 100, "tokens_per_batch": 600},
    }
    sources, losses = strings(2000, SEED), list[float]()
    for without in ((), ("warmup",)):
        config = configured(*without, model=model, training=training)
        losses.append(fitted(network_of(config), config, Labelled(InMemory(sources, sources), "token")))
    assert losses[0] < 0.8
    assert losses[1] > 2


PAIRS = [(shape, part) for shape in get_args(Shape) for part in get_args(Part) if part not in NOT_IN_SHAPE[shape]]


def test_every_part_has_a_row() -> None:
    assert tuple(PARTS) == get_args(Part)


@pytest.mark.parametrize(("shape", "part"), [pair for pair in PAIRS if pair[0] != "encoder"])
def test_a_step_is_as_the_whole_pass(shape: Shape, part: Part) -> None:
    """Without the mask it cannot be: the whole pass sees what is not yet written."""
    network = network_of(configured(part, model={**SMALL, "shape": shape}))
    source, target_in = torch.tensor([[5, 6, 7, EOS]]), torch.tensor([[BOS, 7, 6, 5]])
    assert isinstance(network, Transformer | DecoderOnly)
    with torch.inference_mode():
        whole = network(source, source > PAD, target_in)
        cache, steps = network.read(source, source > PAD, 4), []
        for token in target_in.T:
            logits, cache = network.step(token, cache)
            steps.append(logits)
    assert torch.stack(steps, dim=1).allclose(whole, atol=1e-4) == (part != "mask")


@pytest.mark.parametrize(("shape", "part"), PAIRS)
def test_a_copy_is_broken_alike(shape: Shape, part: Part) -> None:
    network = network_of(configured(part, model={**SMALL, "shape": shape}))
    source = torch.tensor([[5, 6, 7, EOS]])
    with torch.inference_mode():
        assert torch.equal(deepcopy(network)(source, source > PAD, source), network(source, source > PAD, source))


@pytest.mark.parametrize(("shape", "part"), [(shape, part) for shape, parts in NOT_IN_SHAPE.items() for part in parts])
def test_what_a_shape_has_not_cannot_be_taken_away(shape: Shape, part: Part) -> None:
    with pytest.raises(ConfigError, match=f'model.without names {part}, which model.shape = "{shape}" has not'):
        configured(part, model={**SMALL, "shape": shape})


@pytest.mark.parametrize(
    ("without", "given", "asked"),
    [
        ((), [BOS, 5, 6, PAD], [5, 6, EOS, PAD]),
        (("begin",), [5, 6, PAD, PAD], [6, EOS, PAD, PAD]),
        (("end",), [BOS, 5, 6, PAD], [5, 6, PAD, PAD]),
        (("shift",), [5, 6, EOS, PAD], [5, 6, EOS, PAD]),
        (("begin", "end", "shift"), [6, PAD, PAD, PAD], [6, PAD, PAD, PAD]),
        (("mask", "warmup"), [BOS, 5, 6, PAD], [5, 6, EOS, PAD]),
    ],
)
def test_what_the_decoder_is_given_and_asked(without: tuple[Part, ...], given: list[int], asked: list[int]) -> None:
    targets = targets_without(without, torch.tensor([[BOS, 5, 6, PAD]]), torch.tensor([[5, 6, EOS, PAD]]), PAD)
    assert [each[0].tolist() for each in targets] == [given, asked]


@pytest.mark.parametrize("part", [part for part in get_args(Part) if part not in ("norm", "warmup")])
def test_training_reports_the_loss_that_an_evaluation_does(part: Part) -> None:
    """Per token that is asked for, whatever is given: also where targets are short."""
    config = configured(part, training={"steps": 1, "warmup": 0, "precision": "float32", "tokens_per_batch": 1000})
    network, data = network_of(config), InMemory([[5, 6], [7, 8, 9]], [[6], [9, 8]])
    expected = TorchEngine(network, config.model.max_length, "cpu").losses(data).mean
    reported: list[float] = []
    fit(network, data, config.training, listeners=[lambda event: reported.append(event.loss)])
    assert reported == pytest.approx([expected], rel=1e-5)


def test_parts_are_named_once_and_in_any_order() -> None:
    assert configured("end", "mask").model.without == ("mask", "end")
    with pytest.raises(ConfigError, match="names end twice"):
        configured("end", "end")
    with pytest.raises(ConfigError, match="has no part 'legs': the parts are mask, positions, "):
        build_config({}, ['model.without=["legs"]'])
    with pytest.raises(ConfigError, match="is not a list of parts"):
        build_config({}, ["model.without=mask"])
    with pytest.raises(ConfigError, match="recurrence"):
        configured("mask", model={**SMALL, "mixer": "recurrence"})


def test_a_broken_model_says_so_wherever_it_goes(tmp_path: Path) -> None:
    config = copying(tmp_path, model={"without": ["positions", "norm", "warmup"]}, training={"warmup": 7, "steps": 4})
    result = train(config, tmp_path / "model")
    assert result.steps == 4
    assert "trained without positions, norm, warmup: " in (tmp_path / "model" / "README.md").read_text("utf-8")
    with pytest.warns(ZhuyiWarning, match="this model was trained without positions, norm, warmup: ") as warned:
        translator = load(tmp_path / "model", device="cpu")
    assert len(warned) == 1
    assert translator.config.model.without == ("positions", "norm", "warmup")
    assert translator.config.training.warmup == 0
    assert isinstance(translator.engine, TorchEngine)
    assert not any("norm" in name for name, _ in translator.engine.transformer.named_parameters())
    with pytest.raises(ConfigError, match="it has no model"):
        load(tmp_path / "model", engine="native")
    with pytest.raises(ConfigError, match=r'model.without = \["positions", "norm", "warmup"\]: ctranslate2'):
        export_model(translator, tmp_path / "exported")
    again = copying(tmp_path, model={"without": ["end"]}, training={"start_from": str(tmp_path / "model")})
    with pytest.raises(ConfigError, match=r"model.without = \('end',\), but "):
        train(again, tmp_path / "other")
    whole = with_training(config, steps=6)
    assert train(whole, tmp_path / "model", resume=True).steps == 6


def test_on_the_command_line(tmp_path: Path) -> None:
    source, target = write_pairs(tmp_path)
    data = ["--source", source, "--target", target, "--set", "text.kind=character", "--set", "training.steps=2"]
    options = [*data, "--preset", "tiny", "--set", "model.width=16", "--out", tmp_path / "out"]
    outcome = zhuyi("train", *options, "--without", "end", "--without", "mask")
    assert outcome.code == 0, outcome.err
    assert "It was trained without mask, end: its loss falls to almost nothing, " in outcome.out
    used = zhuyi("translate", tmp_path / "out", "--beam", 1, stdin=b"abc\n")
    assert (used.code, len(used.lines)) == (0, 1)
    assert used.err.count("this model was trained without mask, end: ") == 1
    assert "slower" not in used.err
    refused = zhuyi("train", *options, "--without", "legs")
    assert (refused.code, refused.out) == (2, "")
    assert refused.err == f"zhuyi: error: --without legs: no such part; there are {', '.join(get_args(Part))}\n"
