"""Alignments: the cross-attention of one forward pass, averaged over the heads of all layers. Needs torch."""

import torch

from zhuyi.microscope.trace import replay
from zhuyi.serve.query import Alignment
from zhuyi.text.tokenizer import EOS
from zhuyi.translator import Translation, Translator


def align(translator: Translator, line: str, translation: Translation) -> Alignment:
    """The alignment of a translation that was found for a line.

    Args:
        translator: whose engine is torch's, and whose model has cross-attention.
        line: what was translated.
        translation: of the line, by this model.

    Raises:
        CheckpointError: if the model's answer is not a number.
    """
    tokenizers = translator.tokenizers
    found = replay(translator, line, translation.tokens, translation.finished)
    layers = [weights for name, weights in found.values.items() if name.endswith(".cross.weights")]
    weights = torch.stack([layer.mean(dim=0) for layer in layers]).mean(dim=0)  # target × source
    (source,) = tokenizers.source.encode([line])
    pieces = tokenizers.source.pieces([*source[: translator.longest], EOS])
    return Alignment(pieces, tokenizers.target.pieces(found.target_out), weights.tolist())
