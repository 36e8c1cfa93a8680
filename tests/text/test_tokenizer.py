import os
import random
import re
import subprocess
import sys
import time
import unicodedata
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from zhuyi.config import Normalization, TextConfig, TokenKind
from zhuyi.errors import CheckpointError
from zhuyi.text import trainers as module
from zhuyi.text.normalizer import normalizer
from zhuyi.text.tokenizer import BOS, BYTES, EOS, MASK, PAD, SPECIALS, UNK, Tokenizer, Tokenizers

LINES = [
    "A dog runs through the snow.",
    "Two dogs run through 12 snowy fields.",
    "Der Hund läuft durch den Schnee, nicht wahr?",
    "一只狗在雪地里跑。",
    "Ein <unk> Hund und </s> 2024.",
] * 4
KINDS: tuple[TokenKind, ...] = ("bpe", "unigram", "character", "whitespace", "bytes")
LOSSLESS: tuple[TokenKind, ...] = ("bpe", "unigram", "bytes")
TRAINED = {kind: Tokenizer.train(LINES, kind, 500, lowercase=False) for kind in KINDS}
any_text = st.text(st.characters(exclude_categories=["Cs"]))
# What some tool or other reserves, hides, joins or takes for white space; and letters, so that there are words.
NASTY = [
    *("▁", "@@", "@", "￭", "￨", "##", "<", ">", "/", "\\", *SPECIALS, "<0x41>", "<0xE2>", "\0", "\ue000", "\uf8ff"),
    *("\u200b", "\u200c", "\u200d", "\u2060", "\ufeff", "\ufe0f", "\ufe0e", "\u0308", "\u0301", "\u1100\u1161"),
    *(" ", "  ", "\t", "\n", "\r", "\x1c", "\x1f", "\x85", "\xa0", "\u180e", "\u2028", "\u2029", "\u3000"),
    *("👩\u200d👩\u200d👧", "𝔘", "\U0010ffff", "İ", "Σ", "ß", "Å", "\u212b", "a", "B", "o", "狗", "1"),
]
nasty_text = st.lists(st.sampled_from(NASTY), max_size=12).map("".join)


def normal(line: str, lowercase: bool = False, normalization: Normalization = "nfc") -> str:
    """The normal form, said again in plain Python."""
    if lowercase:
        line = "".join(map(str.lower, line))  # of a whole word, Python's ends Σ in ς
    if normalization == "nfc":
        line = unicodedata.normalize("NFC", line)
    return " ".join(line.split())


@pytest.mark.parametrize("kind", LOSSLESS)
@given(line=any_text)
@settings(max_examples=300, deadline=None)
def test_any_text_comes_back_as_normalised(kind: TokenKind, line: str) -> None:
    tokenizer = TRAINED[kind]
    [ids] = tokenizer.encode([line])
    assert tokenizer.decode([ids]) == [tokenizer.normalise(line)]
    assert all(EOS < i < len(tokenizer) for i in ids)  # bytes stand for the unseen: UNK is never needed


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@given(
    lines=st.lists(nasty_text, min_size=1, max_size=4), lowercase=st.booleans(), form=st.sampled_from(["nfc", "none"])
)
@example(
    lines=["▁The ▁cat s", "<pad> <unk> <s> </s>", "th@@ is ￭, x￨y", "a \u200d \ufeffb"], lowercase=False, form="nfc"
)
@settings(max_examples=60, deadline=None)
def test_text_that_the_vocabulary_has_seen_comes_back(
    kind: TokenKind, lines: list[str], lowercase: bool, form: Normalization
) -> None:
    tokenizer = Tokenizer.train(lines, kind, 1000, lowercase, form)
    right = [normal(line, lowercase, form) for line in lines]
    assert [tokenizer.normalise(line) for line in lines] == right
    ids = tokenizer.encode(lines)
    assert tokenizer.decode(ids) == right
    assert all(EOS < i < len(tokenizer) for line in ids for i in line)
    if kind == "whitespace":
        assert [len(line) for line in ids] == [len(line.split()) for line in lines]
    if kind == "character":
        assert [len(line) for line in ids] == list(map(len, right))


