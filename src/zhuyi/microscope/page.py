"""The page: one script and one style sheet, built from `frontend/`, and the HTML around them.

As one file, the page has the model in it, and computes every answer without a network (`living_html`). Served, it does
the same with a small model, and asks the server about a large one. A file that is frozen holds one answer instead:
pictures of all weights, and as many numbers as fit; the page says what was left out (`frozen_html`). A
content-security policy lets nothing run and nothing load but the page's own; text of the user is only ever JSON, in
which no `<` is left, or an attribute.
"""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from html import escape
from importlib import resources
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlencode

from zhuyi.errors import ConfigError
from zhuyi.files import write_atomically
from zhuyi.loading import with_torch
from zhuyi.microscope import schema
from zhuyi.microscope.trace import Trace, WhatIf, record
from zhuyi.microscope.wire import (
    MAX_FLOAT16_PARAMETERS,
    PARAMETERS,
    describe_model,
    describe_trace,
    describe_what_if,
    embed_all,
    embedded_weights,
    floats,
    roots,
    tensors,
)
from zhuyi.translator import Translator

MAX_FILE_BYTES = 1_900_000
"""Size of a frozen file, unless it is to be full."""
TENSOR_OVERHEAD_BYTES = 40
"""Of the JSON around one tensor in a file."""
SERVED_POLICY = (
    "default-src 'none'; script-src 'self'; worker-src 'self'; style-src 'self'; img-src data:; connect-src 'self'; "
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

    def save(self, path: str | Path, *, frozen: bool = False, full: bool = False) -> int:
        """Write the page as one file that needs no network, and return its size in bytes.

        The file has the model in it: it opens with this sentence, and answers any other one.

        Args:
            path: of the file.
            frozen: without the model: this one answer, as pictures of all weights, and what else fits into 2 MB.
            full: of a frozen file: leave nothing out.

        Raises:
            CheckpointError: if it cannot be written.
            ConfigError: if the model is too large for a page.
        """
        if frozen or full:
            return write(path, frozen_html(self, full))
        beam = self.decoding.beam if self.decoding.strategy == "beam" else None
        searched = {} if self.replay.labels else {"beam": beam, "length_penalty": self.decoding.length_penalty}
        translator = self.translator.with_decoding(self.translator.decoding(**searched))
        return write(path, living_html(translator, opening_of(self), first=first_answer(self)))

    def _repr_html_(self) -> str:
        """The page, as a notebook shows it."""
        frame = 'style="width: 100%; height: 48em; border: 0"'
        return f'<iframe title="zhuyi" srcdoc="{escape(frozen_html(self), quote=True)}" {frame}></iframe>'


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


def write(path: str | Path, page: str) -> int:
    """Write a page as a file, and return its size in bytes.

    Raises:
        CheckpointError: if it cannot be written.
    """
    content = page.encode()
    write_atomically(Path(path), content)
    return len(content)


def opening_of(trace: Trace) -> dict[str, str]:
    """What a page opens with, as its address would say it: the sentence, its reference, and what was changed."""
    changed = {key: value for key, value in describe_what_if(trace.what_if).model_dump().items() if value}
    words = {"text": trace.text, "target": _reference(trace), "if": json.dumps(changed) if changed else ""}
    return {key: value for key, value in words.items() if value}


def first_answer(trace: Trace) -> schema.Stored:
    """What a page shows of the sentence that it opens with until it has read its model: all but tensors."""
    return schema.Stored(target=_reference(trace), trace=_shortened(describe_trace(trace)), tensors={})


def stored(trace: Trace, checkpoint: str) -> schema.Stored:
    """What a checkpoint of the training answered, for a file without its weights: cross attention, and no tree."""
    kept = {name: each for name, each in trace.replay.values.items() if name.endswith(".cross.weights")}
    described = describe_trace(trace).model_copy(
        update={
            "id": checkpoint,
            "checkpoint": checkpoint,
            "candidates": [],
            "shapes": {name: list(each.shape) for name, each in kept.items()},
        }
    )
    numbers = {name: schema.Numbers(floats=base64.b64encode(floats(each)).decode()) for name, each in kept.items()}
    return schema.Stored(target=_reference(trace), trace=_shortened(described), tensors=numbers)


def _shortened(trace: schema.Trace) -> schema.Trace:
    """The same in numbers of seven digits, as a float32 has: they are most of what a file stores of an answer."""
    return schema.Trace(**json.loads(trace.model_dump_json(), parse_float=lambda digits: float(f"{float(digits):.7g}")))


def _reference(trace: Trace) -> str:
    if trace.reference is None:
        return ""
    return trace.translator.tokenizers.target.decode([trace.reference.target_out])[0]


def save_page(
    path: str | Path,
    translator: Translator,
    line: str | None = None,
    target: str | None = None,
    checkpoints: Mapping[str, Callable[[], Translator]] = MappingProxyType({}),
    with_weights: bool = False,
    beside: Translator | None = None,
) -> int:
    """Write the page with the model in it, and what its training was like; return its size in bytes.

    Args:
        path: of the file.
        translator: of the model.
        line: a sentence that the page opens with. Unset: the first of the model's examples, if there are any.
        target: the right answer to it.
        checkpoints: of its training, by name, oldest first: the file has what each of them answers to that sentence.
        with_weights: the file has the weights of the checkpoints instead, and so their answers to any sentence.
        beside: of another model, to be looked at on the same page.

    Raises:
        DataError, ConfigError, CheckpointError: as for `look` and `living_html`, or if it cannot be written.
    """
    translator = with_torch(translator)
    examples = describe_model(translator).examples
    if line is None and examples:
        line, target = examples[0].text, examples[0].target or None
    opened = look(translator, line, target=target) if line is not None else None
    opening, first = (opening_of(opened), first_answer(opened)) if opened else ({}, None)
    earlier: dict[str, Translator | schema.Stored] = {}
    for name, read in checkpoints.items():
        if with_weights:
            earlier[name] = with_torch(read())
        elif line is not None:
            earlier[name] = stored(look(read(), line, target=target), name)
    return write(path, living_html(translator, opening, earlier, with_torch(beside) if beside else None, first))


def living_html(
    translator: Translator,
    opening: Mapping[str, str],
    checkpoints: Mapping[str, Translator | schema.Stored] = MappingProxyType({}),
    beside: Translator | None = None,
    first: schema.Stored | None = None,
) -> str:
    """The page as one file with the model in it.

    Args:
        translator: of the model.
        opening: what the page shows first, as its address would say it.
        checkpoints: of its training, by name, oldest first: models that answer too, or what each of them answered.
        beside: of another model, to be looked at on the same page.
        first: the answer to that, which is shown before the model is read; not where the page computes with float16,
            whose answer is not quite the same.

    Raises:
        ConfigError: if the model is too large for a page.
    """
    described = describe_model(translator, list(checkpoints), beside)
    embedded = embed_all(described, translator, beside)
    if not embedded:
        largest = max(described.parameters, described.beside.parameters if described.beside else 0)
        raise ConfigError(
            f"the model has {largest:,} parameters; a page computes with at most "
            f"{MAX_FLOAT16_PARAMETERS:,}: write a frozen file (--frozen), or look without --html"
        )
    if embedded[""].model.precision == "float16":
        first = None
    models = {name: each for name, each in checkpoints.items() if isinstance(each, Translator)}
    answers = {
        name: each.model_dump(mode="json") for name, each in checkpoints.items() if isinstance(each, schema.Stored)
    }
    if beside is not None:
        models[schema.BESIDE] = beside
    small = [
        *(
            _data(_of("embedded", name), "application/json", _safe(each.model_dump_json()))
            for name, each in embedded.items()
        ),
        *([_data("first", "application/json", _safe(first.model_dump_json()))] if first else []),
        _data("model", "text/plain", asset("model.js")),
    ]
    large = [
        *(
            _data(
                _of("weights", name),
                "text/plain",
                base64.b64encode(embedded_weights(each, embedded.get(name, embedded[""]).model.precision)).decode(),
            )
            for name, each in {"": translator, **models}.items()
        ),
        _data("answers", "application/json", _safe(json.dumps(answers, ensure_ascii=False, separators=(",", ":")))),
    ]
    return _file(small, "worker-src blob:; ", asset("model.js"), large=large, opening=urlencode(opening))


def frozen_html(trace: Trace, full: bool = False) -> str:
    """The page as one file without the model: with as many tensors of the trace as fit, or with all of them."""
    model, described = describe_model(trace.translator), describe_trace(trace)
    frame = _file([])
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
    return _file([_data("held", "application/json", _json(schema.Held(model=model, trace=described, tensors=held)))])


def _of(kind: str, checkpoint: str) -> str:
    """The name of a script of data."""
    return f"{kind}.{checkpoint}" if checkpoint else kind


def _file(data: Sequence[str], policy: str = "", *scripts: str, large: Sequence[str] = (), opening: str = "") -> str:
    """One file of scripts of data and of the page's own; `scripts` may run too.

    The page's own script runs before a browser has read what is `large`, and waits for it (`frontend/src/source.ts`).
    """
    script, style = asset("page.js"), asset("page.css")
    allowed = " ".join(f"'{_hash(each)}'" for each in (script, *scripts))
    return _html(
        f"<style>{style}</style>",
        f"{''.join(data)}<script>{script}</script>{''.join(large)}",
        f"default-src 'none'; script-src {allowed}; {policy}style-src '{_hash(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'",
        opening,
    )


def _data(name: str, kind: str, content: str) -> str:
    assert "</script" not in content.lower()
    return f'<script type="{kind}" id="{escape(name, quote=True)}">{content}</script>'


def _html(style: str, script: str, policy: str, opening: str = "") -> str:
    opens = f' data-opening="{escape(opening, quote=True)}"' if opening else ""
    guard = f'<meta http-equiv="Content-Security-Policy" content="{policy}">' if policy else ""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{guard}'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><title>zhuyi</title>'
        f'<link rel="icon" href="data:,">{style}</head><body><main id="page"{opens}></main>{script}</body></html>'
    )


def _json(held: schema.Held) -> str:
    return _safe(held.model_dump_json())


def _safe(text: str) -> str:
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
