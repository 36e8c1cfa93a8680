"""Directories of Hugging Face: MarianMT (OPUS-MT), M2M-100 and NLLB, mBART, and BART.

These are one architecture with one table of names, and differ in positions, norms and in the template of a sentence:

    MarianMT    post-norm; sinusoids, first all sines, then all cosines; a bias of the logits; begins with PAD
    M2M-100     pre-norm; sinusoids of tensor2tensor from position 2, kept here as a learned table; LANG source </s>
    mBART       pre-norm, and a norm after the embeddings; a learned table, whose first two rows are never used
    BART        as mBART, but post-norm and without the factor √width; <s> source </s>

Ids are put in our order, PAD UNK BOS EOS first. What begins an output there (PAD, </s>, or a
language) is BOS here: a copy of its row.
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
from zhuyi.interop import hub_tokenizer, sentencepiece
from zhuyi.interop.foreign import Foreign, Names, Text, Weights, architecture, halves_together, permuted, rows_of
from zhuyi.interop.hub_directory import (
    Settings,
    ensure_none,
    exported_text,
    generation_defaults,
    generation_settings,
    model_type,
)
from zhuyi.interop.reading import licence_of
from zhuyi.interop.sentencepiece_model import SentencePieceModel
from zhuyi.interop.tensors import read_tensors
from zhuyi.interop.vocabulary import MOST_PIECES, Vocabulary, is_language_tag, read_pieces
from zhuyi.text.special import BOS, EOS, MASK, SPECIALS
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
    architecture: str
    """The class of transformers that generates."""
    norm: str
    embedding_norm: bool
    positions: str
    first_position: int
    """The row of the first position in the table of positions."""
    has_table: bool
    """Whether that table is learned, and in the file; else it is of sinusoids, which are computed."""


FAMILIES = {
    "marian": Family("MarianMT", "MarianMTModel", "post", False, "sinusoidal", first_position=0, has_table=False),
    "pegasus": Family(
        "Pegasus", "PegasusForConditionalGeneration", "pre", False, "sinusoidal", first_position=0, has_table=False
    ),
    "m2m_100": Family(
        "M2M-100", "M2M100ForConditionalGeneration", "pre", False, "learned", first_position=2, has_table=False
    ),
    "blenderbot": Family(
        "Blenderbot", "BlenderbotForConditionalGeneration", "pre", False, "learned", first_position=0, has_table=True
    ),
    "mbart": Family("mBART", "MBartForConditionalGeneration", "pre", True, "learned", first_position=2, has_table=True),
    "bart": Family("BART", "BartForConditionalGeneration", "post", True, "learned", first_position=2, has_table=True),
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
    text = exported_text(path, config) or _text(path, config)
    model["tie"] = _tie(weights, config, text)
    arrays = _weights(weights, model, family, text)
    decoding = generation_defaults(path, config)
    return Foreign(f"{family.program} of Hugging Face", model, text, arrays, decoding, licence_of(path))


def _text(path: Path, config: Settings) -> Text:
    if (read_text := _READ_TEXT.get(config.text("model_type"))) is None:
        raise CheckpointError(f"{path}: {FAMILIES[config.text('model_type')].program}'s own tokenizer is not known")
    return read_text(path, config)


def _architecture(config: Settings, family: Family) -> dict[str, Any]:
    activation = ACTIVATIONS.get(str(config.get("activation_function", "relu")))
    if activation is None:
        raise config.unsupported("activation_function")
    heads = config.number("encoder_attention_heads")
    for key, wanted in (
        ("decoder_attention_heads", heads),
        ("decoder_ffn_dim", config.number("encoder_ffn_dim")),
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


def _tie(theirs: Weights, config: Settings, text: Text) -> str:
    """Which matrices over the vocabulary are one: the settings say so or, where the projection is none, the file."""
    has_one_vocabulary = text.source.rows == text.target.rows
    if config.get("tie_word_embeddings", True):
        return "all" if _has_one_embedding(config) and has_one_vocabulary else "output"
    source, target = (_embedding(theirs, side) for side in ("encoder", "decoder"))
    is_one = source == target or np.array_equal(theirs.take(source), theirs.take(target))
    return "embeddings" if is_one and has_one_vocabulary else "none"


def _embedding(theirs: Weights, side: str) -> str:
    """The name of the embedding of a side."""
    shared, own = EMBEDDINGS[0], f"model.{side}.embed_tokens.weight"
    return own if theirs.has(own) else shared


def _has_one_embedding(config: Settings) -> bool:
    """Whether the embeddings of both sides are one matrix."""
    return bool(config.get("share_encoder_decoder_embeddings", True))


def _weights(theirs: Weights, model: dict[str, Any], family: Family, text: Text) -> dict[str, npt.NDArray[np.float32]]:
    """Our weights; whether they have a bias of the logits is added to `model`."""
    config = architecture(model, theirs.source)
    ours = _matrices(theirs, text, config)
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


def _matrices(theirs: Weights, text: Text, config: ModelConfig) -> dict[str, npt.NDArray[np.float32]]:
    """Embeddings, and the projection where it is no embedding."""
    source, target = (_embedding(theirs, side) for side in ("encoder", "decoder"))
    if config.ties_embeddings:
        source = next(filter(theirs.has, EMBEDDINGS), source)
    ours = {"encoder.embedding.weight": rows_of(theirs.take(source), text.source)}
    if not config.ties_embeddings:
        ours["decoder.embedding.weight"] = rows_of(theirs.take(target), text.target)
    if not config.ties_output:
        ours["projection.weight"] = rows_of(theirs.take("lm_head.weight"), text.target)
    theirs.skip(*EMBEDDINGS, "lm_head.weight")  # the same matrices by other names
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
        {
            **sentencepiece.settings(engines[0]),
            "shared": shared,
            "tags": [piece for piece in pieces if is_language_tag(piece)],
        },
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
    """Of M2M-100, NLLB and mBART: one SentencePiece model, and a token for each language.

    fairseq's ids, which they all have, are <s> <pad> </s> <unk>, the pieces, the languages and, but in M2M-100, <mask>.
    M2M-100 lists its pieces in vocab.json; those of the others are all pieces of the SentencePiece model.

    The language of the source stands before it; in the first mBART, and in the first version of NLLB's tokenizer, it
    follows </s>. In that mBART, an output is begun with its language, without a </s>.
    """
    named = Settings(path, "tokenizer_config.json", optional=True)
    model = hub_tokenizer.sentencepiece_model(path, "sentencepiece.bpe.model")
    pieces, languages = _pieces_and_languages(path, config, model)
    source, target = _chosen_languages(path, config, named, languages)
    settings: dict[str, Any] = {
        **sentencepiece.settings(model),
        "shared": True,
        "target_prefix": [target] if target else [],
    }
    begin = _row_of("decoder_start_token_id", path, config)
    classes = [str(each.get("tokenizer_class")) for each in (named, config)]
    is_first_mbart = config.text("model_type") == "mbart" and not any("MBart50" in name for name in classes)
    if source and (is_first_mbart or named.get("legacy_behaviour")):
        settings["source_suffix"] = [SPECIALS[EOS], source]
    elif source:
        settings["source_prefix"] = [source]
    if not is_first_mbart:
        settings["tags"] = list(languages)
    elif begin is None:
        begin = languages.get(named.name("tgt_lang") or source or "")
    vocabulary = Vocabulary.of(
        pieces,
        pad=config.number("pad_token_id", 1),
        unk=3,
        eos=2,
        special=[0, *languages.values(), *(row for row, piece in enumerate(pieces) if piece == MASK)],
    ).with_bos(2 if begin is None else begin)
    one = sentencepiece.tokenizer(model, vocabulary)
    return Text(Tokenizers(one, one), vocabulary, vocabulary, settings)


def _pieces_and_languages(
    path: Path, config: Settings, model: SentencePieceModel
) -> tuple[list[str | None], dict[str, int]]:
    """The tokens by row, and the rows of the languages among them."""
    if (path / "vocab.json").is_file():
        pieces = read_pieces(path / "vocab.json")
    else:
        texts = [piece.text for piece in model.pieces]
        pieces = [*texts] if tuple(texts[: len(FAIRSEQ)]) == FAIRSEQ else [*FAIRSEQ, *texts[3:]]
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


def _byte_level_text(path: Path, config: Settings) -> Text:
    """Of BART: byte-level BPE; source and output begin with <s>, the latter after the </s> with which it is begun."""
    model = hub_tokenizer.read_byte_level(path)
    pieces = _padded(model.pieces, config)[: config.number("vocab_size", len(model.pieces))]
    first, pad, eos = (config.number(f"{name}_token_id", row) for row, name in enumerate(("bos", "pad", "eos")))
    start, forced = (_row_of(f"{name}_token_id", path, config) for name in ("decoder_start", "forced_bos"))
    start = eos if start is None else start
    for key, row in (("bos_token_id", first), ("forced_bos_token_id", forced)):
        if row is not None and row >= len(pieces):
            raise CheckpointError(f"{path}: {key} = {row} is no row of its {len(pieces):,} tokens")
    pieces[first] = SPECIALS[BOS] if first == start else BEGIN
    unknown = pieces.index("<unk>") if "<unk>" in pieces else None
    no_text = [first, *(row for row in model.special if row < len(pieces))]
    vocabulary = Vocabulary.of(pieces, pad=pad, unk=unknown, bos=start, eos=eos, special=no_text)
    one = vocabulary.tokenizer(model.engine())
    settings = {
        **{"kind": "bpe", "normalization": "none", "whitespace": "keep", "shared": True},
        "source_prefix": [pieces[first]],
        "target_prefix": [] if forced is None else [pieces[forced]],
    }
    return Text(Tokenizers(one, one), vocabulary, vocabulary, settings)


BEGIN = "<bos>"
"""The name of BART's <s>: of this name is here what begins an output."""


def _row_of(key: str, path: Path, config: Settings) -> int | None:
    """The row of a token that `generate` uses; None if the directory does not say."""
    found = generation_settings(path, config)(key)
    return None if found.get(key) is None else found.number(key)


def _chosen_languages(
    path: Path, config: Settings, named: Settings, languages: Mapping[str, int]
) -> tuple[str | None, str | None]:
    """The languages of source and target that a directory translates unless others are asked for; None if any."""
    source = named.name("src_lang") or next((tag for tag in ENGLISH if tag in languages), None)
    forced = _row_of("forced_bos_token_id", path, config)
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
    "bart": _byte_level_text,
}
