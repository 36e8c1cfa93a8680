"""A language model continues a text: the same with every engine, beyond its window, and as its prompt says."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import zhuyi as run

from zhuyi.checkpoint import build_model, save_model
from zhuyi.config import Config, build_config
from zhuyi.errors import ConfigError
from zhuyi.generation import generate
from zhuyi.loading import load
from zhuyi.text.tokenizer import Tokenizers
from zhuyi.translator import Translator

TEXT = ["To be, or not to be,\n", "that is the question:\n", "  whether 'tis nobler\n", "in the mind to suffer 👩‍👧\n"]
SIZES = {"shape": "decoder", "width": 16, "heads": 2, "decoder_layers": 1, "feed_forward": 16}


def settings(kind: str, **model: Any) -> Config:
    return build_config(
        {
            "data": {"text": "a.txt"},
            "text": {"kind": kind, "vocabulary": 300},
            "model": {**SIZES, "max_length": 16, **model},
        }
    )


def directory(folder: Path, kind: str = "character", **model: Any) -> Path:
    config = settings(kind, **model)
    torch.manual_seed(1)
    save_model(build_model(config, Tokenizers.train(config.text, (), TEXT)), folder / "model")
    return folder / "model"


def text(model: Translator, prompt: str = "", **shaped: Any) -> str:
    return "".join(generate(model, prompt, **shaped))


@pytest.mark.parametrize("kind", ["character", "bpe"])
def test_the_engines_write_the_same_far_beyond_the_window(tmp_path: Path, kind: str) -> None:
    model = directory(tmp_path, kind)
    native, by_torch = (load(model, engine=engine, device="cpu") for engine in ("native", "torch"))
    for shaped in ({}, {"temperature": 0.5, "seed": 7}, {"top_k": 3}, {"top_p": 0.5}):
        written = text(by_torch, "To be", tokens=50, **shaped)
        assert text(native, "To be", tokens=50, **shaped) == written
        assert text(by_torch, "To be", tokens=50, **shaped) == written, "the same arguments, the same text"
    assert text(by_torch, "To be", tokens=50, seed=8) != text(by_torch, "To be", tokens=50, seed=9)


class Endless:
    """An engine that never ends a text, and keeps what it was given to continue."""

    precision = "float32"

    def __init__(self, max_length: int) -> None:
        self.max_length = max_length
        self.given: list[tuple[list[int], int]] = []

    def stream(self, text: list[int], decoding: object, line: int = 0) -> Iterator[int]:
        assert len(text) <= self.max_length - 2, "the engine has no place for another token"
        self.given.append((text, line))
        return (4 + place % 3 for place in range(len(text), self.max_length - 1))


def endless(max_length: int) -> Translator:
    config = settings("character", max_length=max_length)
    return Translator(config, Tokenizers.train(config.text, (), TEXT), Endless(max_length))


@pytest.mark.parametrize("max_length", [2, 3, 4, 16])
def test_as_many_tokens_as_are_asked_for_whatever_the_prompt(max_length: int) -> None:
    model = endless(max_length)
    for prompt in ("", "T", "To be, or not to be,\nthat is the question", "\n", "?" * 15, "?" * 14):
        for tokens in (1, 2, 14, 15, 16, 40):
            assert len(text(model, prompt, tokens=tokens)) == tokens


def test_a_full_window_goes_on_from_its_later_half_with_other_draws() -> None:
    model = endless(16)
    text(model, "To be", tokens=40)
    given = model.engine.given
    assert [len(each) for each, _ in given] == [5, 7, 7, 7, 7]
    assert [line for _, line in given] == [0, 1, 2, 3, 4]


def test_a_text_is_given_out_as_it_is_drawn() -> None:
    parts = generate(endless(16), "To", tokens=10**9)
    assert len("".join(islice(parts, 5))) == 5


def test_a_character_of_several_tokens_is_given_out_whole(tmp_path: Path) -> None:
    """Bytes are tokens of bpe: what is given out is never a part of a character that is still to come."""
    model = load(directory(tmp_path, "bpe"), engine="torch", device="cpu")
    parts = list(generate(model, "in the mind", tokens=200, temperature=2.0))
    assert all("�" not in part for part in parts[:-1]) or any(len(part) > 1 for part in parts)
    assert "".join(parts) == text(model, "in the mind", tokens=200, temperature=2.0)


def test_only_a_language_model_generates(tmp_path: Path) -> None:
    config = build_config({"text": {"kind": "character"}, "model": {**SIZES, "max_length": 16}})
    save_model(build_model(config, Tokenizers.train(config.text, ["a"], ["b"])), tmp_path / "pairs")
    with pytest.raises(ConfigError, match="was trained on pairs"):
        generate(load(tmp_path / "pairs"), "a")
    with pytest.raises(ConfigError, match=r"decoding\.temperature"):
        generate(load(directory(tmp_path)), temperature=-1.0)
    with pytest.raises(ConfigError, match=r"top_k = 1"):
        generate(load(directory(tmp_path)), temperature=0.0)


@pytest.mark.slow
def test_on_the_command_line(tmp_path: Path) -> None:
    model = directory(tmp_path)
    outcome = run("generate", model, "To be", "--tokens", 30, "--seed", 3)
    assert outcome.out.startswith("To be")
    assert outcome.out.endswith("\n")
    assert run("generate", model, "-", "--tokens", 30, "--seed", 3, stdin=b"To be") == outcome
    assert "1 of the prompt's 2 tokens are not in the model's vocabulary" in run("generate", model, "T你").err
    refused = run("translate", model, stdin=b"To be\n")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "continue a text with zhuyi generate" in refused.err
