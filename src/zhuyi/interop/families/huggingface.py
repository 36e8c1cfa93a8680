"""Directories of Hugging Face: `model_type` in config.json says of which family a model is."""

from collections.abc import Callable, Sequence
from pathlib import Path

from zhuyi.errors import CheckpointError
from zhuyi.interop.families import bart, t5
from zhuyi.interop.families.foreign import Foreign
from zhuyi.interop.reading.settings import Settings

READ: dict[str, Callable[[Path, Settings], Foreign]] = {
    **dict.fromkeys(bart.FAMILIES, bart.read),
    **dict.fromkeys(t5.PROGRAMS, t5.read),
}
"""By `model_type`: from a directory and its config.json to the model."""


def recognises(path: Path) -> bool:
    """Whether this is such a directory, of a family that is known or not."""
    return (path / "config.json").is_file() and Settings(path, "config.json").get("model_type") is not None


def read(path: Path, vocabularies: Sequence[Path] = ()) -> Foreign:
    """The model in a directory.

    Args:
        path: with config.json, the weights and the tokenizer's files.
        vocabularies: none: the directory has its own.

    Raises:
        CheckpointError: naming the file, and what is missing, damaged or has no counterpart.
    """
    if vocabularies:
        raise CheckpointError(f"{path}: a model of Hugging Face has its own vocabulary: leave --vocabulary out")
    config = Settings(path, "config.json")
    if (family := config.text("model_type")) not in READ:
        raise config.unsupported("model_type")
    return READ[family](path, config)
