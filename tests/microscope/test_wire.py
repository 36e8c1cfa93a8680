"""What the page is printed is what the trace holds."""

import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import in_shape, tiny_model
from pydantic import ValidationError
from torch.distributions import Categorical

from zhuyi.config import Shape
from zhuyi.loading import load
from zhuyi.microscope import schema
from zhuyi.microscope.page import look
from zhuyi.microscope.trace import Trace
from zhuyi.microscope.wire import TEMPERATURES, characters, describe_model, describe_trace, floats, roots, tensors


@pytest.fixture(scope="module")
def trace(tmp_path_factory: pytest.TempPathFactory) -> Trace:
    return look(
        load(tiny_model(tmp_path_factory.mktemp("model")), device="cpu"), "two dogs 👩‍👧", target="zwei", beam=3
    )


@pytest.mark.parametrize(("shape", "labels"), [("decoder", "line"), ("encoder", "line"), ("encoder", "token")])
def test_every_shape_is_described(tmp_path: Path, shape: Shape, labels: str) -> None:
    trace = look(load(tiny_model(tmp_path, in_shape(shape, labels)), engine="torch", device="cpu"), "two dogs")
    config = strict(describe_model(trace.translator).model_dump_json())["config"]
    assert (config["shape"], config["labels"]) == (shape, labels)
    described = strict(describe_trace(trace).model_dump_json())
    replay = described["replay"]
    assert replay["decoder_in"]["ids"] == trace.replay.decoder_in
    assert replay["decoder_in"]["pieces"] == trace.pieces(trace.replay.decoder_in)
    assert len(replay["steps"]) == len(replay["losses"]) == len(trace.replay.target_out)
    assert [step["eos"] is None for step in replay["steps"]] == [shape == "encoder"] * len(replay["steps"])
    assert described["shapes"].keys() == tensors(trace).keys()
    stack = "decoder" if shape == "decoder" else "encoder"
    length = len(trace.replay.decoder_in) if shape == "decoder" else len(trace.source)
    assert described["shapes"][f"{stack}.0.self.weights"][1:] == [length, length]
    assert not any(name.startswith({"decoder": "encoder.", "encoder": "decoder."}[shape]) for name in trace)


def test_numbers_are_the_tensors(trace: Trace) -> None:
    weights = trace["encoder.0.self.weights"]
    assert torch.equal(torch.frombuffer(bytearray(floats(weights)), dtype=torch.float32).view(weights.shape), weights)
    mask = trace["decoder.0.self.mask"]
    assert np.frombuffer(floats(mask), "<f4").tolist() == mask.flatten().float().tolist()


def test_a_byte_is_near_and_small_weights_do_not_vanish() -> None:
    weights = torch.rand(1000).pow(8)
    back = torch.frombuffer(bytearray(roots(weights)), dtype=torch.uint8).float().div(255).square()
    assert (back - weights).abs().max() <= 0.004
    small = torch.tensor([1e-5, 1e-4, 0.0, 1.0])
    assert [byte > 0 for byte in roots(small)] == [True, True, False, True]


def strict(text: str) -> dict[str, Any]:
    """JSON as browsers read it, which know no NaN."""

    def refuse(constant: str) -> None:
        pytest.fail(f"{constant} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_the_types_of_the_page_are_those_of_the_schema() -> None:
    """As `git diff` after `python frontend/wire.py`."""
    script = runpy.run_path(str(Path(__file__).parents[2] / "frontend" / "wire.py"))
    assert script["PATH"].read_text(encoding="utf-8") == script["typescript"](), "run python frontend/wire.py"


def test_a_look_at_samples_says_how_they_were_drawn(trace: Trace) -> None:
    drawn = {"strategy": "sampling", "temperature": 0.7, "top_k": 9, "top_p": 0.9, "seed": 5}
    sampling = trace.translator.with_decoding(trace.translator.decoding(**drawn))
    described = strict(describe_trace(look(sampling, trace.text)).model_dump_json())
    assert drawn.items() <= described["decoding"].items()


def test_a_number_that_is_none_cannot_be_sent() -> None:
    with pytest.raises(ValidationError):
        schema.Choice(id=1, piece="a", log_prob=float("nan"))


def test_metadata_is_strict_json_and_says_what_the_trace_says(trace: Trace) -> None:
    described = strict(describe_trace(trace).model_dump_json())
    assert described["output"] == trace.output
    assert described["replay"]["losses"] == pytest.approx(trace.replay.losses.tolist())
    assert [each["fate"] for each in described["candidates"]] == [each.fate for each in trace.candidates]
    assert described["decoding"] == trace.decoding.model_dump()
    assert described["shapes"].keys() == tensors(trace).keys()
    assert described["replay"]["decoder_in"] == described["replay"]["target_in"]
    model = strict(describe_model(trace.translator).model_dump_json())
    assert model["name"] == trace.translator.name != ""
    assert model["config"]["heads"] == trace.translator.config.model.heads


def test_a_temperature_is_exact_without_the_logits(trace: Trace) -> None:
    for place, step in enumerate(describe_trace(trace).replay.steps):
        for temperature, (log_sum, entropy) in zip(TEMPERATURES, step.tempered, strict=True):
            right = Categorical(logits=trace.replay.log_probs[place].double() / temperature)
            assert entropy == pytest.approx(float(right.entropy()), abs=1e-4)
            for each in step.top:
                if each.log_prob is not None:
                    probability = np.exp(each.log_prob / temperature - log_sum)
                    assert probability == pytest.approx(float(right.probs[each.id]), abs=1e-5)
    assert 1.0 in TEMPERATURES


@pytest.mark.parametrize("shape", ["encoder-decoder", "encoder"])
def test_a_probability_is_also_known_of_the_whole_vocabulary(trace: Trace, tmp_path: Path, shape: Shape) -> None:
    seen = (
        trace if shape == "encoder-decoder" else look(load(tiny_model(tmp_path, in_shape(shape)), device="cpu"), "dogs")
    )
    whole = seen.replay.values["logits"].double().softmax(dim=1)
    for place, step in enumerate(describe_trace(seen).replay.steps):
        for each in step.top:
            assert np.exp(each.log_prob + step.allowed) == pytest.approx(float(whole[place, each.id]), abs=1e-6)
        assert step.allowed < 0


def test_bytes_are_joined_to_characters() -> None:
    cat = [f"<0x{byte:02X}>" for byte in "猫".encode()]
    assert characters(["▁a", *cat, "b", *cat, "<0x41>", "<0xFF>", "c"]) == [(1, 4, "猫"), (5, 8, "猫"), (8, 9, "A")]
    assert characters(["<0xE7>", "<0x8C>"]) == []
    assert characters(["<0xFF>", *cat]) == [(1, 4, "猫")]
