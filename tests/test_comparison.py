"""`zhuyi compare`: which variants there are, what is measured of them, and that a comparison goes on where it was."""

import json
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from command_line import zhuyi as run
from runs import BASE, SHAPES, copying, of_shape, write_lines

import zhuyi
from zhuyi.checkpoint import build_model
from zhuyi.comparison import measures, plan
from zhuyi.comparison.bootstrap import Interval, paired_bootstrap
from zhuyi.comparison.compare import _common_budget, save
from zhuyi.comparison.markdown import to_markdown
from zhuyi.comparison.measures import Curve, Reach, Speed
from zhuyi.comparison.picture import COLOURS, draw
from zhuyi.comparison.report import Comparison, Difference, Spread, VariantReport
from zhuyi.comparison.runs import Planned, Progress, planned, runs_of
from zhuyi.comparison.variants import TOLERANCE, count_parameters, make_variants, with_seed
from zhuyi.config import Config, build_config
from zhuyi.errors import CheckpointError, ConfigError
from zhuyi.evaluation import HIGHER_IS_BETTER, score, statistics, statistics_of_text
from zhuyi.text.tokenizer import Tokenizers

MIXERS = ["attention", "convolution", "recurrence"]


# Variants


def test_the_variants_are_all_combinations_and_their_names_are_the_values(tmp_path: Path) -> None:
    config = copying(tmp_path)
    variants = make_variants(config, {"model.mixer": MIXERS[:2], "model.dropout": [0.1, 0.2]}, None)
    assert [each.name for each in variants] == [
        *("attention-dropout=0.1", "attention-dropout=0.2", "convolution-dropout=0.1", "convolution-dropout=0.2")
    ]
    assert [each.config.model.decoder_mixer for each in variants] == [*MIXERS[:1] * 2, *MIXERS[1:2] * 2]
    assert variants[1].settings == {"model.mixer": "attention", "model.dropout": 0.2}


def test_all_variants_have_the_same_engine_and_threads(tmp_path: Path) -> None:
    config = copying(tmp_path)
    (first, _) = make_variants(config, {"model.mixer": MIXERS[:2]}, None)
    assert (first.config.decoding.engine, first.config.training.threads) == ("torch", 1)
    settings = {"training": {"threads": 2}, "decoding": {"engine": "native"}}
    (first, _) = make_variants(copying(tmp_path, **settings), {"model.dropout": [0.0, 0.1]}, None)
    assert (first.config.decoding.engine, first.config.training.threads) == ("native", 2)


def test_files_may_have_any_name(tmp_path: Path) -> None:
    folder = tmp_path / "𠮷 'and' ü"
    folder.mkdir()
    config = copying(folder)
    for variant in make_variants(config, {"model.dropout": [0.0, 0.1]}, None):
        assert variant.config.data.source == config.data.source


def test_parameters_are_made_equal_by_the_width_of_the_feed_forward(tmp_path: Path) -> None:
    config = copying(tmp_path, model={"width": 32, "feed_forward": 128})
    first, *others = make_variants(config, {"model.mixer": MIXERS}, "parameters")
    assert first.config.model.feed_forward == first.settings["model.feed_forward"] == 128
    for variant in others:
        width = variant.config.model.feed_forward
        assert width % 8 == 0
        assert variant.settings["model.feed_forward"] == width
        assert count_parameters(variant.config) == variant.parameters
        assert abs(variant.parameters - first.parameters) <= TOLERANCE * first.parameters
    untouched = make_variants(config, {"model.mixer": MIXERS}, None)
    assert len({variant.parameters for variant in untouched}) == 3


def test_parameters_are_those_of_the_model(tmp_path: Path) -> None:
    config = copying(tmp_path)
    lines = (tmp_path / "train.txt").read_text(encoding="utf-8").splitlines()
    model = build_model(config, Tokenizers.train(config.text, lines, lines))
    assert count_parameters(config) == model.transformer.parameter_count()


def test_seeds_begin_with_that_of_the_configuration(tmp_path: Path) -> None:
    config = copying(tmp_path, training={"seed": 7})
    assert [with_seed(config, number).training.seed for number in (1, 2, 3)] == [7, 8, 9]


