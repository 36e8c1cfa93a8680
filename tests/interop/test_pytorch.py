"""A state dict of torch.nn.Transformer, or of a tutorial, answers as the module that it comes from."""

import math
import random
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import zhuyi
from zhuyi.directory import RUN
from zhuyi.engine.torch import TorchEngine
from zhuyi.errors import CheckpointError, ConfigError
from zhuyi.interop import from_state_dict
from zhuyi.translator import Translator

SOURCE = ["<unk>", "<pad>", "<bos>", "<eos>", *"abcdefgh"]
TARGET = ["<unk>", "<pad>", "<bos>", "<eos>", *"ABCDEFGHIJ"]
WIDTH, HEADS, LONGEST = 16, 4, 30


class Embedded(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(size, WIDTH)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.embedding(tokens) * math.sqrt(WIDTH)


class Sinusoids(nn.Module):
    """As in PyTorch's tutorial "Language Translation with nn.Transformer"."""

    def __init__(self) -> None:
        super().__init__()
        angle = torch.arange(LONGEST)[:, None] * torch.exp(-torch.arange(0, WIDTH, 2) * math.log(10000) / WIDTH)
        table = torch.zeros(LONGEST, WIDTH)
        table[:, 0::2], table[:, 1::2] = angle.sin(), angle.cos()
        self.register_buffer("pos_embedding", table[None])

    def forward(self, x: Tensor) -> Tensor:
        return x + self.pos_embedding[:, : x.shape[1]]


class Learned(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(LONGEST, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.table.weight[: x.shape[1]]


class Homework(nn.Module):
    """What students write around nn.Transformer."""

    def __init__(self, learned: bool, **how: Any) -> None:
        super().__init__()
        self.transformer = nn.Transformer(WIDTH, HEADS, 2, 3, 24, 0.0, batch_first=True, **how)
        self.generator = nn.Linear(WIDTH, len(TARGET))
        self.src_tok_emb, self.tgt_tok_emb = Embedded(len(SOURCE)), Embedded(len(TARGET))
        if learned:
            self.src_positions, self.tgt_positions = Learned(), Learned()
        else:
            self.positional_encoding = Sinusoids()

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        one = getattr(self, "positional_encoding", None)
        x = (one or self.src_positions)(self.src_tok_emb(source))
        y = (one or self.tgt_positions)(self.tgt_tok_emb(target))
        causal = torch.ones(target.shape[1], target.shape[1], dtype=torch.bool).triu(1)
        return self.generator(self.transformer(x, y, tgt_mask=causal))


class Attention(nn.Module):
    """Trevett's tutorial, part 6; so are the next classes."""

    def __init__(self) -> None:
        super().__init__()
        self.fc_q, self.fc_k, self.fc_v, self.fc_o = (nn.Linear(WIDTH, WIDTH) for _ in range(4))

    def forward(self, x: Tensor, y: Tensor, mask: Tensor | None) -> Tensor:
        q, k, v = (
            each.view(*each.shape[:2], HEADS, -1).transpose(1, 2) for each in (self.fc_q(x), self.fc_k(y), self.fc_v(y))
        )
        scores = q @ k.mT / math.sqrt(WIDTH // HEADS)
        if mask is not None:
            scores = scores.masked_fill(mask, -1e10)
        return self.fc_o((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc_1, self.fc_2 = nn.Linear(WIDTH, 24), nn.Linear(24, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc_2(self.fc_1(x).relu())


class Layer(nn.Module):
    def __init__(self, cross: bool) -> None:
        super().__init__()
        self.self_attn_layer_norm, self.ff_layer_norm = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.self_attention, self.positionwise_feedforward = Attention(), FeedForward()
        if cross:
            self.enc_attn_layer_norm, self.encoder_attention = nn.LayerNorm(WIDTH), Attention()

    def forward(self, x: Tensor, memory: Tensor | None, mask: Tensor | None) -> Tensor:
        x = self.self_attn_layer_norm(x + self.self_attention(x, x, mask))
        if memory is not None:
            x = self.enc_attn_layer_norm(x + self.encoder_attention(x, memory, None))
        return self.ff_layer_norm(x + self.positionwise_feedforward(x))


class Side(nn.Module):
    def __init__(self, size: int, layers: int, cross: bool) -> None:
        super().__init__()
        self.tok_embedding, self.pos_embedding = nn.Embedding(size, WIDTH), nn.Embedding(LONGEST, WIDTH)
        self.layers = nn.ModuleList(Layer(cross) for _ in range(layers))
        if cross:
            self.fc_out = nn.Linear(WIDTH, size)

    def forward(self, tokens: Tensor, memory: Tensor | None = None) -> Tensor:
        n = tokens.shape[1]
        x = self.tok_embedding(tokens) * math.sqrt(WIDTH) + self.pos_embedding.weight[:n]
        mask = torch.ones(n, n, dtype=torch.bool).triu(1) if memory is not None else None
        for layer in self.layers:
            x = layer(x, memory, mask)
        return self.fc_out(x) if memory is not None else x


class Tutorial(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = Side(len(SOURCE), 2, cross=False), Side(len(TARGET), 3, cross=True)

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        return self.decoder(target, self.encoder(source))


CASES: dict[str, tuple[Any, dict[str, Any]]] = {
    "post-norm": (lambda: Homework(False), {}),
    "pre-norm": (lambda: Homework(False, norm_first=True), {"norm": "pre"}),
    "gelu": (lambda: Homework(False, activation="gelu"), {"activation": "gelu"}),
    "learned positions": (lambda: Homework(True), {}),
    "no biases": (lambda: Homework(True, bias=False), {}),
    "the tutorial": (Tutorial, {}),
}


def random_model(make: Any) -> nn.Module:
    torch.manual_seed(0)
    model = make().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def imported(model: nn.Module, **how: Any) -> Translator:
    return from_state_dict(
        model.state_dict(),
        heads=HEADS,
        source_tokens=SOURCE,
        target_tokens=TARGET,
        kind="character",
        source_begins=True,
        max_length=LONGEST,
        **how,
    )


def greedy(model: nn.Module, line: str, most: int) -> str:
    source = torch.tensor([[2, *map(SOURCE.index, line), 3]])
    target = [2]
    while len(target) <= most:
        logits = model(source, torch.tensor([target]))[0, -1]
        logits[[1, 2]] = -torch.inf
        if (token := int(logits.argmax())) == 3:
            break
        target.append(token)
    return "".join(TARGET[token] for token in target[1:])


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize(("make", "how"), CASES.values(), ids=CASES)
def test_it_answers_as_the_original(make: Any, how: dict[str, Any]) -> None:
    model, rng = random_model(make), random.Random(1)
    translator = imported(model, **how)
    assert isinstance(translator.engine, TorchEngine)
    lines = ["".join(rng.choices("abcdefgh", k=rng.randint(1, 12))) for _ in range(20)]
    decoding = translator.config.decoding.model_copy(update={"beam": 1, "max_ratio": 0.0, "max_extra": 20})
    with torch.inference_mode():
        assert [best[0].text for best in translator.hypotheses(lines, decoding)] == [
            greedy(model, line, 20) for line in lines
        ]
        source = [2, *map(SOURCE.index, lines[0]), 3]
        target = [2, *rng.choices(range(4, len(TARGET)), k=9)]
        expected = model(torch.tensor([source]), torch.tensor([target]))[0]
        ids = torch.tensor([[*translator.tokenizers.source.encode([lines[0]])[0], 3]])
        mine = translator.engine.transformer(ids, torch.ones_like(ids, dtype=torch.bool), torch.tensor([target]))[0]
    order = [1, 0, 2, 3, *range(4, len(TARGET))]
    torch.testing.assert_close(mine, expected[:, order], rtol=0, atol=2e-5)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_it_can_be_saved_and_used(tmp_path: Any) -> None:
    translator = imported(random_model(lambda: Homework(True)))
    zhuyi.save(translator, tmp_path / "model")
    again = zhuyi.load(tmp_path / "model")
    assert again.translate(["abc", "hg"]) == translator.translate(["abc", "hg"])
    zhuyi.save(again, tmp_path / "copy")
    for name in ("model", "copy"):
        assert not (tmp_path / name / RUN).exists(), "nobody says how it was trained"


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
def test_what_is_not_found_can_be_named() -> None:
    state = random_model(lambda: Homework(True)).state_dict()
    state["a"] = state.pop("src_tok_emb.embedding.weight")
    state["b.weight"] = state.pop("tgt_tok_emb.embedding.weight")
    tokens: dict[str, Any] = {"heads": HEADS, "source_tokens": SOURCE, "target_tokens": TARGET}
    with pytest.raises(CheckpointError, match=r"source_embedding.*names=\{'source_embedding'"):
        from_state_dict(state, **tokens)
    from_state_dict(state, **tokens, names={"source_embedding": "a", "target_embedding": "b.weight"})


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize("positions", ["sinusoidal", "none"])
def test_learned_positions_are_not_left_out(positions: Any) -> None:
    state = random_model(lambda: Homework(True)).state_dict()
    with pytest.raises(ConfigError, match=f'positions = "{positions}", but the state dict has a learned table'):
        from_state_dict(state, heads=HEADS, source_tokens=SOURCE, target_tokens=TARGET, positions=positions)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor")
@pytest.mark.parametrize(
    ("change", "error", "what"),
    [
        ({"heads": 3}, ConfigError, "heads"),
        ({"eos": "<end>"}, ConfigError, "source_tokens has no <end>"),
        ({"source_tokens": SOURCE[3:], "target_tokens": None}, ConfigError, "source_tokens has no <bos>"),
        ({"kind": "bpe"}, ConfigError, "kind = 'bpe' is not one of whitespace, character"),
        ({"source_tokens": [*SOURCE, "a"]}, ConfigError, "twice"),
        ({"source_tokens": [*SOURCE, "z"]}, CheckpointError, "source_embedding"),
        ({"names": {"projection": "generator.wait"}}, CheckpointError, "generator.wait"),
        ({"weights": {"x": torch.zeros(2)}}, CheckpointError, "not one of torch.nn.Transformer"),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(change: dict[str, Any], error: type[Exception], what: str) -> None:
    given = {
        "weights": random_model(lambda: Homework(False)).state_dict(),
        "heads": HEADS,
        "source_tokens": SOURCE,
        "target_tokens": TARGET,
    }
    with pytest.raises(error, match=what) as refused:
        from_state_dict(**{**given, **change})
    assert "\n" not in str(refused.value)
