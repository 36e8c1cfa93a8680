"""The whole forward pass in one file: the oracle of every fast path, and reading matter beside the lecture notes.

At its end stands how a token is drawn from a step's distribution, which is the same in every engine.

One sentence pair at a time, so that nothing is padded; float64; every product is an `einsum` over the letters

    t     positions (i: the one that asks, j: those that answer)     g   groups: heads of keys and values
    m, o  coordinates of a vector that goes in, that comes out       p   heads of one group
    d     coordinates within a head                                  s   places in a convolution's window

In the notes' symbols: a^i is the vector at position i; q^i = W^q a^i, k^i = W^k a^i and v^i = W^v a^i are its query,
key and value; α_{i,j} = q^i · k^j is an attention score, α′ the softmax of a row of them; b^i = Σ_j α′_{i,j} v^j.
The equations are those of Vaswani et al. 2017 where no other source is named. Nothing of the model is imported here:
each function takes its own weights `w`, and gives back everything that it has computed, by the tap's names.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor, einsum

from zhuyi.config import ModelConfig

Values = dict[str, Tensor]


def reference_logits(
    weights: Mapping[str, Any], config: ModelConfig, source_ids: Sequence[int], target_in_ids: Sequence[int]
) -> Float64[Tensor, "target vocabulary"]:
    """The logits after each token of `target_in_ids`, given `source_ids`; arguments as of `reference_values`."""
    return reference_values(weights, config, source_ids, target_in_ids)["logits"]


def reference_values(
    weights: Mapping[str, Any], config: ModelConfig, source_ids: Sequence[int], target_in_ids: Sequence[int]
) -> Values:
    """Every value of the forward pass, by the tap's names and in its shapes without `batch`.

    Args:
        weights: the Transformer's `state_dict()`, of tensors or NumPy arrays.
        config: what the Transformer was made with.
        source_ids: the source with its EOS, and no padding.
        target_in_ids: BOS and the target so far.
    """
    w = {name: torch.as_tensor(weight).double() for name, weight in weights.items()}
    a, values = SHAPES[config.shape](w, config, list(source_ids), list(target_in_ids))
    values["logits"] = linear(part(w, "projection"), a)  # a softmax of each row: its distribution over voc_size tokens
    return values


def encoder_decoder(w: Values, config: ModelConfig, source: list[int], target_in: list[int]) -> tuple[Tensor, Values]:
    """The target's hidden states, which attend to the source's (Vaswani et al. 2017, figure 1)."""
    memory, values = encoder(part(w, "encoder"), config, source)
    a, own = decoder(part(w, "decoder"), config, target_in, memory)
    return a, values | own


def decoder_only(w: Values, config: ModelConfig, source: list[int], target_in: list[int]) -> tuple[Tensor, Values]:
    """GPT: source and target are one sequence, where BOS follows the source; no one attends to another stack."""
    a, values = decoder(part(w, "decoder"), config, source[:-1] + target_in, None)
    return a[len(source[:-1]) :], values


def encoder_only(w: Values, config: ModelConfig, source: list[int], target_in: list[int]) -> tuple[Tensor, Values]:
    """BERT: a state, and so a label, for each position of the source; or their mean, for the line."""
    a, values = encoder(part(w, "encoder"), config, source)
    if config.labels == "line":
        a = values["pooled"] = a.mean(dim=0, keepdim=True)
    return a, values


SHAPES = {"encoder-decoder": encoder_decoder, "decoder": decoder_only, "encoder": encoder_only}


def encoder(w: Values, config: ModelConfig, ids: list[int]) -> tuple[Tensor, Values]:
    """Blocks in which every position sees every other."""
    values: Values = {}
    values["embedding"], a = embed(w, config, ids)
    values["input"] = a
    for n in range(config.encoder_layers):
        a, block = encoder_block(layer(w, n), config, a)
        values |= named(str(n), block)
    # With pre-norm, nothing has normalised the last sum yet: then there is a final norm, unless the model says not.
    a = values["output"] = norm(part(w, "norm"), config, a) if config.final_norm else a
    return a, named("encoder", values)


def decoder(w: Values, config: ModelConfig, ids: list[int], memory: Tensor | None) -> tuple[Tensor, Values]:
    """Blocks in which a position sees those before it and, of the encoder-decoder shape, all of the memory."""
    values: Values = {}
    values["embedding"], a = embed(w, config, ids)
    values["input"] = a
    for n in range(config.decoder_layers):
        a, block = decoder_block(layer(w, n), config, a, memory)
        values |= named(str(n), block)
    a = values["output"] = norm(part(w, "norm"), config, a) if config.final_norm else a
    return a, named("decoder", values)


def embed(w: Values, config: ModelConfig, ids: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Which token it is; and the first a^i, which says (positional encoding) where it stands, too."""
    embedding = a = w["embedding.weight"][torch.as_tensor(ids)]
    if config.embedding_scale:
        embedding = a = embedding * math.sqrt(config.width)
    if config.positions == "learned":
        a = a + w["positions.table"][: len(a)]
    if config.positions in ("sinusoidal", "tensor2tensor"):  # sin, cos, sin, cos, ...: section 3.5
        angle = angles(len(a), config.width, to_the_end=config.positions == "tensor2tensor")
        a = a + torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1)[:, : config.width]
    if config.embedding_norm:  # Lewis et al. 2020 (BART)
        a = norm(part(w, "embedding_norm"), config, a)
    return embedding, a


