"""Calculate the memory, traffic and time of a training run of any size.

    python benchmarks/scaling.py --size 300M --pairs 1e8 --gpus 64 [--shard] [--tokens 400000] [--share 0.4]
    python benchmarks/scaling.py                             draw the pictures of docs/scaling.md

`report.py` writes the tables of docs/scaling.md, and `scaling_checks.py` measures what is predicted here, for the last
of them.

Unless stated otherwise, numbers are bytes, FLOP or seconds of one update (all micro-batches); memory and traffic are
those of one GPU. In formulas, d is the width, a the width of all heads together, d_kv that of all heads of keys or of
values, f the inner width of the feed-forward, N the number of parameters, and n the number of GPUs.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zhuyi.config import ModelConfig
from zhuyi.model.positions import Relative
from zhuyi.training.objective import LOGIT_CHUNK

PICTURES = Path(__file__).parent.parent / "docs" / "pictures"

VOCABULARY = 32_000
LENGTH = 25
"""Tokens of a line, of either side, with its BOS or EOS; a pair has two of them."""
UPDATE = 400_000
"""Source and target tokens of an update, where nothing else is said: that of the larger runs of the field."""
MICRO = 16_384
"""Most tokens on a GPU at one time; a larger share of the update is accumulated."""
EPOCHS = 10

SIZES: dict[str, tuple[int, int, int]] = {  # width, inner width, blocks of the encoder and of the decoder
    "10M": (192, 512, 4),
    "25M": (320, 896, 5),
    "50M": (448, 1216, 6),
    "100M": (576, 1536, 9),
    "300M": (896, 2432, 12),
    "1B": (1408, 3776, 18),
    "3B": (2048, 5504, 26),
}
"""Shapes whose depth and width grow together, with the gated feed-forward of the default recipe (f ≈ 8/3 d)."""


def model_of(size: str) -> ModelConfig:
    """The configuration of a size in the table, with heads of 64."""
    width, inner, blocks = SIZES[size]
    shape = {"width": width, "feed_forward": inner, "heads": width // 64}
    return ModelConfig(**shape, encoder_layers=blocks, decoder_layers=blocks)


# Parameters


@dataclass(frozen=True)
class Parts:
    """Parameters of each part of a model whose mixers are attention, and how many of them are in matrices."""

    encoder: int
    decoder: int
    cross_keys_values: int
    embeddings: int
    projection: int
    output_bias: int
    tied: bool
    vectors: int

    @property
    def total(self) -> int:
        """All parameters; a tied matrix counts once. Those of `cross_keys_values` belong to the decoder."""
        outside = self.embeddings + self.output_bias + (0 if self.tied else self.projection)
        return self.encoder + self.decoder + outside


def parts_of(model: ModelConfig, vocabulary: int, target_vocabulary: int | None = None) -> Parts:
    """Count parameters: Vaswani et al. 2017, section 3; grouped keys and values, Ainslie et al. 2023.

    attention     2 d a + 2 d · d_kv                     feed-forward  2 d f, or 3 d f with a gate (Shazeer 2020)
    """
    mixers = (model.encoder_mixer, model.decoder_mixer)
    assert (model.shape, *mixers) == ("encoder-decoder", "attention", "attention"), "the calculator counts these alone"
    d, a, f, kv = _widths(model)
    e, c = model.encoder_layers, model.decoder_layers
    inner, targets = 2 if model.activation in GATED else 1, target_vocabulary or vocabulary
    keys_values_biases, attention_biases = (model.bias == "all") * 2 * kv, (model.bias == "all") * (a + 2 * kv + d)
    feed_forward_biases = (model.bias != "none") * (inner * f + d)
    keys_values = 2 * d * kv + keys_values_biases
    attention = 2 * d * a + 2 * d * kv + attention_biases
    feed_forward = (inner + 1) * d * f + feed_forward_biases
    norm = d if model.norm_kind == "rms" else 2 * d
    ends = (model.final_norm + model.embedding_norm) * norm
    positions = {"learned": model.max_length * d, "relative": Relative.BUCKETS * model.heads}.get(model.positions, 0)
    one_matrix = target_vocabulary is None and model.ties_embeddings
    output_bias = model.output_bias * targets
    return Parts(
        encoder=e * (attention + feed_forward + 2 * norm) + ends,
        decoder=c * (2 * attention + feed_forward + 3 * norm) + ends,
        cross_keys_values=c * keys_values,
        embeddings=(targets if one_matrix else targets + vocabulary) * d + 2 * positions,
        projection=targets * d,
        output_bias=output_bias,
        tied=model.ties_output,
        vectors=(2 * e + 3 * c) * norm
        + 2 * ends
        + (e + 2 * c) * attention_biases
        + (e + c) * feed_forward_biases
        + output_bias,
    )


GATED = ("swiglu", "geglu")


def _widths(model: ModelConfig) -> tuple[int, int, int, int]:
    """d, a, f and d_kv."""
    return model.width, model.heads * model.head_width, model.feed_forward, model.groups * model.head_width


# Work


def flop(model: ModelConfig, vocabulary: int, tokens: float, length: float = LENGTH) -> float:
    """Floating-point operations of an update: 6 for each parameter that a token meets, and attention's own.

    Two of the forward pass and four of the backward pass (Kaplan et al. 2020, section 2.1; Hoffmann et al. 2022,
    appendix F). Half of the tokens meet the encoder and the keys and values of cross-attention, the other half the rest
    of the decoder and the output projection; embeddings are looked up, not multiplied. Attention adds 12 a · length
    for each token and each attention (scores and mix, forward and backward).
    """
    parts = parts_of(model, vocabulary)
    source = parts.encoder + parts.cross_keys_values
    target = parts.decoder - parts.cross_keys_values + parts.projection
    attentions = (model.encoder_layers + 2 * model.decoder_layers) / 2
    return tokens * (6 * (source + target) / 2 + 12 * model.heads * model.head_width * length * attentions)


def muon_flop(model: ModelConfig) -> float:
    """What Muon's five iterations cost in an update, on each GPU: 4 m² n + 2 m³ each for an m × n matrix, m ≤ n."""
    d, a, f, kv = _widths(model)
    attention = [(a, d), (kv, d), (kv, d), (d, a)]
    feed_forward = [(d, f)] * (3 if model.activation in GATED else 2)
    e, c = model.encoder_layers, model.decoder_layers
    matrices = attention * (e + 2 * c) + feed_forward * (e + c)
    return sum(5 * (4 * min(each) ** 2 * max(each) + 2 * min(each) ** 3) for each in matrices)