CODE = ["def f(x):\n", "    return  x\n", "\n", "\t\tif 12 < 3:  # <unk>\n", "一只 狗\n", "e\u0301 \r\n"] * 4
KEEPING = {
    kind: Tokenizer.train(CODE, kind, 400, lowercase=False, whitespace="keep") for kind in KINDS if kind != "whitespace"
}


@pytest.mark.parametrize("kind", LOSSLESS)
@given(text=st.one_of(any_text, nasty_text))
@settings(max_examples=300, deadline=None)
def test_white_space_that_is_kept_comes_back(kind: TokenKind, text: str) -> None:
    tokenizer = KEEPING[kind]
    [ids] = tokenizer.encode([text])
    assert tokenizer.decode([ids]) == [unicodedata.normalize("NFC", text)]
    assert all(EOS < i < len(tokenizer) for i in ids)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KEEPING)
@given(lines=st.lists(nasty_text, min_size=1, max_size=4), lowercase=st.booleans())
@settings(max_examples=60, deadline=None)
def test_text_that_the_vocabulary_has_seen_comes_back_with_its_white_space(
    kind: TokenKind, lines: list[str], lowercase: bool
) -> None:
    tokenizer = Tokenizer.train(lines, kind, 1000, lowercase, whitespace="keep")
    right = ["".join(map(str.lower, line)) if lowercase else line for line in lines]
    right = [unicodedata.normalize("NFC", line) for line in right]
    ids = tokenizer.encode(lines)
    assert tokenizer.decode(ids) == right
    assert all(EOS < i < len(tokenizer) for line in ids for i in line)


@pytest.mark.parametrize("kind", KEEPING)
@given(text=nasty_text.map(lambda text: f"a\n{text}\nb"))
@settings(max_examples=200, deadline=None)
def test_the_tokens_of_a_text_are_those_of_its_lines(kind: TokenKind, text: str) -> None:
    """So no subword crosses a line break, and the place of a line in the text makes no difference."""
    lines = re.findall(r"[^\n]*\n|[^\n]+", text)
    [whole] = KEEPING[kind].encode([text])
    assert whole == [i for line in KEEPING[kind].encode(lines) for i in line]


@pytest.mark.parametrize("kind", ["bpe", "unigram", "character"])
def test_runs_of_white_space_are_subwords_and_a_word_has_the_space_before_it(kind: TokenKind) -> None:
    [ids] = KEEPING[kind].encode(["    return  x\n"])
    pieces = KEEPING[kind].pieces(ids)
    assert "".join(pieces) == "▁▁▁▁return▁▁x⏎"
    if kind == "bpe":
        assert pieces == ["▁▁▁", "▁return", "▁", "▁x", "⏎"]


def test_long_runs_of_white_space_are_learnt_from_in_little_time() -> None:
    start = time.process_time()
    tokenizer = Tokenizer.train([" " * 200_000 + "x\n"], "bpe", 300, lowercase=False, whitespace="keep")
    assert time.process_time() - start < 20
    assert len(tokenizer.encode([" " * 1000])[0]) < 100


def test_words_hold_no_white_space() -> None:
    keeping = Tokenizer.train(LINES, "whitespace", 100, lowercase=False, whitespace="keep")
    assert keeping.to_json() == Tokenizer.train(LINES, "whitespace", 100, lowercase=False).to_json()


@pytest.mark.parametrize("kind", KINDS)
@given(line=any_text)
@settings(max_examples=200, deadline=None)
def test_no_text_ever_becomes_pad_bos_or_eos(kind: TokenKind, line: str) -> None:
    [ids] = TRAINED[kind].encode([line])
    assert not {PAD, BOS, EOS} & set(ids)


