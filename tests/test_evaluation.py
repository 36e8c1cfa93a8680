"""Scores: sacreBLEU's own, words with several right answers, and what a user may get wrong."""

import json
import math
import random
from dataclasses import replace
from types import SimpleNamespace

import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU

from zhuyi.config import Metric, TextConfig
from zhuyi.errors import ConfigError, DataError, MissingExtra
from zhuyi.evaluation import (
    HIGHER_IS_BETTER,
    better,
    bits_per_byte,
    bleu_tokenizer_for,
    evaluate,
    references_of,
    score,
    too_short_for_bleu,
)
from zhuyi.text.tokenizer import Tokenizer

ALL: list[Metric] = ["bleu", "chrf", "wer", "per", "exact", "accuracy", "macro_f1"]
ENGLISH = ["The cat sat on the mat .", "A dog runs over the green grass ."]
CHINESE = ["猫坐在垫子上。", "汤姆2024年买了一部iPhone。", "他们在学习深度学习模型。"]
JAPANESE = ["猫がマットの上に座っています。", "新型コロナウイルス感染拡大"]
KOREAN = ["고양이가 매트 위에 앉아 있다.", "나는 學校에 갔다."]

phones = st.lists(st.sampled_from(["AH", "B", "K", "TS"]), max_size=5).map(" ".join)
pair_lists = st.lists(st.tuples(phones, phones), min_size=1, max_size=8)


def value(metric: Metric, *args, **kwargs) -> float:
    return score([metric], *args, **kwargs)[metric].value


