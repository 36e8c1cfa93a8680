"""The tokens of MarianMT, M2M-100, NLLB, mBART and BART in directories of Hugging Face, and what stands around a line.

Ids are put in our order, PAD UNK BOS EOS first. What begins an output there (PAD, </s>, or a language) is BOS here: a
copy of its row.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zhuyi.errors import CheckpointError
from zhuyi.interop.families.foreign import Text
from zhuyi.interop.families.hub_directory import generation_settings
from zhuyi.interop.reading.settings import Settings
from zhuyi.interop.tokenizers import sentencepiece
from zhuyi.interop.tokenizers.byte_level import read_byte_level
from zhuyi.interop.tokenizers.sentencepiece_model import SentencePieceModel
from zhuyi.interop.tokenizers.tokenizer_json import read_sentencepiece
from zhuyi.interop.tokenizers.vocabulary import MOST_PIECES, Vocabulary, is_language_tag, read_pieces
from zhuyi.text.special import BOS, EOS, MASK, SPECIALS
from zhuyi.text.tokenizer import Tokenizers

FAIRSEQ = ("<s>", "<pad>", "</s>", "<unk>")
"""The first tokens of vocabularies of fairseq."""
ENGLISH = ("__en__", "eng_Latn", "en_XX")
"""The source's language where a directory does not name one, as in `transformers`."""
ROW = re.compile(r"[0-9]{1,9}")
LANGUAGE = re.compile(r"__[a-z]{2,3}(_\w+)?__|[a-z]{2}_[A-Z]{2}|[a-z]{3}_[A-Z][a-z]{3}")
BEGIN = "<bos>"
"""The name of BART's <s>: of this name is here what begins an output."""


def read_text(path: Path, config: Settings, program: str) -> Text:
    """The text of a directory.

    Args:
        path: with the tokenizer's files.
        config: its settings.
        program: whose model it is, for messages.

    Raises:
        CheckpointError: naming the file, and what is missing, damaged or has no counterpart.
    """
    if (read := _READ.get(config.text("model_type"))) is None:
        raise CheckpointError(
            f"{path}: zhuyi does not know the tokenizer of {program}: it reads such models only if it exported them"
        )
    return read(path, config)


def has_one_embedding(config: Settings) -> bool:
    """Whether the embeddings of both sides are one matrix."""
    return bool(config.get("share_encoder_decoder_embeddings", True))


def _marian_text(path: Path, config: Settings) -> Text:
    shared = has_one_embedding(config)
    source = _vocabulary(path / "vocab.json", config)
    target = source if shared else _vocabulary(path / "target_vocab.json", config)
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
            "tags": [piece for piece in source.pieces if is_language_tag(piece)],
        },
        (named.name("source_lang"), named.name("target_lang")),
    )


def _vocabulary(file: Path, config: Settings) -> Vocabulary:
    """Of one side of a MarianMT model, or of both."""
    pieces = _padded(read_pieces(file), config)
    if "<unk>" not in pieces:
        raise CheckpointError(f"{file}: has no <unk>: not a vocabulary of MarianMT")
    tags = [row for row, piece in enumerate(pieces) if is_language_tag(piece)]
    pad, eos = config.number("pad_token_id"), config.number("eos_token_id")
    start = config.number("decoder_start_token_id", pad)
    return Vocabulary.of(file, pieces, pad=pad, unk=pieces.index("<unk>"), bos=start, eos=eos, special=tags)


def _size(config: Settings, default: int) -> int:
    """How many tokens the model has."""
    size = config.number("vocab_size", default)
    if size > MOST_PIECES:
        raise CheckpointError(f"{config.path}: vocab_size is {size:,}: zhuyi reads at most {MOST_PIECES:,} tokens")
    return size


def _padded(pieces: list[str | None], config: Settings) -> list[str | None]:
    """With rows without a name up to the size of the model's vocabulary."""
    return [*pieces, *[None] * (_size(config, 0) - len(pieces))]


