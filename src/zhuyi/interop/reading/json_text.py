"""JSON that others wrote."""

import json
import re
from pathlib import Path
from typing import Any

from zhuyi.errors import CheckpointError

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def parse(path: Path, content: str | bytes) -> Any:
    """What a JSON file says.

    Raises:
        CheckpointError: if it is not JSON in UTF-8, or has half of a surrogate pair: Python takes it for a character.
    """
    try:
        text = content if isinstance(content, str) else content.decode("utf-8-sig")
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not JSON ({error})") from error
    if _SURROGATE.search(text):
        try:
            json.dumps(found, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise CheckpointError(f"{path}: half of a surrogate pair, which is not a character") from error
    return found
