"""The application on a port, until a signal ends it."""

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
"""Names of this machine, as the Host header has them."""


def run(
    service: Service,
    host: str = "127.0.0.1",
    port: int = 8000,
    origins: Sequence[str] = ("*",),
    hosts: Sequence[str] = (),
    on_start: Callable[[str], None] = lambda url: None,
) -> None:
    """Answer requests until SIGTERM or Ctrl-C: then what was taken is finished, and nothing new is taken.

    A second Ctrl-C gives up what was taken (503). Nothing of what requests say is logged.

    Args:
        service: answers them.
        host: the address to listen on; only this machine can reach 127.0.0.1.
        port: 0 for any that is free.
        origins: as for `application`.
        hosts: further names that requests may have in their Host header, beside those of this machine and `host`.
            Without any: every name, unless only this machine can reach the server. There a page could otherwise have
            its own name resolve to this machine (DNS rebinding), and read the answers as if they came from its site.
        on_start: gets the address, once the port is open.

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
            log_level=logging.ERROR,  # what a client does wrong is none
            access_log=False,
            server_header=False,
            http=Connection,
            ws="none",
            lifespan="off",
            timeout_keep_alive=limits.head_deadline,
            timeout_graceful_shutdown=math.ceil(limits.deadline) if math.isfinite(limits.deadline) else None,
        )
        # uvicorn raises the signal that ended it again: SIGTERM has had its effect.
        before = signal.signal(signal.SIGTERM, lambda *_: None)
        try:
            uvicorn.Server(config).run([listener])
        finally:
            signal.signal(signal.SIGTERM, before)
