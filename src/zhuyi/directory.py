"""Model directories: everything that inference needs, and nothing that runs code.

config.json           what inference needs: `model`, `text`, the languages, and the version of zhuyi that wrote it
decoding.json         the default decoding settings, which the owner may change (`save_decoding`)
training.json         the settings of the run: `preset`, `data`, `training`; optional
tokenizer.json        (or tokenizer.source.json and tokenizer.target.json)
model.safetensors     the weights; a tied matrix is stored once
README.md             the model card: data, scores, and the signatures of the metrics
manifest.json         the format, and the SHA-256 of each file above: see `files`

A training run also leaves `checkpoints/` and `metrics.jsonl`, with a record of losses or scores on each line.
"""

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from safetensors import SafetensorError
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from zhuyi.config import LANGUAGES, Config, DecodingConfig
from zhuyi.errors import CheckpointError, DamagedError, ZhuyiWarning
from zhuyi.files import (
    ADVICE,
    MANIFEST,
    ensure_writable,
    listed_digests,
    read_directory,
    replace_listed,
    write_directory,
)
from zhuyi.hub import fetched, is_on_hub
from zhuyi.text.tokenizer import Tokenizers
from zhuyi.version import __version__

CONFIG = "config.json"
DECODING = "decoding.json"
RUN = "training.json"
WEIGHTS = "model.safetensors"
CARD = "README.md"
METRICS = "metrics.jsonl"

Weights: TypeAlias = Mapping[str, npt.NDArray[np.float32]]
"""Every learned tensor by name; a tied matrix occurs once."""


@dataclass(frozen=True)
class Origin:
    """The directory that a model was read from, and the digest of its weights at that time."""

    directory: Path
    digests: tuple[str, ...]
    """SHA-256 of the weights' file, as the manifest lists it."""

    def read(self) -> "StoredModel":
        """Read the same model again.

        Raises:
            CheckpointError: as `read_model`, or if the directory holds another model now.
        """
        model = read_model(self.directory)
        if model.origin != self:
            raise CheckpointError(f"{self.directory} holds another model than the one that was loaded: load it again")
        return model


@dataclass(frozen=True)
class StoredModel:
    """The content of a model directory, in memory. Reading and writing it does not need torch."""

    config: Config
    """Of the model and of its training run; where the directory does not describe the run, the defaults."""
    tokenizers: Tokenizers
    """Of both sides."""
    weights: Weights
    """Of the network."""
    origin: Origin | None = None
    """The directory that it was read from; None if it was not read from one."""

    @property
    def name(self) -> str:
        """The name of the directory that it was read from; empty if there is none."""
        return self.origin.directory.name if self.origin else ""

    @contextmanager
    def naming_the_file(self) -> Iterator[None]:
        """Within this context, errors about the weights begin with the path of their file."""
        try:
            yield
        except CheckpointError as error:
            where = f"{self.origin.directory / WEIGHTS}: " if self.origin else ""
            raise CheckpointError(f"{where}{error}") from error


def model_files(model: StoredModel, card: str) -> dict[str, bytes]:
    """The files of a model directory, by name; `card` is its README.md.

    training.json is left out if the configuration does not say how the model was trained, because it was imported.
    """
    config = model.config
    tree = config.model_dump(mode="json")
    languages = {key.removesuffix("_language"): tree["data"].pop(key) for key in LANGUAGES}
    inference = {"zhuyi": __version__, "model": tree["model"], "text": tree["text"], "languages": languages}
    run = {RUN: _to_json({key: tree[key] for key in ("preset", "data", "training")})}
    is_known = config.training.model_fields_set or config.data.model_fields_set - {*LANGUAGES}
    return {
        CONFIG: _to_json(inference),
        **(run if is_known else {}),
        DECODING: _to_json(tree["decoding"]),
        **{name: text.encode() for name, text in model.tokenizers.files().items()},
        WEIGHTS: save_tensors(dict(model.weights)),
        CARD: card.encode(),
    }


def write_model(model: StoredModel, directory: Path, card: str = "", advice: tuple[str, str] = ADVICE) -> None:
    """Write a model directory; an older model in it is replaced.

    Raises:
        CheckpointError: if it cannot be written; see `write_directory`.
    """
    write_directory(directory, model_files(model, card), advice=advice)


