"""One directory in, one directory out: everything that inference needs, and nothing that runs code.

config.json           the resolved configuration, but for
decoding.json         how to search, unless a command says otherwise: its owner may change it (`save_decoding`)
tokenizer.json        (or tokenizer.source.json and tokenizer.target.json)
model.safetensors     the weights; a tied matrix stands once
README.md             the model card: what data, what score, which metric signature
manifest.json         the SHA-256 of each file above; written last, so that a half-written directory has none
"""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from zhuyi.config import Config, DecodingConfig, Section
from zhuyi.errors import CheckpointError, DamagedError
from zhuyi.model.transformer import Transformer
from zhuyi.text.tokenizer import Tokenizers
from zhuyi.upgrade import renamed_weights

MANIFEST = "manifest.json"
CONFIG = "config.json"
DECODING = "decoding.json"
WEIGHTS = "model.safetensors"
FORMAT = 1


@dataclass(frozen=True)
class Model:
    """What a model directory holds, in memory; `name` is that of the directory."""

    config: Config
    tokenizers: Tokenizers
    transformer: Transformer
    name: str = ""


def build_model(config: Config, tokenizers: Tokenizers) -> Model:
    """A model with fresh weights, drawn from torch's global generator."""
    targets = None if tokenizers.shared else len(tokenizers.target)
    return Model(config, tokenizers, Transformer(config.model, len(tokenizers.source), targets))


def weights_of(transformer: Transformer) -> dict[str, Tensor]:
    """Every learned tensor by name, on the CPU; a tied matrix has one name."""
    return {name: parameter.detach().cpu().contiguous() for name, parameter in transformer.named_parameters()}


def load_weights(transformer: Transformer, weights: Mapping[str, Tensor]) -> None:
    """Copy `weights`, under the names of this format or an older one, into the model.

    Raises:
        CheckpointError: naming the first tensor that is missing, unknown or of another shape.
    """
    weights, parameters = renamed_weights(weights), dict(transformer.named_parameters())
    for name in sorted(parameters.keys() ^ weights.keys()):
        raise CheckpointError(f"tensor {name} is {'missing' if name in parameters else 'not one of this model'}")
    for name, parameter in parameters.items():
        if parameter.shape != weights[name].shape:
            raise CheckpointError(
                f"tensor {name} has shape {tuple(weights[name].shape)}, the model wants {tuple(parameter.shape)}"
            )
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(weights[name])


def model_files(model: Model, card: str) -> dict[str, bytes]:
    """The files of a model directory, by name; `card` is its README.md."""
    return {
        CONFIG: _to_json(model.config, exclude={"decoding"}),
        DECODING: _to_json(model.config.decoding),
        **{name: text.encode() for name, text in model.tokenizers.files().items()},
        WEIGHTS: save_tensors(weights_of(model.transformer)),
        "README.md": card.encode(),
    }


def save_model(model: Model, directory: Path, card: str = "") -> None:
    """Write a model directory; an older model in it is replaced.

    Raises:
        CheckpointError: when it cannot be written; see `write_directory`.
    """
    write_directory(directory, model_files(model, card))


def load_model(directory: str | Path) -> Model:
    """Read a model directory, every byte checked.

    Raises:
        CheckpointError: naming the file and what is wrong with it.
    """
    directory = Path(directory)
    files = read_directory(directory, lambda name: name == WEIGHTS or name.endswith(".json"))
    for name in (CONFIG, WEIGHTS):
        if name not in files:
            raise CheckpointError(f"{directory}: {MANIFEST} does not list {name}: this is not a model directory")
    tokenizers = Tokenizers.load(directory)
    for name in tokenizers.files().keys() - files.keys():
        raise CheckpointError(f"{directory}: {MANIFEST} does not list {name}: it does not belong to this model")
    model = build_model(read_config(directory, files), tokenizers)
    try:
        load_weights(model.transformer, load_tensors(files[WEIGHTS]))
    except (CheckpointError, SafetensorError) as error:
        raise CheckpointError(f"{directory / WEIGHTS}: {error}") from error
    model.transformer.eval()
    return replace(model, name=directory.resolve().name)


def read_config(directory: Path, files: Mapping[str, bytes]) -> Config:
    """The configuration among the files of `directory`, with the decoding settings that stand beside it.

    Raises:
        CheckpointError: if it is none.
    """
    name = CONFIG
    try:
        config = Config.model_validate_json(files[CONFIG])
        if DECODING not in files:  # a model made before it was a file of its own
            return config
        name = DECODING
        return config.model_copy(update={"decoding": DecodingConfig.model_validate_json(files[DECODING])})
    except ValidationError as error:
        raise CheckpointError(f"{directory / name}: not a configuration of this version of zhuyi") from error


def load_config_of(directory: str | Path) -> Config:
    """The configuration of a model directory, every byte of the directory checked.

    Raises:
        CheckpointError: naming the file and what is wrong with it.
    """
    directory = Path(directory)
    files = read_directory(directory, lambda name: name in (CONFIG, DECODING))
    if CONFIG not in files:
        raise CheckpointError(f"{directory}: {MANIFEST} does not list {CONFIG}: this is not a model directory")
    return read_config(directory, files)


def save_decoding(directory: str | Path, decoding: DecodingConfig) -> None:
    """Change how the model in a directory searches, unless a command says otherwise.

    A process that is killed at any point leaves a directory that loads: for a moment, the manifest lists both contents.

    Raises:
        CheckpointError: if it is not a model directory, or cannot be written.
    """
    directory = Path(directory)
    load_config_of(directory)
    manifest = json.loads((directory / MANIFEST).read_bytes())
    listed, content = manifest["files"], _to_json(decoding)
    if before := listed.get(DECODING):
        listed[DECODING] = [*_either(before), _digest(content)]
        write_atomically(directory / MANIFEST, _to_bytes(manifest))
    write_atomically(directory / DECODING, content)
    listed[DECODING] = _digest(content)
    write_atomically(directory / MANIFEST, _to_bytes(manifest))


