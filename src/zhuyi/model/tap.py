"""Taps give every intermediate value of the forward pass a name; a `Recording` keeps the values.

Inside the model, `tap("weights", weights)` returns `weights`. The silent tap does nothing else and costs one call. A
`Recording` keeps each value under its canonical name (`encoder.3.self.weights`), and may replace it: a head can be
switched off, or a mask lifted, to see how the output changes.
"""

from collections.abc import Callable, Mapping

from torch import Tensor


class Tap:
    """The silent tap: returns the value that it is given."""

    recording = False
    """Whether each value has to be computed as it is named: a fused kernel has no weights."""

    def __call__(self, name: str, value: Tensor) -> Tensor:
        """Return `value`, or its replacement."""
        return value

    def within(self, scope: str) -> "Tap":
        """The tap of a part of the model: its names begin with `scope`."""
        return self


SILENT = Tap()


class Replacing(Tap):
    """Replaces the values that `replace` has a function for.

    Args:
        replace: canonical name → a function from the value to its replacement.
    """

    recording = True

    def __init__(self, replace: Mapping[str, Callable[[Tensor], Tensor]], prefix: str = "") -> None:
        self._replace, self._prefix = replace, prefix

    def __call__(self, name: str, value: Tensor) -> Tensor:
        """Return `value`, or its replacement."""
        name = self._prefix + name
        return self._replace[name](value) if name in self._replace else value

    def within(self, scope: str) -> "Replacing":
        """The same replacements, one scope deeper."""
        return Replacing(self._replace, f"{self._prefix}{scope}.")


class Recording(Replacing):
    """Keeps every tapped value, and replaces those that `replace` has a function for.

    Args:
        replace: as for `Replacing`.
    """

    def __init__(self, replace: Mapping[str, Callable[[Tensor], Tensor]] | None = None, prefix: str = "") -> None:
        super().__init__(replace or {}, prefix)
        self.values: dict[str, Tensor] = {}

    def __call__(self, name: str, value: Tensor) -> Tensor:
        """Record `value` under its full name, after replacing it where asked."""
        value = super().__call__(name, value)
        self.values[self._prefix + name] = value.detach()
        return value

    def within(self, scope: str) -> "Recording":
        """The same recording, one scope deeper."""
        inner = Recording(self._replace, f"{self._prefix}{scope}.")
        inner.values = self.values
        return inner