@pytest.mark.parametrize(
    ("vary", "equal", "message"),
    [
        ({"model.mixr": ["a", "b"]}, None, "unknown key model.mixr"),
        ({"model.mixer": ["attention", "magic"]}, None, "--vary model.mixer=.*should be"),
        ({"model.mixer": ["attention"]}, None, "needs two"),
        ({}, None, "needs two"),
        ({"model.dropout": [0.1, 0.1]}, None, "two variants the name dropout=0.1"),
        (
            {"model.mixer": MIXERS[:2], "model.encoder_mixer": MIXERS[:1], "model.decoder_mixer": MIXERS[:1]},
            None,
            "same",
        ),
        ({"training.seed": [1, 2]}, None, "several seeds already"),
        ({"training.metric": ["bleu", "chrf"]}, None, "cannot be compared"),
        ({"text.lowercase": [False, True]}, None, "--vary text.lowercase: .*normal forms"),
        ({"text.normalization": ["nfc", "none"]}, None, "--vary text.normalization: .*normal forms"),
        ({"text.whitespace": ["collapse", "keep"]}, None, "--vary text.whitespace: .*normal forms"),
        ({"training.start_from": ["a", "b"]}, None, "--vary training.start_from: .*random weights"),
        ({"training.threads": [1, 2]}, None, "--vary training.threads: .*cannot be compared"),
        ({"decoding.engine": ["torch", "native"]}, None, "--vary decoding.engine: .*cannot be compared"),
        ({"data.dev_source": ["a", "b"]}, None, "same lines"),
        ({"model.feed_forward": [8, 16]}, "parameters", "leave out"),
        ({"model.mixer": MIXERS}, "updates", "--equal updates"),
        ({"model.width": [16, 64]}, "parameters", "larger model.feed_forward"),
    ],
)
def test_impossible_variants_are_refused_in_one_line(
    tmp_path: Path, vary: dict[str, Any], equal: str | None, message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        make_variants(copying(tmp_path), vary, equal)
    assert "\n" not in str(caught.value)


def test_variants_of_a_model_that_is_there_are_refused_in_one_line(tmp_path: Path) -> None:
    config = copying(tmp_path, training={"start_from": str(tmp_path / "model")})
    with pytest.raises(ConfigError, match=r"training\.start_from: .*leave it out") as caught:
        make_variants(config, {"model.mixer": MIXERS}, "parameters")
    assert "\n" not in str(caught.value)


# The plan


def test_a_directory_belongs_to_one_comparison(tmp_path: Path) -> None:
    config, out = copying(tmp_path), tmp_path / "out"
    variants = make_variants(config, {"model.mixer": MIXERS[:2]}, None)
    plan.claim(out, variants)
    plan.claim(out, variants)
    assert plan.Plan.read(out).variants == {each.name: each.config for each in variants}
    longer = make_variants(copying(tmp_path, training={"steps": 30}), {"model.mixer": MIXERS[:2]}, None)
    with pytest.raises(ConfigError, match=r"training.steps is 20 there, and 30 here"):
        plan.claim(out, longer)
    with pytest.raises(ConfigError, match="its variants are attention, convolution"):
        plan.claim(out, make_variants(config, {"model.mixer": MIXERS}, None))
    (tmp_path / "file").touch()
    for other in (tmp_path, tmp_path / "file"):
        with pytest.raises(CheckpointError, match="not a comparison's"):
            plan.claim(other, variants)


def test_the_seeds_take_turns_and_the_cost_is_what_is_left(tmp_path: Path) -> None:
    variants = make_variants(copying(tmp_path), {"model.mixer": MIXERS[:2]}, None)
    runs = runs_of(tmp_path / "out", variants, 2)
    assert [each.name for each in runs] == ["attention-s1", "convolution-s1", "attention-s2", "convolution-s2"]
    assert planned(runs, 1) == Planned(runs=4, finished=0, jobs=1, minutes=None, updates=80)
    runs[0].directory.mkdir(parents=True)
    (runs[0].directory / plan.OUTPUTS).touch()
    runs[1].directory.mkdir(parents=True)
    (runs[1].directory / "metrics.jsonl").write_text('{"step": 5, "seconds": 1}\n', encoding="utf-8")
    assert planned(runs, 1) == Planned(runs=4, finished=1, jobs=1, minutes=None, updates=55)


# Statistics and intervals

LINES = ["the cat sat on the mat", "a dog runs in the park", "two men play", "the dog ran"]
SPANS = ["B-X I-X O B-Y I-Y O", "O O B-X O I-Y I-Y", "O O B-Y", "B-X I-X O"]
FOUND = ["B-X O O B-Y I-Y O", "O O B-X O B-X I-X", "O O B-Y", "O I-X"]
ANSWERS = ["the cat sat on a mat", "a dog runs in a park", "two men play", "dog ran"]


@pytest.mark.parametrize("metric", sorted(HIGHER_IS_BETTER.keys() - {"bits_per_byte"}))
def test_the_sums_of_the_statistics_of_lines_give_the_score_of_these_lines(metric: Any) -> None:
    answers, lines = (FOUND, SPANS) if metric == "span_f1" else (ANSWERS, LINES)
    each = statistics(metric, answers, lines)
    for chosen in ([0, 1, 2, 3], [0, 1, 1, 2], [3, 0]):
        expected = score([metric], [answers[i] for i in chosen], [lines[i] for i in chosen])[metric].value
        assert each.value(each.rows[chosen].sum(axis=0)) == pytest.approx(expected)


def exact(right: np.ndarray) -> Any:
    return statistics("exact", ["a" if each else "b" for each in right], ["a"] * len(right))


def test_the_interval_of_a_difference_is_about_two_standard_errors_wide() -> None:
    rng = np.random.default_rng(3)
    first, other = rng.random(1000) < 0.5, rng.random(1000) < 0.6
    found = paired_bootstrap([exact(first)], [exact(other)])
    difference = 100 * (other.astype(float) - first)
    assert found.value == pytest.approx(difference.mean())
    error = difference.std() / np.sqrt(1000)
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)
    assert found.low < found.value < found.high
    assert found == paired_bootstrap([exact(first)], [exact(other)])


