"""One directory in, one directory out: every byte checked, nothing half-written, nothing that runs code."""

import errno
import os
import pickle
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import TINY, tiny_model
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from zhuyi import files
from zhuyi.checkpoint import Model, build_model, load_model, load_weights, save_model, weights_of
from zhuyi.config import build_config
from zhuyi.directory import WEIGHTS, check_vocabularies, read_metrics
from zhuyi.errors import CheckpointError
from zhuyi.files import MANIFEST, ensure_writable, read_directory, write_atomically, write_directory
from zhuyi.loading import load
from zhuyi.text.tokenizer import Tokenizers
from zhuyi.training.run_state import RUN_ADVICE


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("pristine"))


@pytest.fixture
def directory(pristine: Path, tmp_path: Path) -> Path:
    """A model directory that the test may damage."""
    return Path(shutil.copytree(pristine, tmp_path / "model"))


def model_of(**sections: dict[str, Any]) -> Model:
    config = build_config({name: {**TINY.get(name, {}), **sections.get(name, {})} for name in TINY | sections})
    return build_model(config, Tokenizers.train(config.text, ["a dog runs"], ["ein Hund läuft"]))


def replace_file(directory: Path, name: str, content: bytes) -> None:
    """Another content for a file, and a manifest that knows it."""
    write_directory(directory, {**read_directory(directory), name: content})


def refused(directory: Path, *parts: object) -> str:
    with pytest.raises(CheckpointError) as caught:
        load_model(directory)
    message = str(caught.value)
    assert "\n" not in message
    for part in parts:
        assert str(part) in message
    return message


# There and back


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"text": {"shared": False}},
        {"text": {"source_kind": "character", "target_kind": "whitespace"}, "model": {"tie": "output"}},
        {"model": {"tie": "none", "norm_kind": "layer", "bias": "all", "activation": "gelu"}},
        {"model": {"positions": "learned", "encoder_mixer": "convolution", "decoder_mixer": "recurrence"}},
        {"model": {"positions": "sinusoidal", "norm": "post"}},
    ],
)
def test_what_is_read_is_what_was_written(tmp_path: Path, sections: dict[str, dict[str, Any]]) -> None:
    model = model_of(**sections)
    save_model(model, tmp_path / "a", card="# A card\n")
    again = load_model(tmp_path / "a")
    assert again.config == model.config
    assert again.tokenizers.files() == model.tokenizers.files()
    assert again.tokenizers.shared == model.tokenizers.shared
    assert not again.transformer.training
    before, after = weights_of(model.transformer), weights_of(again.transformer)
    assert before.keys() == after.keys()
    assert all(before[name].equal(after[name]) for name in before)
    assert (tmp_path / "a/README.md").read_text(encoding="utf-8") == "# A card\n"

    save_model(again, tmp_path / "b", card="# A card\n")
    names = {path.name for path in (tmp_path / "a").iterdir()}
    assert names == {path.name for path in (tmp_path / "b").iterdir()}
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in names)


def test_a_tied_matrix_stands_once_in_the_file(directory: Path) -> None:
    model = load_model(directory)
    tensors = load_tensors((directory / WEIGHTS).read_bytes())
    assert sum(tensor.numel() for tensor in tensors.values()) == model.transformer.parameter_count()
    large = [name for name, tensor in tensors.items() if tensor.shape[0] == len(model.tokenizers.target)]
    assert len(large) == 1
    assert model.transformer.projection.weight is model.transformer.encoder.embedding.weight
    assert "embedding" in large[0]


def test_a_newer_model_replaces_an_older_one(tmp_path: Path) -> None:
    save_model(model_of(), tmp_path, card="one")
    newer = model_of(model={"width": 8})
    save_model(newer, tmp_path, card="two")
    assert load_model(tmp_path).config == newer.config
    assert (tmp_path / "README.md").read_text(encoding="utf-8") == "two"


