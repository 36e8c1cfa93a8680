"""Several corpora in one run: their shares of an epoch, and nothing else of them."""

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from command_line import zhuyi as run

from zhuyi.config import build_config, load_config, to_toml
from zhuyi.data.mix import Mix
from zhuyi.data.prepare import examples, prepare
from zhuyi.data.sequences import InMemory
from zhuyi.errors import ConfigError, DataError


def corpus(name: int, pairs: int) -> InMemory:
    """Each pair says whose it is, and which."""
    return InMemory([[name, pair] for pair in range(pairs)], [[name] * (1 + pair % 5) for pair in range(pairs)])


def pairs_of(mix: Mix) -> list[tuple[int, int]]:
    pairs = [mix.source(pair) for pair in range(len(mix.source_lengths))]
    return [(int(name), int(number)) for name, number in pairs]


@pytest.mark.parametrize(("weight", "drawn"), [(0.5, 5), (1.0, 10), (2.5, 25), (0.01, 1)])
def test_an_epoch_has_all_of_one_corpus_and_a_share_of_the_others(weight: float, drawn: int) -> None:
    mix = Mix(corpus(1, 10), [corpus(2, 7), corpus(3, 100)], [weight, 1.0], seed=1, epoch=3)
    found = pairs_of(mix)
    assert Counter(name for name, _ in found) == {1: 10, 2: drawn, 3: 10}
    assert found[:10] == [(1, pair) for pair in range(10)]
    assert [len(mix.target(pair)) for pair in range(len(found))] == mix.target_lengths.tolist()
    assert [mix.line(pair) for pair in range(len(found))] == [pair + 1 for _, pair in found]


def test_epochs_draw_every_pair_before_any_again() -> None:
    """Fifty pairs, seven an epoch: an order ends in the middle of an epoch."""
    drawn = [pairs_of(Mix(corpus(1, 7), [corpus(2, 50)], [1.0], seed=1, epoch=epoch))[7:] for epoch in range(50)]
    counts = Counter(pair for some in drawn for pair in some)
    assert set(counts.values()) == {7}
    first = Counter(pair for some in drawn[:7] for pair in some)
    assert max(first.values()) == 1
    assert drawn[0] != sorted(pair for some in drawn for pair in some)[:7]


def test_the_draw_follows_from_seed_and_epoch() -> None:
    def drawn(seed: int, epoch: int) -> list[tuple[int, int]]:
        return pairs_of(Mix(corpus(1, 20), [corpus(2, 200), corpus(3, 200)], [1.0, 1.0], seed, epoch))[20:]

    assert drawn(1, 4) == drawn(1, 4)
    assert len({str(drawn(*each)) for each in [(1, 0), (1, 1), (2, 0)]}) == 3
    numbers = np.array([pair for _, pair in drawn(1, 0)])
    assert set(numbers[:20]) != set(numbers[20:])  # each corpus in an order of its own


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name, lines in (("new", ["a b", "b a", "c"]), ("old", ["x", "y x", "z", "x y z", ""]), ("dev", ["y x"])):
        text = "".join(f"{line}\n" for line in lines)
        (tmp_path / f"{name}.en").write_text(text, encoding="utf-8")
        (tmp_path / f"{name}.de").write_text(text.upper(), encoding="utf-8")
    (tmp_path / "run.toml").write_text(
        "text.kind = 'character'\n[data]\nsource = 'new.en'\ntarget = 'new.de'\ndev_source = 'dev.en'\n"
        "dev_target = 'dev.de'\n[[data.mix]]\nsource = 'old.en'\ntarget = 'old.de'\nweight = 0.5\n",
        encoding="utf-8",
    )
    return tmp_path


def test_a_file_of_settings_names_them_from_where_it_is(files: Path) -> None:
    config = load_config(files / "run.toml")
    (mixed,) = config.data.mix
    assert (mixed.source, mixed.target, mixed.weight) == (str(files / "old.en"), str(files / "old.de"), 0.5)
    again = files / "again.toml"
    again.write_text(to_toml(config), encoding="utf-8")
    assert load_config(again) == config
    override = f'data.mix=[{{source = {json.dumps(str(files / "dev.en"))}, target = "other", weight = 2}}]'
    assert [each.weight for each in load_config(files / "run.toml", [override]).data.mix] == [2.0]


def test_all_corpora_are_learned_from_reported_and_looked_through(files: Path) -> None:
    data = prepare(load_config(files / "run.toml"))
    (mixed,) = data.mixed
    assert (len(data.store), len(mixed)) == (3, 4)
    assert all(id > 3 for line in data.tokenizers.source.encode(["xyz"]) for id in line)
    assert len(examples(data.config, data.store, data.tokenizers, 0, data.mixed).source_lengths) == 3 + 2
    assert data.report.dev is not None  # type: ignore[union-attr]
    assert data.report.dev.leaks == 1  # type: ignore[union-attr]
    outcome = run("check", files / "run.toml")
    assert outcome.code == 0, outcome.err
    assert f"mixed in: 2 pairs an epoch, of 5 in {files / 'old.en'}, 4 kept" in outcome.out


@pytest.mark.parametrize(
    ("mix", "message"),
    [
        ([{"source": "a"}], "data.mix.0.target"),
        ([{"source": "a", "target": ""}], "data.mix: target is empty"),
        ([{"source": "a", "target": "b", "weight": 0.0}], "data.mix.0.weight should be greater"),
        ([{"source": "a", "target": "b", "wait": 1.0}], "data.mix.0.wait"),
        ("old", "data.mix should be a valid tuple"),
    ],
)
def test_what_a_mix_cannot_be_is_one_line(mix: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        build_config({"data": {"source": "s", "target": "t", "mix": mix}})
    assert "\n" not in str(caught.value)


def test_a_mix_is_of_pairs(files: Path) -> None:
    mix = [{"source": "a", "target": "b"}]
    with pytest.raises(ConfigError, match=r"data\.mix is mixed into pairs: name them"):
        build_config({"data": {"text": "t", "mix": mix}, "model": {"shape": "decoder"}})
    with pytest.raises(ConfigError, match=r"data\.mix is of pairs of text, and not of labels"):
        build_config({"data": {"source": "s", "target": "t", "mix": mix}, "model": {"shape": "encoder"}})
    (files / "old.de").write_text("X\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"old\.en has 5 lines, .*old\.de has 1"):
        prepare(load_config(files / "run.toml"))
