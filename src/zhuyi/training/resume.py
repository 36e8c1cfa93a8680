"""Whether a run may begin here, or go on: with the same settings, data and store, and on the same machine."""

import errno
import hashlib
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from rich.console import Console

from zhuyi.checkpoint import MANIFEST, WEIGHTS, ensure_writable, readable_failure
from zhuyi.data.cache import open_alone
from zhuyi.data.corpus import Corpus
from zhuyi.data.store import Store
from zhuyi.errors import CheckpointError, DataError
from zhuyi.training.distributed import World
from zhuyi.training.state import Checkpoints, Progress
from zhuyi.training.validation import Lines

LOCK = ".zhuyi.lock"
"""Held while a run is at work in a directory, and removed at its end."""
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
"""What a file system says that has none."""


@contextmanager
def alone_in(out: Path, world: World, console: Console) -> Iterator[None]:
    """Within, the directory is there, and no other run is at work in it; a process that dies lets go of it.

    A directory that is made for this, and that nothing was written into, is removed at the end.

    Raises:
        CheckpointError: if another run is, or if the directory cannot be made.
    """
    with ExitStack() as held:
        with world.united():
            if world.is_main:
                held.enter_context(_locked(out, console))
        yield


@contextmanager
def _locked(out: Path, console: Console) -> Iterator[None]:
    with ExitStack() as at_the_end:
        with readable_failure(out):
            directory = Path(os.path.realpath(out))  # a link may lead to where nothing is yet
            for folder in (*reversed(directory.parents), directory):
                if not folder.exists():
                    at_the_end.callback(_attempt, folder.rmdir)  # which it can be as long as it is empty
            with suppress(FileExistsError):  # it is a file, or a loop of links: the next line says so
                directory.mkdir(parents=True)
            lock = directory / LOCK
            try:
                at_the_end.enter_context(open_alone(lock, wait=False))
            except BlockingIOError as error:
                raise CheckpointError(f"another run is at work in {out}: wait for its end, or stop it") from error
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    raise
                console.print(
                    f"[yellow]No locks:[/] the file system of {out} has none; start no other run in this directory.",
                    highlight=False,
                    soft_wrap=True,
                )
            at_the_end.callback(_attempt, lock.unlink)  # and then it is closed
        yield


def _attempt(remove: Callable[[], None]) -> None:
    with suppress(OSError):
        remove()


def claim(out: Path, checkpoints: Checkpoints, resume: bool, console: Console) -> None:
    """Make sure that `out` can be written, and that nothing in it is lost: another run, a model, a user's own files."""
    elsewhere = "choose another place with --out"
    if checkpoints.steps():
        if not resume:
            raise CheckpointError(f"{out} holds a run already: go on with --resume, or {elsewhere}")
    elif (out / MANIFEST).exists():
        raise CheckpointError(f"{out} holds a model, and no checkpoint to go on from: {elsewhere}")
    else:
        for name in (WEIGHTS, "config.json", "README.md", "tokenizer.json", "training.svg"):
            if (out / name).exists():
                raise CheckpointError(f"{out / name} exists and is not a run's: {elsewhere}")
        if resume:
            console.print(f"Nothing to resume in {out}: a new run begins.", highlight=False)
    ensure_writable(out)


def same_data(progress: Progress, corpus: Corpus, dev: Lines | None) -> None:
    """A run goes on with the data that it began with, wherever the files are now."""
    digest = hashlib.sha256(f"{corpus.fingerprint()}{dev}".encode()).hexdigest()
    if progress.step and progress.data != digest:
        raise DataError(
            f"{corpus.source}, {corpus.target} or the dev set are not what the run to be resumed has learned from: "
            "give it the same ones, unchanged, or start another run with another --out"
        )
    progress.data = digest


def same_engine(progress: Progress, here: str, console: Console) -> None:
    """Say so where the bytes of the run cannot be had: `here` is what `precision.engine` calls this machine."""
    if progress.engine not in ("", here):
        console.print(
            f"[yellow]Not to the last bit:[/] the run began with {progress.engine}, and goes on with {here}.",
            highlight=False,
            soft_wrap=True,
        )
        progress.threads = 0  # as many as suit this one
    progress.engine = here


def same_cut(progress: Progress, store: Store, console: Console) -> None:
    """An epoch that is gone on with should be cut as it was; the cache may have lost it, and no seed brings it back."""
    cut = _lengths(store)
    if progress.batches and progress.cut != cut:
        console.print(
            f"[yellow]Not to the last bit:[/] epoch {progress.epoch + 1} was no longer in the cache, and BPE-dropout "
            "has cut it anew.",
            highlight=False,
            soft_wrap=True,
        )
    progress.cut = cut


def same_store(store: Store, world: World) -> None:
    """All ranks must cut the same batches of the same corpus."""
    if world.size > 1 and not world.same(_lengths(store)):
        raise DataError(
            "the processes of this run have different data: let all see the same files and, with text.bpe_dropout, the "
            "same ZHUYI_CACHE"
        )


def _lengths(store: Store) -> int:
    """A digest of how long all pairs are."""
    return zlib.crc32(store.target_lengths.tobytes(), zlib.crc32(store.source_lengths.tobytes()))