@pytest.mark.parametrize("kind", KINDS)
def test_special_strings_in_text_are_text(kind: TokenKind) -> None:
    hostile = [*SPECIALS, BYTES[0x41], BYTES[0x0A], "a</s>b", "<s> a </s>", "x<pad>", "▁<s>", "<0x41><0x42>"]
    # Trained on such text too: frequent enough to be learnt, were that possible.
    tokenizer = Tokenizer.train(LINES + hostile * 50, kind, 500, lowercase=False)
    for line, ids in zip(hostile, tokenizer.encode(hostile), strict=True):
        assert not {PAD, UNK, BOS, EOS} & set(ids), line
        assert tokenizer.decode([ids]) == [line]


@pytest.mark.parametrize("kind", KINDS)
def test_known_text_comes_back(kind: TokenKind) -> None:
    lines = [line for line in LINES if "<" not in line]
    ids = TRAINED[kind].encode(lines)
    assert TRAINED[kind].decode(ids) == lines
    assert not any(UNK in line for line in ids)


@pytest.mark.slow
@pytest.mark.parametrize(("lowercase", "normalization"), [(False, "nfc"), (True, "none")])
def test_the_normal_form_is_that_of_plain_python(lowercase: bool, normalization: Normalization) -> None:
    form = normalizer(lowercase, normalization)
    for start in range(0, sys.maxunicode + 1, 256):
        points = filter(_is_known, map(chr, range(start, start + 256)))
        line = "".join(f" {point} a{point}{point}\u0301b{point}" for point in points)
        assert form.normalize_str(line) == normal(line, lowercase, normalization)


def _is_known(point: str) -> bool:
    """Unicode 9 is what the library composes by, and Python's may lack what the library's has."""
    marks = unicodedata.combining(point) or unicodedata.decomposition(point)
    is_new = marks and unicodedata.ucd_3_2_0.category(point) == "Cn"
    return not is_new and unicodedata.category(point) not in ("Cs", "Cn")


@given(line=any_text)
@settings(max_examples=200, deadline=None)
def test_a_normal_form_is_its_own(line: str) -> None:
    for tokenizer in (TRAINED["bpe"], LOWER):
        once = tokenizer.normalise(line)
        assert once == tokenizer.normalise(once)
        assert once == " ".join(once.split())


LOWER = Tokenizer.train(LINES, "bpe", 400, lowercase=True)


def test_normalisation_is_nfc_and_lower_case_where_asked() -> None:
    decomposed = unicodedata.normalize("NFD", "LÄUFT Élan")
    assert TRAINED["bpe"].normalise(f"\t{decomposed}\u3000 \u2028x\n") == "LÄUFT Élan x"
    assert LOWER.normalise(decomposed) == "läuft élan"
    assert LOWER.encode(["THE DOG"]) == LOWER.encode(["the dog"])


@pytest.mark.parametrize("kind", KINDS)
def test_specials_have_their_ids_and_are_not_decoded(kind: TokenKind) -> None:
    tokenizer = TRAINED[kind]
    assert tokenizer.pieces([PAD, UNK, BOS, EOS]) == ["<pad>", "<unk>", "<s>", "</s>"]
    [ids] = tokenizer.encode(["A dog runs"])
    assert tokenizer.decode([[BOS, *ids, EOS, PAD, PAD], [PAD], []]) == ["A dog runs", "", ""]
    assert tokenizer.decode([[UNK]]) == ["<unk>"]


@pytest.mark.parametrize("kind", KINDS)
def test_empty_lines_have_no_tokens(kind: TokenKind) -> None:
    assert TRAINED[kind].encode(["", " ", "\t\u3000", "\x1f\x85"]) == [[], [], [], []]
    assert TRAINED[kind].encode([]) == []


@pytest.mark.parametrize("kind", ["bpe", "unigram"])
def test_digits_stand_alone(kind: TokenKind) -> None:
    tokenizer = Tokenizer.train(["2024 2024-12 1999 x86"] * 100, kind, 400, lowercase=False)
    [ids] = tokenizer.encode(["2024-12 x86"])
    assert [piece for piece in tokenizer.pieces(ids) if any(map(str.isdigit, piece))] == [*"20241286"]


