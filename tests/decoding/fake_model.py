"""A model for tests of decoding, whose next distribution can be computed from nothing but the prefix."""

import math
from dataclasses import replace

import torch
from torch import Tensor

from zhuyi.model.cache import Cache, LayerCache, State
from zhuyi.text.tokenizer import BOS, EOS, PAD

STATES = 997


class FakeModel:
    """Logits from a random table; the row of the table is a function of the source and the prefix."""

    def __init__(self, vocabulary: int, seed: int, sharpness: float = 1.5, eos: float = 0.0) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.table = sharpness * torch.randn(STATES, vocabulary, generator=generator)
        self.table[:, PAD] += 5  # tempting, were they allowed
        self.table[:, BOS] += 5
        self.table[:, EOS] += eos
        self.rows: list[int] = []  # how many rows each step had

    def read(self, source: Tensor, source_mask: Tensor, limit: int) -> Cache:
        """A cache whose past is the state and the sentence of every row, and whose memory is its sentence again."""
        self.rows = []
        state = (source * source_mask).sum(dim=1) % STATES
        sentence = torch.arange(len(source))
        keys = sentence[:, None, None, None].float()
        return Cache((LayerCache(State((state, sentence)), (keys, keys)),), source_mask, position=0, limit=limit)

    def step(self, tokens: Tensor, cache: Cache) -> tuple[Tensor, Cache]:
        self.rows.append(len(tokens))
        assert cache.position < cache.limit
        [layer] = cache.layers
        state, sentence = layer.past.tensors
        assert torch.equal(sentence, layer.memory[0].flatten().long()), "a row was given to another sentence"
        state = self.next(state, tokens)
        layers = (replace(layer, past=State((state, sentence))),)
        return self.table[state], replace(cache, layers=layers, position=cache.position + 1)

    @staticmethod
    def next(state: Tensor, token: Tensor) -> Tensor:
        return (state * 31 + token * 7 + 11) % STATES

    def log_probs(self, source: Tensor, prefix: list[int]) -> list[float]:
        """The next distribution, computed from nothing but the prefix."""
        state = source.sum() % STATES
        for token in (BOS, *prefix):
            state = self.next(state, torch.tensor(token))
        logits = self.table[state].double()
        logits[[PAD, BOS]] = -math.inf
        return logits.log_softmax(dim=-1).tolist()


def batch(*sources: list[int]) -> tuple[Tensor, Tensor]:
    width = max(map(len, sources))
    source = torch.tensor([line + [PAD] * (width - len(line)) for line in sources])
    return source, source != PAD