def without_mecab(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sacrebleu.tokenizers.tokenizer_ja_mecab.MeCab", None)
    monkeypatch.setattr("sacrebleu.tokenizers.tokenizer_ko_mecab.MeCab", None)


@pytest.mark.parametrize("answers", [["46", "walked", "K AE T"], ["yes"], [""]])
def test_answers_that_are_too_short_for_bleu(answers: list[str]):
    assert too_short_for_bleu(answers)
    assert value("bleu", answers, answers) == 0  # though all are right
    assert not too_short_for_bleu([*answers, "A dog runs ."])


def test_characters_are_counted_where_bleu_counts_them():
    assert too_short_for_bleu(["猫坐在垫子上。"], "13a")
    assert not too_short_for_bleu(["猫坐在垫子上。"])


def test_identical_lines_are_perfect():
    values = {name: one.value for name, one in score(ALL, ENGLISH, ENGLISH).items()}
    assert values == pytest.approx(PERFECT)


def test_bleu_and_chrf_are_those_of_sacrebleu():
    answers = ["The cat sat on a mat .", "A dog walks over the grass ."]
    scores = score(["bleu", "chrf"], answers, ENGLISH)
    assert scores["bleu"].value == sacrebleu.corpus_bleu(answers, [ENGLISH]).score
    assert scores["chrf"].value == sacrebleu.corpus_chrf(answers, [ENGLISH]).score


def test_every_score_says_how_it_was_computed():
    scores = score(ALL, ENGLISH, ENGLISH, ["a", "b"])
    assert list(scores) == ALL
    assert all(one.higher_is_better == HIGHER_IS_BETTER[name] == better(name, 2, 1) for name, one in scores.items())
    assert "tok:13a|smooth:exp" in scores["bleu"].signature
    assert f"version:{sacrebleu.__version__}" in scores["chrf"].signature
    for name in ("wer", "per", "exact"):
        assert "group:source|lines:2|words:2" in scores[name].signature
        assert "version:zhuyi-" in scores[name].signature
    assert "group:none" in score(["wer"], ENGLISH, ENGLISH)["wer"].signature


def test_better_is_strict_and_knows_which_way_is_up():
    assert better("bleu", 30.0, 29.0)
    assert not better("bleu", 30.0, 30.0)
    assert better("wer", 3.0, 4.0)
    assert not better("per", 4.0, 4.0)


@pytest.mark.parametrize(
    ("lines", "tokenizer"),
    [
        (ENGLISH, "13a"),
        (CHINESE, "zh"),
        (JAPANESE, "ja-mecab"),
        (KOREAN, "ko-mecab"),
        ([*ENGLISH, "The word 猫 means cat , 猫が also does , and so does 고양이 ."], "13a"),
        ([*CHINESE, "他买了の一部手机"], "zh"),
        (["2024-03-07", "!"], "13a"),
        ([""], "13a"),
    ],
)
def test_bleu_tokenizer_follows_the_script_of_most_letters(lines, tokenizer):
    assert bleu_tokenizer_for(lines) == tokenizer


def test_chinese_is_scored_in_characters_without_being_asked():
    chinese = score(["bleu"], [CHINESE[0][:-3] + "床上。", *CHINESE[1:]], CHINESE)["bleu"]
    assert "tok:zh" in chinese.signature
    assert 50 < chinese.value < 100
    assert "tok:char" in score(["bleu"], CHINESE, CHINESE, bleu_tokenizer="char")["bleu"].signature


@pytest.mark.parametrize(("lines", "tokenizer"), [(JAPANESE, "ja-mecab"), (KOREAN, "ko-mecab")])
def test_without_the_extra_auto_takes_characters_and_the_name_is_an_error(lines, tokenizer, monkeypatch):
    without_mecab(monkeypatch)
    automatic = score(["bleu"], lines, lines)["bleu"]
    assert "tok:char" in automatic.signature
    assert automatic.value == pytest.approx(100)
    with pytest.raises(MissingExtra, match=rf"^the BLEU tokenizer {tokenizer} needs .*zhuyi\[(japanese|korean)\]'"):
        score(["bleu"], lines, lines, bleu_tokenizer=tokenizer)


def test_a_tokenizer_whose_model_cannot_be_had_is_one_line(monkeypatch):
    def unreachable(self, **settings):
        raise OSError("\n\nno\nnetwork")

    monkeypatch.setattr(BLEU, "__init__", unreachable)
    with pytest.raises(ConfigError, match=r"^[^\n]*flores200[^\n]*\(no network\)[^\n]*$"):
        score(["bleu"], ENGLISH, ENGLISH, bleu_tokenizer="flores200")


def test_a_word_is_right_if_any_of_its_pronunciations_is():
    """As in CMUdict: TOMATO stands on two lines, and its one answer is right for one of them."""
    sources = ["TOMATO", "CAT", "TOMATO", "DOG"]
    references = ["T AH M EY T OW", "K AE T", "T AH M AA T OW", "D AO G"]
    hypotheses = ["T AH M AA T OW", "K AE T", "T AH M AA T OW", "D AA G"]
    assert value("wer", hypotheses, references, sources) == pytest.approx(100 / 3)
    assert value("exact", hypotheses, references, sources) == pytest.approx(200 / 3)
    assert value("per", hypotheses, references, sources) == pytest.approx(100 * 1 / (6 + 3 + 3))
    assert value("wer", hypotheses, references) == 50  # line by line, the same answers look worse
    listed = [[references[0], references[2]], ["K AE T"], ["D AO G"]]
    grouped = score(["wer", "per", "exact"], [hypotheses[0], hypotheses[1], hypotheses[3]], listed)
    for name, one in grouped.items():
        assert one.value == value(name, hypotheses, references, sources)
        assert "nrefs:var" in one.signature


def test_phone_error_rate_takes_the_closest_reference_and_its_length():
    assert value("per", ["A B C"], [["A B C D", "X Y"]]) == pytest.approx(25)
    assert value("per", ["A B"], [["A", "A B C"]]) == pytest.approx(100 / 3)  # of two equally close, the longer
    assert value("per", ["AB"], [["A B"]]) == 100  # symbols are what white space separates
    assert value("per", ["A B C D"], [["A"]]) == 300


def test_white_space_and_composition_do_not_count():
    scores = score(["bleu", "chrf", "wer", "per", "exact"], ["  der\u00a0Ba\u0308r  isst viel "], ["der Bär isst viel"])
    assert [one.value for one in scores.values()] == pytest.approx([100, 100, 0, 0, 100])
    assert value("exact", ["A"], ["a"]) == 0  # case does


PERFECT: dict[Metric, float] = {name: 100.0 if HIGHER_IS_BETTER[name] else 0.0 for name in ALL}


@pytest.mark.parametrize("lowercase", [False, True])
def test_lower_cased_text_is_scored_in_lower_case_and_says_so(lowercase):
    answers = [line.lower() for line in ENGLISH]
    scores = score(ALL, answers, ENGLISH, text=TextConfig(lowercase=lowercase))
    for name, one in scores.items():
        assert (one.value == pytest.approx(PERFECT[name])) == lowercase
        assert ("case:lc" in one.signature) == lowercase == ("case:mixed" not in one.signature)
    bleu = sacrebleu.corpus_bleu(answers, [ENGLISH], lowercase=lowercase).score
    assert scores["bleu"].value == pytest.approx(bleu)


def test_without_normalisation_composition_counts_and_the_signature_says_so():
    lines = ["der Ba\u0308r isst viel"], ["der Bär isst viel"]
    for name, one in score(ALL, *lines, text=TextConfig(normalization="none")).items():
        assert one.value != pytest.approx(PERFECT[name])
        assert one.signature.count("norm:") == one.signature.count("norm:none") == 1
    for name, one in score(ALL, *lines).items():
        assert one.value == pytest.approx(PERFECT[name])
        assert one.signature.count("norm:") == one.signature.count("norm:nfc") == 1


def test_white_space_that_is_kept_counts_and_the_signature_says_so():
    lines = ["x  =  1"], ["x = 1"]
    kept = TextConfig(whitespace="keep")
    assert score(["exact"], *lines)["exact"].value == 100
    assert score(["exact"], *lines, text=kept)["exact"].value == 0
    for name, one in score(ALL, *lines, text=kept).items():
        assert "norm:nfc|space:keep" in one.signature, name


def test_bits_per_byte_of_an_even_distribution_over_bytes_are_eight():
    text = TextConfig(whitespace="keep", lowercase=True)
    one = bits_per_byte(1000 * math.log(256), 1000, 127, text)
    assert one.value == pytest.approx(8)
    assert one.signature.startswith("bytes:1000|window:127|case:lc|norm:nfc|space:keep|version:zhuyi-")
    assert better("bits_per_byte", 1.9, one.value)
    with pytest.raises(ConfigError, match=r"bits_per_byte scores running text \(data\.text\)"):
        score(["bits_per_byte"], ENGLISH, ENGLISH)


@pytest.mark.parametrize("text", [TextConfig(), TextConfig(lowercase=True), TextConfig(normalization="none")])
def test_a_perfect_model_is_perfect_on_any_text(text):
    """What the tokenizer gives back is what the references are compared in."""
    lines = ["▁The ▁cat s", "Th@@ is ￭, <pad> </s>", "A\x1cb\u200d\u0085c Ba\u0308r ΟΔΟΣ", "\ufeffa \ue000 İI"]
    tokenizer = Tokenizer.train(lines, "whitespace", 100, text.lowercase, text.normalization)
    answers = tokenizer.decode(tokenizer.encode(lines))
    for name, one in score(ALL, answers, lines, text=text, bleu_tokenizer="none").items():
        assert one.value == pytest.approx(PERFECT[name])


def test_sources_that_look_alike_are_one_word():
    assert value("wer", ["x", "x"], ["x", "y"], ["Ba\u0308r", " Bär "]) == 0


def test_several_references_of_different_number():
    references = [[ENGLISH[0]], ["A dog is running .", ENGLISH[1]]]
    scores = score(ALL, ENGLISH, references)
    assert scores["bleu"].value == pytest.approx(100)
    assert "nrefs:var" in scores["bleu"].signature
    assert scores["exact"].value == 100


def test_empty_answers_and_empty_references_are_scored():
    for hypotheses, references in ((["", ""], ENGLISH), (ENGLISH, ["", ""]), (["", ""], ["", ""])):
        values = {name: one.value for name, one in score(ALL, hypotheses, references).items()}
        assert values["exact"] == (100 if hypotheses == references else 0)
        assert values["bleu"] == values["chrf"] == 0


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((["bleu"], [], []), DataError, "no lines"),
        ((["bleu"], ["a", "b"], ["a"]), DataError, "2 hypotheses but 1 reference lines"),
        ((["wer"], ["a"], ["a"], ["s", "t", "u"]), DataError, "3 source lines but 1 hypotheses"),
        ((["wer"], ["a", "b"], [["a"], []]), DataError, "line 2 has no reference"),
        ((["rouge"], ["a"], ["a"]), ConfigError, "unknown metric rouge: choose from bleu, chrf, wer, per, exact"),
        ((["wer"], ["a"], ["a"], None, "moses"), ConfigError, "unknown BLEU tokenizer moses: choose from auto, "),
    ],
)
def test_what_cannot_be_scored_is_one_clear_line(arguments, error, message):
    with pytest.raises(error, match=rf"^[^\n]*{message}[^\n]*$"):
        score(*arguments)


