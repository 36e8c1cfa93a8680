"""A tokenizer that is imported from SentencePiece cuts lines as it does, and a bad file is one line."""

import json
import struct
import time
import unicodedata
from pathlib import Path
from typing import Any

import pytest
import sentencepiece
from interop.sentencepiece_models import EVERY, LINES, NAMES, imported, trained, words

from zhuyi.errors import CheckpointError
from zhuyi.interop.tokenizers import sentencepiece as importer
from zhuyi.interop.tokenizers import sentencepiece_model
from zhuyi.interop.tokenizers.sentencepiece import read, tokenizer
from zhuyi.interop.tokenizers.vocabulary import Vocabulary
from zhuyi.text.tokenizer import BOS, EOS, PAD, SPECIALS, UNK, Tokenizer, Tokenizers


@pytest.mark.slow
@pytest.mark.parametrize(("algorithm", "rule", "fallback"), EVERY)
def test_every_line_is_cut_as_by_sentencepiece(tmp_path: Path, algorithm: str, rule: str, fallback: bool) -> None:
    data = trained(algorithm, rule, fallback)
    theirs, model = sentencepiece.SentencePieceProcessor(model_proto=data), imported(data, tmp_path)
    ours, rows = tokenizer(model), model.vocabulary.rows
    lines = [unicodedata.normalize(form, line) for form in ("NFC", "NFD") for line in LINES + NAMES]
    found = ours.encode(lines)
    for line, right, mine in zip(lines, theirs.encode(lines), found, strict=True):
        assert [rows[i] for i in mine] == right, line
        assert not {PAD, BOS, EOS} & set(mine)
    known = [k for k, ids in enumerate(found) if UNK not in ids]  # which SentencePiece shows as ⁇
    assert len(known) > len(lines) / 2
    assert ours.decode([found[k] for k in known]) == [theirs.decode(theirs.encode(lines[k])) for k in known]
    again = Tokenizer.from_json(ours.to_json())
    assert again.to_json() == ours.to_json()
    assert again.encode(lines) == found
    assert len(again.fallback) == (256 if fallback else 1)


@pytest.mark.slow
def test_lines_need_not_begin_with_a_space(tmp_path: Path) -> None:
    for options in ({"add_dummy_prefix": False}, {"add_dummy_prefix": False, "remove_extra_whitespaces": False}):
        data = trained(**options)
        theirs, model = sentencepiece.SentencePieceProcessor(model_proto=data), imported(data, tmp_path)
        found = tokenizer(model).encode(LINES)
        assert [[model.vocabulary.rows[i] for i in ids] for ids in found] == theirs.encode(LINES)


@pytest.mark.slow
def test_what_a_text_says_is_never_a_special_token(tmp_path: Path) -> None:
    symbols = {"user_defined_symbols": "<extra_id_0>,>>fra<<,☃☃", "control_symbols": "<lang>", "pad_id": 3}
    model = imported(trained(**symbols), tmp_path)
    ours, pieces = tokenizer(model), model.vocabulary.pieces
    assert pieces[: len(SPECIALS)] == [*SPECIALS]
    assert model.vocabulary.rows[: len(SPECIALS)] == [3, 0, 1, 2]
    special = {pieces.index(name) for name in ("<extra_id_0>", ">>fra<<", "<lang>")}
    assert special == {*model.vocabulary.special}
    for line in (*SPECIALS, "<extra_id_0>", "a >>fra<< b", ">>fra<<", "<lang>", "x<lang>y"):
        [ids] = ours.encode([line])
        assert not (special | {PAD, BOS, EOS}) & set(ids)
    [snow] = ours.encode(["a☃☃b"])
    assert pieces.index("☃☃") in snow  # which stands for itself
    assert ours.decode([[*special, *snow, EOS]]) == ["a☃☃b"]


