"""Translates a corpus of many files, shard by shard, into a directory that any number of processes may fill together.

    OUT/translation.json    which model and which settings the translations are of
    OUT/<name of a shard>   its translation, compressed as the shard is

A translation is there as a whole or not at all. A process that was killed and is started again, or another one, goes on
with the shards that are not there.
"""

import hashlib
import json
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from zhuyi.data.compression import packed, packing
from zhuyi.data.formats import READERS
from zhuyi.data.specs import Shard, parse
from zhuyi.errors import ConfigError, DataError
from zhuyi.files import opened_atomically, readable_failure, write_new
from zhuyi.text.lines import in_chunks
from zhuyi.translator import Translator

RECORD = "translation.json"

Answers: TypeAlias = Callable[[Shard, Iterator[list[str]]], Iterator[str]]
"""From a shard and its lines in chunks: what is to be written for each chunk."""


@dataclass(frozen=True)
class Job:
    """A shard, and the file that its translation is written to."""

    source: Shard
    target: Path


@dataclass(frozen=True)
class Progress:
    """How far a process is with its jobs."""

    source: Shard
    """What is being translated."""
    lines: int
    """How many of its lines are translated."""
    of_lines: int
    finished: int
    """Jobs whose translations are there."""
    jobs: int
    seconds_left: float | None
    """Estimated from the sizes of the shards; None before the first lines are translated."""


def jobs(spec: str, out: Path, ending: str = "") -> list[Job]:
    """A job for each file of a spec, in its order.

    Args:
        spec: a file, or a pattern, as for `data.source`.
        out: the directory of the translations.
        ending: of their names, before that of the compression.

    Raises:
        ConfigError: if there are no files for them, or one file for two of them.
        DataError: if there are no shards.
    """
    planned: dict[Path, Job] = {}
    for shard in parse(spec):
        if shard.format == "hub":
            raise ConfigError(f"{shard}: is not a file: write its lines to files, which can be translated one by one")
        job = Job(shard, out / _name(shard, ending))
        if job.target in planned:
            raise ConfigError(f"{planned[job.target].source} and {shard} would both become {job.target}: rename one")
        if job.target.exists() and job.target.samefile(shard.place):
            raise ConfigError(f"{job.target} is also what is to be translated: choose another directory")
        planned[job.target] = job
    return list(planned.values())


def settings_of(translator: Translator, mbr: str | None, planned: Sequence[Job], ending: str) -> dict[str, Any]:
    """All that the translations depend on, but for the content of the shards, as JSON can say it.

    Args:
        translator: makes them.
        mbr: the metric by which one of its candidates is chosen, if it is.
        planned: what `jobs` gave.
        ending: as for `jobs`; says what is written for a line.
    """
    first = planned[0].source
    config = translator.config
    decoding = config.decoding.model_dump(mode="json", exclude={"workers"})
    tokenizers = {
        name: hashlib.sha256(text.encode()).hexdigest() for name, text in translator.tokenizers.files().items()
    }
    return {
        "weights": [list(origin.digests) for origin in translator.origins],
        "tokenizers": tokenizers,
        "model": config.model.model_dump(mode="json"),
        "text": config.text.model_dump(mode="json"),
        "decoding": decoding,
        "mbr": mbr,
        "shards": {"folder": str(Path(first.place).resolve().parent), "field": first.field},
        "output": ending or "text",
    }


def claim(out: Path, planned: Sequence[Job], settings: dict[str, Any]) -> None:
    """See that a directory holds, or is to hold, translations with these settings and no others.

    Raises:
        ConfigError: if it holds others.
        CheckpointError: if it cannot be written.
    """
    record, known = out / RECORD, next((job.target for job in planned if job.target.exists()), None)
    if not record.exists():
        if known is not None:
            raise ConfigError(f"{known} is there, but no {RECORD} says what it is: choose another directory")
        write_new(record, (json.dumps(settings, ensure_ascii=False, indent=1) + "\n").encode())
    try:
        with readable_failure(record):
            before = _flat(json.loads(record.read_bytes()))
    except ValueError as error:
        raise ConfigError(f"{record}: damaged: {error}; choose another directory") from error
    now = _flat(settings)
    for key in sorted(before.keys() | now.keys()):
        if before.get(key) != now.get(key):
            raise ConfigError(
                f"{out} holds translations with {key} = {before.get(key)}, and not {now.get(key)}: choose another "
                "directory, or the settings of before"
            )


def translate_shards(planned: Sequence[Job], answers: Answers, notify: Callable[[Progress], None]) -> None:
    """Do the jobs whose translations are not there yet, in a directory that was claimed.

    Args:
        planned: what `jobs` gave, or a part of it.
        answers: see `Answers`.
        notify: called after each chunk, and at the end of each job.

    Raises:
        DataError: if a shard cannot be read, or changes while it is being translated.
        CheckpointError: if a translation cannot be written.
    """
    waiting = {job: Path(job.source.place).stat().st_size for job in planned if not job.target.exists()}
    finished, done, total, began = len(planned) - len(waiting), 0.0, sum(waiting.values()), time.monotonic()
    for job, size in waiting.items():
        if job.target.exists():  # by now: another process was here
            finished, total = finished + 1, total - size
            continue
        of_lines = sum(1 for _ in _lines(job.source))
        with closing(_translated(job, of_lines, answers)) as progress:
            for lines in progress:
                share = lines / of_lines if of_lines else 1.0
                so_far = done + size * share
                left = (time.monotonic() - began) * (total - so_far) / so_far if so_far else None
                notify(Progress(job.source, lines, of_lines, finished + (share == 1), len(planned), left))
        finished, done = finished + 1, done + size


def _translated(job: Job, of_lines: int, answers: Answers) -> Generator[int, None, None]:
    """Do a job. Gives how many lines are translated: after each chunk, and all when the file is there."""
    lines = 0

    def chunks() -> Iterator[list[str]]:
        nonlocal lines
        for chunk in in_chunks(_lines(job.source)):
            lines += len(chunk)
            yield chunk

    with opened_atomically(job.target, shared=True) as file, packed(file, packing(str(job.target))) as write:
        for text in answers(job.source, chunks()):
            write(text.encode())
            if lines < of_lines:
                yield lines
        if lines != of_lines:
            raise DataError(f"{job.source}: had {of_lines:,} lines and now has {lines:,}: give the command again")
    yield lines


def _lines(shard: Shard) -> Iterator[str]:
    """The lines of a shard, which may be empty."""
    return (row[0] for row in READERS[shard.format](shard.place, (shard.field,)))


def _name(shard: Shard, ending: str) -> str:
    """Of the translation: that of the shard, but for the ending of a table, since it is text."""
    path = Path(shard.place)
    compression = path.suffix if packing(shard.place) else ""
    stem = path.name.removesuffix(compression)
    if shard.format == "text":
        return f"{stem}{ending}{compression}"
    return f"{Path(stem).stem}{ending or '.txt'}{compression}"


def _flat(tree: Any, key: str = "") -> dict[str, Any]:
    """A tree of settings as one level, whose keys are joined by dots."""
    if not isinstance(tree, dict):
        return {key: tree}
    parts = (_flat(value, f"{key}.{name}" if key else name) for name, value in tree.items())
    return {name: value for part in parts for name, value in part.items()}