def encoder_block(w: Values, config: ModelConfig, a: Tensor) -> tuple[Tensor, Values]:
    """Self-attention, where every position sees every other, and the FC layers."""
    mix = MIXERS[config.mixer_of(causal=False)]
    a, own = add_and_norm(w, "mixer", config, a, lambda x: mix(part(w, "mixer"), config, x, causal=False))
    a, fc = add_and_norm(w, "feed_forward", config, a, lambda x: feed_forward(part(w, "feed_forward"), config, x))
    return a, named("self", own) | named("feed_forward", fc)


def decoder_block(w: Values, config: ModelConfig, a: Tensor, memory: Tensor | None) -> tuple[Tensor, Values]:
    """Masked self-attention, cross attention (the decoder's q; k and v of the encoder's output) and the FC layers."""
    mix = MIXERS[config.mixer_of(causal=True)]
    a, own = add_and_norm(w, "mixer", config, a, lambda x: mix(part(w, "mixer"), config, x, causal=True))
    cross: Values = {}
    if memory is not None:
        see_all = torch.ones(1, len(memory), dtype=torch.bool)
        attend = partial(attention, part(w, "cross"), config, y=memory, mask=see_all)
        a, cross = add_and_norm(w, "cross", config, a, lambda x: attend(x=x))
    a, fc = add_and_norm(w, "feed_forward", config, a, lambda x: feed_forward(part(w, "feed_forward"), config, x))
    return a, named("self", own) | named("cross", cross) | named("feed_forward", fc)


def add_and_norm(
    w: Values, name: str, config: ModelConfig, a: Tensor, sublayer: Callable[[Tensor], Values]
) -> tuple[Tensor, Values]:
    """Residual connection and norm: after the sum (2017), or before the sublayer (Xiong et al. 2020)."""
    w_norm = part(w, f"{name}_residual.norm")
    if config.norm == "pre":
        normed = norm(w_norm, config, a)
        values = sublayer(normed)
        a = a + values["output"]
        return a, values | {"norm": normed, "residual": a}
    values = sublayer(a)
    total = a + values["output"]
    a = norm(w_norm, config, total)
    return a, values | {"residual": total, "norm": a}


def self_attention(w: Values, config: ModelConfig, x: Tensor, causal: bool) -> Values:
    """As many vectors out as in; `causal`: position i sees only those j ≤ i."""
    everyone = torch.ones(len(x), len(x), dtype=torch.bool)
    bias = None
    if config.positions == "alibi":
        bias = slopes(len(x), config.heads)
    if config.positions == "relative":
        bias = relative(w["positions"], len(x), causal)
    return attention(w, config, x, x, everyone.tril() if causal else everyone[:1], bias)


