"""The bounded queue: how much text may be in translation, and how long a client should wait if it is full."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from zhuyi.serve.refusals import busy, too_large

FIRST_GUESS = 1.0
"""Seconds to wait for a place, until the speed has been measured."""
LONGEST_WAIT = 60
"""The longest wait that a response asks of a client, in seconds."""
LINE_BREAK = 10
"""Characters that a line break counts as: every line has a cost, however short it is."""
MEMORY = 0.9
"""Decay of the moving average of the speed, which each request updates when it ends."""


def characters_of(text: str) -> int:
    """The characters that a text counts as in the queue."""
    return len(text) + (LINE_BREAK - 1) * max(len(text.splitlines()) - 1, 0)


class Queue:
    """A bounded number of characters in translation.

    Args:
        size: the most characters of all requests together.
        clock: the time in seconds.
    """

    def __init__(self, size: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.size, self.taken, self._clock = size, 0, clock
        self._speed: float | None = None  # characters a second, of all requests together

    @contextmanager
    def place(self, characters: int) -> Iterator[None]:
        """Hold a place for so many characters within the block.

        Raises:
            Refusal: if there is no place now, with the seconds to wait for one; or if the queue is too small for them.
        """
        if characters > self.size:
            counted = (
                f"{characters:,}: a line break as {LINE_BREAK}, a beam wider than the model's as so many times more"
            )
            raise too_large(f"a request has at most {self.size:,} characters; this counts as {counted}")
        if self.taken + characters > self.size:
            raise busy("the server is overloaded: try again later", self._wait(characters))
        self.taken += characters
        beside, begun = self.taken, self._clock()
        try:
            yield
            self._note(beside, self._clock() - begun)
        finally:
            self.taken -= characters

    def _note(self, characters: int, seconds: float) -> None:
        """Update the speed: with so many characters in the queue, its own included, a request took so many seconds."""
        speed = characters / max(seconds, 1e-3)
        self._speed = speed if self._speed is None else MEMORY * self._speed + (1 - MEMORY) * speed

    def _wait(self, characters: int) -> int:
        """Seconds until there will be a place for so many characters."""
        missing = self.taken + characters - self.size
        seconds = missing / self._speed if self._speed else FIRST_GUESS
        return min(max(math.ceil(seconds), 1), LONGEST_WAIT)
