"""What version 0.1 wrote (format 1) is read under today's names."""

import pytest

from zhuyi.config import ModelConfig
from zhuyi.model.transformer import Transformer
from zhuyi.upgrade import renamed_weights

SIZES = {"width": 4, "heads": 2, "encoder_layers": 1, "decoder_layers": 1, "feed_forward": 4, "max_length": 4}
ATTENTION = {f"{name}.weight" for name in ("query", "key", "value", "output")}
FEED_FORWARD = {f"feed_forward.{name}.weight" for name in ("inner", "gate", "outer")}
ENCODER_BLOCK = {f"mixer.{name}" for name in ATTENTION} | FEED_FORWARD
DECODER_BLOCK = ENCODER_BLOCK | {f"cross.{name}" for name in ATTENTION}
FORMAT_1 = {
    *(f"encoder.0.{name}" for name in ENCODER_BLOCK),
    *(f"encoder.0.{name}_residual.norm.weight" for name in ("mixer", "feed_forward")),
    *(f"decoder.0.{name}" for name in DECODER_BLOCK),
    *(f"decoder.0.{name}_residual.norm.weight" for name in ("mixer", "cross", "feed_forward")),
    *("source_positions.table", "target_positions.table"),
    *("encoder_norm.weight", "decoder_norm.weight"),
}


@pytest.mark.parametrize(
    ("tie", "targets", "embeddings"),
    [
        ("all", None, {"target_embedding.weight"}),
        ("all", 9, {"target_embedding.weight", "source_embedding.weight"}),
        ("output", None, {"target_embedding.weight", "source_embedding.weight"}),
        ("none", None, {"target_embedding.weight", "source_embedding.weight", "projection.weight"}),
    ],
)
def test_weights_of_format_1_are_those_of_the_model(tie: str, targets: int | None, embeddings: set[str]) -> None:
    model = Transformer(ModelConfig(**SIZES, tie=tie, positions="learned"), 8, targets)
    names = {name for name, _ in model.named_parameters()}
    renamed = renamed_weights({name: name for name in FORMAT_1 | embeddings})
    assert renamed.keys() == names
    assert renamed["encoder.positions.table"] == "source_positions.table"
    assert renamed["decoder.norm.weight"] == "decoder_norm.weight"
    moments = {f"optimizer.{name}.exp_avg": name for name in FORMAT_1 | embeddings}
    assert renamed_weights(moments) == {f"optimizer.{name}.exp_avg": value for name, value in renamed.items()}
    assert renamed_weights(renamed) == renamed, "today's names stay as they are"


def test_what_is_no_weight_keeps_its_name() -> None:
    assert renamed_weights({"random.cpu": 1, "random.cpu.rank-1": 2}) == {"random.cpu": 1, "random.cpu.rank-1": 2}


def test_a_seed_stands_for_the_weights_of_format_1() -> None:
    """Weights are drawn, and the gradient's norm is summed, in that format's order."""
    model = Transformer(ModelConfig(**SIZES, tie="none", positions="learned"), 8)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    parts = [".".join(names[id(parameter)].split(".")[:2]) for parameter in model.in_order().parameters()]
    assert list(dict.fromkeys(parts)) == [
        *("decoder.embedding", "encoder.embedding", "encoder.positions", "decoder.positions"),
        *("encoder.blocks", "decoder.blocks", "encoder.norm", "decoder.norm", "projection.weight"),
    ]
    assert sorted(map(id, model.in_order().parameters())) == sorted(map(id, model.parameters()))