# Memory


def state_bytes(model: ModelConfig, vocabulary: int, gpus: int = 1, shard: bool = False, ema: bool = False) -> float:
    """Weights, gradients and AdamW's two moments in float32: 16 bytes a parameter; the moving average 4 more.

    With FSDP each GPU holds a part of n (ZeRO-3, Rajbhandari et al. 2020, section 5).
    """
    return (16 + 4 * ema) * parts_of(model, vocabulary).total / (gpus if shard else 1)


def copies_bytes(model: ModelConfig, vocabulary: int, bf16: bool, gpus: int = 1, shard: bool = False) -> float:
    """Copies of weights during a step: the blocks' matrices in bf16, and the gradient of the projection.

    With FSDP, only one block and the next one are gathered at a time, in float32 with their gradients (the embeddings
    count as a block), and only what is gathered has bf16 copies.
    """
    parts = parts_of(model, vocabulary)
    matrices = parts.encoder + parts.decoder - parts.vectors
    gradient = 4 * parts.projection
    if not shard or gpus == 1:
        return 2 * bf16 * matrices + gradient
    block = max(parts.decoder / model.decoder_layers, parts.projection)
    return 2 * (4 + 4 + 2 * bf16) * block + gradient


def activation_bytes(
    model: ModelConfig, tokens: float, bf16: bool, length: float = LENGTH, fused: bool = False
) -> float:
    """What autograd keeps of a micro-batch until the backward pass, for the blocks of `model/blocks.py`, pre-norm.

    With b bytes an element (2 in bf16, else 4), a token leaves in

        norm            b d + b          the normalised input and its scale (RMSNorm; LayerNorm: b d + 8)
        its products    b d              what they are given
        attention       b (2 a + 2 d_kv) queries, keys, values, and what W_o is given
          weights       b · heads · length, which a fused kernel does not keep (4 · heads instead; Dao et al. 2022)
        feed-forward    4 b f            inner, gate, activation, their product (GELU, SiLU: 2 b f, ReLU: b f)
        dropout         d                the mask, a byte an element
        objective       b d + 8          of a target token: its hidden state and its number, for second derivatives

    Half of the tokens are the encoder's. Source tokens are met again by the decoder's cross-attention: its keys
    and values are theirs.
    """
    (d, a, f, kv), b = _widths(model), 2 if bf16 else 4
    if not fused:  # grouped keys and values are spelled out for each head
        kv = a
    norm = 2 * b * d + (b if model.norm_kind == "rms" else 8)  # and its result, which is given to products
    mask = d * (model.dropout > 0)
    weights = 4 * model.heads if fused else model.heads * length * (2 * b + 1 if model.attention_dropout else b)
    kept = {"relu": 1, "gelu": 2, "silu": 2, **dict.fromkeys(GATED, 4)}[model.activation]
    feed_forward = norm + b * f * kept + mask
    feed_forward += (b + 1) * f * (model.feed_forward_dropout > 0)
    own = norm + b * (2 * a + 2 * kv) + weights + mask
    cross = norm + b * 2 * a + weights + mask
    # The token's number, the mask on its embedding, the norms at both ends.
    ends = 8 + mask + norm * (model.final_norm + model.embedding_norm)
    source = ends + model.encoder_layers * (own + feed_forward) + model.decoder_layers * b * 2 * kv
    target = ends + model.decoder_layers * (own + cross + feed_forward) + b * d + 8
    return tokens / 2 * (source + target)


