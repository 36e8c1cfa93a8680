"""Pages of the microscope in a browser: served, watched, and looked at when nothing of them is still to come."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from zhuyi.microscope.server import Microscope
from zhuyi.translator import Translator


@contextmanager
def served(translator: Translator, **settings: Any) -> Iterator[Microscope]:
    """The server of a model's page, running. It polls often, because stopping it takes as long as one poll."""
    with Microscope(translator, **settings) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()


def watch(tab: Any, complaints: list[str], *kinds: str) -> None:
    """Append what the page says on the console as an error, or as one of `kinds`, and errors that nothing caught."""
    tab.on("console", lambda message: complaints.append(message.text) if message.type in ("error", *kinds) else None)
    tab.on("pageerror", lambda error: complaints.append(str(error)))


def until(tab: Any, condition: str) -> bool:
    """Whether this becomes true within 5 seconds; the page's policy forbids Playwright's own way of waiting."""
    for _ in range(500):
        if tab.evaluate(condition):
            return True
        tab.wait_for_timeout(10)
    return False


def settle(tab: Any) -> None:
    """Wait until the view shows all: "…" stands for what is still to come."""
    shown = "document.querySelector('article')"
    assert until(tab, f"!{shown}.textContent.includes('…')"), tab.evaluate(f"{shown}.dataset.view")