def test_a_tokenizer_left_over_from_another_model_is_no_part_of_this_one(tmp_path: Path) -> None:
    save_model(model_of(text={"shared": False}), tmp_path)
    save_model(model_of(), tmp_path)
    assert (tmp_path / "tokenizer.source.json").exists()
    assert load_model(tmp_path).tokenizers.shared


# Damage


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", WEIGHTS, "README.md"])
@pytest.mark.parametrize("where", [0, 0.5, 1])
def test_a_flipped_byte_anywhere(directory: Path, name: str, where: float) -> None:
    path = directory / name
    content = bytearray(path.read_bytes() or b" ")
    content[round(where * (len(content) - 1))] ^= 0x20
    path.write_bytes(content)
    refused(directory, path, "damaged", MANIFEST)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", WEIGHTS, "README.md"])
def test_a_missing_file(directory: Path, name: str) -> None:
    (directory / name).unlink()
    refused(directory, directory / name, MANIFEST)


def test_a_missing_manifest_and_where_to_look(directory: Path) -> None:
    (directory / MANIFEST).unlink()
    assert "checkpoints" not in refused(directory, directory, MANIFEST)
    for step in (5, 10):
        shutil.copytree(directory, directory / f"checkpoints/step-{step:06d}", ignore=lambda *_: ["checkpoints"])
        (directory / f"checkpoints/step-{step:06d}" / MANIFEST).write_text("{}", encoding="utf-8")
    refused(directory, "--resume", directory / "checkpoints/step-000010")


@pytest.mark.parametrize(
    "content",
    [
        "[]",
        '"format"',
        '{"files": {}}',
        '{"format": "1", "files": {}}',
        '{"format": 2}',
        '{"format": 2, "files": ["config.json"]}',
        '{"format": 2, "files": {"config.json": 3}}',
        '{"format": 2, "files": {"config.json": [null]}}',
        '{"format": 0, "files": {}}',
        '{"format": 2, "files": {"../secret": "0"}}',
        '{"format": 2, "files": {"..": "0"}}',
        "[" * 100_000,
    ],
    ids=lambda content: content[:50],
)
def test_a_manifest_that_is_none(directory: Path, content: str) -> None:
    (directory / MANIFEST).write_text(content, encoding="utf-8")
    refused(directory, MANIFEST)


def test_no_directory_at_all(tmp_path: Path) -> None:
    refused(tmp_path / "none", tmp_path / "none", "no such")
    (tmp_path / "file").touch()
    refused(tmp_path / "file", tmp_path / "file")


