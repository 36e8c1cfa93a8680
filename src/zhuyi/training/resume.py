"""Whether a run may begin here, or go on: with the same settings, data and store, and on the same machine."""

import errno
import hashlib
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import Timeout

from zhuyi.checkpoint import CARD, CONFIG, WEIGHTS
from zhuyi.data.cache import exclusive
from zhuyi.data.corpus import Corpus
from zhuyi.data.store import Store
from zhuyi.errors import CheckpointError, DataError
from zhuyi.files import MANIFEST, ensure_writable, readable_failure
from zhuyi.training.checkpoints import Checkpoints
from zhuyi.training.distributed import World
from zhuyi.training.events import Listener, Notice
from zhuyi.training.run_state import RunState
from zhuyi.training.validation import Lines

LOCK = ".zhuyi.lock"
"""Locked while a run is at work in a directory, and removed at its end."""
MAX_ATTEMPTS = 10
"""How often a directory that vanishes is made again, before its lock is held."""
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
"""Errors of a file system that has no locks."""


@contextmanager
def alone_in(out: Path, world: World, notify: Listener) -> Iterator[None]:
    """Within, the directory is there, and no other run is at work in it; a process that dies lets go of it.

    A directory that is made for this, and that nothing was written into, is removed at the end.

    Raises:
        CheckpointError: if another run is, or if the directory cannot be made.
    """
    with ExitStack() as held:
        world.on_main(lambda: held.enter_context(_locked(out, notify)))
        yield


@contextmanager
def _locked(out: Path, notify: Listener) -> Iterator[None]:
    with ExitStack() as at_the_end:
        with readable_failure(out):
            directory = Path(os.path.realpath(out))  # a link may lead to where nothing is yet
            for folder in (*reversed(directory.parents), directory):
                if not folder.exists():
                    at_the_end.callback(_attempt, folder.rmdir)  # which it can be as long as it is empty
            lock = directory / LOCK
            try:
                at_the_end.enter_context(_made_and_locked(lock))
            except Timeout as error:
                raise CheckpointError(f"another run is at work in {out}: wait for its end, or stop it") from error
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    raise
                at_the_end.callback(_attempt, lock.unlink)
                text = f"the file system of {out} has none; start no other run in this directory."
                notify(Notice(text, warning="No locks"))
        yield


@contextmanager
def _made_and_locked(lock: Path) -> Iterator[None]:
    """Hold `lock`, in a directory that is made for it. A run that ends at this moment may remove it: then again."""
    with ExitStack() as held:
        for attempts_left in reversed(range(MAX_ATTEMPTS)):
            try:
                with suppress(FileExistsError):  # a file or a loop of links, which cannot be listed
                    lock.parent.mkdir(parents=True)
                os.listdir(lock.parent)
                held.enter_context(exclusive(lock, wait=False))
                break
            except (FileNotFoundError, FileExistsError):
                if not attempts_left:
                    raise
        yield


def _attempt(remove: Callable[[], None]) -> None:
    with suppress(OSError):
        remove()


def claim(out: Path, checkpoints: Checkpoints, resume: bool, notify: Listener) -> None:
    """Make sure that `out` can be written, and that nothing in it is lost: another run, a model, a user's own files."""
    elsewhere = "choose another place with --out"
    if checkpoints.steps():
        if not resume:
            raise CheckpointError(f"{out} holds a run already: go on with --resume, or {elsewhere}")
    elif (out / MANIFEST).exists():
        raise CheckpointError(f"{out} holds a model, and no checkpoint to go on from: {elsewhere}")
    else:
        for name in (WEIGHTS, CONFIG, CARD, "tokenizer.json", "training.svg"):
            if (out / name).exists():
                raise CheckpointError(f"{out / name} exists and is not a run's: {elsewhere}")
        if resume:
            notify(Notice(f"Nothing to resume in {out}: a new run begins."))
    ensure_writable(out)


def same_data(state: RunState, corpus: Corpus, dev: Lines | None) -> None:
    """A run goes on with the data that it began with, wherever the files are now."""
    digest = hashlib.sha256(f"{corpus.fingerprint()}{dev}".encode()).hexdigest()
    if state.step and state.data_digest != digest:
        raise DataError(
            f"{corpus.source}, {corpus.target} or the dev set are not what the run to be resumed has learned from: "
            "give it the same ones, unchanged, or start another run with another --out"
        )
    state.data_digest = digest


def same_machine(state: RunState, here: str, notify: Listener) -> None:
    """Report where the bytes of the run cannot be had: `here` is the `precision.fingerprint` of this process."""
    if state.fingerprint not in ("", here):
        text = f"the run began with {state.fingerprint}, and goes on with {here}."
        notify(Notice(text, warning="Not to the last bit"))
        state.threads = 0  # as many as suit this one
    state.fingerprint = here


def same_segmentation(state: RunState, epoch: int, store: Store, notify: Listener) -> None:
    """A resumed epoch should be segmented as it was; the cache may have lost it, and no seed brings it back."""
    segmentation = _lengths_checksum(store)
    if epoch == state.epoch and state.batches and state.segmentation != segmentation:
        text = f"epoch {epoch + 1} was no longer in the cache, and BPE-dropout has segmented it anew."
        notify(Notice(text, warning="Not to the last bit"))
    state.segmentation = segmentation


def same_store(store: Store, world: World) -> None:
    """All ranks must make the same batches of the same corpus."""
    if world.size > 1 and not world.same(_lengths_checksum(store)):
        raise DataError(
            "the processes of this run have different data: let all see the same files and, with text.bpe_dropout, the "
            "same ZHUYI_CACHE"
        )


def _lengths_checksum(store: Store) -> int:
    """A checksum of the lengths of all pairs."""
    return zlib.crc32(store.target_lengths.tobytes(), zlib.crc32(store.source_lengths.tobytes()))