def test_what_is_the_same_on_every_line_differs_by_nothing_and_pairs_are_kept() -> None:
    right = np.arange(100) % 3 == 0
    assert paired_bootstrap([exact(right)], [exact(right)]) == Interval(0.0, 0.0, 0.0)
    always, never = np.ones(50, dtype=bool), np.zeros(50, dtype=bool)
    assert paired_bootstrap([exact(never), exact(always)], [exact(always)]) == Interval(50.0, 50.0, 50.0)


# Measures


@pytest.mark.parametrize(
    ("kind", "encoder", "decoder"), [("attention", 31, 31), ("convolution", 2, 4), ("recurrence", 31, 31)]
)
def test_one_layer_reaches_as_far_as_its_mixer(kind: str, encoder: int, decoder: int) -> None:
    config = build_config({**BASE, "model": {**BASE["model"], "mixer": kind, "kernel": 5, "max_length": 32}})
    model = build_model(config, Tokenizers.train(config.text, ["abc"], ["abc"]))
    found = measures.reaches(model.transformer)
    assert [found[side].positions for side in ("encoder", "decoder")] == [encoder, decoder]
    layers, steps = {"attention": (1, 1), "convolution": (50, 50), "recurrence": (1, 100)}[kind]
    assert (found["encoder"].layers, found["encoder"].steps) == (layers, steps)
    assert next(model.transformer.parameters()).dtype == torch.float32


# The report


def comparison() -> Comparison:
    def variant(name: str, shift: float) -> VariantReport:
        return VariantReport(
            name=name,
            settings={"model.mixer": name},
            parameters=12_345,
            scores={"dev": Spread([20.0 + shift, 22.0 + shift]), "test": Spread([19.0 + shift, 20.0 + shift])},
            losses={"dev": Spread([2.5, 2.75]), "test": Spread([2.5, 2.625])},
            tokens_per_second=4321.0,
            memory=500_000_000,
            decoding=Speed(81.25, 9.5),
            reach={"encoder": Reach(name, 1, 100, 100, 100)},
            curves=[Curve([10, 20], [0.5, 1.0], [3.0, 2.5], [5.0, 20.0 + shift]) for _ in range(2)],
        )

    return Comparison(
        metric="bleu",
        higher_is_better=True,
        signatures={"nrefs:1": ["attention", "convolution"]},
        seeds=[1, 2],
        budget={"steps": 20},
        equal=None,
        variants=[variant("attention", 0.0), variant("convolution", -2.0)],
        compared_on="test",
        compared_lines=100,
        unit="lines",
        differences=[Difference("convolution", Interval(-2.0, -3.125, -0.875))],
        engine="torch",
        threads=1,
        machine={"cores": 2},
    )


