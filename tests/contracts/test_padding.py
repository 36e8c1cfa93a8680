"""A sentence's logits depend on that sentence: not on padding, not on what stands in it, not on its neighbours."""

import torch
from torch.nn import functional as F
from torch.testing import assert_close


def of_tokens(config) -> bool:
    """Whether the logits are those of the source's tokens, and so have its padding."""
    return config.shape == "encoder" and config.labels == "token"


SAME = {"rtol": 0, "atol": 1e-10}


@torch.no_grad()
def test_padding_changes_nothing_whatever_stands_in_it(config, model, sentences):
    source, mask, target_in = sentences
    real = model(source, mask, target_in)
    other = torch.where(mask, source, (source + 1) % 12)
    padded = model(F.pad(other, (0, 4), value=7), F.pad(mask, (0, 4)), F.pad(target_in, (0, 3), value=7))
    for row, found, wanted in zip(mask, padded, real, strict=True):
        length = int(row.sum()) if of_tokens(config) else len(wanted)
        assert_close(found[:length], wanted[:length], **SAME)


@torch.no_grad()
def test_neighbours_in_the_batch_change_nothing(config, model, sentences):
    together = model(*sentences)
    for row, (source, mask, target_in) in enumerate(zip(*sentences, strict=True)):
        alone = model(source[mask][None], mask[mask][None], target_in[None])
        assert_close(together[row][mask] if of_tokens(config) else together[row], alone[0], **SAME)


@torch.no_grad()
def test_one_token_is_enough_of_a_sentence(model):
    logits = model(torch.tensor([[3]]), torch.tensor([[True]]), torch.tensor([[2]]))
    assert logits.isfinite().all()