def logits_bytes(vocabulary: int, bf16: bool) -> float:
    """The objective: `LOGIT_CHUNK` rows of logits at a time, and of probabilities, which become their gradient."""
    b = 2 if bf16 else 4
    return LOGIT_CHUNK * vocabulary * 2 * b


# Traffic


def wire_bytes(model: ModelConfig, vocabulary: int, gpus: int, shard: bool = False, reduce: int = 1) -> float:
    """What each GPU sends in an update; with FSDP, for each of its micro-batches.

    DDP: a ring all-reduce of float32 gradients, 2 (n - 1) / n · 4 N (Patarasuk & Yuan 2009). FSDP: weights are gathered
    for the forward pass and again for the backward pass, and gradients reduced and scattered: 3 (n - 1) / n · 4 N
    (Rajbhandari et al. 2020, section 7), but what is in no block stays gathered.

    Args:
        reduce: passes that scatter-reduce takes; 2 with gloo, which makes an all-reduce of it.
    """
    parts = parts_of(model, vocabulary)
    if not shard:
        return 2 * (gpus - 1) / gpus * 4 * parts.total
    outside = parts.total - parts.encoder - parts.decoder
    return ((2 + reduce) * parts.total - outside) * (gpus - 1) / gpus * 4


# Time


@dataclass(frozen=True)
class Machine:
    """One GPU (or CPU) of a machine.

    Attributes:
        products: FLOP/s of matrix products, published or measured.
        share: the part of `products` that a training step reaches. An assumption, unless measured.
        bandwidth: bytes/s of its memory.
        memory: bytes.
        link, network: bytes/s to a neighbour in the same host, and in another, one way.
        per_host: GPUs of one host.
    """

    products: float
    share: float
    bandwidth: float
    memory: float
    link: float
    network: float
    per_host: int


