"""State dicts of `torch.nn.Transformer`, and of the tutorials that many learn from: the models that students write.

A state dict is a table of tensors. It does not say how many heads there are, which non-linearity, or what the tokens
are: `from_state_dict` takes these as arguments. Where the embeddings, the positions and the output projection are, is
found by their shapes and names.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from torch import Tensor

from zhuyi.checkpoint import model_of
from zhuyi.config import ModelConfig, build_config
from zhuyi.errors import CheckpointError, ConfigError
from zhuyi.interop.foreign import Foreign, Text, as_stored
from zhuyi.interop.tensors import plain
from zhuyi.interop.vocabulary import Vocabulary, character_tokenizer, word_tokenizer
from zhuyi.interop.weights import Arrays, Names, Weights, rows_of
from zhuyi.loading import build_translator
from zhuyi.text.tokenizer import BOS, SPECIALS, Tokenizers
from zhuyi.translator import Translator

TORCH = Names(
    attention={"query": "q_proj", "key": "k_proj", "value": "v_proj", "output": "out_proj"},
    parts={
        "mixer": "self_attn",
        "mixer_residual.norm": "norm1",
        "cross": "multihead_attn",
        "cross_residual.norm": "norm2",
        "feed_forward.inner": "linear1",
        "feed_forward.outer": "linear2",
        "feed_forward_residual.norm": "norm2",
    },
    residual_of_decoder={"feed_forward_residual.norm": "norm3"},
    block="{side}.layers.{layer}",
    norms={"norm": "{side}.norm"},
)
"""`nn.Transformer`, its `in_proj` cut into three."""

TUTORIAL = Names(
    attention={"query": "fc_q", "key": "fc_k", "value": "fc_v", "output": "fc_o"},
    parts={
        "mixer": "self_attention",
        "mixer_residual.norm": "self_attn_layer_norm",
        "cross": "encoder_attention",
        "cross_residual.norm": "enc_attn_layer_norm",
        "feed_forward.inner": "positionwise_feedforward.fc_1",
        "feed_forward.outer": "positionwise_feedforward.fc_2",
        "feed_forward_residual.norm": "ff_layer_norm",
    },
    block="{side}.layers.{layer}",
    norms={"norm": "{side}.norm"},
)
"""Trevett's tutorial, "Attention is All You Need" (pytorch-seq2seq, part 6)."""

KNOWN = {"self_attn.out_proj.weight": TORCH, "self_attention.fc_o.weight": TUTORIAL}
"""By the name of a tensor of the first block of the encoder."""

TOKENIZERS = {"whitespace": word_tokenizer, "character": character_tokenizer}
"""By kind: what makes a tokenizer of a vocabulary."""

Side = Literal["source", "target"]
Place = Literal["source_embedding", "target_embedding", "source_positions", "target_positions", "projection"]

SIDES: dict[Side, str] = {"source": r"src|source|enc|input", "target": r"tgt|trg|target|dec|output"}
"""Parts of the names of what belongs to a side."""
STACKS: dict[Side, str] = {"source": "encoder", "target": "decoder"}


def from_state_dict(
    weights: Mapping[str, Tensor],
    *,
    heads: int,
    source_tokens: Sequence[str],
    target_tokens: Sequence[str] | None = None,
    kind: Literal["whitespace", "character"] = "whitespace",
    pad: str = "<pad>",
    unk: str = "<unk>",
    bos: str = "<bos>",
    eos: str = "<eos>",
    source_begins: bool = False,
    norm: Literal["post", "pre"] = "post",
    activation: Literal["relu", "gelu"] = "relu",
    positions: Literal["sinusoidal", "learned", "none"] | None = None,
    embedding_scale: bool = True,
    max_length: int = 256,
    names: Mapping[Place, str] | None = None,
) -> Translator:
    """The translator of a state dict of `torch.nn.Transformer`, between embeddings and a linear map to logits.

    It computes what the original does; `zhuyi.save` writes it as a model directory, which every verb takes. A
    checkpoint file is opened by `torch.load(path, weights_only=True)`.

    Args:
        weights: `model.state_dict()`; buffers such as a table of sinusoids may be in it.
        heads: of every attention.
        source_tokens: the tokens of the source by id, the special ones too.
        target_tokens: those of the target. Unset: both sides have one vocabulary.
        kind: what a token is: a word between white space, or a character.
        pad: the padding token, as the lists have it.
        unk: the token of what is not in the list; a list need not have one.
        bos: with which a target begins.
        eos: with which source and target end.
        source_begins: whether a source begins with `bos` too.
        norm: before the sublayers (`norm_first=True`), or after.
        activation: of the feed-forward layers.
        positions: as `model.positions`. Unset: learned, if there is a learned table; else sinusoidal.
        embedding_scale: whether embeddings are multiplied by √width, as in most tutorials.
        max_length: the longest line in tokens; a learned table may be shorter.
        names: tensors that are not found by themselves, by what they are, such as
            `{"target_embedding": "embed2.weight"}`.

    Raises:
        CheckpointError: naming the tensor that is missing or not understood.
        ConfigError: if a special token is not in a list, or the arguments contradict the tensors.
    """
    state = _State(weights, dict(names or {}))
    special = {"pad": pad, "unk": unk, "bos": bos, "eos": eos}
    text = _text(kind, source_tokens, target_tokens, special, source_begins)
    written = source_tokens if target_tokens is None else target_tokens
    matrices = _matrices(state, text, len(source_tokens), len(written))
    tables = _tables(state, positions)
    max_length = min([max_length, *map(len, tables.values())])
    model: dict[str, Any] = {
        **state.architecture(),
        "width": matrices["encoder.embedding.weight"].shape[1],
        "heads": heads,
        "activation": activation,
        "dropout": 0.1,
        "positions": "learned" if tables else positions or "sinusoidal",
        "embedding_scale": embedding_scale,
        "norm": norm,
        "output_bias": "projection.bias" in matrices,
        "tie": "none",
        "max_length": max_length,
    }
    ours = {**state.blocks(build_config({"model": model}).model), **matrices}
    ours |= {f"{STACKS[side]}.positions.table": table[:max_length] for side, table in tables.items()}
    state.weights.ensure_all_taken()
    decoding = {"max_repetition": 0, "allow_unknown": unk in written}
    foreign = Foreign("torch.nn.Transformer", model, text, ours, decoding)
    return build_translator(model_of(as_stored(foreign, "the state dict")), "cpu")