@pytest.mark.slow
@given(pair_lists)
def test_metrics_agree_with_each_other(pairs):
    left, right = (list(side) for side in zip(*pairs, strict=True))
    scores = score(["wer", "per", "exact"], left, right)
    assert scores["wer"].value + scores["exact"].value == pytest.approx(100)
    assert (scores["wer"].value == 0) == (scores["per"].value == 0) == (left == right)
    assert value("exact", right, left) == scores["exact"].value  # equality has no direction

    def edits(hypotheses, references):
        return value("per", hypotheses, references) * max(1, sum(len(line.split()) for line in references))

    assert edits(left, right) == pytest.approx(edits(right, left))  # nor has the edit distance


@pytest.mark.slow
@given(st.lists(st.tuples(st.sampled_from("STU"), phones), min_size=1, max_size=8), st.randoms(use_true_random=False))
def test_the_order_of_lines_does_not_matter(lines, shuffler: random.Random):
    def scores(lines):
        sources, references = (list(side) for side in zip(*lines, strict=True))
        answer = {"S": "K AH", "T": "TS AH B", "U": ""}
        return score(["wer", "per", "exact"], [answer[source] for source in sources], references, sources)

    shuffled = list(lines)
    shuffler.shuffle(shuffled)
    assert scores(shuffled) == scores(lines)