def attention(w: Values, config: ModelConfig, x: Tensor, y: Tensor, mask: Tensor, bias: Tensor | None = None) -> Values:
    """b^i for each position of `x`, from those positions of `y` where the mask is True; `bias`: added to α."""
    groups = config.groups
    q = heads(linear(part(w, "query"), x), config.heads)  # q^i = W^q a^i
    k = heads(linear(part(w, "key"), y), groups)  # k^j = W^k a^j
    v = heads(linear(part(w, "value"), y), groups)  # v^j = W^v a^j
    # Distances mean something within one sequence only.
    rotated_q, rotated_k = (rotate(q), rotate(k)) if config.positions == "rotary" and x is y else (q, k)
    rotated = {"rotated_queries": rotated_q, "rotated_keys": rotated_k} if x is y else {}
    # α_{i,j} = q^i · k^j / √d. The p heads of a group share its keys and values (Ainslie et al. 2023).
    alpha = einsum("gpid,gjd->gpij", rotated_q.view(groups, -1, *q.shape[1:]), rotated_k) / math.sqrt(config.head_width)
    biased = alpha if bias is None else alpha + bias.view_as(alpha)
    # α′ = softmax(α): each in (0, 1), a row's sum is 1, and what is masked is e^-∞ = 0.
    masked = torch.where(mask, biased, -math.inf)
    exp_alpha = torch.exp(masked - masked.amax(dim=-1, keepdim=True))
    alpha_prime = exp_alpha / exp_alpha.sum(dim=-1, keepdim=True)
    # b^i = Σ_j α′_{i,j} v^j; multi-head: all heads' b^i end to end, times W^o.
    b = einsum("gpij,gjd->gpid", alpha_prime, v).flatten(0, 1)
    output = linear(part(w, "output"), b.transpose(0, 1).flatten(1))
    return {
        "queries": q,
        "keys": k,
        "values": v,
        **rotated,
        **({} if bias is None else {"bias": bias}),
        "scores": alpha.flatten(0, 1),
        "mask": mask[None],
        "weights": alpha_prime.flatten(0, 1),
        "context": b,
        "output": output,
    }


def convolution(w: Values, config: ModelConfig, x: Tensor, causal: bool) -> Values:
    """The notes' CNN: each position sees its window; gated (Gehring et al. 2017, section 3.2)."""
    before = config.kernel - 1 if causal else config.kernel // 2
    left, right = x.new_zeros(before, config.width), x.new_zeros(config.kernel - 1 - before, config.width)
    windows = torch.cat([left, x, right]).unfold(0, config.kernel, 1)
    both = einsum("tms,oms->to", windows, w["window.weight"]) + w.get("window.bias", torch.tensor(0.0))
    value, gate = both.chunk(2, dim=-1)
    gated = value * torch.sigmoid(gate)
    return {"gated": gated, "output": linear(part(w, "output"), gated)}


def recurrence(w: Values, config: ModelConfig, x: Tensor, causal: bool) -> Values:
    """The notes' RNN, which sees the past through its last state alone; in the encoder a second one sees the future."""
    states = lstm(part(w, "forwards"), x)
    if not causal:
        states = torch.cat([states, lstm(part(w, "backwards"), x.flip(0)).flip(0)], dim=-1)
    return {"states": states, "output": linear(part(w, "output"), states)}


MIXERS = {"attention": self_attention, "convolution": convolution, "recurrence": recurrence}


