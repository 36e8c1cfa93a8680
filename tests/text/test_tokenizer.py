import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zhuyi.config import TextConfig, TokenKind
from zhuyi.errors import CheckpointError
from zhuyi.evaluation import score
from zhuyi.text import tokenizer as module
from zhuyi.text.tokenizer import BOS, BYTES, EOS, PAD, SPECIALS, UNK, Tokenizer, Tokenizers

LINES = [
    "A dog runs through the snow.",
    "Two dogs run through 12 snowy fields.",
    "Der Hund läuft durch den Schnee, nicht wahr?",
    "一只狗在雪地里跑。",
    "Ein <unk> Hund und </s> 2024.",
] * 4
KINDS: tuple[TokenKind, ...] = ("bpe", "unigram", "character", "whitespace")
LOSSLESS: tuple[TokenKind, ...] = ("bpe", "unigram")
TRAINED = {kind: Tokenizer.train(LINES, kind, 500, lowercase=False) for kind in KINDS}
any_text = st.text(st.characters(exclude_categories=["Cs"]))

RESERVED = [*SPECIALS, BYTES[0x00], BYTES[0x41], "▁", "▁▁", "@@", "￭", "￨", "##", "[UNK]", "⁇", "␣"]
"""What one tool or another gives a meaning of its own."""
ODD = [chr(point) for point in (0x00, 0x1C, 0x1D, 0x1E, 0x1F, 0x7F, 0x85, 0xA0, 0xAD, 0x180E, 0x200B, 0x200C, 0x200D)]
ODD += [
    chr(point) for point in (0x2028, 0x2029, 0x202F, 0x3000, 0xFE0E, 0xFE0F, 0xFEFF, 0xE000, 0xF8FF, 0xFDD0, 0xFFFC)
]
ODD += [chr(point) for point in (0xFFFD, 0xFFFE, 0xFFFF, 0x10FFFF, 0xF0000, 0x1F1E9, 0x20000, 0x0301, 0x0327, 0x05B0)]
MIXED = ["👩\u200d👩\u200d👧", "❤\ufe0f", "e\u0301", "ﬁ", "İ", "ẞ", "ΑΣ", "각", "Å", "12", "<", ">", "/", "\r\n"]
PLAIN = ["a", "b", "The", "cat", "s", "狗"]
hostile_lines = st.lists(
    st.lists(st.sampled_from([*RESERVED, *ODD, *MIXED, *PLAIN, " ", " ", " "]), max_size=12).map("".join), max_size=6
)


def normal_form(line: str, lowercase: bool = False) -> str:
    lowered = "".join(map(str.lower, line)) if lowercase else line
    return " ".join(unicodedata.normalize("NFC", lowered).split())


@pytest.mark.parametrize("kind", LOSSLESS)
@given(line=any_text)
@settings(max_examples=300, deadline=None)
def test_any_text_comes_back_as_normalised(kind: TokenKind, line: str) -> None:
    tokenizer = TRAINED[kind]
    [ids] = tokenizer.encode([line])
    assert tokenizer.decode([ids]) == [tokenizer.normalise(line)]
    assert all(EOS < i < len(tokenizer) for i in ids)  # bytes stand for the unseen: UNK is never needed


@pytest.mark.parametrize("kind", KINDS)
@given(line=any_text)
@settings(max_examples=200, deadline=None)
def test_no_text_ever_becomes_pad_bos_or_eos(kind: TokenKind, line: str) -> None:
    [ids] = TRAINED[kind].encode([line])
    assert not {PAD, BOS, EOS} & set(ids)