def test_character_tokens_are_code_points() -> None:
    tokenizer = TRAINED["character"]
    [ids] = tokenizer.encode(["A dog☃"])
    assert tokenizer.pieces(ids) == ["A", "▁", "d", "o", "g", "<unk>"]


def test_byte_tokens_are_bytes_of_any_text() -> None:
    tokenizer = Tokenizer.train(["abc"], "bytes", 8000, lowercase=False)
    assert len(tokenizer) == 260
    assert tokenizer.to_json() == TRAINED["bytes"].to_json()  # nothing is learnt
    [ids] = tokenizer.encode(["aé☃"])
    assert ids == [4 + byte for byte in "aé☃".encode()]
    assert tokenizer.pieces(ids[:2]) == ["<0x61>", "<0xC3>"]
    assert tokenizer.fallback == range(UNK, UNK + 1)
    assert len(Tokenizer.train([], "bytes", 8, lowercase=True, mask=True)) == 261


@given(data=st.binary(max_size=40))
def test_bytes_that_are_no_text_leave_the_rest_of_a_line(data: bytes) -> None:
    [line] = TRAINED["bytes"].decode([[4 + byte for byte in data]])
    assert line == data.decode(errors="replace")
    ids = [4 + byte for byte in b"\xe2\x98"]
    assert TRAINED["bytes"].decode([[4 + 97, *ids, UNK, BOS, 4 + 98, EOS]]) == ["a�<unk>b"]


def test_whitespace_tokens_are_words() -> None:
    tokenizer = TRAINED["whitespace"]
    [ids] = tokenizer.encode(["A  dog\tflies <s> ▁A"])
    assert tokenizer.pieces(ids) == ["A", "dog", "<unk>", "<unk>", "<unk>"]
    assert tokenizer.decode([ids]) == ["A dog <unk> <unk> <unk>"]


def test_a_word_is_a_word_whatever_its_spelling() -> None:
    tokenizer = TRAINED["whitespace"]
    [ids] = tokenizer.encode(["</s> Ein <unk>"])  # which stand in `LINES`
    assert not set(range(len(SPECIALS))) & set(ids)
    assert len(set(ids)) == 3
    assert tokenizer.decode([[UNK, *ids, EOS]]) == ["<unk> </s> Ein <unk>"]
    assert tokenizer.pieces([UNK, *ids]) == ["<unk>", "▁</s>", "Ein", "▁<unk>"]  # not those of the special tokens


def test_words_that_look_like_bytes_are_words() -> None:
    tokenizer = Tokenizer.train(["<0x00> <0x41> x"], "whitespace", 100, lowercase=False)
    [ids] = tokenizer.encode(["<0x41> x <0x00>"])
    assert tokenizer.pieces(ids) == ["▁<0x41>", "x", "▁<0x00>"]
    assert tokenizer.decode([ids]) == ["<0x41> x <0x00>"]
    assert tokenizer.fallback == range(UNK, UNK + 1)


OLD = r"""{"version":"1.0","truncation":null,"padding":null,"added_tokens":[],
"normalizer":{"type":"Sequence","normalizers":[{"type":"NFC"},
{"type":"Replace","pattern":{"Regex":"[\\s▁]+"},"content":" "},{"type":"Strip","strip_left":true,"strip_right":true}]},
"pre_tokenizer":{"type":"Sequence","pretokenizers":[
{"type":"Metaspace","replacement":"▁","prepend_scheme":"never","split":false},
{"type":"Split","pattern":{"Regex":"."},"behavior":"Isolated","invert":false}]},
"post_processor":null,
"decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"Fuse"}]},
"model":{"type":"WordLevel","vocab":{"<pad>":0,"<unk>":1,"<s>":2,"</s>":3,"▁":4,"a":5,"b":6},"unk_token":"<unk>"}}"""
"""A tokenizer.json of version 0.1.0."""