def read_model(directory: str | Path) -> StoredModel:
    """Read a model directory, or a model of the hub (`hub:USER/NAME`), every byte checked.

    Raises:
        CheckpointError: naming the file and what is wrong with it.
        ConfigError: if [text] names a piece that is not in its vocabulary.
    """
    directory = fetched(directory)
    files = _read_model(directory, lambda name: name == WEIGHTS or name.endswith(".json"))
    if WEIGHTS not in files:
        raise CheckpointError(f"{directory}: {MANIFEST} does not list {WEIGHTS}: this is not a model directory")
    config = read_config(directory, files)
    tokenizers = Tokenizers.load(files, directory).with_templates_of(config.text)
    try:
        weights = {name: weight.astype(np.float32, copy=False) for name, weight in load_tensors(files[WEIGHTS]).items()}
    except SafetensorError as error:
        raise CheckpointError(f"{directory / WEIGHTS}: {error}") from error
    except KeyError as error:  # a type that numpy does not have
        raise CheckpointError(f"{directory / WEIGHTS}: holds {error.args[0]}, and not float32") from error
    return StoredModel(config, tokenizers, weights, Origin(directory.resolve(), listed_digests(directory, WEIGHTS)))


def ensure_replaceable(directory: Path) -> None:
    """Check that a model can be written to a directory, and that nothing but a model would be overwritten.

    Raises:
        CheckpointError: if it is a file, holds a training run, holds files but no model, or cannot be written.
    """
    if directory.exists() and not directory.is_dir():
        raise CheckpointError(f"{directory}: a file, not a directory: choose another place")
    if directory.is_dir() and any(directory.iterdir()) and not (directory / MANIFEST).exists():
        raise CheckpointError(f"{directory} holds files and no model: choose another directory")
    if checkpoints(directory):
        raise CheckpointError(f"{directory} holds a training run, which could not be resumed: choose another directory")
    ensure_writable(directory)


def check_shapes(weights: Mapping[str, Any], wanted: Mapping[str, tuple[int, ...]]) -> None:
    """Check that `weights` are the weights of a model.

    Args:
        weights: arrays or tensors by name.
        wanted: the shape of each weight of the model, by name.

    Raises:
        CheckpointError: naming the first weight that is missing, unknown or of another shape.
    """
    for name in sorted(wanted.keys() ^ weights.keys()):
        raise CheckpointError(f"tensor {name} is {'missing' if name in wanted else 'not one of this model'}")
    for name, shape in wanted.items():
        if tuple(weights[name].shape) != tuple(shape):
            raise CheckpointError(
                f"tensor {name} has shape {tuple(weights[name].shape)}, the model wants {tuple(shape)}"
            )


def check_vocabularies(model: StoredModel) -> None:
    """Check that every matrix over a vocabulary exists and has a row for each token of its tokenizer.

    Raises:
        CheckpointError: as `check_shapes`.
    """
    config, shared = model.config.model, model.tokenizers.shared
    source, target = ((len(each), config.width) for each in (model.tokenizers.source, model.tokenizers.target))
    wanted = {f"{'decoder' if config.shape == 'decoder' else 'encoder'}.embedding.weight": source}
    if config.shape == "encoder-decoder" and not (config.ties_embeddings and shared):
        wanted["decoder.embedding.weight"] = target
    if not config.ties_output or (config.shape == "encoder" and not shared):
        wanted["projection.weight"] = target
    names = {"encoder.embedding.weight", "decoder.embedding.weight", "projection.weight"}
    check_shapes({name: model.weights[name] for name in names & model.weights.keys()}, wanted)


def load_config_of(directory: str | Path) -> Config:
    """The configuration of a model directory, as `read_config` returns it. Every byte of the directory is checked.

    Raises:
        CheckpointError: naming the file and what is wrong with it.
    """
    directory = fetched(directory)
    return read_config(directory, _read_model(directory, lambda name: name in (CONFIG, RUN, DECODING)))


def save_decoding(directory: str | Path, decoding: DecodingConfig) -> None:
    """Change the default decoding settings of the model in a directory.

    A process that is killed at any point leaves a directory that loads. The format of the directory does not change.

    Raises:
        CheckpointError: if it is not a model directory, or cannot be written.
    """
    directory = Path(directory)
    ensure_changeable(directory)
    replace_listed(directory, DECODING, _to_json(decoding.model_dump(mode="json")))


def ensure_changeable(directory: Path) -> None:
    """Check now, rather than after an hour of work, that `save_decoding` can change the model in a directory.

    Raises:
        CheckpointError: as `save_decoding`.
    """
    if is_on_hub(directory):
        raise CheckpointError(f"{directory.as_posix()}: is on the hub: change a copy of it, and upload that")
    load_config_of(directory)
    ensure_writable(directory)


