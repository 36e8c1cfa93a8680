"""One run in a directory at a time."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from filelock import Timeout

from zhuyi.data.cache import exclusive
from zhuyi.errors import CheckpointError
from zhuyi.files import readable_failure
from zhuyi.training.distributed import World
from zhuyi.training.events import Listener, Notice
from zhuyi.training.run_state import RUN_ADVICE

LOCK = ".zhuyi.lock"
"""Locked while a run is at work in a directory, and removed at its end."""
MAX_ATTEMPTS = 10
"""How often a directory that vanishes is made again, before its lock is held."""
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
"""Errors of a file system that has no locks."""


@contextmanager
def alone_in(out: Path, world: World, notify: Listener) -> Iterator[None]:
    """Within this context the directory exists, and no other run uses it. A process that dies releases it.

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
        with readable_failure(out, RUN_ADVICE):
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