def _text(
    kind: str,
    source_tokens: Sequence[str],
    target_tokens: Sequence[str] | None,
    special: Mapping[str, str],
    source_begins: bool,
) -> Text:
    """The tokenizers of both sides; arguments as of `from_state_dict`, `special` by their names."""
    if kind not in TOKENIZERS:
        raise ConfigError(f"kind = {kind!r} is not one of {', '.join(TOKENIZERS)}")
    shared = target_tokens is None
    source = _vocabulary(source_tokens, "source_tokens", special, source_begins or shared)
    target = source if target_tokens is None else _vocabulary(target_tokens, "target_tokens", special, True)
    settings: dict[str, Any] = {"kind": kind, "shared": shared, "normalization": "none"}
    if source_begins:
        settings["source_prefix"] = [SPECIALS[BOS]]
    return Text(Tokenizers(TOKENIZERS[kind](source), TOKENIZERS[kind](target)), source, target, settings)


def _vocabulary(tokens: Sequence[str], name: str, special: Mapping[str, str], begins: bool) -> Vocabulary:
    """The vocabulary of a list, an argument of this name, whose lines begin with BOS or do not."""
    ids = {token: i for i, token in enumerate(tokens)}
    if twice := [token for i, token in enumerate(tokens) if ids[token] != i]:
        raise ConfigError(f"{name} has {twice[0]!r} twice: every token has a name of its own")
    for role in ("eos", "bos") if begins else ("eos",):
        if special[role] not in ids:
            raise ConfigError(f"{name} has no {special[role]}: say how it is called there, as in {role}='<end>'")
    pad, unk, bos, eos = (ids.get(special[role]) for role in ("pad", "unk", "bos", "eos"))
    return Vocabulary.of(list(tokens), pad, unk, bos, eos)


