"""Better answers from the same model: minimum Bayes risk, and a length penalty chosen by a dev set."""

from pathlib import Path

import numpy as np
import pytest
from command_line import in_shape, tiny_model, zhuyi
from sacrebleu.metrics.chrf import CHRF

from zhuyi.directory import load_config_of
from zhuyi.errors import ConfigError
from zhuyi.evaluation import MinimumBayesRisk, evaluate, score, tune_length_penalty
from zhuyi.evaluation.minimum_bayes_risk import expected_scores
from zhuyi.loading import load
from zhuyi.translator import Translator

LINES = ["a dog runs", "", "two cats", "cats run", "a dog runs"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def translator(model: Path) -> Translator:
    return load(model, engine="torch", device="cpu")


def test_the_expected_score_is_the_mean_over_all_candidates() -> None:
    candidates, weights = ["ein Hund", "ein Hund rennt", "Katzen", "ein Hund"], np.array([0.4, 0.3, 0.2, 0.1])
    sentence = CHRF()
    by_hand = [
        sum(w * sentence.sentence_score(answer, [right]).score for right, w in zip(candidates, weights, strict=True))
        for answer in candidates
    ]
    np.testing.assert_allclose(expected_scores(candidates, weights, "chrf"), by_hand, atol=1e-6)
    np.testing.assert_allclose(expected_scores(candidates, 7 * weights, "chrf"), by_hand, atol=1e-6)


@pytest.mark.parametrize("metric", ["exact", "wer"])
def test_by_exact_match_the_most_frequent_sample_is_the_best(metric: str) -> None:
    expected = expected_scores(["b", "a", "c", "a"], np.ones(4), metric)  # type: ignore[arg-type]
    assert expected.tolist() == ([25, 50, 25, 50] if metric == "exact" else [75, 50, 75, 50])


@pytest.mark.parametrize("strategy", [{"strategy": "beam", "beam": 4}, {"strategy": "sampling", "seed": 3}])
@pytest.mark.parametrize("metric", ["bleu", "chrf", "per"])
def test_a_line_gets_one_of_its_candidates_whatever_its_neighbours(
    translator: Translator, strategy: dict[str, object], metric: str
) -> None:
    several = translator.with_decoding(translator.decoding(n_best=4, **strategy))
    chosen = MinimumBayesRisk(several, metric)  # type: ignore[arg-type]
    found = chosen.hypotheses(LINES)
    for number, ((best,), candidates) in enumerate(zip(found, several.hypotheses(LINES), strict=True)):
        assert best in candidates
        assert chosen.hypotheses([LINES[number]], first=number) == [[best]]


def test_the_signature_says_how_answers_were_chosen(translator: Translator) -> None:
    several = translator.with_decoding(translator.decoding(beam=3, n_best=3))
    found = evaluate(MinimumBayesRisk(several, "chrf"), ["a dog"], ["ein Hund"], ["chrf"])
    assert found.scores["chrf"].signature.endswith("|mbr:chrf|candidates:3")


def test_minimum_bayes_risk_on_the_command_line(model: Path) -> None:
    text = "".join(f"{line}\n" for line in LINES).encode()
    chosen = zhuyi("translate", model, "--beam", 3, "--mbr", "chrf", stdin=text)
    assert chosen.code == 0
    assert len(chosen.lines) == len(LINES)
    same = zhuyi("translate", model, "--beam", 3, "--n-best", 3, "--mbr", "chrf", stdin=text)
    assert same.out == chosen.out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--mbr", "meteor"], "meteor: choose from bleu"),
        (["--mbr", "accuracy"], "accuracy: choose from bleu"),
        (["--mbr", "chrf", "--beam", "1"], "decoding.n_best"),
        (["--mbr", "chrf", "--set", "decoding.strategy=sampling"], "decoding.n_best"),
    ],
)
def test_what_cannot_be_chosen_from_is_refused(model: Path, arguments: list[str], reason: str) -> None:
    refused = zhuyi("translate", model, *arguments, stdin=b"a dog\n")
    assert (refused.code, refused.out) == (2, "")
    assert reason in refused.err


def test_labels_are_not_chosen_by_minimum_bayes_risk(tmp_path: Path) -> None:
    refused = zhuyi("translate", tiny_model(tmp_path / "m", in_shape("encoder")), "--mbr", "chrf", stdin=b"a\n")
    assert refused.code == 2
    assert "gives labels" in refused.err


def test_the_length_penalty_that_scores_best_is_kept_in_the_model(tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "m")
    source, target = tmp_path / "dev.en", tmp_path / "dev.de"
    source.write_text("a dog runs\ntwo cats\n", encoding="utf-8")
    target.write_text("ein Hund rennt\nzwei Katzen\n", encoding="utf-8")
    outcome = zhuyi(
        *("evaluate", model, "--source", source, "--target", target, "--metric", "chrf,exact"),
        *("--beam", 4, "--tune-length-penalty"),
    )
    assert outcome.code == 0, outcome.err
    kept = load_config_of(model).decoding
    assert f"decoding.length_penalty={kept.length_penalty:g}" in outcome.err
    assert kept.model_copy(update={"length_penalty": 1.0}) == load_config_of(tiny_model(tmp_path / "n")).decoding
    translator = load(model, engine="torch", device="cpu")
    translator = translator.with_decoding(translator.decoding(beam=4))
    lines, references = source.read_text().splitlines(), [[line] for line in target.read_text().splitlines()]
    for penalty in (0.0, 1.0, 2.0):
        other = score(["chrf"], translator.translate(lines, length_penalty=penalty), references, lines)["chrf"]
        best = score(["chrf"], translator.translate(lines), references, lines)["chrf"]
        assert best.value >= other.value


def test_a_length_penalty_without_a_use_is_not_tuned(translator: Translator) -> None:
    greedy = translator.with_decoding(translator.decoding(beam=1))
    with pytest.raises(ConfigError, match=r"decoding\.beam"):
        tune_length_penalty(greedy, ["a dog"], [["ein Hund"]], "chrf")