def test_json_and_markdown_say_the_same(tmp_path: Path) -> None:
    save(comparison(), tmp_path)
    tree = json.loads((tmp_path / "comparison.json").read_bytes())
    text = (tmp_path / "comparison.md").read_text(encoding="utf-8")
    for each in tree["variants"]:
        for name in ("dev", "test"):
            spread = each["scores"][name]
            assert f"{spread['mean']:.2f} ± {spread['deviation']:.2f}" in text
            assert f"{each['losses'][name]['mean']:.4f}" in text
        assert f"| {each['name']} | {each['tokens_per_second']:,.0f} | {each['memory'] / 1e6:,.0f} |" in text
    (difference,) = tree["differences"]
    assert f"{difference['score']['low']:+.2f} … {difference['score']['high']:+.2f}" in text
    tables = re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    assert text.startswith("# Variants of model.mixer\n")
    for table in tables:
        assert len({line.count("|") for line in table.splitlines()}) == 1


def test_the_picture_has_a_line_for_each_variant_and_is_the_same_again() -> None:
    drawn = draw(comparison())
    assert drawn == draw(comparison())
    for name in (b"attention", b"convolution", b"updates", b"minutes"):
        assert name in drawn
    svg = "{http://www.w3.org/2000/svg}"
    for panel in ("axes_1", "axes_2"):
        (axes,) = ElementTree.fromstring(drawn).iterfind(f".//{svg}g[@id='{panel}']")
        lines = [each.find(f"{svg}path") for each in axes if each.get("id", "").startswith("line2d")]
        styles = [line.get("style", "") for line in lines if line is not None]
        assert [re.findall(r"stroke: (#\w+)", style) for style in styles] == [[each] for each in COLOURS[:2]]
        assert len({line.get("d") for line in lines if line is not None}) == 2


def test_what_the_variants_do_not_share_is_told_of_none_or_of_each() -> None:
    shared = to_markdown(comparison())
    assert "`training.seed` 1, 2), 20 steps a run. Scores" in shared
    assert "- scores: `nrefs:1`\n" in shared
    searches = {"beam:1": ["attention"], "beam:4": ["convolution"]}
    differing = to_markdown(replace(comparison(), budget={}, signatures=searches))
    assert "`training.seed` 1, 2). Scores" in differing
    assert "- scores of attention: `beam:1`\n- scores of convolution: `beam:4`\n" in differing


def test_a_budget_is_reported_where_it_is_that_of_all_variants(tmp_path: Path) -> None:
    config = copying(tmp_path, training={"epochs": 3})
    same = make_variants(config, {"model.mixer": MIXERS[:2]}, None)
    assert _common_budget(same) == {"steps": 20, "epochs": 3}
    assert _common_budget(make_variants(config, {"training.steps": [20, 30]}, None)) == {}
    both = {"training.steps": [20, 30], "training.epochs": [3]}
    assert _common_budget(make_variants(config, both, None)) == {"epochs": 3}


def test_one_seed_has_no_deviation(tmp_path: Path) -> None:
    variants = [
        replace(each, scores={"dev": Spread([1.0])}, losses={"dev": Spread([2.0])}) for each in comparison().variants
    ]
    one = replace(comparison(), variants=variants, seeds=[1])
    assert "±" not in to_markdown(one).split("## Differences")[0].split("## Results")[1].split("A score")[0]
    assert one.to_dict()["variants"][0]["scores"]["dev"] == {"mean": 1.0, "deviation": None, "values": [1.0]}


# All of it