def test_pieces_are_looked_up_in_a_vocabulary_of_both_sides() -> None:
    source, target = words("▁a", "▁", "b", "é", "s"), words("▁b", "▁", "c", "▁a")
    listed = ["</s>", "<unk>", "▁a", "b", "c", "▁b", "é", ">>fra<<", "àà", "<pad>"]
    vocabulary = Vocabulary.of("vocab.json", listed, unk=1, eos=0, pad=9, special=[7])
    assert vocabulary.pieces == [*SPECIALS, "▁a", "b", "c", "▁b", "é", ">>fra<<", "àà"]
    assert vocabulary.rows == [9, 1, None, 0, *range(2, 9)]
    both = Tokenizers(tokenizer(source, vocabulary), tokenizer(target, vocabulary))
    assert both.shared
    assert sorted(both.files()) == ["tokenizer.source.json", "tokenizer.target.json"]
    again = Tokenizers.load({name: text.encode() for name, text in both.files().items()}, Path())
    assert again.shared
    assert len(again.source) == len(again.target) == len(vocabulary.pieces)
    for each in (both, again):
        assert each.source.pieces(each.source.encode(["ab és"])[0]) == ["▁a", "b", "<unk>", "é", "<unk>"]
        assert each.target.pieces(each.target.encode(["ab c"])[0]) == ["▁a", "b", "<unk>", "c"]
        ids = [BOS, 4, 5, 6, 7, 9, 8, EOS]  # with pieces that neither engine has
        assert each.source.decode([ids]) == each.target.decode([ids]) == ["abc bé"]
        # What the engine does not know is a piece too, which the vocabulary may know.
        assert each.source.encode(["aàà"]) == [[4, 10]]
        assert each.source.encode(["aààà"]) == [[4, UNK]]
        assert not {0, 2, 3, 9} & set(each.source.encode([">>fra<< </s> <pad>"])[0])


def test_sides_with_other_vocabularies_are_not_shared() -> None:
    source, target = words("▁a"), words("▁b")
    assert not Tokenizers(tokenizer(source), tokenizer(target)).shared
    one = tokenizer(source)
    assert Tokenizers(one, one).shared
    assert list(Tokenizers(one, one).files()) == ["tokenizer.json"]


@pytest.mark.parametrize(
    "vocabulary",
    [
        [],
        {},
        {"pieces": [], "special": []},
        {"pieces": [1] * 9, "special": []},
        {"pieces": [*SPECIALS], "special": [9]},
    ],
)
def test_a_damaged_vocabulary_is_named(vocabulary: Any) -> None:
    content = {**json.loads(tokenizer(words("▁a")).to_json()), "vocabulary": vocabulary}
    with pytest.raises(CheckpointError, match=r"tokenizer\.json") as caught:
        Tokenizers.load({"tokenizer.json": json.dumps(content).encode()}, Path())
    assert "\n" not in str(caught.value)


def varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def message(*fields: tuple[int, int | bytes]) -> bytes:
    """A protobuf message."""
    return b"".join(
        varint(number << 3 | 2) + varint(len(value)) + value
        if isinstance(value, bytes)
        else varint(number << 3) + varint(value)
        for number, value in fields
    )


def piece(text: str, score: float = -1.0, kind: int = 1) -> tuple[int, bytes]:
    return 1, message((1, text.encode()), (3, kind)) + b"\x15" + struct.pack("<f", score)


UNKNOWN, WORD = piece("<unk>", 0.0, 2), piece("▁a")


def with_map(units: list[int], strings: bytes = b"a\0") -> bytes:
    trie = struct.pack(f"<{len(units)}I", *units)
    return message(UNKNOWN, WORD, (3, message((2, struct.pack("<I", len(trie)) + trie + strings))))


