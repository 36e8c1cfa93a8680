"""The part of YAML in which Marian writes options and vocabularies: one mapping, of scalars and of lists of scalars.

No dependency of zhuyi reads YAML. A whole parser would also take tags, anchors and mappings in mappings, which these
files have not, and of which a hostile one is made.
"""

import re

QUOTED = re.compile(r""""(?:[^"\\]|\\.)*"|'(?:[^']|'')*'""")
COMMENT = re.compile(r"(?:\s|\A)#.*")
ENTRY = re.compile(r"([A-Za-z][\w-]*):(?:\s+(.*))?")
ITEM = re.compile(r"\s*-(?:\s+(.*))?")
INDICATORS = "[]{}&*!|>%@`,?"
"""What begins something else than a plain scalar."""
MOST_ITEMS = 1000
"""Of a list."""


def options(text: str) -> dict[str, str | list[str]]:
    """Options by name: strings, or lists of strings, which are not interpreted any further. Nothing, ~ and null are "".

    Raises:
        ValueError: naming the line that is something else.
    """
    found: dict[str, str | list[str]] = {}
    last = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if not COMMENT.sub("", line).strip() or line.startswith(("---", "...")):
            continue
        if entry := ENTRY.fullmatch(line):
            last, value = entry[1], _value((entry[2] or "").strip())
            if last in found or value is None:
                raise ValueError(f"line {number}: {last} stands there twice, or is neither a string nor a list")
            found[last] = value
        elif (item := ITEM.fullmatch(line)) and last and not isinstance(value := found[last] or [], str):
            each = _scalar((item[1] or "").strip())
            if each is None or len(value) >= MOST_ITEMS:
                raise ValueError(f"line {number}: an item of {last} is no string, or one too many")
            found[last] = [*value, each]
        else:
            raise ValueError(f"line {number} is not of the form option: value")
    return found


def scalar(written: str) -> str | None:
    """A scalar of YAML (1.2, section 7.3) as a string; None if it is none."""
    if written.startswith("'"):
        return written[1:-1].replace("''", "'")
    if not written.startswith('"'):
        return written
    try:
        return ESCAPE.sub(lambda found: _character(found[1]), written[1:-1])
    except (KeyError, ValueError, OverflowError):
        return None


ESCAPE = re.compile(r"\\(x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|.)", re.DOTALL)
ESCAPED = {
    **{"0": "\0", "a": "\a", "b": "\b", "t": "\t", "n": "\n", "v": "\v", "f": "\f", "r": "\r", "e": "\x1b"},
    **{" ": " ", '"': '"', "/": "/", "\\": "\\", "N": "\x85", "_": "\xa0", "L": "\u2028", "P": "\u2029"},
}


def _character(escape: str) -> str:
    return chr(int(escape[1:], 16)) if len(escape) > 1 else ESCAPED[escape]


def _value(written: str) -> str | list[str] | None:
    """A scalar, or a list between brackets, whose items have no commas; None if it is neither."""
    plain = COMMENT.sub("", written).strip()
    if not (plain.startswith("[") and plain.endswith("]")):
        return _scalar(written)
    items = [_scalar(item.strip()) for item in plain[1:-1].split(",")] if plain[1:-1].strip() else []
    strings = [item for item in items if item is not None]
    return strings if len(strings) == len(items) <= MOST_ITEMS else None


def _scalar(written: str) -> str | None:
    if written.startswith(("'", '"')):
        quoted = QUOTED.match(written)
        is_all = quoted is not None and not COMMENT.sub("", written[quoted.end() :]).strip()
        return scalar(quoted[0]) if quoted and is_all else None
    plain = COMMENT.sub("", written).strip()
    return None if plain.startswith(tuple(INDICATORS)) else "" if plain in ("~", "null") else plain
