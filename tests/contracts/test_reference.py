"""The model, by whichever path, is what `reference.py` computes."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from zhuyi.config import ModelConfig
from zhuyi.model import kernels
from zhuyi.model.attention import KERNELS
from zhuyi.model.reference import reference_logits, reference_values
from zhuyi.model.tap import Recording


def test_every_kernels_logits_are_the_references(config, model, sentences):
    expected = [
        reference_logits(model.state_dict(), config, source[mask].tolist(), target_in.tolist())
        for source, mask, target_in in zip(*sentences, strict=True)
    ]
    for kernel in KERNELS:
        with torch.no_grad(), kernels.use(kernel):
            logits = model(*sentences)
        for row, found, wanted in zip(sentences.source_mask, logits, expected, strict=True):
            found = found[row] if config.labels == "token" and config.shape == "encoder" else found
            assert_close(found, wanted, rtol=0, atol=1e-10)


def test_every_tapped_value_is_the_references(config, model, sentences):
    tap = Recording()
    source, mask, target_in = (part[1:2] for part in sentences)  # the sentence without padding
    with torch.no_grad():
        model(source, mask, target_in, tap)
    expected = reference_values(model.state_dict(), config, source[0].tolist(), target_in[0].tolist())
    assert tap.values.keys() == expected.keys()
    for name, value in expected.items():
        assert_close(tap.values[name][0], value, rtol=0, atol=1e-10, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("config", [ModelConfig(width=8, heads=2, feed_forward=8)], ids=["any"])
def test_reference_takes_arrays_of_any_precision(config, model, sentences):
    source, target_in = sentences.source[1].tolist(), sentences.target_in[1].tolist()
    weights = {name: np.asarray(value, dtype=np.float32) for name, value in model.state_dict().items()}
    logits = reference_logits(weights, config, source, target_in)
    assert logits.dtype == torch.float64
    assert_close(logits, reference_logits(model.state_dict(), config, source, target_in), rtol=0, atol=1e-4)
