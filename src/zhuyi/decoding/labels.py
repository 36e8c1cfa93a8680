"""Labels: the output of the encoder shape. There is no search: each label is the most probable one by itself."""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from zhuyi.decoding.filters import forbid
from zhuyi.decoding.hypothesis import Hypothesis
from zhuyi.model.shapes import EncoderOnly
from zhuyi.text.tokenizer import SPECIALS


@torch.inference_mode()
def label(
    model: EncoderOnly, source: Int[Tensor, "batch source"], source_mask: Bool[Tensor, "batch source"], n_best: int = 1
) -> list[list[Hypothesis]]:
    """The most probable label of each line, or of each of its tokens; the model must be in evaluation mode.

    A hypothesis has one token for each label, and the sum of their log-probabilities as its score. A line for which the
    model gives NaN gets one empty, unfinished hypothesis with score −inf.

    Args:
        model: of the encoder shape.
        source: token ids with EOS, padded.
        source_mask: True where `source` is not padding.
        n_best: the largest number of alternatives, best first, where a line has one label; labels of tokens have none.
    """
    log_probs = label_log_probabilities(model(source, source_mask, source[:, :0]))
    alternatives = min(n_best, log_probs.shape[2] - len(SPECIALS)) if model.config.labels == "line" else 1
    values, labels = log_probs.topk(alternatives)  # batch output alternatives
    lengths = (source_mask.sum(dim=1) - 1).tolist() if model.config.labels == "token" else [1] * len(source)
    return [
        [_hypothesis(*each) for each in zip(tokens[:length].T.tolist(), some[:length].T.tolist(), strict=True)]
        for tokens, some, length in zip(labels, values, lengths, strict=True)
    ]


def label_log_probabilities(logits: Float[Tensor, "*places labels"]) -> Float[Tensor, "*places labels"]:
    """Log-probabilities, in float32, over the labels alone: special tokens have −inf. Overwrites logits."""
    return forbid(logits.float(), range(len(SPECIALS))).log_softmax(dim=-1)


def _hypothesis(labels: list[int], log_probs: list[float]) -> Hypothesis:
    if math.isnan(total := sum(log_probs)):
        return Hypothesis([], -math.inf, [], finished=False)
    return Hypothesis(labels, total, log_probs, finished=True)
