"""What the same command has measured before of other systems, and is to be kept."""

import sys
from typing import Any

from stored import load

MACHINE = ("processor", "cores", "threads", "gpu")
"""What makes a machine another one."""


def earlier(name: str, head: dict[str, Any]) -> dict[str, Any]:
    """results/NAME.json, or nothing where there is none.

    Exits if that was measured on another machine, or is not the same in all that `head` says of the measurement.
    """
    stored: dict[str, Any] | None = load(name)
    if stored is None:
        return {}
    differ = [key for key in head if key != "machine" and stored.get(key) != head[key]]
    differ += [key for key in MACHINE if stored["machine"][key] != head["machine"][key]]
    if differ:
        sys.exit(f"results/{name}.json was measured with another {', '.join(differ)}: give another --name")
    return stored