def lstm(w: Values, x: Tensor) -> Tensor:
    """Its output h at each position (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000)."""
    h = c = x.new_zeros(w["weight_hh_l0"].shape[1])
    states = []
    for a in x:
        four = einsum("om,m->o", w["weight_ih_l0"], a) + einsum("om,m->o", w["weight_hh_l0"], h)
        input_gate, forget_gate, candidate, output_gate = (four + w["bias_ih_l0"] + w["bias_hh_l0"]).chunk(4)
        c = torch.sigmoid(forget_gate) * c + torch.sigmoid(input_gate) * torch.tanh(candidate)
        h = torch.sigmoid(output_gate) * torch.tanh(c)
        states.append(h)
    return torch.stack(states)


def feed_forward(w: Values, config: ModelConfig, x: Tensor) -> Values:
    """The notes' FC, which takes turns with attention."""
    inner = linear(part(w, "inner"), x)
    if config.activation == "relu":
        inner = inner.clamp(min=0.0)
    elif config.activation == "gelu":  # x times the probability that a standard normal number is below x
        inner = inner * (1 + torch.erf(inner / math.sqrt(2))) / 2
    elif config.activation == "silu":  # Ramachandran et al. 2017
        inner = inner * torch.sigmoid(inner)
    elif config.activation == "swiglu":  # Shazeer 2020
        gate = linear(part(w, "gate"), x)
        inner = gate * torch.sigmoid(gate) * inner
    elif (
        config.activation == "geglu"
    ):  # the same with gelu, here by tanh, which is almost erf (Hendrycks & Gimpel 2016)
        gate = linear(part(w, "gate"), x)
        inner = gate * (1 + torch.tanh(math.sqrt(2 / math.pi) * (gate + 0.044715 * gate**3))) / 2 * inner
    return {"inner": inner, "output": linear(part(w, "outer"), inner)}


def linear(w: Values, x: Tensor) -> Tensor:
    """W x, and the bias if there is one, at each position."""
    return einsum("tm,om->to", x, w["weight"]) + w.get("bias", torch.tensor(0.0))


def norm(w: Values, config: ModelConfig, x: Tensor) -> Tensor:
    """Each vector at mean 0 and variance 1 (Ba et al. 2016), or at mean square 1 (rms; Zhang & Sennrich 2019)."""
    if config.norm_kind == "rms":
        return w["weight"] * x / torch.sqrt(x.square().mean(dim=-1, keepdim=True) + config.norm_epsilon)
    x = x - x.mean(dim=-1, keepdim=True)
    return w["weight"] * x / torch.sqrt(x.square().mean(dim=-1, keepdim=True) + config.norm_epsilon) + w["bias"]


def angles(time: int, width: int, to_the_end: bool = False) -> Tensor:
    """position / 10000^(m / width) for m = 0, 2, 4, ...; `to_the_end`: so spaced that the last is position / 10000."""
    m = torch.arange(0, width, 2).double()
    frequency = 10000.0 ** (-m / (max(float(m[-1]), 1.0) if to_the_end else width))
    return einsum("t,m->tm", torch.arange(time).double(), frequency)


def rotate(x: Tensor) -> Tensor:
    """Pairs of coordinates are complex numbers, which the angles of their position turn (Su et al. 2021)."""
    real, imaginary = x.chunk(2, dim=-1)
    rotated = torch.complex(real, imaginary) * torch.exp(1j * angles(x.shape[-2], x.shape[-1]))
    return torch.cat([rotated.real, rotated.imag], dim=-1)


def slopes(time: int, heads: int) -> Tensor:
    """-2^(-8 p / heads) · |i - j| for the heads p = 1, 2, ... (Press et al. 2022, section 3, for both sides)."""
    t = torch.arange(time).double()
    return -einsum("p,ij->pij", 2.0 ** (-8 * torch.arange(1, heads + 1).double() / heads), (t[:, None] - t).abs())


def relative(table: Tensor, time: int, causal: bool) -> Tensor:
    """For each head a learned number of the distance from i to j; far ones share theirs (Raffel et al. 2020)."""
    rows = [[bucket(j - i, len(table), causal) for j in range(time)] for i in range(time)]
    return table[torch.tensor(rows)].movedim(2, 0)


