"""The command `zhuyi`, and `python -m zhuyi`: the command line, which Ctrl-C ends quietly at any moment."""

import gc
import os
import signal
import sys
from types import FrameType
from typing import NoReturn

STOPPED = 130


def main() -> NoReturn:
    """Run the command line of this process. Where SIGINT is ignored, as in the background of a script, it stays so."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _stop)
    # Pydantic would look for plugins among everything that is installed, at every start.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    try:
        from zhuyi import cli

        cli.main()
    except KeyboardInterrupt:
        sys.exit(STOPPED)
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is done: the exit code is the one that is known by now
        gc.freeze()  # the end of the process need not look for garbage in all that was imported


def _stop(_: int, frame: FrameType | None) -> None:
    """Ctrl-C. A running command gets one KeyboardInterrupt, so that it removes what it has begun.

    Otherwise the process ends here: before and after a command there is nothing to remove, and within an import the
    exception could be caught, or replaced by another one, by a library that tries whether it can import something. (A
    command that imports late may then leave a temporary file.)
    """
    signal.signal(signal.SIGINT, lambda *_: os._exit(STOPPED))
    modules = set()
    while frame is not None:
        modules.add(frame.f_globals.get("__name__"))
        frame = frame.f_back
    if "zhuyi.cli" not in modules or "importlib._bootstrap" in modules:
        os._exit(STOPPED)
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
