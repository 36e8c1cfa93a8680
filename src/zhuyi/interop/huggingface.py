"""Directories of Hugging Face: MarianMT (OPUS-MT), M2M-100 and NLLB, and mBART-50.

These are one architecture with one table of names, and differ in positions, norms and in what frames a sentence:

    MarianMT    post-norm; sinusoids, first all sines, then all cosines; a bias of the logits; begins with PAD
    M2M-100     pre-norm; sinusoids of tensor2tensor from position 2, kept here as a learned table; LANG source </s>
    mBART       pre-norm, and a norm after the embeddings; a learned table, whose first two rows are never used

Ids are put in our order, PAD UNK BOS EOS first. What begins an output there (PAD, </s>) is BOS here: a copy of its row.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from zhuyi.errors import CheckpointError
from zhuyi.interop import sentencepiece
from zhuyi.interop.foreign import Foreign, Names, Weights, architecture, halves_together, permuted, rows_of
from zhuyi.interop.reading import read_bytes
from zhuyi.interop.tensors import read_tensors
from zhuyi.interop.vocabulary import MOST_PIECES, Vocabulary, is_language_tag, read_pieces
from zhuyi.text.tokenizer import Tokenizers

LARGEST_JSON = 1 << 26

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


FAMILIES = {
    "marian": Family("MarianMT", "post", False, "sinusoidal", 0),
    "m2m_100": Family("M2M-100", "pre", False, "learned", 2),
    "mbart": Family("mBART", "pre", True, "learned", 2),
}
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
    if vocabularies:
        raise CheckpointError(f"{path}: a model of Hugging Face has its own vocabulary: leave --vocabulary out")
    config = Settings(path, "config.json")
    family = FAMILIES[config.text("model_type")]
    model = _architecture(config, family)
    weights = Weights(read_tensors(path), str(path))
    shared = bool(config.get("share_encoder_decoder_embeddings", True))
    text = _READ_TEXT[config.text("model_type")](path, config)
    model["tie"] = "all" if shared else "output"
    if not config.get("tie_word_embeddings", True):
        model["tie"] = "none"
    arrays = _weights(weights, model, family, text, shared)
    return Foreign(
        f"{family.program} of Hugging Face",
        model,
        text.tokenizers,
        arrays,
        text=text.settings,
        decoding=generation_defaults(path, config),
        languages=text.languages,
        licence=licence_of(path),
    )


class Settings:
    """A JSON file of settings, each checked where it is asked for."""

    def __init__(self, directory: Path, name: str, optional: bool = False) -> None:
        self.path = directory / name
        self._values: dict[str, Any] = {}
        if optional and not self.path.exists():
            return
        try:
            found = json.loads(read_bytes(self.path, LARGEST_JSON))
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"{self.path}: not JSON") from error
        if not isinstance(found, dict):
            raise CheckpointError(f"{self.path}: not a JSON object")
        self._values = found

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key, whatever it is; `default` where it is missing or null."""
        value = self._values.get(key)
        return default if value is None else value

    def number(self, key: str, default: int | None = None) -> int:
        """The value of a key that is a whole number, not negative."""
        value = self.get(key, default)
        if type(value) is not int or not 0 <= value < 2**31:
            raise CheckpointError(f"{self.path}: {key} = {value!r} is not a number of something")
        return value

    def real(self, key: str, default: float) -> float:
        """The value of a key that is a number."""
        value = self.get(key, default)
        if type(value) not in (int, float) or not abs(value) < 1e300:
            raise CheckpointError(f"{self.path}: {key} = {value!r} is not a number")
        return float(value)

    def text(self, key: str) -> str:
        """The value of a key that is a string."""
        value = self.get(key)
        if not isinstance(value, str):
            raise CheckpointError(f"{self.path}: {key} = {value!r} is not a string")
        return value


@dataclass(frozen=True)
class Text:
    """Tokenizers, and where the rows of the matrices are."""

    tokenizers: Tokenizers
    source: Vocabulary
    target: Vocabulary
    settings: dict[str, Any]
    languages: tuple[str | None, str | None] = (None, None)


