"""What can go wrong for a user: every message says what, where (file:line or key) and what to do.

    ZhuyiError
    ├── ConfigError       a key, a value or a combination that cannot be
    ├── DataError         a file or a line of it that cannot be used
    ├── CheckpointError   a model directory that is missing, incomplete or damaged
    ├── TrainingError     a run that cannot go on (a loss that is not a number, ...)
    └── MissingExtra      an optional library that is not installed

The command line prints the message as one line and exits with code 2. Broken invariants of
our own are `assert`s, not these.
"""


class ZhuyiError(Exception):
    """Base of every error that a user can cause and mend."""


class ConfigError(ZhuyiError):
    """A configuration key, value or combination that cannot be."""


class DataError(ZhuyiError):
    """A data file, or a line of it, that cannot be used."""


class CheckpointError(ZhuyiError):
    """A model directory or checkpoint that is missing, incomplete or damaged."""


class DamagedError(CheckpointError):
    """One whose files are not those that were written: the write was cut short, or bytes have changed since."""


class TrainingError(ZhuyiError):
    """A training run that cannot go on."""


class MissingExtra(ZhuyiError):  # noqa: N818  # it reads as what it says
    """An optional library is needed that is not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(
            f"{what} needs an optional library: pip install 'zhuyi[{extra}]', "
            f"or in a copy of the repository pip install -e '.[{extra}]'"
        )