@pytest.mark.parametrize("lowercase", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@given(lines=hostile_lines)
@settings(max_examples=100, deadline=None)
def test_lines_that_were_seen_come_back_whatever_is_in_them(kind: TokenKind, lowercase: bool, lines: list[str]) -> None:
    tokenizer = Tokenizer.train(LINES + lines, kind, 600, lowercase)
    ids = tokenizer.encode(lines)
    normal = [normal_form(line, lowercase) for line in lines]
    assert [tokenizer.normalise(line) for line in lines] == normal
    assert tokenizer.decode(ids) == normal
    assert tokenizer.decode(tokenizer.with_dropout(0.5).encode(lines)) == normal
    assert all(EOS < i < len(tokenizer) for line in ids for i in line)
    assert Tokenizer.from_json(tokenizer.to_json()).encode(lines) == ids


@pytest.mark.parametrize("kind", KINDS)
def test_a_perfect_answer_scores_full_marks_whatever_characters_it_has(kind: TokenKind) -> None:
    lines = ["▁The ▁cat s", "▁ ▁The▁cat ▁ s ▁▁ .", "The cat@@ s on ￭the mat </s> <unk>", "a <pad> b\x1cc <0x00> <s>"]
    tokenizer = Tokenizer.train(lines, kind, 400, lowercase=False)
    answers = tokenizer.decode(tokenizer.encode(lines))
    assert answers == [line.replace("\x1c", " ") for line in lines]
    for metric, found in score(["bleu", "chrf", "exact"], answers, lines).items():
        assert found.value == pytest.approx(100), metric


def test_every_character_has_the_same_normal_form_in_the_tokenizer_and_in_evaluation() -> None:
    # Not the unassigned ones: the library may know a newer Unicode than Python, in which they have a lower case.
    known = [char for char in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(char) not in ("Cs", "Cn")]
    lines = [f"{char}a{char}{char} b{char}" for char in known]
    normal = [TRAINED["whitespace"].normalise(line) for line in lines]
    assert normal == [normal_form(line) for line in lines]
    assert [LOWER.normalise(line) for line in lines] == [normal_form(line, lowercase=True) for line in lines]
    assert score(["exact"], normal, lines)["exact"].value == 100


@pytest.mark.parametrize(
    ("kind", "pieces", "decoded"),
    [
        (
            "bpe",
            "▁ <0x62> ▁a <0x62> ▁ <0x1C> <0x62> <0xE2> <0x98> <0x83> ▁ <0x3C> <0x2F> <0x73> <0x3E>",
            "b ab \x1cb☃ </s>",
        ),
        ("character", "b ▁ a b ▁ <unk> b <unk> ▁ <unk> <unk> <unk> <unk>", "b ab <unk>b<unk> <unk><unk><unk><unk>"),
        ("whitespace", "b ab <unk> <unk>", "b ab <unk> <unk>"),
    ],
)
def test_tokenizers_of_older_models_work_as_before(kind: TokenKind, pieces: str, decoded: str) -> None:
    # In their vocabularies and patterns U+2581 is the space.
    content = (Path(__file__).parent / "older" / f"{kind}.json").read_text(encoding="utf-8").strip()
    tokenizer = Tokenizer.from_json(content)
    [ids] = tokenizer.encode(["b  ab▁\x1cb☃ </s>"])
    assert tokenizer.pieces(ids) == pieces.split(" ")
    assert tokenizer.decode([ids]) == [decoded]
    assert tokenizer.normalise("b▁▁ a") == "b a"
    assert tokenizer.to_json() == content


@pytest.mark.parametrize("kind", KINDS)
def test_special_strings_in_text_are_text(kind: TokenKind) -> None:
    hostile = [*SPECIALS, BYTES[0x41], BYTES[0x0A], "a</s>b", "<s> a </s>", "x<pad>", "▁<s>", "<0x41><0x42>"]
    # Trained on such text too: frequent enough to be learnt, were that possible.
    tokenizer = Tokenizer.train(LINES + hostile * 50, kind, 500, lowercase=False)
    for line, ids in zip(hostile, tokenizer.encode(hostile), strict=True):
        assert not {PAD, BOS, EOS} & set(ids), line
        assert UNK not in ids
        assert tokenizer.decode([ids]) == [line]


@pytest.mark.parametrize("kind", KINDS)
def test_known_text_comes_back(kind: TokenKind) -> None:
    ids = TRAINED[kind].encode(LINES)
    assert TRAINED[kind].decode(ids) == LINES
    assert not any(UNK in line for line in ids)


@given(line=any_text)
@settings(max_examples=200, deadline=None)
def test_normal_form(line: str) -> None:
    for lowercase in (False, True):
        tokenizer = Tokenizer(TRAINED["bpe"]._engine) if not lowercase else LOWER
        normal = tokenizer.normalise(line)
        assert normal == tokenizer.normalise(normal)
        assert "  " not in normal
        assert normal == normal.strip(" ")


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
    assert TRAINED[kind].encode(["", " ", "\t\u3000", "\x1c \x1f"]) == [[], [], [], []]
    assert TRAINED[kind].encode([]) == []


@pytest.mark.parametrize("kind", LOSSLESS)
def test_digits_stand_alone(kind: TokenKind) -> None:
    tokenizer = Tokenizer.train(["2024 2024-12 1999 x86"] * 100, kind, 400, lowercase=False)
    [ids] = tokenizer.encode(["2024-12 x86"])
    assert [piece for piece in tokenizer.pieces(ids) if any(map(str.isdigit, piece))] == [*"20241286"]


def test_character_tokens_are_code_points() -> None:
    tokenizer = TRAINED["character"]
    [ids] = tokenizer.encode(["A dog☃"])
    assert tokenizer.pieces(ids) == ["A", "▁", "d", "o", "g", "<unk>"]


def test_whitespace_tokens_are_words() -> None:
    tokenizer = TRAINED["whitespace"]
    [ids] = tokenizer.encode(["A  dog\tflies </s> <unk>"])
    assert tokenizer.pieces(ids) == ["A", "dog", "<unk>", "▁</s>", "▁<unk>"]
    assert tokenizer.decode([ids]) == ["A dog <unk> </s> <unk>"]


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


@pytest.mark.parametrize("kind", KINDS)
def test_json_round_trip(kind: TokenKind) -> None:
    again = Tokenizer.from_json(TRAINED[kind].to_json())
    assert again.to_json() == TRAINED[kind].to_json()
    assert again.encode(LINES) == TRAINED[kind].encode(LINES)
    assert len(again) == len(TRAINED[kind])


def test_training_does_not_depend_on_threads_or_hash_seeds() -> None:
    program = (
        "import hashlib, random\n"
        "from zhuyi.text.tokenizer import Tokenizer\n"
        "chance = random.Random(5)\n"
        "words = [''.join(chance.choices('abcdefghijklmnop狗猫雪', k=chance.randint(1, 7))) for _ in range(300)]\n"
        "lines = [' '.join(chance.choices(words, k=8)) for _ in range(400)] + [chr(0x4e00 + i) for i in range(150)]\n"
        "for kind in ('bpe', 'unigram', 'character', 'whitespace'):\n"
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
    for kind in ("unigram", "character", "whitespace"):
        assert TRAINED[kind].with_dropout(0.5) is TRAINED[kind]
    assert TRAINED["bpe"].with_dropout(0.0) is TRAINED["bpe"]


def test_shared_tokenizers_are_one_object_and_one_file(tmp_path: Path) -> None:
    tokenizers = Tokenizers.train(TextConfig(vocabulary=400), LINES[:10], LINES[10:])
    assert tokenizers.shared
    assert list(tokenizers.files()) == ["tokenizer.json"]
    again = _through_disk(tokenizers, tmp_path)
    assert again.shared
    assert again.files() == tokenizers.files()


def test_sides_of_their_own_are_two_files(tmp_path: Path) -> None:
    config = TextConfig(source_kind="character", target_kind="whitespace")
    tokenizers = Tokenizers.train(config, iter(["abba"]), iter(["ɒ bː ɒ"]))
    assert not tokenizers.shared
    assert sorted(tokenizers.files()) == ["tokenizer.source.json", "tokenizer.target.json"]
    again = _through_disk(tokenizers, tmp_path)
    assert not again.shared
    assert again.target.pieces(again.target.encode(["bː ɒ"])[0]) == ["bː", "ɒ"]
    (tmp_path / "tokenizer.target.json").unlink()
    with pytest.raises(CheckpointError, match=r"tokenizer\.target\.json"):
        Tokenizers.load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe", b"[1, 2]", b'{"version": "1.0"}'])
def test_a_damaged_tokenizer_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"tokenizer\.json") as caught:
        Tokenizers.load(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_missing_or_foreign_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        Tokenizers.load(tmp_path)
    foreign = TRAINED["bpe"].to_json().replace("<pad>", "[PAD]")
    (tmp_path / "tokenizer.json").write_text(foreign, encoding="utf-8")
    with pytest.raises(CheckpointError, match="<pad>"):
        Tokenizers.load(tmp_path)


def _through_disk(tokenizers: Tokenizers, directory: Path) -> Tokenizers:
    for name, text in tokenizers.files().items():
        (directory / name).write_text(text, encoding="utf-8")
    return Tokenizers.load(directory)