def read_config(directory: Path, files: Mapping[str, bytes]) -> Config:
    """The configuration in some of the files of a model directory.

    Without training.json, which is optional, `preset`, `data` and `training` have their defaults.

    This version must know every key and value in `model` and `text`: otherwise, it would silently build another
    architecture. Unknown keys and values elsewhere are replaced by the defaults, with a ZhuyiWarning.

    Raises:
        CheckpointError: if the files are not a configuration, or if this version does not know the model's.
    """
    model, run, decoding = (_object(directory, files, name) for name in (CONFIG, RUN, DECODING))
    writer = model.pop("zhuyi", "another version")
    languages = model.pop("languages", {})
    if not ("model" in model and "text" in model and isinstance(languages, dict)):
        raise CheckpointError(f"{directory / CONFIG}: not the configuration of a model")
    for section in ("data", "training"):
        if not isinstance(run.get(section, {}), dict):
            raise CheckpointError(f"{directory / RUN}: {section} is not a JSON object")
    data = {**run.get("data", {}), **{f"{side}_language": tag for side, tag in languages.items()}}
    tree = {**run, **model, "data": data, "decoding": decoding}
    left_out: dict[str, None] = {}  # in order, each once
    while True:
        try:
            config = Config.model_validate(tree)
            break
        except ValidationError as error:
            for problem in error.errors():
                if problem["loc"][:1] in ((), ("model",), ("text",)):
                    raise CheckpointError(
                        f"{directory / CONFIG}: zhuyi {__version__} cannot use {_named(problem)}; zhuyi {writer} "
                        "wrote this model: install that version, or a newer one"
                    ) from error
                left_out[_named(problem)] = None
                _remove(tree, problem["loc"][:2])
    if left_out:
        what = f"{directory}: zhuyi {__version__} ignores {'; '.join(left_out)}"
        warnings.warn(f"{what}; zhuyi {writer} wrote this model", ZhuyiWarning, stacklevel=1)
    return config


def checkpoints(directory: Path) -> list[Path]:
    """The checkpoints of a training run, which are model directories, oldest first."""
    return sorted(path.parent for path in directory.glob("checkpoints/*/" + MANIFEST))


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The records of a `metrics.jsonl`; of a FIFO, none.

    Reading ends at the first line that is no record: one that was cut off when the run was killed, or edited.
    """
    if not path.is_file():
        return []
    records = []
    for line in path.read_bytes().splitlines():  # bytes: a character may be cut off, and U+2028 is no line end
        try:
            record = json.loads(line)
        except ValueError:  # JSONDecodeError or UnicodeDecodeError
            break
        if not isinstance(record, dict) or not isinstance(record.get("step"), int):
            break
        records.append(record)
    return records


def _read_model(directory: Path, wanted: Callable[[str], bool]) -> dict[str, bytes]:
    """The `wanted` files of a model directory, as `read_directory`; errors say if its training has not ended."""
    try:
        files = read_directory(directory, wanted)
    except DamagedError as error:
        if (directory / MANIFEST).exists() or not (kept := checkpoints(directory)):
            raise
        raise DamagedError(f"{error}: its training has not ended; continue with --resume, or use {kept[-1]}") from error
    if CONFIG not in files:
        raise CheckpointError(f"{directory}: {MANIFEST} does not list {CONFIG}: this is not a model directory")
    return files


def _object(directory: Path, files: Mapping[str, bytes], name: str) -> dict[str, Any]:
    """The object in a JSON file; an empty one if there is no such file."""
    try:
        content = json.loads(files.get(name, b"{}"))
    except (ValueError, RecursionError) as error:  # JSONDecodeError or UnicodeDecodeError
        raise CheckpointError(f"{directory / name}: not JSON") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{directory / name}: not a JSON object")
    return content


def _named(problem: ErrorDetails) -> str:
    """What pydantic does not accept: an unknown key, a value, or settings that contradict each other."""
    place = problem["loc"]
    key = ".".join(map(str, place[:2]))
    if not place:
        return f"these settings together: {problem['ctx']['error']}"
    if len(place) > 2:  # within a list or a table, which is left out as a whole
        return key
    if isinstance(problem["input"], dict) and problem["type"] == "value_error":
        return f"all of [{key}]: {problem['ctx']['error']}"
    return key if problem["type"] == "extra_forbidden" else f"{key} = {problem['input']!r}"


def _remove(tree: dict[str, Any], place: tuple[int | str, ...]) -> None:
    """Remove a section, or a key of one, which an earlier problem may have removed already."""
    *section, key = map(str, place)
    for name in section:
        tree = tree.get(name, {})
    tree.pop(key, None)


def _to_json(value: object) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode()
