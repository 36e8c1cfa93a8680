"""The page: one script and one style sheet, built from `frontend/`, and the HTML around them.

Served, the page asks for tensors when it needs them. As one file it holds them itself and opens without a network:
pictures of all weights, and as many numbers as fit; the page says what was left out. A content-security policy
lets nothing run and nothing load but these; text of the user is only ever JSON, in which no `<` is left.
"""

import base64
import hashlib
from html import escape
from importlib import resources
from pathlib import Path

from zhuyi.files import write_atomically
from zhuyi.loading import with_torch
from zhuyi.microscope import schema
from zhuyi.microscope.trace import Trace, WhatIf, record
from zhuyi.microscope.wire import PARAMETERS, describe_model, describe_trace, floats, roots, tensors
from zhuyi.translator import Translator

MAX_FILE_BYTES = 1_900_000
"""Size of one file, unless it is to be full."""
TENSOR_OVERHEAD_BYTES = 40
"""Of the JSON around one tensor in a file."""
SERVED_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""The content-security policy of the served page."""
WANTED = (
    ("weights", "scores", "bias"),
    ("rotated_queries", "rotated_keys", "queries", "keys", "values", "context"),
    ("embedding", "input", "output"),
    ("norm", "residual"),
)
"""What goes into a file first, by the last word of its name; what no view shows is in a full file only."""


class Look(Trace):
    """A trace with its page: a notebook shows it as it is, and `save` writes it as one file."""

    def save(self, path: str | Path, full: bool = False) -> int:
        """Write the page as one file that needs no network, and return its size in bytes.

        Args:
            path: of the file.
            full: leave nothing out; otherwise there are pictures of all weights, and what else fits into 2 MB.

        Raises:
            CheckpointError: if it cannot be written.
        """
        content = file_html(self, full).encode()
        write_atomically(Path(path), content)
        return len(content)

    def _repr_html_(self) -> str:
        """The page, as a notebook shows it."""
        frame = 'style="width: 100%; height: 48em; border: 0"'
        return f'<iframe title="zhuyi" srcdoc="{escape(file_html(self), quote=True)}" {frame}></iframe>'


def look(
    translator: Translator,
    line: str,
    *,
    target: str | None = None,
    beam: int | None = None,
    length_penalty: float | None = None,
    what_if: WhatIf = WhatIf(),  # noqa: B008  # frozen
) -> Look:
    """Translate one line with everything recorded: every query, key, score, weight, step and beam.

    Args:
        translator: of the model. Torch computes: unless that is its engine, the model is read again from its directory.
        line: a sentence.
        target: a reference, to see what the model makes of the right answer.
        beam: overrides `decoding.beam` of the model's configuration.
        length_penalty: overrides `decoding.length_penalty`.
        what_if: heads, positions or masks to be switched off meanwhile.

    Raises:
        DataError: if a text is empty, or too long to be looked at.
        ConfigError: as for the section in a file, or if a head is not there, or the engine cannot be looked into.
        CheckpointError: if the model's answer is not a number, or its directory holds another model by now.
    """
    decoding = translator.decoding(beam=beam, length_penalty=length_penalty)
    return Look(**vars(record(with_torch(translator), line, decoding, target, what_if)))


def asset(name: str) -> str:
    """`page.js` or `page.css`, as built."""
    return resources.files("zhuyi.microscope").joinpath("page", name).read_text(encoding="utf-8")


def served_html() -> str:
    """The page that asks the server."""
    return _html('<link rel="stylesheet" href="page.css">', '<script src="page.js" defer></script>', "")


def file_html(trace: Trace, full: bool = False) -> str:
    """The page as one file, with as many tensors of the trace as fit, or with all of them."""
    script, style = asset("page.js"), asset("page.css")
    model, described = describe_model(trace.translator), describe_trace(trace)
    frame = _html(
        f"<style>{style}</style>",
        f"<script>{script}</script>",
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'",
    )
    size = len(frame.encode()) + len(_json(schema.Held(model=model, trace=described, tensors={})).encode())
    values = {key: each for key, each in tensors(trace).items() if not key.startswith(PARAMETERS)}
    pictures: dict[str, str] = {}
    for key, tensor in values.items():  # pictures first: a byte each
        if key.endswith(".weights"):
            pictures[key] = base64.b64encode(roots(tensor)).decode()
            size += len(pictures[key]) + len(key) + TENSOR_OVERHEAD_BYTES
    numbers: dict[str, str] = {}
    wanted = [key for group in WANTED for key in values if key.split(".")[-1] in group]
    for key in values if full else wanted:
        text = base64.b64encode(floats(values[key])).decode()
        more = len(text) + len(key) + TENSOR_OVERHEAD_BYTES
        if full or size + more <= MAX_FILE_BYTES:
            numbers[key] = text
            size += more
    held = {key: schema.Numbers(roots=pictures.get(key), floats=numbers.get(key)) for key in {**pictures, **numbers}}
    data = _json(schema.Held(model=model, trace=described, tensors=held))
    return frame.replace("</main>", f'</main><script type="application/json" id="held">{data}</script>', 1)


def _html(style: str, script: str, policy: str) -> str:
    guard = f'<meta http-equiv="Content-Security-Policy" content="{policy}">' if policy else ""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{guard}'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>zhuyi</title>'
        f'<link rel="icon" href="data:,">{style}</head><body><main id="page"></main>{script}</body></html>'
    )


def _json(held: schema.Held) -> str:
    text = held.model_dump_json()
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
