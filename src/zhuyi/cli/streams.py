"""What is read and what is written: lines of files and of standard input; translations as text, TSV or JSON."""

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
    """Nothing that is said can fail for its characters, whatever the stream can encode. Data is for `write_stdout`."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:  # a closed one: else the next file would have its number
        pass
    os.close(descriptor)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 – and `print(file=None)` is to standard output
    codecs.register_error("zhuyi", _as_bytes_or_question_mark)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="zhuyi")


def _as_bytes_or_question_mark(error: UnicodeError) -> tuple[str | bytes, int]:
    """A byte of a name that could not be decoded is that byte again; a character that cannot be encoded is a `?`."""
    with suppress(UnicodeError):
        return codecs.lookup_error("surrogateescape")(error)
    return codecs.lookup_error("replace")(error)


def flush(stream: TextIO | None) -> None:
    """Find out now whether a stream has taken everything: the interpreter would at its end, with a code of its own."""
    if stream is None:
        return
    try:
        stream.flush()
    except OSError:
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), stream.fileno())  # for what is left
        raise


def read_aligned(source: str, target: str) -> tuple[list[str], list[str]]:
    """The lines of two files whose lines belong together."""
    from zhuyi.data.corpus import Corpus

    pairs = list(Corpus(source, target))
    return [pair.source for pair in pairs], [pair.target for pair in pairs]


def read_chunks(files: list[str]) -> Iterator[list[str]]:
    """The lines of some files, one after the other; on a terminal, with a bar and the time left."""
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
    """The lines of standard input, as they come."""
    if sys.stdin is None:
        raise DataError("standard input is closed: zhuyi translate MODEL < FILE")
    if sys.stdin.isatty():
        print("zhuyi: type a line and press Enter; Ctrl-D ends", file=sys.stderr)
    return as_they_come(cast(io.BufferedReader, sys.stdin.buffer), "standard input")


def text_lines(
    number: int, found: Sequence["Translation"], n_best: int, scores: bool, probabilities: bool = False
) -> str:
    """What is printed for a line of the input: one line, or `n_best` of them; of labels, scores are probabilities."""
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
    """The object that is printed for a line of the input: the labels of its tokens, or its own, best first."""
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
    """Writes to standard output at once, or to a file, which is whole or not there."""
    if path is None:
        yield write_stdout
        return
    from zhuyi.files import opened_atomically

    with opened_atomically(path) as file:

        def write(text: str) -> None:
            file.write(text.encode())

        yield write


def write_stdout(text: str) -> None:
    """Data to standard output: UTF-8 and "\\n" wherever we are."""
    if sys.stdout is None:
        raise DataError("standard output is closed")
    sys.stdout.buffer.write(text.encode(errors="backslashreplace"))  # a name may have bytes that are no character
    sys.stdout.buffer.flush()
