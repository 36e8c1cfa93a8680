"""State dicts of `torch.nn.Transformer`, and of the tutorials that many learn from: the models that students write.

A state dict is a table of tensors. It does not say how many heads there are, which non-linearity, or what the tokens
are: `from_state_dict` takes these as arguments. Where the embeddings, the positions and the output projection are, is
found by their shapes and names.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from torch import Tensor

from zhuyi.checkpoint import model_of
from zhuyi.config import build_config
from zhuyi.errors import CheckpointError, ConfigError
from zhuyi.interop.families.foreign import Foreign, Text, as_stored
from zhuyi.interop.families.state_dict import SIDES, Place, Side, StateDict
from zhuyi.interop.families.weights import Arrays, rows_of
from zhuyi.interop.tokenizers.vocabulary import Vocabulary, character_tokenizer, word_tokenizer
from zhuyi.loading import build_translator
from zhuyi.text.tokenizer import BOS, SPECIALS, Tokenizers
from zhuyi.translator import Translator

TOKENIZERS = {"whitespace": word_tokenizer, "character": character_tokenizer}
"""By kind: what makes a tokenizer of a vocabulary."""

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

    It computes what the original does; `zhuyi.save` writes it as a model directory, which every command takes. A
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
    state = StateDict(weights, dict(names or {}))
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
    return Vocabulary.of(name, list(tokens), pad, unk, bos, eos)


def _matrices(state: StateDict, text: Text, source: int, target: int) -> Arrays:
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


def _tables(state: StateDict, positions: str | None) -> dict[Side, npt.NDArray[np.float32]]:
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
