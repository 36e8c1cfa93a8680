"""Vocabularies of other programs are read as these read them, and a bad one is one line."""

import json
from pathlib import Path

import numpy as np
import pytest

from zhuyi.errors import CheckpointError
from zhuyi.interop.families.weights import rows_of
from zhuyi.interop.reading.settings import Settings
from zhuyi.interop.tokenizers.vocabulary import Vocabulary, read_pieces, word_tokenizer
from zhuyi.text.tokenizer import BOS, EOS, SPECIALS, UNK

YAML = r"""# of Marian
</s>: 0
<unk>: 1
▁a: 2
"\"": 3
"it's\t\xe9\u00e8": 4
'it''s: "x"': 5
"#": 6
a:b: 7
: 8
un@@: 10
"""


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_every_form_of_a_vocabulary(tmp_path: Path) -> None:
    right = ["</s>", "<unk>", "▁a", '"', "it's\téè", 'it\'s: "x"', "#", "a:b", "", None, "un@@"]
    assert read_pieces(written(tmp_path, "vocab.yml", YAML)) == right
    ids = {piece: i for i, piece in enumerate(right) if piece is not None}
    assert read_pieces(written(tmp_path, "vocab.json", json.dumps(ids))) == right
    assert read_pieces(written(tmp_path, "vocab.yml", json.dumps(ids, indent=1))) == right  # which is YAML too
    assert read_pieces(written(tmp_path, "vocab.txt", "</s>\n<unk>\na\n")) == ["</s>", "<unk>", "a"]


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("v.yml", "a: 0\nb 1\n", ":2: not an entry"),
        ("v.yml", "a: 0\na: 1\n", ":2: a second"),
        ("v.yml", "a: 0\nb: 0\n", "same id 0"),
        ("v.yml", '"\\q": 0\n', ":1: damaged"),
        ("v.yml", '"\\U00110000": 0\n', ":1: damaged"),
        ("v.yml", "a: -1\n", ":1: not an entry"),
        ("v.yml", "a: 999999999\n", "not below"),
        ("v.yml", "a: 9" + "9" * 5000, ":1: not an entry"),
        ("v.yml", "", "no tokens"),
        ("v.json", "{}", "no tokens"),
        ("v.json", '{"a": 1e9}', "ids"),
        ("v.json", '{"a": 10000000000}', "not below"),
        ("v.json", '{"a": [' + "[" * 100_000, "not JSON"),
        ("v.json", r'{"\ud83d": 0}', "surrogate"),
        ("v.json", '["a"]', "entry|ids"),
        ("v.json", '{"a": "b"}', "ids"),
    ],
)
def test_a_damaged_vocabulary_is_named(tmp_path: Path, name: str, text: str, what: str) -> None:
    with pytest.raises(CheckpointError, match=what) as caught:
        read_pieces(written(tmp_path, name, text))
    assert str(caught.value).startswith(str(tmp_path / name))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", [rb'{"vocab": {"\ud83d": 0}}', b'{"vocab": {"\xed\xa0\xbd": 0}}'])
def test_half_a_character_is_refused_where_settings_are_read(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "tokenizer.json").write_bytes(text)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json: (half of a surrogate pair|not JSON)"):
        Settings(tmp_path, "tokenizer.json")


def test_words_are_looked_up_as_they_stand() -> None:
    vocabulary = Vocabulary.of("vocab.txt", ["</s>", "<unk>", "a", "un@@", "<s>", None, "ﬁ"], unk=1, eos=0)
    tokenizer = word_tokenizer(vocabulary)
    assert len(tokenizer) == len(vocabulary.pieces) == 9
    assert vocabulary.pieces[: len(SPECIALS)] == [*SPECIALS]
    [ids] = tokenizer.encode(["a  un@@ b\tﬁ"])
    assert tokenizer.pieces(ids) == ["a", "un@@", "<unk>", "ﬁ"]
    assert tokenizer.decode([[BOS, *ids, EOS]]) == ["a un@@ <unk> ﬁ"]
    assert tokenizer.encode(["</s> <pad> <unk> <row 5>"]) == [[UNK] * 5]
    assert vocabulary.special == [vocabulary.pieces.index(name) for name in ("<row 4>", "<row 5>")]


@pytest.mark.timeout(60)  # minutes, where each of the rows is looked for among those without a name
def test_most_rows_may_be_without_a_name() -> None:
    tokenizer = word_tokenizer(Vocabulary.of("v.yml", ["a", *[None] * 200_000, "b"]))
    assert tokenizer.pieces(tokenizer.encode(["a b"])[0]) == ["a", "b"]


def test_tokens_of_one_name_and_rows_that_are_not_there_are_refused() -> None:
    with pytest.raises(CheckpointError, match=r"v\.txt: .*'<row 1>'"):
        word_tokenizer(Vocabulary.of("v.txt", ["a", None, "<row 1>"]))
    with pytest.raises(CheckpointError, match=r"v\.txt: .* token 2,.* only 2: take"):
        Vocabulary.of("v.txt", ["a", "b"], unk=2)
    with pytest.raises(CheckpointError, match=r"v\.txt: .* token 1,.* only 1 rows: take"):
        rows_of(np.zeros((1, 3), np.float32), Vocabulary.of("v.txt", ["a", "b"]))
