"""Models on the Hugging Face hub: download of `hub:USER/NAME[@REVISION]`, upload, and the metadata of model cards.

Downloads are kept in the cache of `huggingface_hub`, which also handles the login (extra `hub`).
"""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from zhuyi.config import Config
from zhuyi.errors import CheckpointError, MissingExtra
from zhuyi.files import files_for_a_copy

HUB = "hub:"
CARD = "README.md"
LARGEST_HEAD = 1 << 16
"""Most bytes of a card's metadata that are read; a list of two hundred languages takes 10,000."""
LICENCE_FILES = ("LICENSE", "LICENSE.txt", "COPYING")
"""The names of a file with the text of a licence."""
OURS = ("*.json", "model.safetensors", CARD, *LICENCE_FILES)
"""The files of a model directory, as patterns."""
_NAME = re.compile(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")
_LICENCE = re.compile(r"[a-z0-9][a-z0-9.-]*")


def is_on_hub(place: str | Path) -> bool:
    """Whether this names a model on the hub, and not an existing directory."""
    return Path(place).as_posix().startswith(HUB) and not Path(place).exists()


def fetched(place: str | Path, patterns: Iterable[str] = OURS) -> Path:
    """The directory of a model: `place` itself or, for a model on the hub, its copy in the cache, downloaded if needed.

    Args:
        place: a path, or `hub:USER/NAME[@REVISION]`.
        patterns: of the files to download.

    Raises:
        CheckpointError: if there is no such model on the hub, or it cannot be downloaded.
        MissingExtra: if `huggingface_hub` is not installed.
    """
    if not is_on_hub(place):
        return Path(place)
    repository, revision = _parts(place)
    library = _library(place)
    try:
        return Path(library.snapshot_download(repository, revision=revision, allow_patterns=list(patterns)))
    except Exception as error:  # errors of the library and of its HTTP client have no common class
        raise CheckpointError(f"{Path(place).as_posix()}: cannot be fetched: {_first_line(error)}") from error


def upload(directory: Path, place: str) -> str:
    """Upload the model in a directory in one commit, and return the URL of the commit.

    A new repository is private. The card is left out of the manifest, so that it can be edited on the hub.

    Args:
        directory: of a model.
        place: `hub:USER/NAME[@BRANCH]`.

    Raises:
        CheckpointError: if there is no model in the directory, or the hub refuses it.
        MissingExtra: if `huggingface_hub` is not installed.
    """
    repository, branch = _parts(place)
    library = _library(place)
    files = files_for_a_copy(directory, free=CARD)
    added = [library.CommitOperationAdd(path_in_repo=name, path_or_fileobj=each) for name, each in files.items()]
    api = library.HfApi()
    try:
        api.create_repo(repository, private=True, exist_ok=True)
        commit = api.create_commit(repository, added, commit_message="Upload a model of zhuyi", revision=branch)
    except Exception as error:
        raise CheckpointError(f"{place}: cannot be uploaded: {_first_line(error)}") from error
    return str(commit.commit_url)


def card_head(config: Config, licence: str | None = None, metrics: Iterable[str] = (), library: str = "zhuyi") -> str:
    """The metadata of a model card for the hub: a YAML block at its beginning.

    Args:
        config: of the model.
        licence: of the model; left out unless it looks like an identifier of the hub, such as "cc-by-4.0".
        metrics: that the card has scores of.
        library: that opens the model.
    """
    data, shape = config.data, config.model.shape
    tags = [tag and re.split("[_-]", tag)[0].lower() for tag in (data.source_language, data.target_language)]
    languages = [tag for tag in dict.fromkeys(tags) if tag and re.fullmatch("[a-z]{2,3}", tag)]
    lists = {"language": languages, "tags": ["zhuyi", shape], "metrics": list(metrics)}
    values = {
        "license": licence if licence and _LICENCE.fullmatch(licence) else None,
        "library_name": library,
        "pipeline_tag": _task(config),
    }
    lines = [f"{key}: {json.dumps(value)}" for key, value in values.items() if value]  # a string of JSON is one of YAML
    for key, items in lists.items():
        lines += [f"{key}:", *(f"- {json.dumps(item)}" for item in items)] if items else []
    return "\n".join(["---", *lines, "---", "", ""])


def licence_of(directory: Path) -> str | None:
    """The licence of the model in a directory: as in the metadata of its card, or else the name of a licence file.

    Raises:
        CheckpointError: if the card cannot be read.
    """
    card = directory / CARD
    if card.is_file():
        try:
            with card.open("rb") as file:
                text = file.read(LARGEST_HEAD).decode("utf-8", "replace")
        except OSError as error:
            raise CheckpointError(f"{card}: cannot read: {error.strerror}") from error
        head = text.partition("\n---")[0] if text.startswith("---") else ""
        if found := re.search(r"""^license:[ \t]*["']?([\w.+-]+)""", head, re.MULTILINE):
            return found[1]
    return next(iter(licence_file(directory)), None)


def licence_file(directory: Path) -> dict[str, bytes]:
    """The name and the content of the file with the licence of the model in a directory; empty if there is none.

    Raises:
        CheckpointError: if it cannot be read.
    """
    for path in (directory / name for name in LICENCE_FILES):
        if path.is_file():
            try:
                return {path.name: path.read_bytes()}
            except OSError as error:
                raise CheckpointError(f"{path}: cannot read: {error.strerror}") from error
    return {}


def _task(config: Config) -> str:
    """The task of a model, by the hub's name."""
    model = config.model
    if model.shape == "encoder":
        if config.training.objective == "masked":
            return "fill-mask"
        return "text-classification" if model.labels == "line" else "token-classification"
    return "text-generation" if config.data.text is not None else "translation"


def _parts(place: str | Path) -> tuple[str, str | None]:
    name = Path(place).as_posix()
    if (found := _NAME.fullmatch(name.removeprefix(HUB))) is None:
        raise CheckpointError(f"{name}: write it as hub:USER/NAME, or hub:USER/NAME@REVISION")
    return found[1], found[2]


def _library(place: str | Path) -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise MissingExtra(Path(place).as_posix(), "hub") from error
    return huggingface_hub


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", 1)[0][:300] or type(error).__name__
