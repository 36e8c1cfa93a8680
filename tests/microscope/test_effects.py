"""What the loss at a position depends on: the quick way gives the numbers of the plain one."""

from pathlib import Path

import pytest
import torch
from command_line import TINY, in_shape, tiny_model
from torch.nn import functional as F
from torch.testing import assert_close

from zhuyi.config import Shape, build_config
from zhuyi.data.batches import pad_sources
from zhuyi.errors import ConfigError
from zhuyi.loading import load
from zhuyi.microscope import effects
from zhuyi.microscope.effects import head_effects, occlusion
from zhuyi.microscope.page import look
from zhuyi.microscope.trace import Replay, Trace, WhatIf, transformer_of
from zhuyi.translator import Translator

LINE, REFERENCE = "two dogs run", "zwei Hunde"
EVERYTHING_ELSE = WhatIf(heads_off=frozenset({("encoder.0.self", 1)}), positions_off=True, mask_lifted=True)


def made(folder: Path, **model: object) -> Translator:
    config = build_config({"text": TINY["text"], "model": {**TINY["model"], **model}})
    return load(tiny_model(folder, lambda _: config), engine="torch", device="cpu")


@pytest.fixture(scope="module")
def translator(tmp_path_factory: pytest.TempPathFactory) -> Translator:
    return made(tmp_path_factory.mktemp("model"), encoder_layers=2, key_value_heads=1, bias="all")


def replay_of(trace: Trace, reference: bool) -> Replay:
    replay = trace.reference if reference else trace.replay
    assert replay is not None
    return replay


@pytest.mark.parametrize("what_if", [WhatIf(), EVERYTHING_ELSE])
@pytest.mark.parametrize("rows", [3, 32])
def test_an_effect_is_what_switching_the_head_off_changes(
    translator: Translator, what_if: WhatIf, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(effects, "ROWS", rows)
    trace = look(translator, LINE, target=REFERENCE, what_if=what_if)
    assert trace.reference is not None
    position = len(trace.reference.target_out) - 1
    found = head_effects(trace, position, reference=True)
    attentions = ("encoder.0.self", "encoder.1.self", "decoder.0.self", "decoder.0.cross")
    assert [(each.name, each.head) for each in found] == [(name, head) for name in attentions for head in (0, 1)]
    for each in found:
        off = WhatIf(what_if.heads_off | {(each.name, each.head)}, what_if.positions_off, what_if.mask_lifted)
        changed = look(translator, LINE, target=REFERENCE, what_if=off).reference
        assert changed is not None
        assert_close(each.loss, float(changed.losses[position] - trace.reference.losses[position]), rtol=0, atol=2e-6)
    largest = max(abs(each.loss) for each in found)
    assert largest > 1e-3
    if what_if.heads_off:
        assert abs(found[1].loss) < 2e-6


@pytest.mark.parametrize("reference", [True, False])
def test_a_hidden_token_is_padding(translator: Translator, reference: bool) -> None:
    trace = look(translator, LINE, target=REFERENCE, what_if=WhatIf(prefix=(7, 8, 9)))
    replay, network = replay_of(trace, reference), transformer_of(translator)
    found = occlusion(trace, 2, reference=reference)
    assert len(found) == len(trace.source)
    source, mask = pad_sources([trace.source[:-1]])
    for token, change in enumerate(found):
        hidden = mask.clone()
        hidden[0, token] = False
        with torch.no_grad():
            logits = network(source, hidden, torch.tensor([replay.target_in]))[0, 2]
        loss = F.cross_entropy(logits, torch.tensor(replay.target_out[2]))
        assert_close(change, float(loss - replay.losses[2]), rtol=0, atol=2e-6)
    assert max(map(abs, found)) > 1e-3


def test_a_token_that_is_hidden_from_the_decoder_shape_might_be_any_other(tmp_path: Path) -> None:
    """The first of a source: its own state is all that differs, and nobody sees that."""
    decoder = load(tiny_model(tmp_path, in_shape("decoder")), engine="torch", device="cpu")
    one, other = (look(decoder, line, target=REFERENCE) for line in ("a dog", "Hund dog"))
    assert one.source[1:] == other.source[1:]
    changes, others = occlusion(one, 1, reference=True), occlusion(other, 1, reference=True)
    assert len(changes) == len(one.source) - 1
    before = [float(replay_of(trace, True).losses[1]) for trace in (one, other)]
    assert_close(before[0] + changes[0], before[1] + others[0], rtol=0, atol=2e-6)
    assert abs(before[0] - before[1]) > 1e-4


@pytest.mark.parametrize(("shape", "labels"), [("decoder", "line"), ("encoder", "line"), ("encoder", "token")])
def test_every_shape_has_both(tmp_path: Path, shape: Shape, labels: str) -> None:
    trace = look(load(tiny_model(tmp_path, in_shape(shape, labels)), engine="torch", device="cpu"), LINE)
    last = len(trace.replay.target_out) - 1
    assert [each.name for each in head_effects(trace, last)] == [f"{shape}.0.self"] * 2
    assert max(map(abs, occlusion(trace, last))) > 1e-4


def test_a_window_can_be_kept_from_a_token_and_a_recurrence_cannot(tmp_path: Path) -> None:
    windowed = look(made(tmp_path / "window", encoder_mixer="convolution"), LINE)
    assert [each.name for each in head_effects(windowed, 0)] == ["decoder.0.self"] * 2 + ["decoder.0.cross"] * 2
    assert len(occlusion(windowed, 0)) == len(windowed.source)
    recurrent = look(made(tmp_path / "recurrence", encoder_mixer="recurrence"), LINE)
    with pytest.raises(ConfigError, match="its recurrence carries each one on"):
        occlusion(recurrent, 0)


@pytest.mark.parametrize("effect", [head_effects, occlusion])
def test_a_place_that_is_not_there_is_named(translator: Translator, effect: type) -> None:
    trace = look(translator, LINE)
    last = len(trace.replay.target_out) - 1
    for position in (-1, last + 1):
        with pytest.raises(ConfigError, match=f"no position {position}: the target has 0 to {last}"):
            effect(trace, position)
    with pytest.raises(ConfigError, match="no reference"):
        effect(trace, 0, reference=True)
