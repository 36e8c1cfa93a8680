"""Lines and their labels as batches, and data that has too many labels or too few."""

from pathlib import Path

import numpy as np
import pytest

from zhuyi.config import Config, build_config
from zhuyi.data.batches import token_counts
from zhuyi.data.labelled import Labelled
from zhuyi.data.prepare import prepare
from zhuyi.data.sequences import InMemory
from zhuyi.errors import DataError
from zhuyi.text.tokenizer import EOS, PAD


def config(folder: Path, labels: str, dev: tuple[str, str], *pairs: tuple[str, str]) -> Config:
    """A configuration of these lines and labels."""
    data = {}
    for name, lines in (("", pairs), ("dev_", (dev,))):
        for side, column in zip(("source", "target"), zip(*lines, strict=True), strict=True):
            path = folder / f"{name}{side}"
            path.write_text("".join(f"{line}\n" for line in column), encoding="utf-8")
            data[f"{name}{side}"] = str(path)
    text = {"source_kind": "whitespace"}
    return build_config({"data": data, "text": text, "model": {"shape": "encoder", "labels": labels}})


def test_a_line_has_one_label() -> None:
    corpus = Labelled(InMemory([[5, 6, 7], [8]], [[4], [9]]), "line")
    batch = corpus.collate(np.array([1, 0]))
    assert batch.source.tolist() == [[8, EOS, PAD, PAD], [5, 6, 7, EOS]]
    assert batch.target_out.tolist() == [[9], [4]]
    assert batch.target_in.shape == (2, 0)
    assert token_counts(corpus, np.arange(2)) == (batch.source_tokens, batch.target_tokens) == (6, 2)


def test_each_token_has_a_label_and_its_eos_none() -> None:
    corpus = Labelled(InMemory([[5, 6, 7], [8]], [[4, 4, 9], [9]]), "token")
    batch = corpus.collate(np.array([0, 1]))
    assert batch.target_out.tolist() == [[4, 4, 9, PAD], [9, PAD, PAD, PAD]]
    assert batch.target_tokens == 4


@pytest.mark.parametrize(
    ("labels", "wrong", "said"),
    [
        ("line", ("a b", "x y"), "2 labels"),
        ("token", ("a b", "x"), "2 tokens and 1 labels"),
        ("token", ("a", "x y"), "1 tokens and 2 labels"),
    ],
)
def test_the_line_with_the_wrong_number_of_labels_is_named(
    labels: str, wrong: tuple[str, str], said: str, tmp_path: Path
) -> None:
    right = ("a", "x")
    with pytest.raises(DataError, match=f"source, line 3: {said}"):
        prepare(config(tmp_path, labels, right, right, ("", ""), wrong))
    with pytest.raises(DataError, match=f"dev_source, line 1: {said}"):
        prepare(config(tmp_path, labels, wrong, right))
    assert prepare(config(tmp_path, labels, ("", ""), right)).report.limit == 256, "blank lines are no mistake"