def write_directory(directory: Path, files: Mapping[str, bytes], moved: Sequence[Path] = ()) -> None:
    """Write `files` and a manifest of them into `directory`; each file whole or not at all, the manifest last.

    All new bytes are on the disk before the first old file is touched, so a full disk leaves the old ones.

    Args:
        directory: made if it is not there.
        files: contents by name.
        moved: further files, already on that disk, which are moved into the directory.

    Raises:
        CheckpointError: when it cannot be written.
    """
    with readable_failure(directory):
        digests = {name: _digest(content) for name, content in files.items()}
        digests |= {path.name: _digest_of_file(path) for path in moved}
        manifest = {"format": FORMAT, "files": digests}
        staged = {**files, MANIFEST: _to_bytes(manifest)}
        directory.mkdir(parents=True, exist_ok=True)
        staging = directory / ".writing"
        shutil.rmtree(staging, ignore_errors=True)
        try:
            staging.mkdir()
            for name, content in staged.items():
                _write_synced(staging / name, content)
            (directory / MANIFEST).unlink(missing_ok=True)
            for path in moved:
                os.replace(path, directory / path.name)
            for name in staged:
                os.replace(staging / name, directory / name)
            _sync_folder(directory)
        finally:
            shutil.rmtree(staging, ignore_errors=True)


def read_directory(directory: Path, wanted: Callable[[str], bool] = lambda _: True) -> dict[str, bytes]:
    """The `wanted` files of a directory that `write_directory` wrote; each of all is checked against the manifest.

    Raises:
        DamagedError: if a file is missing or damaged.
        CheckpointError: if it cannot be read, or the directory is none of ours.
    """
    if directory.is_file():
        raise CheckpointError(f"{directory}: a file, not a model directory")
    if not directory.is_dir():
        raise CheckpointError(f"{directory}: no such model directory")
    try:
        manifest = json.loads((directory / MANIFEST).read_bytes())
        listed = dict(manifest["files"])
    except FileNotFoundError as error:
        raise DamagedError(
            f"{directory}: not a complete model directory ({MANIFEST} is missing){_hint(directory)}"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"{directory / MANIFEST}: damaged: {error}") from error
    except OSError as error:
        raise CheckpointError(f"{directory / MANIFEST}: cannot read: {error.strerror}") from error
    if manifest.get("format") != FORMAT:
        raise CheckpointError(f"{directory / MANIFEST}: format {manifest.get('format')}, this zhuyi reads {FORMAT}")
    files = {}
    for name, digest in listed.items():
        path = directory / name
        try:
            if wanted(name):
                files[name] = path.read_bytes()
            found = _digest(files[name]) if name in files else _digest_of_file(path)
        except OSError as error:
            kind = DamagedError if isinstance(error, FileNotFoundError) else CheckpointError
            raise kind(f"{path}: {error.strerror}, although {MANIFEST} lists it") from error
        if found not in _either(digest):
            raise DamagedError(f"{path}: damaged: its SHA-256 is not the one in {MANIFEST}; copy the model again")
    return files


def checkpoints(directory: Path) -> list[Path]:
    """The model directories that a training run has kept on its way, oldest first."""
    return sorted(path.parent for path in directory.glob("checkpoints/*/" + MANIFEST))


def ensure_writable(directory: Path) -> None:
    """Find out now, and not after an hour of work, that a directory cannot be written; nothing is left behind.

    Raises:
        CheckpointError: when it cannot.
    """
    existing = directory
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    with readable_failure(directory), tempfile.TemporaryFile(dir=existing):
        pass


def write_atomically(path: Path, content: bytes) -> None:
    """Replace one file, as `opened_atomically`.

    Raises:
        CheckpointError: when it cannot be written.
    """
    with opened_atomically(path) as file:
        file.write(content)


@contextmanager
def opened_atomically(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for writing that is replaced when all is written, or left as it was where an error comes before.

    A link to it stays a link; a device or a FIFO is written to.

    Raises:
        CheckpointError: when it cannot be written.
    """
    with readable_failure(path, "choose another place", "free some space"):
        if path.exists() and not path.is_file():
            with path.open("wb") as device:
                yield device
            return
        target = Path(os.path.realpath(path))
        if target.is_symlink():  # no end of links was found
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.writing")
        try:
            with temporary.open("wb") as file:
                yield file
                _sync(file)
            os.replace(temporary, target)
            _sync_folder(target.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def readable_failure(
    path: Path,
    otherwise: str = "choose another directory with --out",
    when_full: str = "free some space and go on with --resume",
) -> Iterator[None]:
    """An OSError within becomes a CheckpointError that names `path`, and what to do."""
    try:
        yield
    except OSError as error:
        advice = when_full if error.errno in (errno.ENOSPC, errno.EDQUOT) else otherwise
        raise CheckpointError(f"{path}: cannot write: {error.strerror}; {advice}") from error


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        _sync(file)


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _to_json(section: Section, exclude: set[str] | None = None) -> bytes:
    return (section.model_dump_json(indent=2, exclude=exclude) + "\n").encode()


def _to_bytes(manifest: object) -> bytes:
    return (json.dumps(manifest, indent=2) + "\n").encode()


def _either(digest: str | list[str]) -> list[str]:
    """The digests that a file may have: more than one while `save_decoding` replaces it."""
    return [digest] if isinstance(digest, str) else digest


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _digest_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _hint(directory: Path) -> str:
    if kept := checkpoints(directory):
        return f": its training has not ended; go on with --resume, or use {kept[-1]}"
    return ""
