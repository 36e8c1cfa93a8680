"""The errors that a user can cause and correct. Each message says what was wrong, where (file:line or key), what to do.

    ZhuyiError
    ├── ConfigError           a key, a value or a combination of settings that is not possible
    ├── DataError             a data file, or a line of one, that cannot be used
    ├── CheckpointError       a model directory or checkpoint that is missing or incomplete
    │   └── DamagedError      one that was truncated or altered after it was written
    ├── TrainingError         a run that cannot continue
    │   └── DivergenceError   a loss that is not a number (zhuyi.training)
    └── MissingExtra          an optional library that is not installed

The command line prints the message as one line and exits with code 2. Violations of zhuyi's own invariants are
assertions, not these errors. What a user should know of, and can continue with, is a ZhuyiWarning.
"""


class ZhuyiError(Exception):
    """Base class of the errors that a user can cause and correct."""


class ConfigError(ZhuyiError):
    """A configuration key, value or combination of settings that is not possible."""


class DataError(ZhuyiError):
    """A data file, or a line of it, that cannot be used."""


class CheckpointError(ZhuyiError):
    """A model directory or checkpoint that is missing or incomplete."""


class DamagedError(CheckpointError):
    """A checkpoint that was truncated or altered after it was written."""


class TrainingError(ZhuyiError):
    """A training run that cannot continue."""


class MissingExtra(ZhuyiError):  # noqa: N818  # the name describes the error
    """An optional library that is needed but not installed."""

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(
            f"{what} needs an optional library: pip install 'zhuyi[{extra}]', "
            f"or in a copy of the repository pip install -e '.[{extra}]'"
        )


class ZhuyiWarning(UserWarning):
    """What a user should know of, and can continue with."""
