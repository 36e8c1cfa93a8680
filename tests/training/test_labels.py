"""The encoder shape for users: train on labels, resume, print labels and their probabilities, score them."""

import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
from command_line import zhuyi as run
from runs import BASE, copying, state_of, stopped, weights

import zhuyi
from zhuyi.checkpoint import load_model
from zhuyi.config import Config, build_config
from zhuyi.errors import ConfigError
from zhuyi.training.events import Updated
from zhuyi.training.recipe import train


def labelled(folder: Path, labels: str, **training: Any) -> Config:
    """Lines of letters; the label of a line is its first letter, that of a letter whether it is a vowel."""
    folder.mkdir(exist_ok=True)
    rng = random.Random(0)
    data = {}
    for name, count in (("", 120), ("dev_", 20)):
        lines = [
            "".join(rng.choice("aeiou") + rng.choice("bcdf") for _ in range(rng.randint(1, 4))) for _ in range(count)
        ]
        right = [
            " ".join("V" if letter in "aeiou" else "C" for letter in line) if labels == "token" else line[0].upper()
            for line in lines
        ]
        for side, column in (("source", lines), ("target", right)):
            path = folder / f"{name}{side}.txt"
            path.write_text("".join(f"{line}\n" for line in column), encoding="utf-8")
            data[f"{name}{side}"] = str(path)
    kept = {key: value for key, value in BASE["training"].items() if key != "metric"}
    tree = {
        "data": data,
        "text": {"source_kind": "character"},
        "model": {**BASE["model"], "shape": "encoder", "labels": labels},
        "training": {**kept, "threads": 1, "learning_rate": 1e-2, "ema": 0.0, **training},
    }
    return build_config(tree)


@pytest.fixture(scope="module")
def of_lines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lines")
    train(labelled(folder, "line"), folder / "model")
    return folder / "model"


@pytest.fixture(scope="module")
def of_tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokens")
    train(labelled(folder, "token"), folder / "model")
    return folder / "model"


def test_the_metric_is_accuracy_unless_another_is_set(tmp_path: Path) -> None:
    assert labelled(tmp_path, "line").training.metric == "accuracy"
    assert labelled(tmp_path, "token", metric="span_f1").training.metric == "span_f1"
    assert build_config({}).training.metric == "bleu"


def test_labels_that_mark_no_spans_are_refused_before_the_first_update(tmp_path: Path) -> None:
    updates: list[object] = []
    with pytest.raises(ConfigError, match="span_f1 needs labels that mark spans"):
        train(labelled(tmp_path, "token", metric="span_f1"), tmp_path / "model", listeners=[updates.append])
    assert not any(isinstance(event, Updated) for event in updates)


@pytest.mark.slow
@pytest.mark.parametrize("labels", ["line", "token"])
def test_labels_are_learned(labels: str, tmp_path: Path) -> None:
    config = labelled(tmp_path, labels, steps=60, save_every=20)
    result = train(config, tmp_path / "model")
    assert result.evaluations["dev"].scores["accuracy"].value > 60, (
        "a guess is right for one in five lines, or one in two letters"
    )
    assert result.evaluations["dev"].unfinished == 0
    assert result.int8 is None
    card = (tmp_path / "model/README.md").read_text(encoding="utf-8")
    assert f"An encoder model that gives each {labels} a label" in card
    assert "nats a label" in card
    assert "beam" not in card


@pytest.mark.parametrize("labels", ["line", "token"])
@pytest.mark.slow
def test_a_run_that_was_stopped_ends_with_the_same_bytes(labels: str, tmp_path: Path) -> None:
    config = labelled(tmp_path, labels, steps=15)
    train(config, tmp_path / "whole")
    place = stopped(tmp_path / "whole", 5, tmp_path / "again")
    train(config, place, resume=True)
    assert weights(place) == weights(tmp_path / "whole")
    assert state_of(place, 15) == state_of(tmp_path / "whole", 15)


@pytest.mark.slow
def test_lines_get_labels_with_their_probabilities(of_lines: Path) -> None:
    lines = b"abeb\n\nubub\n"
    plain = run("translate", of_lines, stdin=lines)
    assert (plain.code, plain.err) == (0, "")
    assert plain.lines[1] == ""
    assert {plain.lines[0], plain.lines[2]} <= set("AEIOU")

    scored = [line.split("\t") for line in run("translate", of_lines, "--scores", stdin=lines).lines]
    assert [label for _, label in scored] == plain.lines
    assert all(0 < float(probability) <= 1 for probability, _ in scored)

    ranked = [line.split("\t") for line in run("translate", of_lines, "--n-best", 7, stdin=b"abeb\n").lines]
    probabilities = [float(probability) for _, _, probability, _ in ranked]
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1, abs=1e-5), "the labels are five, and no special token is one"
    assert [label == "" for *_, label in ranked] == [False] * 5 + [True] * 2

    (found,) = map(json.loads, run("translate", of_lines, "--json", "--n-best", 2, stdin=b"abeb\n").lines)
    assert found["source"] == "abeb"
    assert [each["label"] for each in found["labels"]] == [label for *_, label in ranked[:2]]


