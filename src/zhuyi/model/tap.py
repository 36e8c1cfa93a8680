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

    def __call__(self, name: str, value: Tensor) -> Tensor:
        """Return `value`, or its replacement."""
        return value

    def within(self, scope: str) -> "Tap":
        """The tap of a part of the model: its names begin with `scope`."""
        return self


SILENT = Tap()


class Recording(Tap):
    """Keeps every tapped value, and replaces those that `replace` has a function for.

    Args:
        replace: canonical name → a function from the value to its replacement.
    """

    recording = True

    def __init__(self, replace: Mapping[str, Callable[[Tensor], Tensor]] | None = None) -> None:
        self.values: dict[str, Tensor] = {}
        self._replace = replace or {}
        self._prefix = ""

    def __call__(self, name: str, value: Tensor) -> Tensor:
        """Record `value` under its full name, after replacing it where asked."""
        name = self._prefix + name
        if name in self._replace:
            value = self._replace[name](value)
        self.values[name] = value.detach()
        return value

    def within(self, scope: str) -> "Recording":
        """The same recording, one scope deeper."""
        inner = Recording(self._replace)
        inner.values = self.values
        inner._prefix = f"{self._prefix}{scope}."
        return inner
