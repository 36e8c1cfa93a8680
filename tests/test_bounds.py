"""Every setting with extreme values: it is refused in one line, or it works."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import TINY, tiny_model, write_pairs
from command_line import zhuyi as run

import zhuyi
from zhuyi.checkpoint import build_model
from zhuyi.config import FILES, Config, DataConfig, build_config
from zhuyi.data.batches import Batch
from zhuyi.errors import ConfigError
from zhuyi.loading import build_translator
from zhuyi.text.tokenizer import EOS, Tokenizers
from zhuyi.training.objective import Objective, TeacherForcing
from zhuyi.training.optimizers import Optimizer, learning_rate
from zhuyi.training.run_state import RunState
from zhuyi.training.update import update

EXTREMES = [
    math.inf,
    -math.inf,
    math.nan,
    10**30,
    -(10**30),
    1e308,
    -1e308,
    5e-324,
    1e-300,
    0,
    0.0,
    -1,
    "",
    "x" * 10**5,
]
SECTIONS = {name: type(field.default) for name, field in Config.model_fields.items() if name != "preset"}
KEYS = [(section, key) for section, kind in SECTIONS.items() for key in kind.model_fields]
COSTLY = {
    *("vocabulary", "width", "heads", "head_width", "encoder_layers", "decoder_layers", "feed_forward", "max_length"),
    "beam",
}
"""Of these the largest takes more memory or time than a test has."""
LINES = ["a dog runs", "two cats", "b"]


def bounds(section: str, key: str) -> Iterator[Any]:
    """The smallest and the largest number that a setting takes."""
    for bound in SECTIONS[section].model_fields[key].metadata:
        for name, towards in (("ge", None), ("le", None), ("gt", math.inf), ("lt", -math.inf)):
            if (end := getattr(bound, name, None)) is not None and not (name == "le" and key in COSTLY):
                yield end if towards is None else math.nextafter(end, towards)


def with_value(section: str, key: str, value: Any) -> Config:
    tree: dict[str, Any] = {**TINY, "data": {key: "file" for key in FILES if not key.endswith("text")}}
    return build_config({**tree, section: {**tree.get(section, {}), key: value}})


def work(config: Config) -> None:
    """Two updates, and a search."""
    torch.manual_seed(1)
    model = build_model(config, Tokenizers.train(config.text, LINES, LINES))
    objective = Objective(model.transformer, TeacherForcing(config.training.label_smoothing))
    optimizer = Optimizer(model.transformer, config.training)
    tokens = torch.tensor([[4, EOS]])
    batch = Batch(tokens, tokens > 0, torch.tensor([[2, 4]]), tokens, pairs=np.array([0]))
    state = RunState()
    for step in (1, 2):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(config.training, step, share=0.5)
        loss, norm = update(objective, optimizer, [batch], config.training.clip, state)
        assert math.isfinite(loss + norm)
    assert all(weight.isfinite().all() for weight in model.transformer.parameters())
    with optimizer.averaged():
        assert len(build_translator(model, "cpu").translate(LINES)) == len(LINES)


@pytest.mark.slow
@pytest.mark.parametrize(("section", "key"), KEYS)
def test_it_is_refused_by_its_name_or_it_works(section: str, key: str) -> None:
    for value in [*EXTREMES, *bounds(section, key)]:
        try:
            config, refusal = with_value(section, key, value), ""
        except ConfigError as error:
            config, refusal = None, str(error)
        if config is None:
            assert f"{section}.{key}" in refusal
            assert "\n" not in refusal
        elif section in ("text", "model", "decoding") or isinstance(value, float):
            assert not isinstance(value, float) or math.isfinite(value)
            work(config)


@pytest.mark.slow
@pytest.mark.parametrize("end", [0, -1])
def test_a_run_with_all_its_counts_at_their_ends(end: int, tmp_path: Path) -> None:
    """The lowest, which is a run of one update; and the highest, which only its three passes end."""
    source, target = map(str, write_pairs(tmp_path))
    data = {"source": source, "target": target, "dev_source": source, "dev_target": target}
    counts = (
        "steps",
        "minutes",
        "tokens_per_batch",
        "accumulate",
        "warmup",
        "save_every",
        "keep",
        "average",
        "patience",
    )
    training = {key: list(bounds("training", key))[end] for key in (*counts, "log_every", "seed")}
    training |= {"device": "cpu", "threads": 1, "epochs": 1e-9 if end == 0 else 3.0}
    result = zhuyi.train(build_config({**TINY, "data": data, "training": training}), tmp_path / "out")
    assert result.steps == (1 if end == 0 else 3)
    assert len(zhuyi.load(tmp_path / "out").translate(LINES)) == len(LINES)


@pytest.mark.parametrize("name", DataConfig.model_fields)
@pytest.mark.parametrize("value", ["", "x" * 10**5, "\\u0000"])
def test_a_file_of_no_possible_name_is_one_line(name: str, value: str, tmp_path: Path) -> None:
    source, target = write_pairs(tmp_path)
    files = {f"data.{key}": source if key.endswith("source") else target for key in FILES} | {f"data.{name}": value}
    outcome = run("check", *[word for key, file in files.items() for word in ("--set", f'{key}="{file}"')])
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["demo", "--minutes", "inf"], "training.minutes"),
        (["demo", "--minutes", "nan"], "minutes"),
        (["demo", "--minutes", "1e300"], "training.minutes"),
        (["translate", "MODEL", "--length-penalty", "1000"], "length_penalty"),
        (["translate", "MODEL", "--length-penalty", "inf"], "length_penalty"),
        (["translate", "MODEL", "--length-penalty", "nan"], "length_penalty"),
        (["translate", "MODEL", "--beam", str(10**30)], "beam"),
        (["translate", "MODEL", "--n-best", str(10**30)], "n_best"),
        (["translate", "MODEL", "--n-best", str(-(10**30))], "n_best"),
        (["look", "MODEL", "--port", "65536"], "--port"),
        (["look", "MODEL", "--port", "-1"], "--port"),
        (["config", "--set", "training.minutes=inf"], "--set training.minutes=inf"),
        (["config", "--set", "training.learning_rate=inf"], "training.learning_rate"),
        (["config", "--set", "decoding.max_ratio=inf"], "decoding.max_ratio"),
    ],
)
def test_a_number_that_cannot_work(
    arguments: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model = tiny_model(tmp_path / "model")
    outcome = run(*[str(model) if word == "MODEL" else word for word in arguments], stdin=b"a\n")
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert says in outcome.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model"]
