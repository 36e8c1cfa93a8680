"""The Transformer in three shapes; its values by name; and the reference that the tests compare it with."""

from zhuyi.config import ModelConfig
from zhuyi.model import kernels
from zhuyi.model.positions import Positions
from zhuyi.model.reference import reference_logits, reference_values
from zhuyi.model.shapes import SHAPES, DecoderOnly, EncoderOnly
from zhuyi.model.stack import Stack
from zhuyi.model.tap import Recording, Tap
from zhuyi.model.transformer import Network, Transformer

__all__ = [
    "SHAPES",
    "DecoderOnly",
    "EncoderOnly",
    "ModelConfig",
    "Network",
    "Positions",
    "Recording",
    "Stack",
    "Tap",
    "Transformer",
    "kernels",
    "reference_logits",
    "reference_values",
]
