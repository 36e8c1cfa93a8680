"""Durable writes, and directories whose manifest lists the SHA-256 of every file.

A file is written completely or not at all. The manifest of a directory is written last, when all files that it lists
are on the disk, and a directory is read only if the digest of every file matches. A directory of an older format is
read as if it had the files of the current one.
"""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import IO, Any, cast
from uuid import uuid4

from zhuyi.errors import CheckpointError, DamagedError
from zhuyi.upgrade import FORMAT, upgraded
from zhuyi.version import __version__

MANIFEST = "manifest.json"
FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))
"""Errors of a full disk and of an exceeded quota; not every system has quotas."""
ADVICE = ("choose another place", "free some space")
"""What to do if something cannot be written, and if the disk is full."""


def write_directory(
    directory: Path, files: Mapping[str, bytes], moved: Sequence[Path] = (), advice: tuple[str, str] = ADVICE
) -> None:
    """Write `files` and a manifest of them into `directory`: each file completely or not at all, the manifest last.

    All new bytes are on the disk before the first old file is touched, so the old files survive a full disk.

    Args:
        directory: created if it does not exist.
        files: contents by name.
        moved: further files on the same disk, which are moved into the directory.
        advice: what to do if it cannot be written, as for `readable_failure`.

    Raises:
        CheckpointError: if it cannot be written.
    """
    with readable_failure(directory, advice):
        digests = {name: _digest(content) for name, content in files.items()}
        digests |= {path.name: _digest_of_file(path) for path in moved}
        manifest = {"format": FORMAT, "zhuyi": __version__, "files": digests}
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
    """The `wanted` files of a directory that `write_directory` wrote, by name.

    Every file, wanted or not, is checked against the manifest. Files of an older format are returned as this version
    would have written them.

    Raises:
        DamagedError: if a file is missing or damaged.
        CheckpointError: if the directory cannot be read, has a later format, or was not written by `write_directory`.
    """
    manifest = _read_manifest(directory)
    number, older = manifest["format"], manifest["format"] < FORMAT
    files = {}
    for name, digest in manifest["files"].items():
        path = directory / name
        try:
            if older or wanted(name):  # an upgrade may need any of them
                files[name] = path.read_bytes()
            found = _digest(files[name]) if name in files else _digest_of_file(path)
        except OSError as error:
            kind = DamagedError if isinstance(error, FileNotFoundError) else CheckpointError
            raise kind(f"{path}: {error.strerror}, although {MANIFEST} lists it") from error
        if found not in _either(digest):
            raise DamagedError(f"{path}: damaged: its SHA-256 is not the one in {MANIFEST}; copy the model again")
    if not older:
        return files
    try:
        return {name: content for name, content in upgraded(files, number).items() if wanted(name)}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{directory}: not a directory of format {number}, as its {MANIFEST} says") from error


def listed_digests(directory: Path, name: str) -> tuple[str, ...]:
    """The SHA-256 of a file, as the manifest of its directory lists it: one, or two while `replace_listed` runs.

    Raises:
        CheckpointError: as `read_directory`.
    """
    return tuple(_either(_read_manifest(directory)["files"][name]))


def files_for_a_copy(directory: Path, free: str) -> dict[str, Path | bytes]:
    """The files of a copy of a directory, the manifest last: the path of each, or its content.

    Args:
        directory: written by `write_directory`.
        free: a file that may be changed in the copy, whose manifest does not list it.

    Raises:
        CheckpointError: as `read_directory`.
    """
    manifest = _read_manifest(directory)
    listed = {name: digest for name, digest in manifest["files"].items() if name != free}
    names = [*listed, *([free] if (directory / free).is_file() else [])]
    return {**{name: directory / name for name in names}, MANIFEST: _to_bytes({**manifest, "files": listed})}


@contextmanager
def in_current_format(directory: Path) -> Iterator[Path]:
    """A directory with the same files in the current format: itself or, if its format is older, a temporary one.

    Raises:
        CheckpointError: as `read_directory`.
    """
    if _read_manifest(directory)["format"] == FORMAT:
        yield directory
        return
    with tempfile.TemporaryDirectory() as folder:
        for name, content in read_directory(directory).items():
            Path(folder, name).write_bytes(content)
        yield Path(folder)


def replace_listed(directory: Path, name: str, content: bytes) -> None:
    """Replace one file of a directory, or add it. The rest of the manifest, and the format, stay the same.

    A process that is killed at any point leaves a directory that can be read, because the manifest lists the digests
    of both contents in the meantime.

    Raises:
        CheckpointError: if the directory has no manifest, or cannot be written.
    """
    manifest = _read_manifest(directory)
    listed = manifest["files"]
    if before := listed.get(name):
        listed[name] = [*_either(before), _digest(content)]
        write_atomically(directory / MANIFEST, _to_bytes(manifest))
    write_atomically(directory / name, content)
    listed[name] = _digest(content)
    write_atomically(directory / MANIFEST, _to_bytes(manifest))