def test_a_tokenizer_of_an_older_version_works_as_it_did() -> None:
    tokenizer = Tokenizer.from_json(OLD)
    assert tokenizer.encode([" ab  ba▁c"]) == [[5, 6, 4, 6, 5, 4, UNK]]
    assert tokenizer.pieces([5, 4, 6]) == ["a", "▁", "b"]
    assert tokenizer.decode([[5, 4, 6]]) == ["a b"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("vocabulary", [8, 262, 277, 300])
@pytest.mark.parametrize("lines", [[], [""], ["a"], ["a b", "b a"], LINES], ids=len)
def test_vocabularies_too_small_for_the_alphabet_still_work(kind: TokenKind, vocabulary: int, lines: list[str]) -> None:
    tokenizer = Tokenizer.train(lines, kind, vocabulary, lowercase=False)
    smallest = 261 if kind in LOSSLESS else 4
    assert len(tokenizer) <= max(vocabulary, smallest)
    [ids] = tokenizer.encode(["ab 狗 1☃"])
    assert all(UNK <= i < len(tokenizer) for i in ids)
    if kind in LOSSLESS:
        assert tokenizer.decode([ids]) == ["ab 狗 1☃"]


def test_the_rarest_characters_become_bytes() -> None:
    lines = ["e" * 50 + "a" * 20, *(chr(0x4E00 + i) for i in range(200))]
    tokenizer = Tokenizer.train(lines, "bpe", 260 + 20, lowercase=False)
    common, rare = tokenizer.encode(["ea", chr(0x4E00 + 199)])
    assert not set(common) & set(tokenizer.fallback)
    assert set(rare[1:]) <= set(tokenizer.fallback)


def test_a_word_of_any_length_is_learnt_from_in_little_time() -> None:
    """The trainer's time grows with the square of a word's length: 200,000 characters took it a minute."""
    pick = random.Random(0)
    genome = "".join(pick.choices("ACGT", k=200_000))
    start = time.process_time()
    tokenizer = Tokenizer.train([genome, "x" * 1000, "y z"], "bpe", 500, lowercase=False)
    assert time.process_time() - start < 20
    assert tokenizer.decode(tokenizer.encode([genome])) == [genome]
    assert len(tokenizer.encode([genome])[0]) < 70_000


@pytest.mark.parametrize("kind", KINDS)
def test_json_round_trip(kind: TokenKind) -> None:
    again = Tokenizer.from_json(TRAINED[kind].to_json())
    assert again.to_json() == TRAINED[kind].to_json()
    assert again.encode(LINES) == TRAINED[kind].encode(LINES)
    assert len(again) == len(TRAINED[kind])


@pytest.mark.slow
def test_training_does_not_depend_on_threads_or_hash_seeds() -> None:
    program = (
        "import hashlib, random\n"
        "from zhuyi.text.tokenizer import Tokenizer\n"
        "rng = random.Random(5)\n"
        "words = [''.join(rng.choices('abcdefghijklmnop狗猫雪', k=rng.randint(1, 7))) for _ in range(300)]\n"
        "lines = [' '.join(rng.choices(words, k=8)) for _ in range(400)] + [chr(0x4e00 + i) for i in range(150)]\n"
        "for kind in ('bpe', 'unigram', 'character', 'whitespace', 'bytes'):\n"
        "    text = Tokenizer.train(lines, kind, 420, False).to_json()\n"
        "    print(kind, hashlib.sha256(text.encode()).hexdigest())\n"
    )
    source = str(Path(module.__file__).parents[2])
    outputs = set()
    for seed, threads in (("0", "1"), ("1", "2"), ("2", "3")):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "RAYON_NUM_THREADS": threads, "PYTHONPATH": source}
        run = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True, timeout=60
        )
        outputs.add(run.stdout)
    assert len(outputs) == 1
    assert len(outputs.pop().splitlines()) == len(KINDS)


def test_the_sample_is_even_and_always_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_LINES", 1000)
    lines = [str(i) for i in range(10_000)]
    kept = module._sample(iter(lines))
    assert kept == module._sample(iter(lines))
    assert len(kept) == len(set(kept)) == 1000
    first_half = sum(int(line) < 5000 for line in kept)
    assert 400 < first_half < 600
    assert module._sample(lines[:1000]) == lines[:1000]


