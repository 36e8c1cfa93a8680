"""What a server takes, and for how long: the settings by which it stays useful under pressure."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Bounds of requests, and of all requests together."""

    connections: int = 1000
    """Open at once. While there are more, requests are refused for now (503). Less than the files that a process may
    open."""
    request_bytes: int = 1_000_000
    """Of the body of a request. More is refused without being read."""
    all_bytes: int = 64_000_000
    """Of the bodies of all requests that are being read or answered; or `request_bytes`, if that is more. A request
    whose body would be more is refused for now (429)."""
    texts: int = 1000
    """Of a request."""
    queue: int = 100_000
    """Characters of all requests that wait or are translated, as `pressure.characters_of` counts them, and more for a
    beam that is wider than the model's own. A request that would be more is refused for now (429)."""
    deadline: float = 60.0
    """Seconds from a request to its answer. Then it is given up."""
    head_deadline: int = 10
    """Seconds from the opening of a connection, or from the answer before, to the end of the head of a request: then
    the connection is closed."""
    alternatives: int = 10
    """Translations of a text that one request may ask for, and its widest beam."""