def write_config(folder: Path) -> Path:
    write_lines(folder / "train.txt", 60, 1)
    write_lines(folder / "dev.txt", 8, 2)
    lines = ["[data]"]
    for key, name in (("source", "train"), ("target", "train"), ("dev_source", "dev"), ("dev_target", "dev")):
        lines.append(f'{key} = "{name}.txt"')
    for section, values in BASE.items():
        lines += [f"[{section}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
    (folder / "copy.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "copy.toml"


def until(process: subprocess.Popen[str], condition: Callable[[], bool]) -> None:
    while not condition():
        assert process.poll() is None
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.unix
def test_a_comparison_goes_on_after_ctrl_c_after_a_kill_and_with_more_seeds(tmp_path: Path) -> None:
    config, out = write_config(tmp_path), tmp_path / "out"
    arguments = ["compare", str(config), "--vary", "model.mixer=attention,convolution", "--out", str(out), "--seeds"]
    command = [sys.executable, "-m", "zhuyi", *arguments, "1"]
    first, second = out / "runs/attention-s1", out / "runs/convolution-s1"

    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    until(process, lambda: any(first.glob("checkpoints/step-*")))
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130
    assert said.splitlines()[-1] == f"zhuyi: stopped and saved; continue with: {shlex.join(['zhuyi', *arguments, '1'])}"
    assert not (out / "comparison.json").exists()

    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)
    until(process, lambda: plan.finished(first))
    process.kill()
    process.wait()
    assert not plan.finished(second)

    def finished() -> dict[Path, int]:
        """When the files of the runs that have finished were written."""
        files = (path for run in (first, second) if plan.finished(run) for path in run.rglob("*") if path.is_file())
        return {path: path.stat().st_mtime_ns for path in files}

    before = finished()
    outcome = run(*arguments, "1")
    assert outcome.code == 0, outcome.err
    assert "1 runs of 2 (1 have finished)" in outcome.err
    assert finished().items() > before.items()
    tree = json.loads((out / "comparison.json").read_bytes())
    assert [each["name"] for each in tree["variants"]] == ["attention", "convolution"]
    assert tree["variants"][0]["curves"][0]["updates"] == [5, 10, 15, 20]
    assert tree["variants"][0]["memory"] > 50e6
    assert outcome.out == (out / "comparison.md").read_text(encoding="utf-8")
    assert zhuyi.load(first).translate(["abc"])

    assert run(*arguments, "1").out == outcome.out
    changed = run(*arguments, "1", "--set", "training.steps=30")
    assert changed.code == 2
    assert "training.steps is 20 there, and 30 here" in changed.err

    before = finished()
    more = run(*arguments, "2")
    assert more.code == 0, more.err
    assert "2 runs of 4 (2 have finished)" in more.err
    assert finished() == before
    tree = json.loads((out / "comparison.json").read_bytes())
    assert tree["seeds"] == [1, 2]
    for each in tree["variants"]:
        assert len(each["scores"]["dev"]["values"]) == len(each["curves"]) == 2


@pytest.mark.slow
@pytest.mark.unix
def test_a_run_that_fails_is_told_in_one_line(tmp_path: Path) -> None:
    config = copying(tmp_path)
    events: list[Planned | Progress] = []
    (tmp_path / "out" / "runs" / "attention-s1").mkdir(parents=True)
    variants = make_variants(config, {"model.mixer": MIXERS[:2]}, None)
    plan_folder = tmp_path / "out"
    (plan_folder / "runs" / "attention-s1" / "README.md").write_text("mine", encoding="utf-8")
    (plan_folder / plan.PLAN).write_text(json.dumps({each.name: plan.to_tree(each.config) for each in variants}))
    with pytest.raises(zhuyi.TrainingError, match=r"attention-s1: .*README.md exists and is not a run's"):
        zhuyi.compare(config, {"model.mixer": MIXERS[:2]}, plan_folder, listener=events.append)
    assert isinstance(events[0], Planned)


def test_no_dev_set_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    config: Config = copying(tmp_path, dev=False)
    with pytest.raises(ConfigError, match="a dev set, on which"):
        zhuyi.compare(config, {"model.mixer": MIXERS}, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("vary", ["model.mixer", "model.mixer=", "model.mixr=a,b"])
def test_a_mistyped_option_is_told_in_one_line(tmp_path: Path, vary: str) -> None:
    outcome = run("compare", write_config(tmp_path), "--vary", vary)
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1
    assert f"--vary {vary}" in outcome.err or "unknown key model.mixr" in outcome.err


# Other shapes, and running text


def test_shapes_are_made_equal_and_have_the_stacks_that_they_have(tmp_path: Path) -> None:
    config = copying(tmp_path, model={"width": 32, "feed_forward": 64})
    pair, single = make_variants(config, {"model.shape": ["encoder-decoder", "decoder"]}, "parameters")
    assert abs(pair.parameters - single.parameters) <= TOLERANCE * pair.parameters
    assert single.config.model.feed_forward > pair.config.model.feed_forward
    tokenizers = Tokenizers.train(config.text, ["abc"], ["abc"])
    found = [measures.reaches(build_model(each.config, tokenizers).transformer) for each in (pair, single)]
    assert [list(each) for each in found] == [["encoder", "decoder"], ["decoder"]]


@pytest.mark.parametrize(
    ("shape", "vary", "message"),
    [
        ("language model", {"model.shape": ["decoder", "encoder-decoder"]}, "--vary model.shape=.*running text"),
        ("language model", {"model.max_length": [12, 24]}, "the same windows"),
        ("language model", {"text.vocabulary": [8, 16]}, "the same windows"),
        ("labels of lines", {"model.shape": ["encoder", "decoder"]}, "--vary model.shape=.*one vocabulary"),
        ("decoder", {"model.shape": ["decoder", "encoder"]}, "set training.metric"),
    ],
)
def test_shapes_that_cannot_be_compared_are_refused_in_one_line(
    tmp_path: Path, shape: str, vary: dict[str, Any], message: str
) -> None:
    config = of_shape(tmp_path, shape)
    config = build_config(
        {**config.model_dump(exclude_unset=True), "training": config.training.model_dump(exclude={"metric"})}
    )
    with pytest.raises(ConfigError, match=message) as caught:
        make_variants(config, vary, None)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("metric", ["bits_per_byte", "accuracy"])
def test_the_statistics_of_windows_give_the_score_of_the_text(metric: Any) -> None:
    windows = [[8.0, 4, 1], [4.0, 4, 3], [3.0, 2, 1]]
    score = {"bits_per_byte": 15.0 / (np.log(2) * 20), "accuracy": 50.0}[metric]
    found = statistics_of_text(metric, windows, score)
    assert found.value(found.rows.sum(axis=0)) == pytest.approx(score)
    twice = {"bits_per_byte": 16.0 / (np.log(2) * 16), "accuracy": 25.0}[metric]  # 2 bytes a token
    assert found.value(2 * found.rows[0]) == pytest.approx(twice)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "vary", "metric", "speeds"),
    [
        ("language model", {"model.mixer": MIXERS[:2]}, "bits_per_byte", 1),
        pytest.param("masked tokens", {"model.mixer": MIXERS[:2]}, "accuracy", 0, marks=pytest.mark.long),
        pytest.param("labels of lines", {"model.dropout": [0.0, 0.1]}, "accuracy", 2, marks=pytest.mark.long),
        ("labels of tokens", {"model.dropout": [0.0, 0.1]}, "macro_f1", 2),
        pytest.param(*("decoder", {"model.shape": ["encoder-decoder", "decoder"]}, "exact", 2), marks=pytest.mark.long),
    ],
)
def test_every_shape_is_compared(tmp_path: Path, shape: str, vary: dict[str, Any], metric: str, speeds: int) -> None:
    found = zhuyi.compare(of_shape(tmp_path, shape), vary, tmp_path / "out", seeds=1)
    assert found is not None
    assert found.metric == metric
    first, other = found.variants
    (difference,) = found.differences
    gap = other.scores["dev"].mean - first.scores["dev"].mean
    assert difference.score.value == pytest.approx(gap)
    assert difference.score.low <= gap <= difference.score.high
    assert first.curves[0].updates == [5, 10, 15, 20]
    assert found.unit == ("windows" if "text" in SHAPES[shape].get("data", {}) else "lines")
    text = to_markdown(found)
    assert f"over the {found.compared_lines:,} {found.unit} of the dev set" in text
    (costs,) = re.findall(r"^\| variant \| training, tokens/s \| memory, MB \|(.*)$", text, re.MULTILINE)
    assert costs.count("|") == speeds
