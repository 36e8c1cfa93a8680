"""The corpora of `benchmarks/published/`: no part has what is in another, and a word's pronunciations stay together."""

from pathlib import Path
from typing import Any

import pytest
from command_line import write_pairs
from commands import evaluate, train, training_of
from published import corpora, table
from published.tasks import TASKS

from zhuyi.config import load_config

ROOT = Path(__file__).parents[1]


def words(folder: Path, part: str) -> list[str]:
    return (folder / f"{part}.source").read_text(encoding="utf-8").splitlines()


def test_words_of_cmudict_are_in_one_part_each_whatever_the_order_of_the_file(tmp_path: Path) -> None:
    lines = [f"W{k}\tA B" for k in range(2 * corpora.CARVED + 60)] + [f"W{k}\tA C" for k in range(0, 5000, 7)]
    parts = {}
    for name, ordered in (("one", lines), ("other", lines[::-1])):
        (tmp_path / name).mkdir()
        (tmp_path / name / "train.dic").write_text("".join(f"{line}\n" for line in ordered), encoding="utf-8")
        corpora.cmudict(tmp_path / name, tmp_path / name)
        parts[name] = [sorted(words(tmp_path / name, part)) for part in ("train", "dev", "test")]
    assert parts["one"] == parts["other"]
    found = [set(part) for part in parts["one"]]
    assert [len(part) for part in found] == [60, corpora.CARVED, corpora.CARVED]
    assert len(set.union(*found)) == sum(map(len, found))
    assert sum(map(len, parts["one"])) == len(lines)


def test_segmented_text_is_put_together(tmp_path: Path) -> None:
    for name in ("train", "valid", "test.2016", "test.2017"):
        (tmp_path / f"{name}.en").write_text("a pul@@ ley sy@@ st@@ em .\n", encoding="utf-8")
        (tmp_path / f"{name}.de").write_text("ein flaschen@@ zug .\n", encoding="utf-8")
    corpora.multi30k(tmp_path, tmp_path / "out")
    assert words(tmp_path / "out", "test.2016") == ["a pulley system ."]
    assert (tmp_path / "out" / "dev.target").read_text(encoding="utf-8") == "ein flaschenzug .\n"


def test_every_task_has_settings_that_load() -> None:
    for task in TASKS.values():
        config = load_config(ROOT / "benchmarks/published" / task.config)
        assert config.training.metric == task.metric
        assert config.decoding.beam == 5


def test_the_mean_of_the_languages_is_a_row_of_its_own_and_an_ensemble_needs_several_models() -> None:
    def result(ours: float, together: float | None) -> dict[str, Any]:
        run = {"steps": 1800, "minutes": 12.0, "parameters": 1_979_904}
        ensemble = {} if together is None else {"ensemble": {"test": {"value": together}}}
        return {"mean": {"test": ours}, "runs": [run, run], **ensemble}

    both = {"g2p-hun": result(1.0, 0.5), "g2p-fre": result(8.0, 7.5)}
    published = [TASKS[name].published["test"] for name in both]
    mean = f"{sum(published) / 2:.2f}"
    assert [row.split(" | ")[2:5] for row in table.table(both, 0)[2:]] == [
        [f"{published[0]:g}", "**1.00** (2)", "0.50 (2)"],
        [f"{published[1]:g}", "**8.00** (2)", "7.50 (2)"],
        [mean, "**4.50**", "4.00"],
    ]
    one_alone = {**both, "g2p-fre": result(8.0, None)}
    assert table.table(one_alone, 0)[-1].split(" | ")[2:5] == [mean, "**4.50**", ""]
    assert table.whose(both, 0).count("G2P") == 1


@pytest.mark.slow
def test_other_settings_train_another_model(tmp_path: Path) -> None:
    source, target = write_pairs(tmp_path)
    config = tmp_path / "config.toml"
    config.write_text(
        '[data]\nsource = "train.source"\ntarget = "train.target"\n[text]\nkind = "character"\n'
        "[model]\nwidth = 16\nheads = 2\nfeed_forward = 16\n[training]\nsteps = 2\nthreads = 1\n",
        encoding="utf-8",
    )
    one, other = (train(config, tmp_path / "model", {"training.learning_rate": rate}) for rate in (0.001, 0.002))
    assert one != other
    assert evaluate([one], source, target, "chrf").keys() == {"loss", "value", "signature"}
    found = training_of(one)
    assert (found["steps"], found["threads"], found["seed"]) == (2, 1, 1)
    assert train(config, tmp_path / "model", {"training.learning_rate": 0.001}) == one
    assert training_of(one) == found
