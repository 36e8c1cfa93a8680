"""`zhuyi import`: a model of another program becomes a model directory, which translates as the original does.

Each format has a function that recognises a path and one that reads it, in the table `IMPORTERS`. What was read is
checked against the model that its configuration describes, and written whole or not at all.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from zhuyi.directory import ensure_replaceable, model_files
from zhuyi.errors import CheckpointError, ConfigError
from zhuyi.files import MANIFEST, write_directory
from zhuyi.hub import LICENCE_FILES, card_head, fetched, licence_file
from zhuyi.interop.families import huggingface, marian
from zhuyi.interop.families.foreign import Foreign, as_stored
from zhuyi.interop.pruning import keep_vocabulary


@dataclass(frozen=True)
class Importer:
    """A format that can be imported."""

    recognises: Callable[[Path], bool]
    """Whether a path, which exists, is of this format."""
    read: Callable[[Path, Sequence[Path]], Foreign]
    """From the path and the files of vocabularies to the model."""


IMPORTERS = {
    "huggingface": Importer(huggingface.recognises, huggingface.read),
    "marian": Importer(marian.recognises, marian.read),
}
"""By the names that `--format` takes."""

PACKED = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst")
"""What the names of archives end in, which are not opened."""

THEIRS = (
    *("*.json", "*.safetensors", "pytorch_model*.bin", "*.npz"),
    *("*.yml", "*.spm", "*.model", "*.txt", "*.md", *LICENCE_FILES),
)
"""The files that a model of the hub may be imported from, as patterns."""


@dataclass(frozen=True)
class Imported:
    """A model directory that was written from a model of another program."""

    directory: Path
    program: str
    """Whose model it was."""
    parameters: int
    licence: str | None
    """What was found about it beside the model, None if nothing."""
    tokens: tuple[int, int]
    """In the vocabulary of the source and of the target."""
    languages: tuple[str, ...]
    """The tags of those that `translate` can choose from."""
    left_out: int
    """Tokens of the original's vocabularies that were not kept."""


def import_model(
    path: str | Path,
    out: str | Path,
    format: str | None = None,
    *,
    vocabularies: Iterable[str | Path] = (),
    keep: Iterable[str] | None = None,
) -> Imported:
    """Write a model of another program as a model directory.

    Args:
        path: a directory or file of the other program, or `hub:USER/NAME[@REVISION]`.
        out: the directory to write; a model in it is replaced, unless a training run made it.
        format: one of `IMPORTERS`. Unset: what the path looks like.
        vocabularies: files, of the source and then of the target, where they do not lie beside the model.
        keep: lines, of both languages. Of the vocabulary only what these need is kept: see `keep_vocabulary`. Unset:
            all of it.

    Raises:
        CheckpointError: if there is no such model, it is damaged, or has something that zhuyi has not: the message
            names the file and the setting. Or as `ensure_replaceable`, for `out`.
        ConfigError: if there is no such format.
        DataError: if `keep` has no line that is not blank.
    """
    name, out = Path(path).name, Path(out)
    ensure_replaceable(out)
    path = fetched(path, THEIRS)
    foreign = read_foreign(path, format, [Path(each) for each in vocabularies])
    stored = whole = as_stored(foreign, str(path))
    if keep is not None:
        stored = keep_vocabulary(whole, keep)
    files = model_files(stored, card_head(stored.config, foreign.licence) + _card(foreign, name))
    write_directory(out, files | licence_file(path if path.is_dir() else path.parent))
    return Imported(
        out,
        foreign.program,
        sum(weight.size for weight in stored.weights.values()),
        foreign.licence,
        (len(stored.tokenizers.source), len(stored.tokenizers.target)),
        stored.config.text.tags,
        len(whole.tokenizers.target) - len(stored.tokenizers.target),
    )


def read_foreign(path: Path, format: str | None, vocabularies: Sequence[Path]) -> Foreign:
    """Read a model of another program; arguments and errors as of `import_model`."""
    if not path.exists():
        raise CheckpointError(f"{path}: no such file or directory")
    if format is not None and format not in IMPORTERS:
        raise ConfigError(f"format {format!r} is not one of {', '.join(IMPORTERS)}")
    known = [format] if format else [name for name, each in IMPORTERS.items() if each.recognises(path)]
    if not known:
        raise CheckpointError(f"{path}: {_why_unknown(path)}")
    with np.errstate(invalid="ignore", over="ignore"):  # a damaged weight may be no number, or too large for products
        return IMPORTERS[known[0]].read(path, vocabularies)


def _why_unknown(path: Path) -> str:
    """What a path is that no format is recognised in, and what can be done."""
    if path.suffix in PACKED:
        return "an archive: unpack it, and name the directory"
    if path.is_file():
        return (
            "not a model of Marian (.npz): name the directory of a model of Hugging Face, not a file in it; "
            "zhuyi.interop.from_state_dict takes a state dict of torch"
        )
    if (path / MANIFEST).is_file():
        return "a model of zhuyi already: use it as it is"
    return "neither a directory of Hugging Face (config.json with a model_type) nor one of Marian (.npz)"


def _card(foreign: Foreign, name: str) -> str:
    licence = foreign.licence or "not stated beside the model: ask its makers before you pass it on"
    return f"# An imported model\n\n{foreign.program}, imported by zhuyi from `{name}`.\n\nLicence: {licence}\n"
