"""TCP ports that the servers of `zhuyi serve` and `zhuyi look` listen on."""

import socket

from zhuyi.errors import ConfigError


def open_port(host: str, port: int, backlog: int = 128) -> socket.socket:
    """Listen on a port of this machine.

    Args:
        host: a name or an address of this machine; with a colon in it, an address of IPv6.
        port: 0 for any that is free.
        backlog: how many connections may wait to be accepted.

    Raises:
        ConfigError: if the port is in use, may not be opened, or there is no such address.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=backlog)
    except OSError as error:
        reason, *_ = (error.strerror or str(error)).split(" (")  # Python adds the address
        raise ConfigError(f"cannot listen on {host}, port {port}: {reason}: choose another --port or --host") from error


def address(host: str, listener: socket.socket) -> str:
    """The address of a server in a browser, such as http://127.0.0.1:8000.

    Args:
        host: what it listens on.
        listener: what `open_port` gave.
    """
    return f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