class Bomb:
    """What a pickle can do."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, (os.environ["BOMB"],)


@pytest.mark.parametrize("how", ["torch", "pickle", "nothing", "text"])
def test_weights_that_are_no_safetensors(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """Even where the manifest vouches for it, nothing in a model directory is ever unpickled."""
    monkeypatch.setenv("BOMB", str(tmp_path / "exploded"))
    torch.save({"weight": Bomb()}, tmp_path / "bomb.pt")
    contents = {
        "torch": (tmp_path / "bomb.pt").read_bytes(),
        "pickle": pickle.dumps(Bomb()),
        "nothing": b"",
        "text": b"not tensors at all",
    }
    replace_file(directory, WEIGHTS, contents[how])
    refused(directory, directory / WEIGHTS)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize("engine", ["auto", "torch"])
def test_a_vocabulary_that_is_not_the_tokenizers(directory: Path, engine: str) -> None:
    files = read_directory(directory)
    weights = load_tensors(files[WEIGHTS])
    weights["encoder.embedding.weight"] = weights["encoder.embedding.weight"][:-1].contiguous()
    write_directory(directory, {**files, WEIGHTS: save_tensors(weights)})
    with pytest.raises(CheckpointError, match=r"model\.safetensors: tensor encoder\.embedding\.weight has shape"):
        load(directory, device="cpu", engine=engine)


@pytest.mark.parametrize("tie", ["none", "embeddings", "output", "all"])
@pytest.mark.parametrize(
    ("model", "text"),
    [
        ({"shape": "encoder-decoder"}, {"shared": False}),
        ({"shape": "encoder-decoder"}, {"shared": True}),
        ({"shape": "decoder"}, {"shared": True}),
        ({"shape": "encoder"}, {"shared": False, "target_kind": "whitespace"}),
    ],
    ids=["two vocabularies", "one vocabulary", "decoder", "encoder"],
)
def test_each_matrix_over_a_vocabulary_is_checked(model: dict[str, Any], text: dict[str, Any], tie: str) -> None:
    stored = model_of(model={**model, "tie": tie}, text=text).stored()
    check_vocabularies(stored)
    for name, weight in stored.weights.items():
        if name.endswith(("embedding.weight", "projection.weight")):
            with pytest.raises(CheckpointError, match=f"tensor {name} has shape"):
                check_vocabularies(replace(stored, weights={**stored.weights, name: weight[1:]}))
            without = {other: weight for other, weight in stored.weights.items() if other != name}
            with pytest.raises(CheckpointError, match=f"tensor {name} is missing"):
                check_vocabularies(replace(stored, weights=without))


def test_weights_of_another_shape_or_name(directory: Path) -> None:
    weights = load_tensors((directory / WEIGHTS).read_bytes())
    name = sorted(weights)[0]
    wider = torch.zeros(*weights[name].shape[:-1], weights[name].shape[-1] + 1)
    replace_file(directory, WEIGHTS, save_tensors({**weights, name: wider}))
    refused(directory, WEIGHTS, name, tuple(wider.shape), tuple(weights[name].shape))
    replace_file(directory, WEIGHTS, save_tensors({k: v for k, v in weights.items() if k != name}))
    refused(directory, WEIGHTS, name, "missing")
    replace_file(directory, WEIGHTS, save_tensors({**weights, "stranger": torch.zeros(1)}))
    refused(directory, WEIGHTS, "stranger")


def test_weights_that_do_not_fit_change_nothing() -> None:
    transformer = model_of().transformer
    before = {name: tensor.clone() for name, tensor in weights_of(transformer).items()}
    broken = {name: torch.zeros_like(tensor) for name, tensor in before.items()}
    broken[sorted(broken)[-1]] = torch.zeros(1)
    with pytest.raises(CheckpointError):
        load_weights(transformer, broken)
    assert all(tensor.equal(before[name]) for name, tensor in weights_of(transformer).items())


# Writing


@pytest.mark.parametrize("call", range(1, 6))
def test_a_write_that_stops_between_two_files_is_never_taken_for_a_model(
    directory: Path, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    """Of the five files the manifest is the last; until it is there, the directory is none."""
    old = read_directory(directory)
    new = {name: content + b" " for name, content in old.items()}
    real, calls = os.replace, 0

    def replace(*arguments: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(files.os, "replace", replace)
        with pytest.raises(CheckpointError, match="cannot write"):
            write_directory(directory, new)
    assert calls == call
    assert not (directory / ".writing").exists()
    with pytest.raises(CheckpointError, match=r"manifest\.json is missing"):
        read_directory(directory)
    write_directory(directory, new)
    assert read_directory(directory) == new


def test_what_a_killed_write_left_is_swept_up(directory: Path) -> None:
    (directory / ".writing").mkdir()
    (directory / ".writing/model.safetensors").write_bytes(b"half")
    old = read_directory(directory)
    write_directory(directory, old)
    assert not (directory / ".writing").exists()
    assert read_directory(directory) == old


@pytest.mark.parametrize("failing", range(1, 6))
def test_a_full_disk_leaves_the_old_files(directory: Path, monkeypatch: pytest.MonkeyPatch, failing: int) -> None:
    old = read_directory(directory)
    real, calls = os.fsync, 0

    def fsync(descriptor: int) -> None:
        nonlocal calls
        calls += 1
        if calls == failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    with monkeypatch.context() as patched:
        patched.setattr(files.os, "fsync", fsync)
        with pytest.raises(CheckpointError, match=r"No space left on device; free some space$") as caught:
            write_directory(directory, dict.fromkeys(old, b"new"))
    assert "\n" not in str(caught.value)
    assert read_directory(directory) == old
    assert not (directory / ".writing").exists()


def test_a_single_file_is_whole_or_untouched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "deep/file"
    write_atomically(path, b"one")

    def fsync(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(files.os, "fsync", fsync)
        with pytest.raises(CheckpointError, match="No space left"):
            write_atomically(path, b"two")
    assert path.read_bytes() == b"one"
    assert list(path.parent.iterdir()) == [path]


def test_what_to_do_where_nothing_can_be_written_is_said_by_who_knows(directory: Path, tmp_path: Path) -> None:
    """A library has no --out."""
    model = load_model(directory)
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match=r"cannot write: .*; choose another place$"):
        save_model(model, tmp_path / "file")
    with pytest.raises(CheckpointError, match=r"cannot write: .*; choose another directory with --out$"):
        save_model(model, tmp_path / "file", advice=RUN_ADVICE)


@pytest.mark.unix
def test_a_link_to_a_file_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    file, link, chain = tmp_path / "elsewhere/file", tmp_path / "link", tmp_path / "chain"
    link.symlink_to("elsewhere/file")
    chain.symlink_to(link)
    for content in (b"one", b"two"):  # the first time it leads nowhere yet
        write_atomically(chain, content)
        assert (chain.is_symlink(), link.is_symlink(), file.is_symlink()) == (True, True, False)
        assert file.read_bytes() == content
    assert list(file.parent.iterdir()) == [file]
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(CheckpointError, match="Too many levels of symbolic links"):
        write_atomically(loop, b"lost")
    assert loop.is_symlink()


@pytest.mark.unix
def test_what_is_no_file_is_written_to(tmp_path: Path) -> None:
    fifo, link = tmp_path / "fifo", tmp_path / "link"
    os.mkfifo(fifo)
    link.symlink_to(fifo)
    content = b"more than a pipe holds" * 10_000
    with ThreadPoolExecutor() as threads:
        for path in (fifo, link):
            read = threads.submit(fifo.read_bytes)
            write_atomically(path, content)
            assert read.result() == content
    assert fifo.is_fifo()
    (tmp_path / "folder").mkdir()
    with pytest.raises(CheckpointError, match="Is a directory; choose another place"):
        write_atomically(tmp_path / "folder", b"")


@pytest.mark.unix
def test_a_device_is_not_replaced(tmp_path: Path) -> None:
    """As root, it was."""
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("there is no /dev/full here")
    (tmp_path / "null").symlink_to("/dev/null")
    write_atomically(tmp_path / "null", b"gone")
    (tmp_path / "full").symlink_to(full)  # were it replaced, then only here
    with pytest.raises(CheckpointError, match=r"full: cannot write: No space left on device; free some space$"):
        write_atomically(tmp_path / "full", b"content")
    assert full.is_char_device()
    assert {path.name for path in tmp_path.iterdir()} == {"null", "full"}
    assert all(path.is_symlink() for path in tmp_path.iterdir())


def test_asking_whether_it_can_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    ensure_writable(tmp_path / "a/b/c")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match="choose another place"):
        ensure_writable(tmp_path / "file/b")


@pytest.mark.parametrize("line", ["5", "[]", '{"loss": 1}', '{"step": "two"}', '{"step": 2, "lo'])
def test_records_are_read_up_to_a_line_that_is_none(tmp_path: Path, line: str) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_text(f'{{"step": 1, "loss": 2.5}}\n{line}\n{{"step": 3, "loss": 1.5}}\n', encoding="utf-8")
    assert read_metrics(file) == [{"step": 1, "loss": 2.5}]