def _multilingual_text(path: Path, config: Settings) -> Text:
    """Of M2M-100, NLLB and mBART: one SentencePiece model, and a token for each language.

    fairseq's ids, which they all have, are <s> <pad> </s> <unk>, the pieces, the languages and, but in M2M-100, <mask>.
    M2M-100 lists its pieces in vocab.json; those of the others are all pieces of the SentencePiece model.

    The language of the source stands before it; in the first mBART, and in the first version of NLLB's tokenizer, it
    follows </s>. In that mBART, an output is begun with its language, without a </s>.
    """
    named = Settings(path, "tokenizer_config.json", optional=True)
    model = read_sentencepiece(path, "sentencepiece.bpe.model")
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
        path,
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
    size = min(max(_size(config, 0), *languages.values()), MOST_PIECES)
    pieces = [*pieces, *[None] * (size + 1 - len(pieces))]
    for tag, row in languages.items():
        if row >= len(pieces) or pieces[row] not in (None, tag):
            raise CheckpointError(f"{path}: language {tag} has row {row}, which is that of {pieces[row]!r}")
        pieces[row] = tag
    return pieces[: _size(config, len(pieces))], languages


def _byte_level_text(path: Path, config: Settings) -> Text:
    """Of BART: byte-level BPE; source and output begin with <s>, the latter after the </s> with which it is begun."""
    model = read_byte_level(path)
    pieces = _padded(model.pieces, config)[: _size(config, len(model.pieces))]
    first, pad, eos = (config.number(f"{name}_token_id", row) for row, name in enumerate(("bos", "pad", "eos")))
    start, forced = (_row_of(f"{name}_token_id", path, config) for name in ("decoder_start", "forced_bos"))
    start = eos if start is None else start
    for key, row in (("bos_token_id", first), ("forced_bos_token_id", forced)):
        if row is not None and row >= len(pieces):
            raise CheckpointError(f"{path}: {key} = {row} is no row of its {len(pieces):,} tokens")
    pieces[first] = SPECIALS[BOS] if first == start else BEGIN
    unknown = pieces.index("<unk>") if "<unk>" in pieces else None
    no_text = [first, *(row for row in model.special if row < len(pieces))]
    vocabulary = Vocabulary.of(path, pieces, pad=pad, unk=unknown, bos=start, eos=eos, special=no_text)
    one = vocabulary.tokenizer(model.engine())
    settings = {
        **{"kind": "bpe", "normalization": "none", "whitespace": "keep", "shared": True},
        "source_prefix": [pieces[first]],
        "target_prefix": [] if forced is None else [pieces[forced]],
    }
    return Text(Tokenizers(one, one), vocabulary, vocabulary, settings)


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


def _languages(path: Path, first: int) -> dict[str, int]:
    """The rows of the tokens of languages: where the files of the tokenizer say, or one after another from `first` on.

    Raises:
        CheckpointError: if there are none.
    """
    config = Settings(path, "tokenizer_config.json", optional=True)
    if rows := _numbered_languages(path, config):
        return rows
    special = Settings(path, "special_tokens_map.json", optional=True)
    for found in (config, special):
        for key in ("additional_special_tokens", "extra_special_tokens"):
            value = found.get(key)  # some versions have an object, of tokens of other kinds
            tags = map(_language, value if isinstance(value, list) else [])
            if named := [tag for tag in tags if tag is not None]:
                return {tag: first + i for i, tag in enumerate(named)}
    raise CheckpointError(f"{path}: its languages are listed neither in {config.path.name} nor in {special.path.name}")


def _numbered_languages(path: Path, config: Settings) -> dict[str, int]:
    """The rows of the tokens of languages, as far as the files of the tokenizer say."""
    listed = Settings(path, "tokenizer.json", optional=True).entries("added_tokens")
    numbered = [(token.get("id"), token) for token in listed if isinstance(token, dict)]
    added = config.table("added_tokens_decoder")
    numbered += [(int(row), token) for row, token in added.items() if ROW.fullmatch(row) and isinstance(token, dict)]
    return {
        tag: row
        for row, token in numbered
        if (tag := _language(token)) is not None and isinstance(row, int) and 0 <= row < MOST_PIECES
    }


def _language(token: Any) -> str | None:
    """The name of a token, itself or an object that describes it, if it is that of a language."""
    name = token.get("content") if isinstance(token, dict) else token
    return name if isinstance(name, str) and LANGUAGE.fullmatch(name) else None


_READ = {
    "marian": _marian_text,
    "m2m_100": _multilingual_text,
    "mbart": _multilingual_text,
    "bart": _byte_level_text,
}
"""By `model_type`."""