def ensure_writable(directory: Path, advice: tuple[str, str] = ADVICE) -> None:
    """Check now, rather than after an hour of work, that a directory can be written. Nothing is left behind.

    Raises:
        CheckpointError: if it cannot be written.
    """
    existing = directory
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    with readable_failure(directory, advice), tempfile.TemporaryFile(dir=existing):
        pass


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file as `opened_atomically`.

    Raises:
        CheckpointError: if it cannot be written.
    """
    with opened_atomically(path) as file:
        file.write(content)


def write_new(path: Path, content: bytes) -> None:
    """Write a file unless it exists. If several processes do so at once, on one machine or several, one writes it.

    Raises:
        CheckpointError: if it cannot be written.
    """
    with readable_failure(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{uuid4().hex}.writing")
        try:
            _write_synced(temporary, content)
            try:
                os.link(temporary, path)
            except FileExistsError:
                return
            except OSError:  # a file system without links
                os.replace(temporary, path)
            _sync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def opened_atomically(path: Path, shared: bool = False) -> Iterator[IO[bytes]]:
    """Open a new file for writing, which replaces the one at `path` at the end. After an error the old one remains.

    A symbolic link stays a link; a device or a FIFO is written to directly.

    Args:
        path: of the file.
        shared: whether other processes, on this machine or others, may write the same content at the same time. The
            first one to finish removes the temporary files of the others, and of processes that were killed.

    Raises:
        CheckpointError: if it cannot be written.
    """
    with readable_failure(path):
        if path.exists() and not path.is_file():
            with path.open("wb") as device:
                yield device
            return
        target = Path(os.path.realpath(path))
        if target.is_symlink():  # the links form a loop
            raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{uuid4().hex}.writing" if shared else f".{target.name}.writing")
        try:
            with temporary.open("wb") as file:
                yield file
                _sync(file)
            try:
                os.replace(temporary, target)
            except FileNotFoundError:
                if not (shared and target.exists()):
                    raise
            _sync_folder(target.parent)
            if shared:
                for begun in target.parent.glob(f".{escape(target.name)}.*.writing"):
                    with suppress(OSError):  # Windows removes no file that is open
                        begun.unlink()
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def readable_failure(path: Path, advice: tuple[str, str] = ADVICE) -> Iterator[None]:
    """Within this context, an OSError becomes a CheckpointError that names `path` and says what to do (`ADVICE`)."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(f"{path}: cannot write: {error.strerror}; {advice[error.errno in FULL]}") from error


def _read_manifest(directory: Path) -> dict[str, Any]:
    """The manifest of a directory, checked: its format can be read, and it lists the digest of each file."""
    if directory.is_file():
        raise CheckpointError(f"{directory}: a file, not a model directory")
    if not directory.is_dir():
        raise CheckpointError(f"{directory}: no such model directory")
    try:
        manifest = json.loads((directory / MANIFEST).read_bytes())
    except FileNotFoundError as error:
        raise DamagedError(
            f"{directory}: not a complete model directory ({MANIFEST} is missing); a model of another program has to "
            "go through zhuyi import first"
        ) from error
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{directory / MANIFEST}: damaged: {error}") from error
    except OSError as error:
        raise CheckpointError(f"{directory / MANIFEST}: cannot read: {error.strerror}") from error
    number = manifest.get("format") if isinstance(manifest, dict) else None
    if not isinstance(number, int):
        raise DamagedError(f"{directory / MANIFEST}: damaged: it has no number of a format")
    if number > FORMAT:
        raise CheckpointError(
            f"{directory / MANIFEST}: format {number}, written by zhuyi {manifest.get('zhuyi', 'of a later version')}; "
            f"zhuyi {__version__} reads formats up to {FORMAT}: install that version, or a newer one"
        )
    if not _lists_digests(manifest.get("files")):
        raise DamagedError(f"{directory / MANIFEST}: damaged: it does not list the SHA-256 of each file")
    return cast(dict[str, Any], manifest)


def _lists_digests(files: Any) -> bool:
    """Whether this maps names of files, none of them outside the directory, to digests."""
    if not isinstance(files, dict) or not all(Path(name).name == name != ".." for name in files):
        return False
    lists = (each if isinstance(each, list) else [each] for each in files.values())  # see `_either`
    return all(isinstance(digest, str) for each in lists for digest in each)


def _write_synced(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        _sync(file)


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(directory: Path) -> None:
    """Sync the entries of a folder to the disk, where the system allows it: Windows opens no folders."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # of a file system that syncs files only
            raise
    finally:
        os.close(descriptor)


def _to_bytes(manifest: object) -> bytes:
    return (json.dumps(manifest, indent=2) + "\n").encode()


def _either(digest: str | list[str]) -> list[str]:
    """The digests that a file may have: more than one while `replace_listed` changes it."""
    return [digest] if isinstance(digest, str) else digest


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _digest_of_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