def bucket(distance: int, buckets: int, causal: bool) -> int:
    """A row of the table: half of the rows are for keys after the query, unless causal; of each side, see below."""
    if not causal:
        return (buckets // 2 if distance > 0 else 0) + bucket(-abs(distance), buckets // 2, causal=True)
    distance, exact = max(-distance, 0), buckets // 2
    if distance < exact:
        return distance
    # Bucket exact + n begins where distance / exact ≥ (128 / exact)^(n / exact), here in integers.
    return exact + max(n for n in range(exact) if distance**exact * exact**n >= exact**exact * 128**n)


def layer(w: Values, n: int) -> Values:
    """The weights of block n, and the table of positions that all blocks of its stack share, if there is one."""
    table = {"mixer.positions": w["positions.table"]} if "positions.table" in w else {}
    return part(w, f"blocks.{n}") | table


def heads(x: Tensor, number: int) -> Tensor:
    """Each vector, cut into `number` of them."""
    return torch.stack(x.tensor_split(number, dim=1))


def part(w: Values, name: str) -> Values:
    """The weights of one part, by their names within it."""
    return {key.removeprefix(f"{name}."): weight for key, weight in w.items() if key.startswith(f"{name}.")}


def named(name: str, values: Values) -> Values:
    """The values of one part, by their names from outside."""
    return {f"{name}.{key}": value for key, value in values.items()}


def philox(counter: Sequence[int], key: Sequence[int]) -> list[int]:
    """Philox4x32-10 (Salmon et al. 2011, section 3.2): four random words, a function of a counter and a key.

    Args:
        counter: four words, each below 2^32.
        key: two words.
    """
    a, b, c, d = counter
    one, other = key
    for _ in range(10):
        left, right = 0xD2511F53 * a, 0xCD9E8D57 * c  # 64 bits each
        a, b, c, d = (right >> 32) ^ b ^ one, right % 2**32, (left >> 32) ^ d ^ other, left % 2**32
        one, other = (one + 0x9E3779B9) % 2**32, (other + 0xBB67AE85) % 2**32
    return [a, b, c, d]


def sampling_weights(log_probs: Tensor, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> list[int]:
    """What each token counts when one is drawn: an integer, so that sums are exact in whatever order they are made.

    With x_i = log p_i / T, and x_i = -∞ for all but the k most probable, w_i = ⌊2^30 exp(x_i - max x)⌋. Of these, w_i
    is kept where the weights that are larger sum to less than p Σw. Tokens that are equally probable share their fate.
    """
    x = log_probs / temperature
    if top_k:
        x = torch.where(x >= x.sort(descending=True).values[: min(top_k, len(x))][-1], x, -math.inf)
    w = [math.floor(2**30 * math.exp(each - float(x.max()))) for each in x.tolist()]
    return [each if sum(larger for larger in w if larger > each) < top_p * sum(w) else 0 for each in w]


def draw(weights: Sequence[int], seed: int, line: int, step: int, sample: int = 0) -> int:
    """The token that is drawn: the first whose weight and those before it sum to more than ⌊word Σw / 2^32⌋.

    The word is a function of its place alone, so it does not matter in which batch, in which order and by which
    engine a line is sampled. Engines differ only where their log-probabilities or exponentials differ in the last
    bits and the threshold falls between the two sums: about once in a million draws in float32. One word a row is
    enough, where adding Gumbel noise would take one for each token of the vocabulary, and logarithms of them.

    Args:
        weights: as `sampling_weights` gives them.
        seed: `decoding.seed`.
        line: number of the line in the text that is translated, from 0.
        step: number of the token in the output, from 0.
        sample: number of the sample of this line, from 0.
    """
    word = philox((step, sample, line % 2**32, line >> 32), (seed, 0))[0]
    threshold = word * sum(weights) >> 32
    for token, total in enumerate(accumulate(weights)):
        if total > threshold:
            return token
    raise ValueError("there is no token to draw: all weights are 0")