@pytest.mark.slow
@given(pair_lists, phones)
def test_one_more_right_answer_never_makes_a_word_wrong(pairs, another):
    hypotheses, references = (list(side) for side in zip(*pairs, strict=True))
    more = [[reference, another] for reference in references]
    assert value("wer", hypotheses, more) <= value("wer", hypotheses, references)


@pytest.mark.slow
@settings(max_examples=30)
@given(st.lists(st.tuples(st.text(max_size=12), st.text(max_size=12)), min_size=1, max_size=4))
def test_any_text_can_be_scored(pairs):
    hypotheses, references = (list(side) for side in zip(*pairs, strict=True))
    for one in score(ALL, hypotheses, references, bleu_tokenizer="13a").values():
        assert one.value >= 0
        assert one.name == "per" or one.value <= 100 + 1e-9


class Parrot:
    """A translator that repeats the source in capitals, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.pairs: list[tuple[str, str]] = []

    search_signature = "beam:1"
    text = TextConfig()

    def answers(self, lines: list[str], n_best: int) -> list[list[SimpleNamespace]]:
        """In capitals; then, not finished, as it is."""
        self.asked += lines
        found = [[(line.upper(), True), (line, False)][:n_best] for line in lines]
        return [[SimpleNamespace(text=text, finished=finished) for text, finished in line] for line in found]

    def loss(self, sources: list[str], targets: list[str]) -> float | None:
        self.pairs += zip(sources, targets, strict=True)
        return 0.5


def test_evaluate_translates_each_distinct_line_once_and_scores_like_score():
    parrot, sources = Parrot(), ["a b", "c", "a b", ""]
    targets = ["A B", "x", "B A", ""]
    result = evaluate(parrot, sources, targets, ALL)
    assert parrot.asked == ["a b", "c", ""]
    assert parrot.pairs == list(zip(sources, targets, strict=True))
    assert result.hypotheses == ["A B", "C", "A B", ""]
    for name, by_hand in score(ALL, result.hypotheses, targets, sources).items():
        assert result.scores[name] == replace(by_hand, signature=f"{by_hand.signature}|beam:1")
    assert result.scores["exact"].value == pytest.approx(200 / 3)
    assert (result.lines, result.loss) == (4, 0.5)
    assert result.seconds >= 0


def test_evaluate_compares_in_the_form_of_the_translator():
    class Whisperer(Parrot):
        text = TextConfig(lowercase=True)

    assert evaluate(Whisperer(), ["A b"], ["A B"], ["exact"]).scores["exact"].value == 100
    assert evaluate(Parrot(), ["A b"], ["a b"], ["exact"]).scores["exact"].value == 0


def test_evaluate_takes_several_references_a_line():
    parrot = Parrot()
    result = evaluate(parrot, ["a", "b"], [["x", "A"], ["B"]], ["exact"])
    assert result.scores["exact"].value == 100
    assert parrot.pairs == [("a", "x"), ("a", "A"), ("b", "B")]


def test_figures_are_ready_for_json():
    figures = evaluate(Parrot(), ["a"], ["A"], ["exact", "chrf"]).to_dict()
    assert json.loads(json.dumps(figures)) == figures
    assert figures["scores"]["exact"]["value"] == 100
    assert set(figures) == {"lines", "unfinished", "seconds", "loss", "scores"}


def test_several_answers_count_for_words_and_the_first_for_texts():
    targets = ["a B", "a b", "x"]
    first, both = (evaluate(Parrot(), ["a b", "a b ", "c"], targets, ALL, n_best=n) for n in (1, 2))
    assert first.scores["exact"].value == 0
    assert both.scores["exact"].value == pytest.approx(50)
    assert both.scores["wer"].value == pytest.approx(50)
    assert both.scores["per"].value < first.scores["per"].value
    assert "|nbest:2|" in both.scores["exact"].signature
    assert both.scores["bleu"] == first.scores["bleu"]
    assert both.hypotheses == first.hypotheses


def test_a_file_of_blank_lines_is_no_reference():
    hypotheses, first, blank = ["a b", "c", "d"], ["a b", "x", ""], ["", " ", ""]
    one = score(ALL, hypotheses, references_of([first]))
    two = score(ALL, hypotheses, references_of([first, blank]))
    assert references_of([first, blank]) == [["a b"], ["x"], [""]]
    assert one == two
    third = references_of([first, ["a c", "", ""]])
    assert third == [["a b", "a c"], ["x"], [""]]
    for found in score(["bleu", "wer"], hypotheses, third).values():
        assert "nrefs:var" in found.signature


@pytest.mark.parametrize(
    ("sources", "targets", "metrics", "error"),
    [
        ([], [], ["exact"], DataError),
        (["a"], ["A", "B"], ["exact"], DataError),
        (["a"], [[]], ["exact"], DataError),
        (["a"], ["A"], ["rouge"], ConfigError),
    ],
)
def test_mistakes_are_found_before_anything_is_translated(sources, targets, metrics, error):
    parrot = Parrot()
    with pytest.raises(error):
        evaluate(parrot, sources, targets, metrics)
    assert not parrot.asked


labels = st.lists(st.sampled_from(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]), min_size=1, max_size=8)


@given(lines=st.lists(st.tuples(labels, labels), min_size=1, max_size=5))
@settings(deadline=None)
def test_labels_are_scored_as_their_definitions_say(lines: list[tuple[list[str], list[str]]]):
    found, right = ([" ".join(line[side]) for line in lines] for side in (0, 1))
    pairs = [(one, other) for a, b in lines for one, other in zip(a + [""] * (len(b) - len(a)), b, strict=False)]
    same = [one == other for one, other in pairs]
    assert value("accuracy", found, right) == pytest.approx(100 * sum(same) / len(same))
    of_each = []
    for label in {label for pair in pairs for label in pair if label}:
        precise = [other == label for one, other in pairs if one == label]
        recalled = [one == label for one, other in pairs if other == label]
        hits = sum(precise)
        of_each.append(2 * hits / (len(precise) + len(recalled)))
    assert value("macro_f1", found, right) == pytest.approx(100 * sum(of_each) / len(of_each))
    assert value("span_f1", right, right) in (0, 100), "0 where there are no spans"
    assert 0 <= value("span_f1", found, right) <= 100


@pytest.mark.parametrize(
    ("found", "right", "expected"),
    [
        ("B-PER I-PER O B-LOC", "B-PER I-PER O B-LOC", 100),
        ("B-PER O O B-LOC", "B-PER I-PER O B-LOC", 50),  # a part of a span is not the span
        ("B-PER I-PER O B-PER", "B-PER I-PER O B-LOC", 50),
        ("I-PER I-PER O I-LOC", "B-PER I-PER O B-LOC", 100),  # IOB1: what begins with I begins
        ("B-PER E-PER O S-LOC", "B-PER I-PER O B-LOC", 100),  # IOBES
        ("B-PER M-PER E-PER S-PER", "B-PER I-PER I-PER B-PER", 100),  # BMES
        ("S-PER I-PER O O", "B-PER B-PER O O", 100),  # a span ends after S
        ("b-per i-per o b-loc", "b-per i-per o b-loc", 100),  # of a model with text.lowercase
        ("B-PER", "B-PER O O B-LOC", 200 / 3),  # a line that was cut
        ("B-PER O", "B-PER", 100),
    ],
)
def test_spans_are_those_of_any_iob_labels(found: str, right: str, expected: float):
    assert value("span_f1", [found], [right]) == pytest.approx(expected)


@pytest.mark.parametrize("label", ["NOUN", "B", "B-", "X-", "-"])
def test_labels_without_spans_have_no_span_f1(label: str):
    with pytest.raises(ConfigError, match=rf"span_f1 needs labels that mark spans.*'{label}'"):
        score(["span_f1"], [label], [label])