def model_type(path: Path) -> str | None:
    """The family of the model in a directory; None if it is no directory of Hugging Face."""
    if not (path / "config.json").is_file():
        return None
    found = Settings(path, "config.json").get("model_type")
    return found if isinstance(found, str) else None


def _architecture(config: Settings, family: Family) -> dict[str, Any]:
    activation = ACTIVATIONS.get(str(config.get("activation_function", "relu")))
    if activation is None:
        raise unsupported(config, "activation_function")
    heads = config.number("encoder_attention_heads")
    for key, wanted in (
        ("decoder_attention_heads", heads),
        ("decoder_ffn_dim", config.number("encoder_ffn_dim")),
        ("normalize_before", None),
        ("static_position_embeddings", None if family.positions == "learned" else True),
    ):
        if config.get(key, wanted) != wanted:
            raise unsupported(config, key)
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


def _weights(
    theirs: Weights, model: dict[str, Any], family: Family, text: Text, shared: bool
) -> dict[str, npt.NDArray[np.float32]]:
    config = architecture(model, theirs.source)
    ours: dict[str, npt.NDArray[np.float32]] = {}
    for our, name in NAMES.ours_to_theirs(config).items():
        for kind in ("weight", "bias"):
            ours[f"{our}.{kind}"] = theirs.take(f"{name}.{kind}")
    of_stacks = [f"model.{side}.embed_tokens.weight" for side in ("encoder", "decoder")]
    if shared:
        one = "model.shared.weight" if theirs.has("model.shared.weight") else of_stacks[0]
        ours["encoder.embedding.weight"] = rows_of(theirs.take(one), text.source)
        theirs.skip("model.shared.weight", *of_stacks)
    else:
        for stack, name, vocabulary in zip(("encoder", "decoder"), of_stacks, (text.source, text.target), strict=True):
            ours[f"{stack}.embedding.weight"] = rows_of(theirs.take(name), vocabulary)
        theirs.skip("model.shared.weight")
    if config.tie == "none":
        ours["projection.weight"] = rows_of(theirs.take("lm_head.weight"), text.target)
    theirs.skip("lm_head.weight")
    if theirs.has("final_logits_bias"):
        bias = theirs.take("final_logits_bias").flatten()
        if bias.any():
            model["output_bias"] = True
            ours["projection.bias"] = rows_of(bias, text.target)
    tables = [f"model.{side}.embed_positions.weight" for side in ("encoder", "decoder")]
    if family.positions == "sinusoidal":
        theirs.skip(*tables)
        order = halves_together(config.width)
        ours = {name: permuted(name, array, order) for name, array in ours.items()}
    else:
        for stack, name in zip(("encoder", "decoder"), tables, strict=True):
            if family.program == "M2M-100":
                theirs.skip(name)
                table = sinusoid_halves(config.max_length + family.first_position, config.width)
            else:
                table = theirs.take(name)
            ours[f"{stack}.positions.table"] = table[family.first_position :][: config.max_length]
    theirs.ensure_all_taken()
    return ours