REFUSED = {
    "empty": (b"", "unknown"),
    "text": (b"not a model, but a text of some length", "length|field"),
    "no unknown": (message(WORD), "0 unknown"),
    "two of them": (message(UNKNOWN, piece("x", 0, 2), WORD), "2 unknown"),
    "no pieces": (message(UNKNOWN), "no pieces"),
    "twice": (message(UNKNOWN, WORD, WORD), "same name"),
    "an empty piece": (message(UNKNOWN, piece("")), "0 characters"),
    "a long piece": (message(UNKNOWN, piece("x" * 100_000)), "100,000 characters"),
    "not a number": (message(UNKNOWN, piece("x", float("nan"))), "nan"),
    "infinite": (message(UNKNOWN, piece("x", float("-inf"))), "inf"),
    "no such kind": (message(UNKNOWN, piece("x", 0, 7)), "kind 7"),
    "not UTF-8": (message(UNKNOWN, (1, message((1, b"\xff")))), "UTF-8"),
    "a number for a piece": (message(UNKNOWN, (1, 5)), "a number"),
    "a length that lies": (b"\x0a" + varint(10**18) + b"x", "length"),
    "a number without end": (b"\xff" * 100, "no end"),
    "a group": (b"\x0b" * 9, "field"),
    "bytes missing": (message(UNKNOWN, WORD, (2, message((35, 1)))), "256 bytes"),
    "bytes unused": (message(UNKNOWN, WORD, piece("<0x00>", 0, 6)), "bytes without"),
    "words": (message(UNKNOWN, WORD, (2, message((3, 3)))), "model_type"),
    "suffix": (message(UNKNOWN, WORD, (2, message((24, 1)))), "treat_whitespace_as_suffix"),
    "spaces": (message(UNKNOWN, WORD, (3, message((5, 0)))), "escape_whitespaces"),
    "kept spaces": (message(UNKNOWN, WORD, (3, message((4, 0)))), "remove_extra_whitespaces"),
    "output": (message(UNKNOWN, WORD, (5, message((2, b"xx")))), "denormalizer_spec"),
    "an unused merge": (message(UNKNOWN, WORD, piece("b", 0, 5), (2, message((3, 2)))), "unused"),
    "a symbol among merges": (message(UNKNOWN, WORD, piece("xyz", 0, 4), (2, message((3, 2)))), "'xyz'"),
    "a symbol too long": (message(UNKNOWN, WORD, piece("x" * 99, 0, 4)), "kept whole"),
    "a truncated map": (message(UNKNOWN, WORD, (3, message((2, b"\xff\xff\xff\x7fabc")))), "truncated"),
    "a map to nowhere": (with_map([0xFFFFFE00] * 256), "out of itself"),
    "a map that does nothing": (with_map([0] * 256), "compose"),
    "a map in circles": (with_map([k & 0xFF for k in range(512)]), "compose"),
    "a map without strings": (with_map([0x100 | k & 0xFF for k in range(256)], b""), "no string|UTF-8"),
}


@pytest.mark.parametrize(("data", "what"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_imported_is_refused_in_one_line(tmp_path: Path, data: bytes, what: str) -> None:
    with pytest.raises(CheckpointError, match=what) as caught:
        imported(data, tmp_path)
    assert str(caught.value).startswith(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_more_pieces_than_any_model_has_are_refused_soon(tmp_path: Path) -> None:
    start = time.process_time()
    many = b"".join(message(piece(f"{k:x}")) for k in range(200_000))
    with pytest.raises(CheckpointError, match="not one"):
        imported(many, tmp_path)
    with (tmp_path / "source.spm").open("wb") as file:
        file.truncate(10**10)
    with pytest.raises(CheckpointError, match="too many"):
        read(tmp_path / "source.spm")
    assert time.process_time() - start < 30


def test_no_more_pieces_and_merges_are_read_than_models_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = [piece("a" * length) for length in range(1, 9)]
    data = message(UNKNOWN, *pieces, (2, message((3, 2))))
    assert tokenizer(imported(data, tmp_path)).pieces([4 + 7]) == ["a" * 8]
    monkeypatch.setattr(importer, "MOST_MERGED", 100)
    with pytest.raises(CheckpointError, match=r"source\.spm: .*more than 100 characters"):
        tokenizer(imported(data, tmp_path))
    monkeypatch.setattr(sentencepiece_model, "MOST_PIECES", 8)
    with pytest.raises(CheckpointError, match="more than 8 pieces"):
        imported(data, tmp_path)


@pytest.mark.unix
def test_only_files_are_read(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path, tmp_path / "nothing", tmp_path / "fifo", Path("/dev/zero")):
        with pytest.raises(CheckpointError, match=r"not a file|cannot read|no such file: copy it"):
            read(path)
