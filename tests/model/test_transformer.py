import math

import pytest
import torch
from torch.testing import assert_close

from zhuyi.config import PRESETS, ModelConfig
from zhuyi.model.positions import POSITIONS
from zhuyi.model.tap import Recording
from zhuyi.model.transformer import Transformer

SMALL = {"width": 16, "heads": 4, "encoder_layers": 2, "decoder_layers": 2, "feed_forward": 24, "max_length": 16}


def preset(name: str) -> ModelConfig:
    return ModelConfig(**PRESETS[name].get("model", {}))


def test_paper_has_the_papers_parameters():
    """Vaswani et al. 2017, table 3, say 65 million for the base model; this is the sum of its parts."""
    vocabulary, width, inner, layers = 37000, 512, 2048, 6
    attention = 4 * width * width
    feed_forward = 2 * width * inner + inner + width
    layer_norm = 2 * width
    encoder = layers * (attention + feed_forward + 2 * layer_norm)
    decoder = layers * (2 * attention + feed_forward + 3 * layer_norm)
    with torch.device("meta"):
        model = Transformer(preset("paper"), vocabulary)
    assert model.parameter_count() == vocabulary * width + encoder + decoder


def test_tiny_is_tiny():
    vocabulary, width, inner, layers = 10_000, 128, 256, 4
    attention = 3 * layers * 4 * width * width
    feed_forward = 2 * layers * 2 * width * inner  # relu: no gate
    norms = (2 * layers + 3 * layers + 2) * width
    with torch.device("meta"):
        count = Transformer(preset("tiny"), vocabulary).parameter_count()
    assert count == vocabulary * width + attention + feed_forward + norms
    assert count < 3e6


def storages(model: Transformer) -> list[int]:
    return [matrix.weight.data_ptr() for matrix in (model.encoder.embedding, model.decoder.embedding, model.projection)]


@pytest.mark.parametrize(("tie", "distinct"), [("none", 3), ("embeddings", 2), ("output", 2), ("all", 1)])
def test_ties_share_one_matrix(tie, distinct):
    model = Transformer(ModelConfig(**SMALL, tie=tie), 50)
    assert len(set(storages(model))) == distinct
    rest = Transformer(ModelConfig(**SMALL, tie="all"), 50).parameter_count() - 50 * 16
    assert model.parameter_count() == rest + distinct * 50 * 16
    assert len(set(storages(model.double()))) == distinct, "a tie survives a change of type"


def test_separate_vocabularies_tie_the_target_side_alone():
    model = Transformer(ModelConfig(**SMALL, tie="all"), 50, 60)
    source, target, projection = storages(model)
    assert target == projection != source
    assert model.encoder.embedding.num_embeddings == 50
    assert model.projection.out_features == 60


def test_a_tied_matrix_learns_from_both_its_uses():
    model = Transformer(ModelConfig(**SMALL, tie="all"), 20)
    logits = model(torch.tensor([[3, 4]]), torch.tensor([[True, True]]), torch.tensor([[2, 5]]))
    logits[0, 0, 7].backward()
    moved = model.decoder.embedding.weight.grad.abs().sum(dim=1) > 0
    # The source, the one target token that position 0 sees, and the row of the logit.
    assert moved.nonzero().flatten().tolist() == [2, 3, 4, 7]


@pytest.mark.parametrize("bias", ["all", "feed_forward", "none"])
def test_bias_stands_where_it_was_asked_for(bias):
    model = Transformer(ModelConfig(**SMALL, bias=bias, norm_kind="rms"), 20)
    biases = {name.split(".")[3] for name, _ in model.named_parameters() if name.endswith("bias")}
    expected = {"all": {"mixer", "cross", "feed_forward"}, "feed_forward": {"feed_forward"}, "none": set()}
    assert biases == expected[bias]