def sinusoid_halves(length: int, width: int) -> npt.NDArray[np.float32]:
    """Sines of tensor2tensor's wavelengths, then the cosines: `length width`."""
    wavelengths = 10000.0 ** (np.arange(width // 2) / max(width // 2 - 1, 1))
    angle = np.arange(length)[:, None] / wavelengths
    return np.concatenate([np.sin(angle), np.cos(angle)], axis=1).astype(np.float32)


def generation_defaults(path: Path, config: Settings) -> dict[str, Any]:
    """The defaults of generation: of generation_config.json or, in older directories, of config.json.

    Where neither limits an output, `transformers` ends it after 20 tokens; here the model's own limit holds.
    """
    generation = Settings(path, "generation_config.json", optional=True)

    def of(key: str) -> Settings:
        return config if generation.get(key) is None else generation

    longest = config.number("max_position_embeddings", 1024)
    longest = min(of("max_length").number("max_length", longest), longest)
    return {
        "beam": of("num_beams").number("num_beams", 1),
        "penalty": "power",
        "length_penalty": of("length_penalty").real("length_penalty", 1.0),
        "stop": "huggingface-early" if of("early_stopping").get("early_stopping") is True else "huggingface",
        "end_at_limit": of("forced_eos_token_id").get("forced_eos_token_id") is not None,
        "no_repeat_ngram": of("no_repeat_ngram_size").number("no_repeat_ngram_size", 0),
        "max_repetition": 0,
        "max_ratio": 0.0,
        "max_extra": max(of("max_new_tokens").number("max_new_tokens", longest - 1), 1),
    }


def _marian_text(path: Path, config: Settings) -> Text:
    pieces = _padded(read_pieces(path / "vocab.json"), config)
    shared = bool(config.get("share_encoder_decoder_embeddings", True))
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
        {"kind": engines[0].algorithm, "shared": shared, "tags": [piece for piece in pieces if is_language_tag(piece)]},
        (named.get("source_lang"), named.get("target_lang")),
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
    del pieces[config.number("vocab_size", len(pieces)) :]
    begin, pad, eos = config.number("decoder_start_token_id", 2), config.number("pad_token_id", 1), 2
    vocabulary = Vocabulary.of(pieces, pad=pad, unk=3, bos=begin, eos=eos, special=[0, *languages.values()])
    one = sentencepiece.tokenizer(model, vocabulary)
    source = named.get("src_lang") or next((tag for tag in ENGLISH if tag in languages), None)
    source = next((tag for tag in (source, f"__{source}__") if tag in languages), None)
    generation = Settings(path, "generation_config.json", optional=True)
    forced = generation.get("forced_bos_token_id", config.get("forced_bos_token_id"))
    target = next((tag for tag, row in languages.items() if row == forced), None)
    return Text(
        Tokenizers(one, one),
        vocabulary,
        vocabulary,
        {
            "kind": model.algorithm,
            "shared": True,
            "tags": list(languages),
            "source_prefix": [source] if source else [],
            "target_prefix": [target] if target else [],
        },
    )


FAIRSEQ = ("<s>", "<pad>", "</s>", "<unk>")
"""The first tokens of vocabularies of fairseq."""
ENGLISH = ("__en__", "eng_Latn", "en_XX")
"""The source's language where a directory does not name one, as in `transformers`."""
LANGUAGE = re.compile(r"__[a-z]{2,3}(_\w+)?__|[a-z]{2}_[A-Z]{2}|[a-z]{3}_[A-Z][a-z]{3}")


def _languages(path: Path, first: int) -> dict[str, int]:
    """The rows of the tokens of languages: where the files of the tokenizer say, or one after another from `first` on.

    Raises:
        CheckpointError: if there are none.
    """
    config = Settings(path, "tokenizer_config.json", optional=True)
    listed = Settings(path, "tokenizer.json", optional=True).get("added_tokens", [])
    added = config.get("added_tokens_decoder", {})
    numbered = [(token.get("id"), token) for token in listed if isinstance(token, dict)]
    numbered += [(int(row), token) for row, token in added.items() if row.isdecimal()]
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
            named = [tag.get("content") if isinstance(tag, dict) else tag for tag in found.get(key, [])]
            if tags := [tag for tag in named if isinstance(tag, str) and LANGUAGE.fullmatch(tag)]:
                return {tag: first + i for i, tag in enumerate(tags)}
    raise CheckpointError(f"{path}: its languages are listed neither in {config.path.name} nor in {special.path.name}")


_READ_TEXT = {
    "marian": _marian_text,
    "m2m_100": _multilingual_text,
    "mbart": _multilingual_text,
}


def licence_of(path: Path) -> str | None:
    """The licence that the model card's head names, or a file of this name."""
    card = path / "README.md"
    if card.is_file():
        for line in read_bytes(card, LARGEST_JSON).decode("utf-8", "replace").split("\n")[:100]:
            if line.startswith("license:"):
                return line.removeprefix("license:").strip().strip("\"'") or None
    return next((name for name in ("LICENSE", "LICENSE.txt", "COPYING") if (path / name).is_file()), None)


def unsupported(config: Settings, key: str) -> CheckpointError:
    """What is to be raised for a setting that zhuyi has not."""
    return CheckpointError(f"{config.path}: {key} = {config.get(key)!r} has no counterpart in zhuyi")
