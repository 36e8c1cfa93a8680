"""The command line: each command calls one public function and prints its result.

Exit codes: 0 success · 1 the reader of a pipe has closed it · 2 a mistake that the user can correct, reported in one
line · 130 stopped by Ctrl-C.
"""

import sys
from contextlib import suppress
from typing import Any, NoReturn

import typer

import zhuyi.cli.commands  # noqa: F401  # adds the commands to the app
from zhuyi.cli.app import app
from zhuyi.cli.messages import warnings_in_one_line
from zhuyi.cli.streams import flush, secure_streams
from zhuyi.errors import ZhuyiError

__all__ = ["app", "main"]

_UsageError: Any = typer.BadParameter.__base__
"""Its import path differs between versions of typer."""


def main() -> NoReturn:
    """The command `zhuyi`."""
    secure_streams()
    try:
        with warnings_in_one_line():
            code = app(prog_name="zhuyi", standalone_mode=False) or 0
        flush(sys.stdout)
        sys.exit(code)
    except _UsageError as error:
        if not (text := error.format_message()):  # no arguments at all: the help has been shown
            sys.exit(2)
        message = f"{text.rstrip('.')}: see {error.ctx.command_path if error.ctx else 'zhuyi'} --help"
    except typer.Abort:
        print("zhuyi: stopped", file=sys.stderr)
        sys.exit(130)
    except ZhuyiError as error:
        message = str(error)
    except BrokenPipeError:
        sys.exit(1)
    except OSError as error:
        message = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror or error)
    except (MemoryError, RuntimeError) as error:
        if not _out_of_memory(error):
            raise
        message = (
            "out of memory: try a smaller --beam or fewer --workers, "
            "or train with a smaller training.tokens_per_batch or model"
        )
    with suppress(OSError):
        flush(sys.stdout)
    with suppress(OSError):
        print("zhuyi: error:", " ".join(message.splitlines()), file=sys.stderr)
    with suppress(OSError):
        flush(sys.stderr)
    sys.exit(2)


def _out_of_memory(error: Exception) -> bool:
    """Whether memory ran out: on the GPU, in Python, or on the CPU, where torch raises a plain RuntimeError."""
    named = type(error).__name__ in ("OutOfMemoryError", "MemoryError")
    return named or "can't allocate memory" in str(error)
