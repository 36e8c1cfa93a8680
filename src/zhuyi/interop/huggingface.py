"""Directories of Hugging Face: MarianMT (OPUS-MT), M2M-100 and NLLB, and mBART-50.

These are one architecture with one table of names, and differ in positions, norms and in what frames a sentence:

    MarianMT    post-norm; sinusoids, first all sines, then all cosines; a bias of the logits; begins with PAD
    M2M-100     pre-norm; sinusoids of tensor2tensor from position 2, kept here as a learned table; LANG source </s>
    mBART       pre-norm, and a norm after the embeddings; a learned table, whose first two rows are never used

Ids are put in our order, PAD UNK BOS EOS first. What begins an output there (PAD, </s>) is BOS here: a copy of its row.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from zhuyi.config import ModelConfig
from zhuyi.errors import CheckpointError
from zhuyi.interop import sentencepiece
from zhuyi.interop.foreign import Foreign, Names, Text, Weights, architecture, halves_together, permuted, rows_of
from zhuyi.interop.hub_directory import Settings, ensure_none, generation_defaults, model_type
from zhuyi.interop.reading import licence_of
from zhuyi.interop.tensors import read_tensors
from zhuyi.interop.vocabulary import MOST_PIECES, Vocabulary, is_language_tag, read_pieces
from zhuyi.text.tokenizer import Tokenizers

NAMES = Names(
    attention={"query": "q_proj", "key": "k_proj", "value": "v_proj", "output": "out_proj"},
    parts={
        "mixer": "self_attn",
        "mixer_residual.norm": "self_attn_layer_norm",
        "cross": "encoder_attn",
        "cross_residual.norm": "encoder_attn_layer_norm",
        "feed_forward.inner": "fc1",
        "feed_forward.outer": "fc2",
        "feed_forward_residual.norm": "final_layer_norm",
    },
    block="model.{side}.layers.{layer}",
    norms={"norm": "model.{side}.layer_norm", "embedding_norm": "model.{side}.layernorm_embedding"},
)


@dataclass(frozen=True)
class Family:
    """What the models of one `model_type` have in common."""

    program: str
    norm: str
    embedding_norm: bool
    positions: str
    first_position: int
    """The row of the first position in the table of positions."""
    has_table: bool
    """Whether that table is learned, and in the file; else it is of sinusoids, which are computed."""


FAMILIES = {
    "marian": Family("MarianMT", "post", False, "sinusoidal", first_position=0, has_table=False),
    "m2m_100": Family("M2M-100", "pre", False, "learned", first_position=2, has_table=False),
    "mbart": Family("mBART", "pre", True, "learned", first_position=2, has_table=True),
}
EMBEDDINGS = ("model.shared.weight", "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight")
"""Of both sides, of the source and of the target."""
ACTIVATIONS = {"swish": "silu", "silu": "silu", "relu": "relu", "gelu": "gelu"}


def recognises(path: Path) -> bool:
    """Whether this is a directory of one of these families."""
    return model_type(path) in FAMILIES


def read(path: Path, vocabularies: Sequence[Path] = ()) -> Foreign:
    """The model in a directory.

    Args:
        path: with config.json, the weights and the tokenizer's files.
        vocabularies: none: the directory has its own.

    Raises:
        CheckpointError: naming the file, and what is missing, damaged or has no counterpart.
    """
    ensure_none(vocabularies, path)
    config = Settings(path, "config.json")
    family = FAMILIES[config.text("model_type")]
    model = _architecture(config, family)
    weights = Weights(read_tensors(path), str(path))
    text = _READ_TEXT[config.text("model_type")](path, config)
    is_tied = config.get("tie_word_embeddings", True)
    model["tie"] = "none" if not is_tied else "all" if _has_one_embedding(config) else "output"
    arrays = _weights(weights, model, family, text, _has_one_embedding(config))
    decoding = generation_defaults(path, config)
    return Foreign(f"{family.program} of Hugging Face", model, text, arrays, decoding, licence_of(path))


def _architecture(config: Settings, family: Family) -> dict[str, Any]:
    activation = ACTIVATIONS.get(str(config.get("activation_function", "relu")))
    if activation is None:
        raise config.unsupported("activation_function")
    heads = config.number("encoder_attention_heads")
    for key, wanted in (
        ("decoder_attention_heads", heads),
        ("decoder_ffn_dim", config.number("encoder_ffn_dim")),
        ("normalize_before", None),
        ("static_position_embeddings", None if family.positions == "learned" else True),
    ):
        if config.get(key, wanted) != wanted:
            raise config.unsupported(key)
    return {
        "width": config.number("d_model"),
        "heads": heads,
        "encoder_layers": config.number("encoder_layers"),
        "decoder_layers": config.number("decoder_layers"),
        "feed_forward": config.number("encoder_ffn_dim"),
        "activation": activation,
        "dropout": config.real("dropout", 0.1),
        "attention_dropout": config.real("attention_dropout", 0.0),
        "feed_forward_dropout": config.real("activation_dropout", 0.0),
        "positions": family.positions,
        "embedding_scale": bool(config.get("scale_embedding", False)),
        "embedding_norm": family.embedding_norm,
        "norm": family.norm,
        "norm_kind": "layer",
        "bias": "all",
        "max_length": config.number("max_position_embeddings", 1024),
    }


def _has_one_embedding(config: Settings) -> bool:
    """Whether the embeddings of both sides are one matrix."""
    return bool(config.get("share_encoder_decoder_embeddings", True))


def _weights(
    theirs: Weights, model: dict[str, Any], family: Family, text: Text, shared: bool
) -> dict[str, npt.NDArray[np.float32]]:
    """Our weights; whether they have a bias of the logits is added to `model`."""
    config = architecture(model, theirs.source)
    ours = _matrices(theirs, text, config.tie, shared)
    for our, name in NAMES.ours_to_theirs(config).items():
        for kind in ("weight", "bias"):
            ours[f"{our}.{kind}"] = theirs.take(f"{name}.{kind}")
    if theirs.has("final_logits_bias") and (bias := theirs.take("final_logits_bias").flatten()).any():
        model["output_bias"] = True
        ours["projection.bias"] = rows_of(bias, text.target)
    if family.positions == "sinusoidal":
        order = halves_together(config.width)
        ours = {name: permuted(name, array, order) for name, array in ours.items()}
    ours |= _positions(theirs, config, family)
    theirs.ensure_all_taken()
    return ours


def _matrices(theirs: Weights, text: Text, tie: str, shared: bool) -> dict[str, npt.NDArray[np.float32]]:
    """Embeddings, and the projection where it is no embedding."""
    one, *of_sides = EMBEDDINGS
    source, target = [one if theirs.has(one) else of_sides[0]] * 2 if shared else of_sides
    ours = {"encoder.embedding.weight": rows_of(theirs.take(source), text.source)}
    if tie != "all":
        ours["decoder.embedding.weight"] = rows_of(theirs.take(target), text.target)
    if tie == "none":
        ours["projection.weight"] = rows_of(theirs.take("lm_head.weight"), text.target)
    theirs.skip(*EMBEDDINGS, "lm_head.weight")  # the same matrix by other names
    return ours


def _positions(theirs: Weights, config: ModelConfig, family: Family) -> dict[str, npt.NDArray[np.float32]]:
    """The tables of positions, where ours are learned; sinusoids of the file are left out."""
    names = {side: f"model.{side}.embed_positions.weight" for side in ("encoder", "decoder")}
    if not family.has_table:
        theirs.skip(*names.values())
    if family.positions == "sinusoidal":
        return {}
    first, length = family.first_position, config.max_length
    computed = sinusoid_halves(first + length, config.width)
    tables = {side: theirs.take(name) if family.has_table else computed for side, name in names.items()}
    return {f"{side}.positions.table": table[first:][:length] for side, table in tables.items()}


def sinusoid_halves(length: int, width: int) -> npt.NDArray[np.float32]:
    """Sines of tensor2tensor's wavelengths, then the cosines: `length width`."""
    wavelengths = 10000.0 ** (np.arange(width // 2) / max(width // 2 - 1, 1))
    angle = np.arange(length)[:, None] / wavelengths
    return np.concatenate([np.sin(angle), np.cos(angle)], axis=1).astype(np.float32)


def _marian_text(path: Path, config: Settings) -> Text:
    pieces = _padded(read_pieces(path / "vocab.json"), config)
    shared = _has_one_embedding(config)
    target_pieces = pieces if shared else _padded(read_pieces(path / "target_vocab.json"), config)
    pad, eos = config.number("pad_token_id"), config.number("eos_token_id")
    start = config.number("decoder_start_token_id", pad)
    source, target = (_vocabulary(path, each, pad, start, eos) for each in (pieces, target_pieces))
    engines = [sentencepiece.read(path / f"{side}.spm") for side in ("source", "target")]
    tokenizers = Tokenizers(sentencepiece.tokenizer(engines[0], source), sentencepiece.tokenizer(engines[1], target))
    named = Settings(path, "tokenizer_config.json", optional=True)
    return Text(
        tokenizers,
        source,
        target,
        {**engines[0].settings, "shared": shared, "tags": [piece for piece in pieces if is_language_tag(piece)]},
        (named.name("source_lang"), named.name("target_lang")),
    )


def _vocabulary(path: Path, pieces: list[str | None], pad: int, start: int, eos: int) -> Vocabulary:
    if "<unk>" not in pieces:
        raise CheckpointError(f"{path}: its vocabulary has no <unk>")
    tags = [row for row, piece in enumerate(pieces) if is_language_tag(piece)]
    return Vocabulary.of(pieces, pad=pad, unk=pieces.index("<unk>"), bos=start, eos=eos, special=tags)


def _padded(pieces: list[str | None], config: Settings) -> list[str | None]:
    """With rows without a name up to the size of the model's vocabulary."""
    return [*pieces, *[None] * (min(config.number("vocab_size", 0), 1 << 20) - len(pieces))]


def _multilingual_text(path: Path, config: Settings) -> Text:
    """Of M2M-100, NLLB and mBART-50: one SentencePiece model, and a token for each language.

    fairseq's ids, which they all have, are <s> <pad> </s> <unk>, the pieces, the languages and, but in M2M-100, <mask>.
    M2M-100 lists its pieces in vocab.json; those of the others are all pieces of the SentencePiece model.
    """
    named = Settings(path, "tokenizer_config.json", optional=True)
    if named.get("legacy_behaviour") or named.get("tokenizer_class") in ("MBartTokenizer", "MBartTokenizerFast"):
        raise CheckpointError(f"{named.path}: a source that ends in its language has no counterpart in zhuyi")
    model = sentencepiece.read(path / "sentencepiece.bpe.model")
    pieces, languages = _pieces_and_languages(path, config, model)
    special = [0, *languages.values()]
    begin, pad = config.number("decoder_start_token_id", 2), config.number("pad_token_id", 1)
    vocabulary = Vocabulary.of(pieces, pad=pad, unk=3, bos=begin, eos=2, special=special)
    one = sentencepiece.tokenizer(model, vocabulary)
    source, target = _chosen_languages(path, config, named, languages)
    return Text(
        Tokenizers(one, one),
        vocabulary,
        vocabulary,
        {
            **model.settings,
            "shared": True,
            "tags": list(languages),
            "source_prefix": [source] if source else [],
            "target_prefix": [target] if target else [],
        },
    )


def _pieces_and_languages(
    path: Path, config: Settings, model: sentencepiece.SentencePieceModel
) -> tuple[list[str | None], dict[str, int]]:
    """The tokens by row, and the rows of the languages among them."""
    if (path / "vocab.json").is_file():
        pieces = read_pieces(path / "vocab.json")
    else:
        pieces = [*FAIRSEQ, *(piece.text for piece in model.pieces[3:])]
    if tuple(pieces[: len(FAIRSEQ)]) != FAIRSEQ:
        raise CheckpointError(f"{path}: its vocabulary does not begin with {' '.join(FAIRSEQ)}")
    languages = _languages(path, len(pieces))
    size = min(max(config.number("vocab_size", 0), *languages.values()), MOST_PIECES)
    pieces = [*pieces, *[None] * (size + 1 - len(pieces))]
    for tag, row in languages.items():
        if row >= len(pieces) or pieces[row] not in (None, tag):
            raise CheckpointError(f"{path}: language {tag} has row {row}, which is that of {pieces[row]!r}")
        pieces[row] = tag
    return pieces[: config.number("vocab_size", len(pieces))], languages


def _chosen_languages(
    path: Path, config: Settings, named: Settings, languages: Mapping[str, int]
) -> tuple[str | None, str | None]:
    """The languages of source and target that a directory translates unless others are asked for; None if any."""
    source = named.name("src_lang") or next((tag for tag in ENGLISH if tag in languages), None)
    generation = Settings(path, "generation_config.json", optional=True)
    forced = generation.get("forced_bos_token_id", config.get("forced_bos_token_id"))
    return (
        next((tag for tag in (source, f"__{source}__") if tag in languages), None),
        next((tag for tag, row in languages.items() if row == forced), None),
    )


FAIRSEQ = ("<s>", "<pad>", "</s>", "<unk>")
"""The first tokens of vocabularies of fairseq."""
ENGLISH = ("__en__", "eng_Latn", "en_XX")
"""The source's language where a directory does not name one, as in `transformers`."""
ROW = re.compile(r"[0-9]{1,9}")
LANGUAGE = re.compile(r"__[a-z]{2,3}(_\w+)?__|[a-z]{2}_[A-Z]{2}|[a-z]{3}_[A-Z][a-z]{3}")


def _languages(path: Path, first: int) -> dict[str, int]:
    """The rows of the tokens of languages: where the files of the tokenizer say, or one after another from `first` on.

    Raises:
        CheckpointError: if there are none.
    """
    config = Settings(path, "tokenizer_config.json", optional=True)
    listed = Settings(path, "tokenizer.json", optional=True).entries("added_tokens")
    added = config.table("added_tokens_decoder")
    numbered = [(token.get("id"), token) for token in listed if isinstance(token, dict)]
    numbered += [(int(row), token) for row, token in added.items() if ROW.fullmatch(row)]
    rows: dict[str, int] = {}
    for row, token in numbered:
        tag = token.get("content") if isinstance(token, dict) else None
        if isinstance(tag, str) and LANGUAGE.fullmatch(tag) and isinstance(row, int) and 0 <= row < MOST_PIECES:
            rows[tag] = row
    if rows:
        return rows
    special = Settings(path, "special_tokens_map.json", optional=True)
    for found in (config, special):
        for key in ("additional_special_tokens", "extra_special_tokens"):
            value = found.get(key)  # some versions have an object, of tokens of other kinds
            tokens = value if isinstance(value, list) else []
            named = [tag.get("content") if isinstance(tag, dict) else tag for tag in tokens]
            if tags := [tag for tag in named if isinstance(tag, str) and LANGUAGE.fullmatch(tag)]:
                return {tag: first + i for i, tag in enumerate(tags)}
    raise CheckpointError(f"{path}: its languages are listed neither in {config.path.name} nor in {special.path.name}")


_READ_TEXT = {
    "marian": _marian_text,
    "m2m_100": _multilingual_text,
    "mbart": _multilingual_text,
}
