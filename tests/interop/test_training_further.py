"""A model that was made elsewhere is fine-tuned like any other."""

from pathlib import Path

import pytest
from test_huggingface import lines, make_marian

import zhuyi
from zhuyi.config import build_config
from zhuyi.directory import RUN, load_config_of
from zhuyi.interop.importing import import_model
from zhuyi.training.recipe import train


@pytest.mark.slow
def test_an_imported_model_learns_and_was_scored_before(tmp_path: Path) -> None:
    """It does not say how it was trained. Its two sides look tokens up in one list, which gets more."""
    import_model(make_marian(tmp_path / "opus", "swish").directory, tmp_path / "imported")
    assert not (tmp_path / "imported" / RUN).exists()
    data = {}
    for part, count, seed in (("", 60, 5), ("dev_", 12, 6)):
        text = [" ".join(line.split()[:4]) for line in lines(count, seed)]  # within the model's limit of an output
        for side, written in (("source", text), ("target", [line.upper() for line in text])):
            data[f"{part}{side}"] = str(tmp_path / f"{part}{side}")
            (tmp_path / f"{part}{side}").write_text("".join(f"{line}\n" for line in written), encoding="utf-8")
    settings = {"steps": 4, "save_every": 2, "threads": 1, "device": "cpu", "metric": "chrf"}
    training = {**settings, "start_from": str(tmp_path / "imported")}
    text = {"add_pieces": ["hypertonia"], "tags": [">>nds<<"], "source_prefix": [">>fra<<"]}
    found = train(build_config({"data": data, "text": text, "training": training}), tmp_path / "out")
    before, after = (load_config_of(tmp_path / name) for name in ("imported", "out"))
    assert (after.training.optimizer, after.training.learning_rate) == ("adamw", pytest.approx(7e-5, rel=0.01))
    assert (after.model, after.decoding.stop) == (before.model, before.decoding.stop)
    tokenizers = zhuyi.load(tmp_path / "out", device="cpu").tokenizers
    assert tokenizers.shared
    assert len(tokenizers.source) == len(zhuyi.load(tmp_path / "imported").tokenizers.source) + 2
    assert len(tokenizers.source.encode(["hypertonia"])[0]) == 2  # and its tag
    assert found.before.keys() == {"chrf"}
    assert 'license: "apache-2.0"' in (tmp_path / "out" / "README.md").read_text(encoding="utf-8")

    plain = train(build_config({"data": data, "training": training}), tmp_path / "plain")
    sides = ((tmp_path / f"dev_{side}").read_text(encoding="utf-8").splitlines() for side in ("source", "target"))
    expected = zhuyi.evaluate(zhuyi.load(tmp_path / "imported", device="cpu"), *sides, ["chrf"])
    assert load_config_of(tmp_path / "plain").decoding == before.decoding
    assert plain.before["chrf"] == expected.scores["chrf"].value
