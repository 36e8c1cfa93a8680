"""The lock of a directory, so that one run at a time uses it."""

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
"""The file that a run locks in its directory, and removes at its end."""
MAX_ATTEMPTS = 10
"""How often the directory is created again if another run removes it before it can be locked."""
NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
"""Errors of a file system without locks."""


@contextmanager
def alone_in(out: Path, world: World, notify: Listener) -> Iterator[None]:
    """Within this context, the directory exists, and no other run uses it. If the process dies, the lock is released.

    A directory that was created here, and is still empty, is removed at the end.

    Raises:
        CheckpointError: if another run uses the directory, or if it cannot be created.
    """
    with ExitStack() as held:
        world.on_main(lambda: held.enter_context(_locked(out, notify)))
        yield


@contextmanager
def _locked(out: Path, notify: Listener) -> Iterator[None]:
    with ExitStack() as at_the_end:
        with readable_failure(out, RUN_ADVICE):
            directory = Path(os.path.realpath(out))  # a link may point to a directory that does not exist
            for folder in (*reversed(directory.parents), directory):
                if not folder.exists():
                    at_the_end.callback(_attempt, folder.rmdir)  # which fails if it is not empty
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
    """Create the directory of `lock` and hold the lock. If a run that ends removes the directory, try again."""
    with ExitStack() as held:
        for attempts_left in reversed(range(MAX_ATTEMPTS)):
            try:
                with suppress(FileExistsError):  # if it is a file or a loop of links, `listdir` fails
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
