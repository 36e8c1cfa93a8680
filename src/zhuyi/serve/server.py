"""Runs the application on a port until a signal stops it."""

import logging
import math
import signal
from collections.abc import Callable, Sequence
from ipaddress import ip_address

import uvicorn

from zhuyi.ports import address, open_port
from zhuyi.serve.app import application
from zhuyi.serve.connection import Connection
from zhuyi.serve.service import Service

BACKLOG = 2048
"""Connections that wait to be accepted."""
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
"""Names of this machine in the Host header."""


def run(
    service: Service,
    host: str = "127.0.0.1",
    port: int = 8000,
    origins: Sequence[str] = ("*",),
    hosts: Sequence[str] = (),
    on_start: Callable[[str], None] = lambda url: None,
) -> None:
    """Answer requests until SIGTERM or Ctrl-C. Then finish the accepted requests, and accept no new ones.

    A second Ctrl-C gives up the accepted requests (503). No text of a request is logged.

    Args:
        service: answers them.
        host: the address to listen on; only this machine can reach 127.0.0.1.
        port: 0 for any free one.
        origins: as for `application`.
        hosts: names that requests may have in their Host header, in addition to those of this machine and `host`. If
            empty, every name is allowed, unless only this machine can reach the server: a web page could otherwise let
            its own name resolve to this machine (DNS rebinding), and read the answers as if they came from its site.
        on_start: called with the address when the port is open.

    Raises:
        ConfigError: if the port cannot be opened.
    """
    limits = service.limits
    with open_port(host, port, BACKLOG) as listener:
        on_start(address(host, listener))
        shown = f"[{host}]" if ":" in host else host
        is_open = not (hosts or ip_address(listener.getsockname()[0]).is_loopback)
        config = uvicorn.Config(
            application(service, origins, ["*"] if is_open else [*LOOPBACK, shown, *hosts]),
            log_config=None,
            log_level=logging.ERROR,  # mistakes of clients are warnings
            access_log=False,
            server_header=False,
            http=Connection,
            ws="none",
            lifespan="off",
            timeout_keep_alive=limits.head_deadline,
            timeout_graceful_shutdown=math.ceil(limits.deadline) if math.isfinite(limits.deadline) else None,
        )
        # uvicorn raises the signal that stopped it again, when SIGTERM has had its effect.
        before = signal.signal(signal.SIGTERM, lambda *_: None)
        try:
            uvicorn.Server(config).run([listener])
        finally:
            signal.signal(signal.SIGTERM, before)
