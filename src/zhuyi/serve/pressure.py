"""The bounded queue: how much text is being translated, and when to come again if that is too much."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from zhuyi.serve.refusals import busy, too_large

FIRST_GUESS = 1.0
"""Seconds until a busy server has a place, as long as it has not measured its speed."""
LONGEST_WAIT = 60
"""Seconds that are said at most."""
LINE_BREAK = 10
"""Characters that a line break counts as: a line costs something, however short it is."""
MEMORY = 0.9
"""Weight of the past in the speed, at each request that ends."""


def characters_of(text: str) -> int:
    """What a text takes of the queue."""
    return len(text) + (LINE_BREAK - 1) * max(len(text.splitlines()) - 1, 0)


class Queue:
    """Places for so many characters.

    Args:
        size: characters of all requests together.
        clock: seconds.
    """

    def __init__(self, size: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.size, self.taken, self._clock = size, 0, clock
        self._speed: float | None = None  # characters a second, of all requests together

    @contextmanager
    def place(self, characters: int) -> Iterator[None]:
        """A place for so many characters, as long as the block lasts.

        Raises:
            Refusal: if there is none now, with the seconds after which there may be one; or if there never is one.
        """
        if characters > self.size:
            counted = (
                f"{characters:,}: a line break as {LINE_BREAK}, a beam wider than the model's as so many times more"
            )
            raise too_large(f"a request has at most {self.size:,} characters; this counts as {counted}")
        if self.taken + characters > self.size:
            raise busy("the server has too much to do: come again later", self._wait(characters))
        self.taken += characters
        beside, begun = self.taken, self._clock()
        try:
            yield
            self._note(beside, self._clock() - begun)
        finally:
            self.taken -= characters

    def _note(self, characters: int, seconds: float) -> None:
        """A request that had so many characters beside and before it was done in so many seconds."""
        speed = characters / max(seconds, 1e-3)
        self._speed = speed if self._speed is None else MEMORY * self._speed + (1 - MEMORY) * speed

    def _wait(self, characters: int) -> int:
        """Seconds until so many characters will have a place."""
        missing = self.taken + characters - self.size
        seconds = missing / self._speed if self._speed else FIRST_GUESS
        return min(max(math.ceil(seconds), 1), LONGEST_WAIT)
