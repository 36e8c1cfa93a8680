"""A gradient may be a part of a loss: second derivatives through the model are those of the reference."""

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F
from torch.testing import assert_close

from zhuyi.config import ModelConfig
from zhuyi.model import kernels
from zhuyi.model.mixers import MIXERS
from zhuyi.model.reference import reference_logits
from zhuyi.model.transformer import Transformer
from zhuyi.training.objective import cross_entropy

TARGETS = torch.tensor([[4, 5, 11, 3, 6, 9]])


def penalty_gradients(loss: Tensor, parameters: list[Tensor]) -> tuple[Tensor, ...]:
    """The gradient of the squared norm of the gradient (a gradient penalty: Drucker & Le Cun 1992)."""
    gradients = torch.autograd.grad(loss, parameters, create_graph=True, materialize_grads=True)
    penalty = torch.stack([gradient.square().sum() for gradient in gradients]).sum()
    return torch.autograd.grad(penalty, parameters, materialize_grads=True)


def test_a_gradient_penalty_has_the_references_gradient(config, model, sentences):
    source, mask, target_in = (part[1:2] for part in sentences)  # the sentence without padding
    parameters = dict(model.named_parameters())
    tied = dict(model.named_parameters(remove_duplicate=False))
    logits = reference_logits(tied, config, source[0].tolist(), target_in[0].tolist())
    targets = TARGETS.repeat(1, 2)[:, : len(logits)]  # the encoder shape has others than one for each target token
    loss = F.cross_entropy(logits, targets[0], reduction="sum", label_smoothing=0.1)
    expected = penalty_gradients(loss, list(parameters.values()))
    with kernels.use("explicit"):
        hidden = model.hidden(source, mask, target_in)
    smoothed, _ = cross_entropy(hidden, model.projection.weight, targets, 0.1, model.projection.bias)
    found = penalty_gradients(smoothed, list(parameters.values()))
    scale = max(value.abs().max().item() for value in expected)
    for name, one, other in zip(parameters, found, expected, strict=True):
        assert_close(one, other, rtol=1e-8, atol=1e-10 * scale, msg=lambda text, name=name: f"{name}: {text}")


def test_a_gradient_penalty_through_the_fused_kernel_is_refused(sentences):
    model = Transformer(ModelConfig(width=8, heads=2, encoder_layers=1, decoder_layers=1, feed_forward=8), 12)
    with kernels.use("fused"):
        logits = model(*sentences)
    with pytest.raises(RuntimeError, match="derivative"):
        penalty_gradients(logits.square().sum(), list(model.parameters()))


class Loss(torch.nn.Module):
    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, source: Tensor, mask: Tensor, target_in: Tensor) -> Tensor:
        hidden = self.model.decode(target_in, self.model.encode(source, mask), mask)
        return cross_entropy(hidden, self.model.projection.weight, target_in.roll(-1, dims=1), 0.1)[0]


@pytest.mark.parametrize("mixer", [mixer for mixer in MIXERS if mixer != "recurrence"])  # vmap refuses torch's LSTM
def test_gradients_of_each_sentence_add_up_to_that_of_the_batch(mixer, sentences, double):
    """torch.func's per-sample gradients: vmap and grad through the whole model."""
    sizes = {"width": 8, "heads": 2, "encoder_layers": 1, "decoder_layers": 1, "feed_forward": 8}
    loss = Loss(Transformer(ModelConfig(**sizes, mixer=mixer, dropout=0.0), 12))

    def of_one(parameters, *sentence):
        return functional_call(loss, parameters, tuple(part[None] for part in sentence))

    detached = {name: parameter.detach() for name, parameter in loss.named_parameters()}
    each = vmap(grad(of_one), in_dims=(None, 0, 0, 0))(detached, *sentences)
    together = torch.autograd.grad(loss(*sentences), list(loss.parameters()))
    for (name, found), expected in zip(each.items(), together, strict=True):
        assert_close(found.sum(dim=0), expected, msg=lambda text, name=name: f"{name}: {text}")