H200 = Machine(products=989e12, share=0.4, bandwidth=4.8e12, memory=141e9, link=450e9, network=50e9, per_host=8)
"""Dense bf16, HBM3e and NVLink (900 GB/s both ways) as published by NVIDIA; 400 Gb/s a GPU between hosts is assumed."""


@dataclass(frozen=True)
class Estimate:
    """The calculated costs of one run; memory and traffic are those of one GPU."""

    parameters: int
    memory: float
    wire: float
    products_seconds: float
    network_seconds: float
    optimiser_seconds: float
    tokens: float

    @property
    def step_seconds(self) -> float:
        """Products and network at the same time (DDP and FSDP overlap them), then the optimiser."""
        return max(self.products_seconds, self.network_seconds) + self.optimiser_seconds

    @property
    def tokens_per_second(self) -> float:
        """Of all GPUs together."""
        return self.tokens / self.step_seconds


def estimate(
    model: ModelConfig,
    machine: Machine,
    gpus: int = 1,
    shard: bool = False,
    tokens: float = UPDATE,
    vocabulary: int = VOCABULARY,
    length: float = LENGTH,
    bf16: bool = True,
) -> Estimate:
    """Memory, traffic and time of an update of `tokens` (source and target, of all GPUs)."""
    parameters, mine = parts_of(model, vocabulary).total, tokens / gpus
    micro = min(mine, MICRO)
    memory = state_bytes(model, vocabulary, gpus, shard) + copies_bytes(model, vocabulary, bf16, gpus, shard)
    memory += activation_bytes(model, micro, bf16, length, fused=machine.per_host > 1) + logits_bytes(vocabulary, bf16)
    rounds = -(-mine // micro) if shard else 1
    wire = wire_bytes(model, vocabulary, gpus, shard) * rounds
    speed = machine.link if gpus <= machine.per_host else machine.network
    return Estimate(
        parameters=parameters,
        memory=memory,
        wire=wire,
        products_seconds=flop(model, vocabulary, mine, length) / (machine.products * machine.share),
        network_seconds=wire / speed,
        optimiser_seconds=optimiser_bytes(parameters) / (gpus if shard else 1) / machine.bandwidth,
        tokens=tokens,
    )


def optimiser_bytes(parameters: float) -> float:
    """The bytes that clipping and AdamW read and write, in float32.

    The norm reads the gradient, clipping reads and writes it; AdamW reads it, and reads and writes weight and moments.
    """
    return 4 * parameters * (1 + 2 + 1 + 2 * 3)


# The corpus


def store_bytes(pairs: float, length: float = LENGTH) -> float:
    """The tokenised corpus on disk (`data/store.py`), with at most 65,536 kinds of tokens, so of two bytes each.

    A pair has a line number, two offsets, two digests and two lengths: 36 bytes. BOS and EOS are left out.
    """
    return pairs * (8 + 2 * 4 + 2 * 8 + 2 * 2 + 2 * 2 * (length - 1))


def run_hours(found: Estimate, pairs: float, epochs: float = EPOCHS, length: float = LENGTH) -> float:
    """Hours of a run over the corpus."""
    return epochs * pairs * 2 * length / found.tokens_per_second / 3600


# The document

GPUS = (1, 8, 64, 512)
RUNS = (("10M", 1), ("50M", 1), ("100M", 8), ("300M", 8), ("1B", 64), ("3B", 64), ("3B", 512))
"""Sizes and GPUs of the table of whole runs."""


def tables(measured: dict[str, Any]) -> list[str]:
    """All tables of docs/scaling.md; `measured` is the content of results/scaling.json."""
    lines = [
        "### Sizes",
        "",
        "| | width | inner | blocks | parameters | GFLOP a token | Muon's TFLOP | state | activations a token |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for size, (width, inner, blocks) in SIZES.items():
        model = model_of(size)
        lines.append(
            f"| {size} | {width:,} | {inner:,} | {blocks}+{blocks} | {parts_of(model, VOCABULARY).total:,} "
            f"| {flop(model, VOCABULARY, 1) / 1e9:.2f} | {muon_flop(model) / 1e12:.3g} "
            f"| {gigabytes(state_bytes(model, VOCABULARY))} "
            f"| {activation_bytes(model, 1, True, fused=True) / 1e3:,.0f} kB |"
        )
    lines += ["", "### Memory of one GPU, in GB (DDP / FSDP)", "", *_grid(lambda e: f"{e.memory / 1e9:,.1f}")]
    lines += ["", "### Sent by each GPU in an update, in GB (DDP / FSDP)", ""]
    lines += _grid(lambda e: f"{e.wire / 1e9:,.2f}")
    lines += ["", "### Seconds an update (DDP / FSDP); in brackets, what takes them: p(roducts) or n(etwork)", ""]
    lines += _grid(lambda e: f"{amount(e.step_seconds)} ({bound(e)})")
    lines += ["", f"### A run of {EPOCHS} passes: hours, GPU-hours (the faster of DDP and FSDP that fits)", ""]
    lines += ["| pairs | store | " + " | ".join(f"{size}, {gpus} GPU{'s' * (gpus > 1)}" for size, gpus in RUNS) + " |"]
    lines += ["|---|---|" + "---|" * len(RUNS)]
    for pairs in (1e5, 1e6, 1e7, 1e8, 1e9):
        cells = []
        for size, gpus in RUNS:
            hours = run_hours(best(size, gpus), pairs)
            cells.append(f"{amount(hours)} h, {amount(hours * gpus)}")
        lines.append(f"| {pairs:,.0f} | {gigabytes(store_bytes(pairs))} | " + " | ".join(cells) + " |")
    machine = measured["machine"]
    lines += ["", "### Predicted and measured", ""]
    lines += [
        f"{machine['processor']}, {machine['cores']} cores, torch {machine['torch']}; "
        "[scaling.json](../benchmarks/results/scaling.json).",
        "",
        "| what | predicted | measured | error |",
        "|---|---|---|---|",
    ]
    for check in measured["checks"]:
        error = check["predicted"] / check["measured"] - 1
        shown = "exact" if error == 0 else f"{error:+.1%}"
        shown += " (fitted)" if check.get("fitted") else ""
        figures = " | ".join(
            f"{check[key]:,.{check['digits']}f} {check['unit']}".strip() for key in ("predicted", "measured")
        )
        lines.append(f"| {check['what']} | {figures} | {shown} |")
    return lines


def best(size: str, gpus: int) -> Estimate:
    """The faster of DDP and FSDP that fits into an H200."""
    both = [estimate(model_of(size), H200, gpus, shard) for shard in ((False, True) if gpus > 1 else (False,))]
    return min((each for each in both if each.memory < H200.memory), key=lambda each: each.step_seconds)


def bound(found: Estimate) -> str:
    """What takes most of the time of an update."""
    parts = {"p": found.products_seconds, "n": found.network_seconds}
    return max(parts, key=lambda part: parts[part])


def gigabytes(value: float) -> str:
    """Bytes in readable form."""
    return f"{value / 1e6:,.1f} MB" if value < 1e9 else f"{value / 1e9:,.1f} GB"


def amount(value: float) -> str:
    """A number in readable form, with three significant digits."""
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def _grid(cell: Callable[[Estimate], str]) -> list[str]:
    """A row for each size and a column for each number of GPUs, with `cell` of DDP and of FSDP."""
    rows = ["| | " + " | ".join(f"{gpus} GPU{'s' * (gpus > 1)}" for gpus in GPUS) + " |", "|---|" + "---|" * len(GPUS)]
    for size in SIZES:
        model = model_of(size)
        cells = []
        for gpus in GPUS:
            ways = (False, True) if gpus > 1 else (False,)
            cells.append(" / ".join(cell(estimate(model, H200, gpus, shard)) for shard in ways))
        rows.append(f"| {size} | " + " | ".join(cells) + " |")
    return rows


def draw() -> None:
    """Draw the memory of a GPU over the size of the model, and the hours of a run over the size of the corpus."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "zhuyi"  # the same numbers give the same file
    from matplotlib import pyplot

    colours = ("#9aa5b1", "#1f77b4", "#d95f02", "#7570b3")
    drawn = {}
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.8), sharey=True, layout="constrained")
    for axis, shard in zip(axes, (False, True), strict=True):
        for gpus, colour in zip(GPUS, colours, strict=True):
            found = [estimate(model_of(size), H200, gpus, shard and gpus > 1) for size in SIZES]
            numbers = [each.parameters for each in found]
            axis.plot(numbers, [each.memory / 1e9 for each in found], "o-", color=colour, markersize=4, label=f"{gpus}")
        axis.axhline(H200.memory / 1e9, color="black", linewidth=0.8, linestyle=":")
        axis.set(xscale="log", yscale="log", xlabel="parameters", title="FSDP" if shard else "DDP")
    axes[0].set_ylabel("GB on each GPU (dotted: an H200)")
    axes[0].legend(frameon=False, title="GPUs")
    drawn["scaling-memory.svg"] = figure
    figure, axis = pyplot.subplots(figsize=(7, 3.8), layout="constrained")
    corpus = [10**exponent for exponent in range(5, 10)]
    for (size, gpus), colour in zip((("10M", 1), ("50M", 1), ("300M", 8), ("3B", 512)), colours, strict=True):
        hours = [run_hours(best(size, gpus), pairs) for pairs in corpus]
        axis.plot(corpus, hours, "o-", color=colour, markersize=4, label=f"{size}, {gpus} GPU{'s' * (gpus > 1)}")
    axis.set(xscale="log", yscale="log", xlabel="pairs in the corpus", ylabel=f"hours for {EPOCHS} passes")
    axis.legend(frameon=False)
    drawn["scaling-cost.svg"] = figure
    for name, figure in drawn.items():
        for axis in figure.axes:
            axis.grid(alpha=0.3)
            axis.spines[["top", "right"]].set_visible(False)
        figure.savefig(PICTURES / name, metadata={"Date": None})
        pyplot.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES)
    parser.add_argument("--pairs", type=float, default=1e6)
    parser.add_argument("--gpus", type=int, default=1)
    parser.add_argument("--tokens", type=float, default=UPDATE)
    parser.add_argument(
        "--share", type=float, default=H200.share, help="of the GPU's rate of products that a step reaches"
    )
    parser.add_argument("--shard", action="store_true")
    arguments = parser.parse_args()
    if arguments.size is None:
        draw()
        return
    machine = replace(H200, share=arguments.share)
    found = estimate(model_of(arguments.size), machine, arguments.gpus, arguments.shard, arguments.tokens)
    hours = run_hours(found, arguments.pairs)
    print(f"{found.parameters:,} parameters; {gigabytes(found.memory)} on each GPU of {gigabytes(machine.memory)}")
    print(f"update: {found.step_seconds:.3g} s, {found.tokens_per_second:,.0f} tokens/s; of it products ", end="")
    print(f"{found.products_seconds:.3g} s, network {found.network_seconds:.3g} s ({gigabytes(found.wire)} sent)")
    print(f"{EPOCHS} passes: {hours:,.3g} hours, {hours * arguments.gpus:,.3g} GPU-hours; ", end="")
    print(f"store: {gigabytes(store_bytes(arguments.pairs))}")


if __name__ == "__main__":
    main()
