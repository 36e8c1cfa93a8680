"""The corpus as every system gets it: cut into pieces once, by zhuyi's tokeniser.

train.source, train.target, dev.source, dev.target   a sentence a line, pieces between spaces
vocabulary.txt                                       a piece a line, in the order of the ids; <pad> <unk> <s> </s> first
config.json, tokenizer.json                          the same for zhuyi
dev.reference                                        the raw dev targets
"""

import json
from pathlib import Path

from zhuyi.config import load_config
from zhuyi.data.corpus import Corpus
from zhuyi.data.prepare import prepare
from zhuyi.errors import ConfigError
from zhuyi.text.tokenizer import Tokenizer, Tokenizers

LONGEST = 256
"""Pieces of a training sentence; Multi30k has none that long."""


def make(config_path: Path, overrides: list[str], folder: Path) -> dict[str, int | str]:
    """Write the files, and give the counts of the training data."""
    try:
        config = load_config(config_path.absolute(), [*overrides, f"model.max_length={LONGEST}"])
    except ConfigError as error:
        raise SystemExit(str(error)) from error
    if not config.text.shared:
        raise SystemExit("the peers are given one vocabulary for both sides: set text.shared = true")
    folder.mkdir(parents=True, exist_ok=True)
    tokenizers = _tokenizers(folder) if _is_made_of(folder, config.model_dump_json()) else None
    data = prepare(config, tokenizers=tokenizers)
    for name, text in data.tokenizers.files().items():
        (folder / name).write_text(text, encoding="utf-8")
    tokenizer, store = data.tokenizers.source, data.store
    vocabulary = tokenizer.pieces(range(len(tokenizer)))
    assert all(piece.split() == [piece] for piece in vocabulary)
    (folder / "vocabulary.txt").write_text("".join(f"{piece}\n" for piece in vocabulary), encoding="utf-8")
    _write(folder / "train.source", tokenizer, [store.source(i).tolist() for i in range(len(store))])
    _write(folder / "train.target", tokenizer, [store.target(i).tolist() for i in range(len(store))])
    if config.data.dev_source is None or config.data.dev_target is None:
        raise SystemExit(f"{config_path}: names no dev set")
    dev = list(Corpus(config.data.dev_source, config.data.dev_target))
    _write(folder / "dev.source", tokenizer, tokenizer.encode([pair.source for pair in dev]))
    _write(folder / "dev.target", tokenizer, tokenizer.encode([pair.target for pair in dev]))
    (folder / "dev.reference").write_text("".join(f"{pair.target}\n" for pair in dev), encoding="utf-8")
    (folder / "config.json").write_text(config.model_dump_json(indent=2), encoding="utf-8")
    return {
        "corpus": Path(config.data.source or "").parent.name,
        "pairs": len(store),
        "vocabulary": len(tokenizer),
        "source_tokens": int(store.source_lengths.sum()) + len(store),
        "target_tokens": int(store.target_lengths.sum()) + len(store),
    }


def joined(folder: Path, sentences: list[list[str]]) -> list[str]:
    """Pieces as text again, by the tokeniser that cut them."""
    tokenizer = _tokenizers(folder).target
    ids = {piece: i for i, piece in enumerate(tokenizer.pieces(range(len(tokenizer))))}
    return tokenizer.decode([[ids[piece] for piece in pieces] for pieces in sentences])


def _tokenizers(folder: Path) -> Tokenizers:
    return Tokenizers.load({path.name: path.read_bytes() for path in folder.glob("tokenizer*.json")}, folder)


def _is_made_of(folder: Path, config: str) -> bool:
    path = folder / "config.json"
    return path.exists() and json.loads(path.read_text(encoding="utf-8")) == json.loads(config)


def _write(path: Path, tokenizer: Tokenizer, sentences: list[list[int]]) -> None:
    text = "".join(" ".join(tokenizer.pieces(ids)) + "\n" for ids in sentences)
    path.write_text(text, encoding="utf-8")