@pytest.mark.parametrize("positions", POSITIONS)
@torch.no_grad()
def test_without_positions_the_encoder_does_not_know_the_order(positions):
    """The notes: attention by itself sees a set; positional encoding makes it a sequence."""
    torch.manual_seed(1)
    model = Transformer(ModelConfig(**SMALL, positions=positions), 20).eval()
    source, mask = torch.arange(4, 11)[None], torch.ones(1, 7, dtype=torch.bool)
    order = torch.randperm(7)
    permuted = torch.allclose(model.encode(source[:, order], mask), model.encode(source, mask)[:, order], atol=1e-5)
    assert permuted == (positions == "none")


@torch.no_grad()
def test_a_new_model_knows_nothing_and_says_so():
    """At first every token is about as likely as any other: the loss starts near log(vocabulary)."""
    torch.manual_seed(1)
    for name in PRESETS:
        model = Transformer(ModelConfig(**{**PRESETS[name].get("model", {}), **SMALL}), 100).eval()
        tokens = torch.randint(100, (8, 12))
        logits = model(tokens, torch.ones(8, 12, dtype=torch.bool), tokens)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), torch.randint(100, (96,)))
        assert abs(loss.item() - math.log(100)) < 1.0


SENTENCE = (torch.tensor([[3, 4, 8]]), torch.ones(1, 3, dtype=torch.bool), torch.tensor([[2, 5]]))


@pytest.mark.parametrize("kind", ["dropout", "attention_dropout", "feed_forward_dropout"])
@torch.no_grad()
def test_each_dropout_drops_in_training_and_never_in_use(kind):
    torch.manual_seed(1)
    model = Transformer(ModelConfig(**{**SMALL, "dropout": 0.0, kind: 0.5}), 20)
    assert not torch.equal(model(*SENTENCE), model(*SENTENCE))
    model.eval()
    assert torch.equal(model(*SENTENCE), model(*SENTENCE))


@torch.no_grad()
def test_embeddings_and_every_residual_branch_are_dropped():
    torch.manual_seed(1)
    tap = Recording()
    Transformer(ModelConfig(**SMALL, dropout=0.5, norm="pre"), 20)(*SENTENCE, tap)
    for stack, parts in (("encoder", ("self", "feed_forward")), ("decoder", ("self", "cross", "feed_forward"))):
        x = tap.values[f"{stack}.input"]
        assert 0.2 < (x == 0).double().mean() < 0.8
        for part in (f"{stack}.{n}.{part}" for n in range(2) for part in parts):
            total, branch = tap.values[f"{part}.residual"], 2 * tap.values[f"{part}.output"]
            dropped = total == x
            assert 0.2 < dropped.double().mean() < 0.8, part
            assert_close((total - x)[~dropped], branch[~dropped])
            x = total


def test_every_parameter_learns():
    torch.manual_seed(1)
    for mixer in ("attention", "convolution", "recurrence"):
        model = Transformer(ModelConfig(**SMALL, mixer=mixer, bias="all", tie="none", positions="learned"), 20)
        mask = torch.ones(2, 16, dtype=torch.bool)
        logits = model(torch.randint(20, (2, 16)), mask, torch.randint(20, (2, 16)))
        logits.square().sum().backward()
        for name, parameter in model.named_parameters():
            # A bias of keys adds the same to all scores of a query: the softmax does not see it.
            if not name.endswith("key.bias"):
                assert parameter.grad is not None, name
                assert parameter.grad.abs().sum() > 0, name


@torch.no_grad()
def test_recording_of_a_long_sentence_is_what_the_fast_path_gives():
    """Beyond the length where the fused kernel takes over, looking still changes nothing that matters."""
    torch.manual_seed(1)
    model = Transformer(ModelConfig(**{**SMALL, "max_length": 200}), 20).eval()
    tokens, mask = torch.randint(20, (1, 200)), torch.ones(1, 200, dtype=torch.bool)
    assert_close(model(tokens, mask, tokens, Recording()), model(tokens, mask, tokens), rtol=0, atol=1e-5)