class _State:
    """A state dict, whose tensors are taken by what they are."""

    def __init__(self, weights: Mapping[str, Tensor], given: dict[Place, str]) -> None:
        arrays = {name: plain(tensor) for name, tensor in weights.items() if isinstance(tensor, Tensor)}
        if strange := [name for name in given.values() if name not in arrays]:
            raise CheckpointError(f"names: the state dict has no tensor {strange[0]}")
        first = [re.fullmatch(r"(.*?)encoder\.layers\.0\.(\S+)", name) for name in arrays]
        found = [(match[1], KNOWN[match[2]]) for match in first if match and match[2] in KNOWN]
        if not found:
            raise CheckpointError(
                "the state dict is not one of torch.nn.Transformer: it has no tensor that ends in "
                "encoder.layers.0.self_attn.out_proj.weight"
            )
        self._prefix, self._names = found[0]
        self._given = given
        cut = _cut(arrays)
        self.weights = Weights(cut, "the state dict")
        self._shapes = {name: array.shape for name, array in cut.items()}

    def architecture(self) -> dict[str, Any]:
        """The settings of [model] that the shapes and names of the blocks tell."""
        inner = f"{self._prefix}encoder.layers.0.{self._names.parts['feed_forward.inner']}"
        return {
            "encoder_layers": self._layers("encoder"),
            "decoder_layers": self._layers("decoder"),
            "feed_forward": self.weights.rows(f"{inner}.weight"),
            "norm_kind": "layer",
            "final_norm": self.weights.has(f"{self._prefix}encoder.norm.weight"),
            "bias": "all" if self.weights.has(f"{inner}.bias") else "none",
        }

    def _layers(self, side: str) -> int:
        """How many blocks there are."""
        pattern = re.compile(rf"{re.escape(self._prefix)}{side}\.layers\.(\d+)\.")
        return 1 + max((int(match[1]) for name in self._shapes if (match := pattern.match(name))), default=-1)

    def blocks(self, config: ModelConfig) -> Arrays:
        """The weights of all blocks, and of the norms after them, by our names."""
        ours = {}
        for name, theirs in self._names.ours_to_theirs(config).items():
            ours[f"{name}.weight"] = weight = self.weights.take(f"{self._prefix}{theirs}.weight")
            if name.endswith("norm") and config.bias == "none":  # with bias=False, torch's norms have none either
                ours[f"{name}.bias"] = np.zeros_like(weight)
            elif config.bias == "all" or name.endswith("norm"):
                ours[f"{name}.bias"] = self.weights.take(f"{self._prefix}{theirs}.bias")
        return ours

    def embedding(self, side: Side, rows: int) -> npt.NDArray[np.float32]:
        """The embedding of a side, of so many tokens; of several matrices, the one whose name speaks of the side."""
        place: Place = "source_embedding" if side == "source" else "target_embedding"
        found = [name for name in self._outside(rows) if not self._has_bias(name) and not re.search(r"pos", name)]
        return self._matrix(place, rows, [name for name in found if re.search(SIDES[side], name)] or found)[1]

    def projection(self, rows: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
        """The map to the logits of so many tokens, and its bias; of several matrices, the one with a bias."""
        outside = self._outside(rows)
        biased = [name for name in outside if self._has_bias(name)]
        name, weight = self._matrix("projection", rows, biased or [each for each in outside if "emb" not in each])
        return weight, self.weights.take(_bias_of(name)) if self._has_bias(name) else None

    def _outside(self, rows: int) -> list[str]:
        """The names of the matrices of so many rows outside the blocks."""
        shapes = {name: shape for name, shape in self._shapes.items() if ".layers." not in name}
        return [name for name, shape in shapes.items() if name.endswith("weight") and shape[:-1] == (rows,)]

    def _has_bias(self, name: str) -> bool:
        return _bias_of(name) in self._shapes

    def _matrix(self, place: Place, rows: int, found: list[str]) -> tuple[str, npt.NDArray[np.float32]]:
        """The name and the matrix of a place: the one that was named for it, or else the one that was found."""
        if (name := self._given.get(place)) is None:
            if len(found) != 1:
                what = ", ".join(found) if found else f"no matrix of {rows} rows"
                raise CheckpointError(f"which tensor is the {place} ({what})? Name it: names={{{place!r}: ...}}")
            name = found[0]
        matrix = self.weights.take(name)
        if matrix.ndim != 2 or len(matrix) != rows:
            raise CheckpointError(f"tensor {name} has shape {matrix.shape}: for {rows} tokens, {place} has {rows} rows")
        return name, matrix

    def table(self, side: Side) -> npt.NDArray[np.float32] | None:
        """The learned table of positions of a side; None, if there is none: sinusoids are computed."""
        place: Place = "source_positions" if side == "source" else "target_positions"
        named = self._given.get(place)
        all_tables = [name for name in self._shapes if ".layers." not in name and re.search(r"pos|\.pe$|^pe$", name)]
        own = [name for name in all_tables if re.search(SIDES[side], name)] or all_tables
        learned = [name for name in own if len(self._shapes[name]) == 2 and name.endswith("weight")]
        self.weights.skip(*(name for name in all_tables if name not in learned))  # buffers of sinusoids
        if named is None and len(learned) != 1:
            return None
        return self.weights.take(named or learned[0])


def _matrices(state: _State, text: Text, source: int, target: int) -> Arrays:
    """Embeddings and the projection by our names, of so many tokens of source and target."""
    ours = {
        "encoder.embedding.weight": rows_of(state.embedding("source", source), text.source),
        "decoder.embedding.weight": rows_of(state.embedding("target", target), text.target),
    }
    weight, bias = state.projection(target)
    ours["projection.weight"] = rows_of(weight, text.target)
    if bias is not None:
        ours["projection.bias"] = rows_of(bias, text.target, fill=-1e9)
    return ours


def _tables(state: _State, positions: str | None) -> dict[Side, npt.NDArray[np.float32]]:
    """The learned tables of positions, by side; none where positions are computed, or there are none."""
    found = {side: state.table(side) for side in SIDES}
    tables = {side: table for side, table in found.items() if table is not None}
    if tables and positions not in ("learned", None):
        raise ConfigError(
            f'positions = "{positions}", but the state dict has a learned table of them: leave positions out'
        )
    missing = [side for side in SIDES if side not in tables]
    if missing and (tables or positions == "learned"):
        raise CheckpointError(
            f"the state dict has no learned table of positions of the {missing[0]} that is found by its name: "
            f"name it: names={{'{missing[0]}_positions': ...}}"
        )
    return tables


def _bias_of(name: str) -> str:
    return f"{name.removesuffix('weight')}bias"


def _cut(arrays: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """With `in_proj`, in which torch keeps query, key and value end to end, cut into three."""
    cut: dict[str, npt.NDArray[Any]] = {}
    for name, array in arrays.items():
        if match := re.fullmatch(r"(.*)in_proj_(weight|bias)", name):
            for each, third in zip("qkv", np.array_split(array, 3), strict=True):
                cut[f"{match[1]}{each}_proj.{match[2]}"] = third
        else:
            cut[name] = array
    return cut