def test_dropout_varies_the_pieces_and_not_the_text() -> None:
    random = TRAINED["bpe"].with_dropout(0.5)
    line = "Der Hund läuft durch den Schnee 12."
    ways = {tuple(random.encode([line])[0]) for _ in range(20)}
    assert len(ways) > 1
    assert set(random.decode(list(ways))) == {line}
    assert TRAINED["bpe"].encode([line]) == TRAINED["bpe"].encode([line])
    assert "0.5" not in TRAINED["bpe"].to_json()
    for kind in ("unigram", "character", "whitespace", "bytes"):
        assert TRAINED[kind].with_dropout(0.5) is TRAINED[kind]
    assert TRAINED["bpe"].with_dropout(0.0) is TRAINED["bpe"]


def test_shared_tokenizers_are_one_object_and_one_file() -> None:
    tokenizers = Tokenizers.train(TextConfig(vocabulary=400), LINES[:10], LINES[10:])
    assert tokenizers.shared
    assert list(tokenizers.files()) == ["tokenizer.json"]
    again = Tokenizers.load(_content(tokenizers), Path())
    assert again.shared
    assert again.files() == tokenizers.files()


def test_sides_of_their_own_are_two_files() -> None:
    config = TextConfig(source_kind="character", target_kind="whitespace")
    tokenizers = Tokenizers.train(config, iter(["abba"]), iter(["ɒ bː ɒ"]))
    assert not tokenizers.shared
    assert sorted(tokenizers.files()) == ["tokenizer.source.json", "tokenizer.target.json"]
    again = Tokenizers.load(_content(tokenizers), Path())
    assert not again.shared
    assert again.target.pieces(again.target.encode(["bː ɒ"])[0]) == ["bː", "ɒ"]
    files = _content(tokenizers)
    del files["tokenizer.target.json"]
    with pytest.raises(CheckpointError, match=r"tokenizer\.target\.json"):
        Tokenizers.load(files, Path())


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe", b"[1, 2]", b'{"version": "1.0"}'])
def test_a_damaged_tokenizer_is_named(content: bytes) -> None:
    with pytest.raises(CheckpointError, match=r"model.tokenizer\.json") as caught:
        Tokenizers.load({"tokenizer.json": content}, Path("model"))
    assert "\n" not in str(caught.value)


def test_a_missing_or_foreign_tokenizer_is_named() -> None:
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        Tokenizers.load({}, Path())
    foreign = TRAINED["bpe"].to_json().replace("<pad>", "[PAD]")
    with pytest.raises(CheckpointError, match="<pad>"):
        Tokenizers.load({"tokenizer.json": foreign.encode()}, Path())


def _content(tokenizers: Tokenizers) -> dict[str, bytes]:
    return {name: text.encode() for name, text in tokenizers.files().items()}


@pytest.mark.parametrize("kind", KINDS)
def test_the_mask_is_the_last_token_and_no_text_is_the_mask(kind: TokenKind) -> None:
    lines = [*LINES, f"a {MASK} b", MASK] * 2
    plain, masking = (Tokenizer.train(lines, kind, 500, lowercase=False, mask=mask) for mask in (False, True))
    assert plain.mask is None
    assert masking.mask == len(masking) - 1
    assert len(masking) <= 500
    assert Tokenizer.from_json(masking.to_json()).mask == masking.mask
    assert masking.pieces([masking.mask]) == [MASK]
    texts = [MASK, f"a {MASK} b", f"a{MASK}", f"{MASK}{MASK}", f"  {MASK}  ", "<mask", "mask>"]
    encoded = masking.encode(texts)
    assert all(masking.mask not in ids for ids in encoded)
    if kind != "whitespace":  # to which an unseen word is UNK
        assert masking.decode(encoded) == [masking.normalise(text) for text in texts]
    assert masking.decode(masking.encode(texts[:2])) == texts[:2]
