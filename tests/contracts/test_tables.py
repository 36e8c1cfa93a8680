"""Each option of the configuration has its row in a table of the model, and each row its option."""

from typing import get_args

import pytest

from zhuyi.config import MixerKind, ModelConfig
from zhuyi.model import reference
from zhuyi.model.attention import KERNELS
from zhuyi.model.blocks import ACTIVATIONS, NORMS
from zhuyi.model.kernels import AttentionKernel
from zhuyi.model.mixers import MIXERS
from zhuyi.model.positions import POSITIONS
from zhuyi.model.shapes import SHAPES


@pytest.mark.parametrize(
    ("key", "table"),
    [("activation", ACTIVATIONS), ("norm_kind", NORMS), ("positions", POSITIONS), ("mixer", MIXERS), ("shape", SHAPES)],
)
def test_options_are_the_rows_of_the_table(key, table):
    assert set(get_args(ModelConfig.model_fields[key].annotation)) == set(table)


def test_every_mixer_may_stand_in_encoder_and_decoder():
    assert set(get_args(MixerKind)) == set(MIXERS) == set(reference.MIXERS)


def test_every_shape_stands_in_the_reference():
    assert set(SHAPES) == set(reference.SHAPES)


def test_every_kernel_of_attention_may_be_asked_for():
    assert set(get_args(AttentionKernel)) == set(KERNELS)
