"""Input and output: lines of files and of standard input; translations as text, TSV or JSON."""

import codecs
import io
import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, cast

from zhuyi.errors import DataError
from zhuyi.text.lines import MAX_LINES, as_they_come, in_chunks

if TYPE_CHECKING:
    from zhuyi.translator import Translation


def secure_streams() -> None:
    """Make messages printable in any encoding; data is written by `write_stdout`.

    A standard stream that is closed is opened on the null device: the next file would get its descriptor.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 – `print(file=None)` would print to standard output
    codecs.register_error("zhuyi", _as_bytes_or_question_mark)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="zhuyi")


def _as_bytes_or_question_mark(error: UnicodeError) -> tuple[str | bytes, int]:
    """For a file name, the original bytes of what could not be decoded; for a character that cannot be encoded, `?`."""
    with suppress(UnicodeError):
        return codecs.lookup_error("surrogateescape")(error)
    return codecs.lookup_error("replace")(error)


def flush(stream: TextIO | None) -> None:
    """Flush a stream, so that an error is reported by us and not at the exit of the interpreter, with another code.

    Raises:
        OSError: if the stream does not take what is left.
    """
    if stream is None:
        return
    try:
        stream.flush()
    except OSError:
        with open(os.devnull, "wb") as null:
            os.dup2(null.fileno(), stream.fileno())  # the interpreter flushes the rest to it
        raise


def read_aligned(source: str, target: str) -> tuple[list[str], list[str]]:
    """The lines of two aligned files."""
    from zhuyi.data.corpus import Corpus

    pairs = list(Corpus(source, target))
    return [pair.source for pair in pairs], [pair.target for pair in pairs]


def read_chunks(files: list[str]) -> Iterator[list[str]]:
    """The lines of some files, one file after the other; on a terminal, with a progress bar."""
    from zhuyi.data.corpus import read_lines

    chunks = in_chunks(chain.from_iterable(map(read_lines, files)))
    if not sys.stderr.isatty():
        yield from chunks
        return
    from rich.console import Console
    from rich.progress import track

    parts = math.ceil(sum(1 for file in files for _ in read_lines(file)) / MAX_LINES)
    yield from track(chunks, "Translating", parts, console=Console(stderr=True), transient=True)


def standard_input() -> Iterator[list[str]]:
    """The lines of standard input in chunks, as soon as they arrive."""
    if sys.stdin is None:
        raise DataError("standard input is closed: zhuyi translate MODEL < FILE")
    if sys.stdin.isatty():
        print("zhuyi: type a line and press Enter; press Ctrl-D to end", file=sys.stderr)
    return as_they_come(cast(io.BufferedReader, sys.stdin.buffer), "standard input")


def text_lines(
    number: int, found: Sequence["Translation"], n_best: int, scores: bool, probabilities: bool = False
) -> str:
    """What is printed for a line of the input: one line, or `n_best` of them.

    Args:
        number: of the line, from 1.
        found: its translations, best first.
        n_best: how many are printed; those that were not found are empty and have the score −inf.
        scores: whether the score is printed; with several, it always is.
        probabilities: print the exponential of the score, as for labels.
    """
    missing = [(-math.inf, "")] * (n_best - len(found))
    entries = [(each.score, each.text) for each in found] + missing
    if probabilities:
        entries = [(math.exp(score), text) for score, text in entries]
    if n_best == 1:
        score, best = entries[0]
        return f"{score:.6f}\t{best}\n" if scores else f"{best}\n"
    return "".join(f"{number}\t{rank}\t{score:.6f}\t{text}\n" for rank, (score, text) in enumerate(entries, start=1))


def json_line(source: str, found: Sequence["Translation"]) -> str:
    """The object that is printed for a line of the input."""
    translations = [
        {
            "text": translation.text,
            "score": translation.score if math.isfinite(translation.score) else None,  # JSON has no infinity
            "finished": translation.finished,
            "pieces": translation.pieces,
            "token_logprobs": translation.token_logprobs,
        }
        for translation in found
    ]
    return f"{to_json({'source': source, 'translations': translations})}\n"


def labels_line(source: str, found: Sequence["Translation"], of_tokens: bool) -> str:
    """The object that is printed for a line of the input: its labels, best first, or those of its tokens."""
    best = [each for each in found if each.token_logprobs]  # a blank line has none
    if of_tokens:
        pairs = [pair for each in best for pair in zip(each.text.split(), each.token_logprobs, strict=True)]
    else:
        pairs = [(each.text, each.score) for each in best]
    labels = [{"label": label, "probability": math.exp(log_prob)} for label, log_prob in pairs]
    return f"{to_json({'source': source, 'labels': labels})}\n"


def to_json(value: object) -> str:
    """JSON on one line."""
    return json.dumps(value, ensure_ascii=False)


@contextmanager
def output(path: Path | None) -> Iterator[Callable[[str], None]]:
    """A function that writes to standard output, or to a file that is complete or left as it was."""
    if path is None:
        yield write_stdout
        return
    from zhuyi.files import opened_atomically

    with opened_atomically(path) as file:

        def write(text: str) -> None:
            file.write(text.encode())

        yield write


def write_stdout(text: str) -> None:
    """Write data to standard output, always as UTF-8 with "\\n"."""
    if sys.stdout is None:
        raise DataError("standard output is closed")
    sys.stdout.buffer.write(text.encode(errors="backslashreplace"))  # a name may have bytes that are no character
    sys.stdout.buffer.flush()
