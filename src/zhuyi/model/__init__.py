"""The Transformer: encode, decode, step; its values by name; and the reference that the tests compare it with."""

from zhuyi.config import ModelConfig
from zhuyi.model import kernels
from zhuyi.model.positions import Positions
from zhuyi.model.reference import reference_logits, reference_values
from zhuyi.model.stack import Stack
from zhuyi.model.tap import Recording, Tap
from zhuyi.model.transformer import Transformer

__all__ = [
    "ModelConfig",
    "Positions",
    "Recording",
    "Stack",
    "Tap",
    "Transformer",
    "kernels",
    "reference_logits",
    "reference_values",
]
