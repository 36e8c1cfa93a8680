"""The limits of a server: how much it accepts, and for how long."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Limits of each request, and of all requests together."""

    connections: int = 1000
    """Most connections at once; further requests are refused (503). Must be less than the number of files that a
    process may open."""
    request_bytes: int = 1_000_000
    """Largest body of a request. A larger one is refused without being read (413)."""
    all_bytes: int = 64_000_000
    """Most bytes of the bodies of all requests that are being read or answered, but at least `request_bytes`. A request
    that exceeds it is refused for now (429)."""
    texts: int = 1000
    """Most texts of a request."""
    queue: int = 100_000
    """Most characters of all requests that wait or are being translated, as `pressure.characters_of` counts them; a
    beam that is wider than the model's own counts more. A request that exceeds it is refused for now (429)."""
    deadline: float = 60.0
    """Most seconds from the start of a request to its answer."""
    head_deadline: int = 10
    """Most seconds from the opening of a connection, or from the previous response, to the end of a request's headers.
    Then the connection is closed."""
    alternatives: int = 10
    """Most translations of a text, and widest beam, that a request may ask for."""
