"""Passages: what is not one line for the model is split, and joined again without a character lost."""

import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zhuyi.errors import MissingExtra
from zhuyi.serve.passages import split

BREAKS = ["\n", "\r\n", "\r", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029", "\n\n\n"]
WORDS = ["Dr.", "a", "dog", "runs", "你好", "再见", "走る", "é", "👩‍👩‍👧", "مرحبا", "3.5", "\u200b"]
SPACES = [" ", "  ", "\t", "\u3000", "\u00a0", ""]
MARKS = [".", "!", "。", "？", ",", "，", "; ", " – ", "…", '"', "」", ""]
passages = st.one_of(
    st.text(),
    st.lists(st.sampled_from([*BREAKS, *WORDS, *SPACES, *MARKS]), max_size=60).map("".join),
)


def at_most(longest: int) -> Callable[[str], bool]:
    return lambda line: len(line) <= longest


@given(passages, st.integers(1, 40))
def test_lines_that_stay_as_they_are_give_the_text_back(text: str, longest: int) -> None:
    passage = split(text, at_most(longest))
    assert passage.join(passage.lines) == text


@given(passages, st.integers(1, 40))
def test_every_line_fits_and_is_one_line(text: str, longest: int) -> None:
    fits = at_most(longest)
    lines = split(text, fits).lines
    assert all(fits(line) and len(line.splitlines()) <= 1 for line in lines)
    if lines != [text]:
        assert all(line == line.strip() != "" for line in lines)
        assert all(space == "" or space.isspace() for space in split(text, fits).after)


@given(passages, st.data())
def test_of_whatever_fits_nothing_is_lost(text: str, data: st.DataObject) -> None:
    """A tokenizer is not monotone: a longer line may have fewer tokens."""
    fits = data.draw(st.functions(like=lambda line: ..., returns=st.booleans(), pure=True))
    passage = split(text, fits)
    assert passage.join(passage.lines) == text


@pytest.mark.parametrize("text", ["", " ", " A dog runs. A cat sleeps. ", "你好。 再见。", "\t- a"])
def test_one_line_that_fits_is_unchanged(text: str) -> None:
    assert split(text, at_most(100)).lines == [text]


@pytest.mark.parametrize("line_break", BREAKS)
def test_line_breaks_always_split(line_break: str) -> None:
    passage = split(f"{line_break}One. Two.  {line_break}\tThree", at_most(100))
    assert passage.lines == ["One. Two.", "Three"]
    assert passage.join(["Eins. Zwei.", "三"]) == f"{line_break}Eins. Zwei.  {line_break}\t三"


def test_a_line_that_does_not_fit_is_a_sentence_a_line() -> None:
    text = "Dr. Smith came at 3.15 p.m. with a dog. It barked! Why? Nobody knew."
    assert split(text, at_most(60), "en").lines == [
        "Dr. Smith came at 3.15 p.m. with a dog.",
        "It barked!",
        "Why?",
        "Nobody knew.",
    ]
    text = "Er kam am 3. Mai, d.\u00a0h. z.\u00a0B. gestern. Dann ging er."
    assert split(text, at_most(50), "de-AT").lines[-1] == "Dann ging er."
    assert split("今天天气很好。我们去公园吧！好吗？", at_most(12), "zh-Hans").lines == [
        "今天天气很好。",
        "我们去公园吧！",
        "好吗？",
    ]
    assert split("犬が走る。「猫は寝る。」と言った。", at_most(15), "ja").lines[0] == "犬が走る。"


@pytest.mark.parametrize(
    ("text", "longest", "lines"),
    [
        (
            "After the rain, before the sun, at 3,000 feet we ate.",
            34,
            ["After the rain, before the sun,", "at 3,000 feet we ate."],
        ),
        ("下雨以后，出太阳以前，我们在山上吃饭", 12, ["下雨以后，出太阳以前，", "我们在山上吃饭"]),
        ("one two three four, five", 12, ["one two", "three four,", "five"]),
        ("abcdefghij klm", 4, ["abcd", "efgh", "ij", "klm"]),
        ("一二三四五六七", 3, ["一二三", "四五六", "七"]),
    ],
)
def test_a_sentence_that_does_not_fit_is_cut_at_the_best_place(text: str, longest: int, lines: list[str]) -> None:
    assert split(text, at_most(longest)).lines == lines


@pytest.mark.parametrize(
    ("text", "translations", "joined"),
    [
        ("Hello.  Bye.", ["你好。", "再见。"], "你好。再见。"),
        ("你好。再见。", ["Hello.", "Bye."], "Hello. Bye."),
        ("你好。\u3000再见。", ["Hello.", "Bye."], "Hello.\u3000Bye."),
        ("こんにちは。じゃあね。", ["你好。", "再见。"], "你好。再见。"),
        ("Hello. Bye.", ["Hallo.", "Tschüs."], "Hallo. Tschüs."),
        ("안녕. 잘 가.", ["Hello.", "Bye."], "Hello. Bye."),
        ("Hello. Bye.", ["", ""], " "),
        (" Hello.\r\n\r\nBye.\n", ["你好。", "再见。"], " 你好。\r\n\r\n再见。\n"),
    ],
)
def test_sentences_are_joined_as_the_language_does_it(text: str, translations: list[str], joined: str) -> None:
    passage = split(text, at_most(len(text.strip()) - 1))
    assert passage.join(translations) == joined


@pytest.mark.parametrize("translations", [[], ["one"], ["one", "two", "three"]])
def test_a_translation_too_few_or_too_many_is_an_error(translations: list[str]) -> None:
    with pytest.raises(ValueError, match="translations of 2 lines"):
        split("a\nb", at_most(9)).join(translations)


@pytest.mark.parametrize("unit", ["a", "a ", "a, ", "a. ", "好", "好。", "\n", " ", "\n ", "e\u0301"])
def test_the_work_is_linear_in_the_length(unit: str) -> None:
    """What is asked of the tokenizer, in characters: a hostile text must not keep a server busy."""
    asked = 0

    def fits(line: str) -> bool:
        nonlocal asked
        asked += len(line)
        return len(line) <= 100

    text = unit * 5_000
    passage = split(text, fits)
    assert passage.join(passage.lines) == text
    assert asked <= 40 * len(text)


def test_sentences_are_found_in_a_line_of_any_length() -> None:
    """Also where one is longer than what the library is given at a time, and where one goes on behind it."""
    sentences = ["A dog ran on.", f"It ran {'on and ' * 400}on.", *["We saw it go, and were glad."] * 500]
    assert split(" ".join(sentences), lambda line: line.count(".") < 2).lines == sentences


def test_without_sentencex_only_long_lines_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentencex", None)
    assert split("One.\nTwo.", at_most(4)).lines == ["One.", "Two."]
    with pytest.raises(MissingExtra, match=r"longer than the model reads.*zhuyi\[serve\]"):
        split("One. Two.", at_most(4))
