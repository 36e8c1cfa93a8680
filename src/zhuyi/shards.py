"""Translation of a corpus of many files (shards) into a directory, by any number of processes at once.

    OUT/translation.json    the model and the settings, and the sizes of the shards
    OUT/<name of a shard>   its translation, compressed like the shard

The translation of a shard appears when it is complete. A process that is started again after it was killed, or another
process, continues with the shards that have no translation yet. A process locks the shard that it translates, so that
the others take the next one.
"""

import hashlib
import json
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from filelock import Timeout

from zhuyi.data.cache import exclusive
from zhuyi.data.compression import packed, packing
from zhuyi.data.formats import READERS
from zhuyi.data.specs import Shard, parse
from zhuyi.errors import ConfigError, DataError
from zhuyi.files import opened_atomically, readable_failure, write_atomically, write_new
from zhuyi.text.lines import in_chunks
from zhuyi.translator import Translator

RECORD = "translation.json"

Answers: TypeAlias = Callable[[Shard, Iterator[list[str]]], Iterator[str]]
"""A function from a shard and its lines, in chunks, to the text that is written for each chunk."""


@dataclass(frozen=True)
class Job:
    """A shard, and the file for its translation."""

    source: Shard
    target: Path


@dataclass(frozen=True)
class Progress:
    """The progress of a process."""

    source: Shard
    """The shard that is being translated."""
    lines: int
    """Its lines that are translated."""
    of_lines: int
    """All of its lines."""
    finished: int
    """Jobs that are finished, by this process or others."""
    jobs: int
    """All jobs."""
    seconds_left: float | None
    """Estimated from the sizes of the shards; None before the first lines are translated."""


def jobs(spec: str, out: Path, ending: str = "") -> list[Job]:
    """A job for each file of a spec, in the order of the spec.

    Args:
        spec: a file, or a pattern, as for `data.source`.
        out: the directory for the translations.
        ending: is added to the names of the translations, before the ending of the compression.

    Raises:
        ConfigError: if the spec is on the hub, if two translations would have the same name, or if a translation would
            replace its shard.
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
    """Everything that the translations depend on, except for the content of the shards, as JSON values.

    Args:
        translator: makes the translations.
        mbr: the metric of minimum-Bayes-risk decoding; None without it.
        planned: the result of `jobs`.
        ending: as for `jobs`; it determines what is written for a line.
    """
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
        "field": planned[0].source.field,
        "output": ending or "text",
    }


def claim(out: Path, planned: Sequence[Job], settings: dict[str, Any]) -> None:
    """Record the settings and the shards in a directory, or check that those recorded there agree with them.

    A shard is identified by its name and size, so shards may be moved, and others added.

    Raises:
        ConfigError: if the directory holds translations with other settings, or of other shards.
        CheckpointError: if it cannot be written.
    """
    record, done = out / RECORD, [job for job in planned if job.target.exists()]
    sizes = {job.target.name: _size(job) for job in planned}
    with _alone_at(record, wait=True):
        if not record.exists():
            if done:
                raise ConfigError(
                    f"{done[0].target} is there, but no {RECORD} says what it is: choose another directory"
                )
            write_new(record, _to_bytes(settings, sizes))
        before, recorded = _read_record(record)
        now = _flat(settings)
        for key in sorted(before.keys() | now.keys()):
            if before.get(key) != now.get(key):
                raise ConfigError(
                    f"{out} holds translations with {key} = {before.get(key)}, and not {now.get(key)}: choose another "
                    "directory, or the settings of before"
                )
        for job in done:
            size = sizes[job.target.name]
            if (known := recorded.get(job.target.name, size)) != size:
                raise ConfigError(
                    f"{job.target} is the translation of a shard of {known:,} bytes, and {job.source} has {size:,}: "
                    "choose another directory, or remove the translation, if the shard has changed"
                )
        if recorded | sizes != recorded:
            write_atomically(record, _to_bytes(settings, recorded | sizes))


def translate_shards(planned: Sequence[Job], answers: Answers, notify: Callable[[Progress], None]) -> None:
    """Do the jobs that are not finished, in a directory prepared by `claim`.

    Args:
        planned: the result of `jobs`, or a part of it.
        answers: see `Answers`.
        notify: called after each chunk, and at the end of each job.

    Raises:
        DataError: if a shard cannot be read, or changes while it is being translated.
        CheckpointError: if a translation cannot be written.
    """
    waiting = {job: _size(job) for job in planned if not job.target.exists()}
    finished, done, total, began = len(planned) - len(waiting), 0.0, sum(waiting.values()), time.monotonic()
    with closing(_one_by_one(waiting)) as held:
        for job in held:
            size = waiting[job]
            if job.target.exists():  # another process has finished it in the meantime
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


def _one_by_one(waiting: Iterable[Job]) -> Generator[Job, None, None]:
    """The jobs, each while this process holds its lock. Those that others have locked come last, when released."""
    later = []
    for job in waiting:
        try:
            with _alone_at(job.target, wait=False):
                yield job
        except Timeout:
            later.append(job)
    for job in later:
        with _alone_at(job.target, wait=True):
            yield job


@contextmanager
def _alone_at(target: Path, wait: bool) -> Iterator[None]:
    """Hold the lock of a file. On a file system without locks, several processes may write the same translation.

    Raises:
        filelock.Timeout: if another process holds it and `wait` is False.
    """
    with ExitStack() as held:
        try:
            held.enter_context(exclusive(target.with_name(f".{target.name}.lock"), wait))
        except Timeout:
            raise
        except OSError:  # no locks; or the directory cannot be written, which the first write will report
            pass
        yield


def _translated(job: Job, of_lines: int, answers: Answers) -> Generator[int, None, None]:
    """Do a job. Yields the number of lines translated: after each chunk, and at the end, when the file exists."""
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
    """The name of a translation: that of the shard, without the ending of a table, since a translation is text."""
    path = Path(shard.place)
    compression = path.suffix if packing(shard.place) else ""
    stem = path.name.removesuffix(compression)
    if shard.format == "text":
        return f"{stem}{ending}{compression}"
    return f"{Path(stem).stem}{ending or '.txt'}{compression}"


def _size(job: Job) -> int:
    return Path(job.source.place).stat().st_size


def _to_bytes(settings: dict[str, Any], sizes: dict[str, int]) -> bytes:
    """The content of the record: the settings, and the size of each shard in bytes."""
    return (json.dumps({**settings, "bytes": sizes}, ensure_ascii=False, indent=1) + "\n").encode()


def _read_record(record: Path) -> tuple[dict[str, Any], dict[str, int]]:
    """The settings of a record, flattened, and the sizes of the shards by the names of their translations."""
    try:
        with readable_failure(record):
            settings = json.loads(record.read_bytes())
        sizes = {name: int(size) for name, size in settings.pop("bytes").items()}
        return _flat(settings), sizes
    except (ValueError, AttributeError, KeyError, TypeError) as error:
        raise ConfigError(f"{record}: damaged: {error}; choose another directory") from error


def _flat(tree: Any, key: str = "") -> dict[str, Any]:
    """Nested settings as a flat dict, with keys joined by dots."""
    if not isinstance(tree, dict):
        return {key: tree}
    parts = (_flat(value, f"{key}.{name}" if key else name) for name, value in tree.items())
    return {name: value for part in parts for name, value in part.items()}