@pytest.mark.slow
def test_each_token_gets_a_label(of_tokens: Path) -> None:
    lines = run("translate", of_tokens, stdin=b"abeb\n\nu\n").lines
    assert [len(line.split()) for line in lines] == [4, 0, 1]
    (found,) = map(json.loads, run("translate", of_tokens, "--json", stdin=b"abeb\n").lines)
    assert " ".join(each["label"] for each in found["labels"]) == lines[0]
    (scored,) = run("translate", of_tokens, "--scores", stdin=b"abeb\n").lines
    joint = math.prod(each["probability"] for each in found["labels"])
    assert float(scored.split("\t")[0]) == pytest.approx(joint, abs=1e-5)


@pytest.mark.slow
def test_options_of_a_search_are_refused(of_lines: Path, of_tokens: Path) -> None:
    refused = run("translate", of_lines, "--beam", 3, stdin=b"a\n")
    assert refused.code == 2
    assert refused.err == "zhuyi: error: decoding.beam = 3: this model gives labels, without a search: leave it out\n"
    assert run("translate", of_tokens, "--n-best", 2, stdin=b"a\n").code == 2
    translator = zhuyi.load(of_lines)
    with pytest.raises(ConfigError, match="length_penalty"):
        translator.translate(["a"], length_penalty=0.5)


@pytest.mark.slow
def test_labels_are_scored(of_lines: Path, of_tokens: Path) -> None:
    for model in (of_lines, of_tokens):
        files = ("--source", model.parent / "dev_source.txt", "--target", model.parent / "dev_target.txt")
        outcome = run("evaluate", model, *files, "--metric", "accuracy,macro_f1", "--json")
        assert outcome.code == 0, outcome.err
        scores = json.loads(outcome.out)["scores"]
        assert scores["accuracy"]["signature"].endswith(f"per:{'line' if model == of_lines else 'token'}")
    assert "nats per label" in run("evaluate", of_tokens, *files).out


def masked(folder: Path) -> Config:
    """Pre-training on the letters of lines."""
    text = folder / "text.txt"
    text.write_text("abebib\ncidofu\n" * 50, encoding="utf-8")
    tree = {
        "data": {"text": str(text)},
        "text": {"kind": "character"},
        "model": {**BASE["model"], "shape": "encoder"},
        "training": {**BASE["training"], "metric": "accuracy", "objective": "masked", "threads": 1, "steps": 10},
    }
    return build_config(tree)


@pytest.mark.slow
def test_labels_are_learned_from_where_masked_pre_training_ended(tmp_path: Path) -> None:
    config = masked(tmp_path)
    assert (config.text.mask, config.model.labels) == (True, "token")
    train(config, tmp_path / "masked")
    before = zhuyi.load(tmp_path / "masked", engine="torch")
    mask = before.tokenizers.source.mask
    assert mask == len(before.tokenizers.source) - 1

    place = stopped(tmp_path / "masked", 5, tmp_path / "again")
    train(config, place, resume=True)
    assert weights(place) == weights(tmp_path / "masked")

    said: list[str] = []
    after = labelled(tmp_path / "labels", "line", start_from=str(tmp_path / "masked"), steps=1, learning_rate=1e-12)
    train(after, tmp_path / "model", listeners=[lambda event: said.append(getattr(event, "text", ""))])
    assert any("the labels and projection.weight are new" in text for text in said)
    model = zhuyi.load(tmp_path / "model", engine="torch")
    assert model.tokenizers.source.to_json() == before.tokenizers.source.to_json()
    then, now = (load_model(tmp_path / name).transformer.state_dict() for name in ("masked", "model"))
    assert all(now[name].allclose(then[name], atol=1e-6) for name in now if name != "projection.weight")
    assert now["projection.weight"].shape != then["projection.weight"].shape

    with pytest.raises(ConfigError, match="pre-trained on masked tokens"):
        train(copying(tmp_path, training={"start_from": str(tmp_path / "masked")}), tmp_path / "other")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"text": {"mask": False}}, "leave text.mask unset"),
        ({"model": {"shape": "encoder-decoder"}}, "needs model.shape"),
        ({"data": {"source": "a", "target": "b"}}, "learns from running text"),
        ({"data": {"text": "a"}, "training": {"metric": "exact"}}, "of masked tokens there is accuracy"),
    ],
)
def test_masked_pre_training_needs_running_text_and_an_encoder(changes: dict[str, Any], said: str) -> None:
    tree: dict[str, Any] = {"model": {"shape": "encoder"}, "training": {"objective": "masked"}}
    with pytest.raises(ConfigError, match=said):
        build_config({**tree, **{name: {**tree.get(name, {}), **each} for name, each in changes.items()}})
