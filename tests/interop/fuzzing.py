"""Damaged files of every format that is imported: none may give a traceback, or need much time or memory.

    PYTHONPATH=tests python tests/interop/fuzzing.py --log benchmarks/results/fuzzing.json [--minutes 60] [FORMAT ...]

What the log has is not read again, so the same command goes on with a lap that was stopped; rounds of a hundred files
with a problem are. `--first` and `--count` are for a part of the lap.

A file is damaged as a format and a number say, so that each can be made again:

    PYTHONPATH=tests python tests/interop/fuzzing.py --keep DIR --first 1234 FORMAT

The files are read in a process of their own, which ends with the first that takes too long, whatever it is doing.
"""

import argparse
import json
import math
import os
import platform
import random
import resource
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from foreign_models import DIRECTORIES, HEADS, LINES, WORDS, make_with_tokenizer_json, state_dict, train_pieces
from interop.damage import damaged

import zhuyi
from zhuyi.errors import ZhuyiError, ZhuyiWarning
from zhuyi.files import write_atomically
from zhuyi.interop import from_state_dict
from zhuyi.interop.importing import import_model
from zhuyi.interop.reading.tensors import read_file
from zhuyi.interop.tokenizers import sentencepiece
from zhuyi.interop.tokenizers.vocabulary import Vocabulary, read_pieces, word_tokenizer

SECONDS = 10
"""Of a core, that a file may take."""
MEGABYTES = 1000
"""Of memory, that the process may have had, with Python and torch."""
ROUND = 100
"""Files of each format that one process reads."""


@dataclass(frozen=True)
class Format:
    """A kind of files that are imported."""

    make: Callable[[Path], Any]
    """Writes sound ones into a directory, which it makes."""
    read: Callable[[Path], Any]
    """Reads one of them, and what belongs to it."""


def read_directory(file: Path) -> None:
    """Import it as a user would, and use the tokenizers."""
    out = file.parent.with_name("imported")
    import_model(file.parent, out)
    read_lines(zhuyi.load(out, device="cpu").tokenizers.source)


def read_lines(tokenizer: Any) -> None:
    found = tokenizer.encode([*LINES, "naïve ﬁ 猫 <unk> </s>", "a\u0301 " * 20])
    assert all(0 <= token < len(tokenizer) for tokens in found for token in tokens)
    tokenizer.decode(found)


def make_pieces(directory: Path) -> None:
    directory.mkdir()
    text = [*LINES, "naïve café ﬁ ½ ① ＡＢＣ 猫 한국어"]
    for algorithm, rule in (("unigram", "nmt_nfkc"), ("unigram", "nfkc_cf"), ("bpe", "identity")):
        options = {"model_type": algorithm, "normalization_rule_name": rule, "byte_fallback": rule != "nmt_nfkc"}
        train_pieces(directory / f"{algorithm}-{rule}.spm", text, **options, **{"vocab_size": 340})


def make_vocabularies(directory: Path) -> None:
    directory.mkdir()
    pieces = ["</s>", "<unk>", "▁a", "é", '"', "a:b", "un@@", *"bcdefgh"]
    (directory / "v.json").write_text(json.dumps({piece: i for i, piece in enumerate(pieces)}, ensure_ascii=False))
    entries = [*enumerate(pieces), (19, r"it's\t\xe9\u00e8\U0001F431"), (20, "#")]
    (directory / "v.yml").write_text(
        "".join(f'{json.dumps(piece)[1:-1]!r}: {i}\n"{i}": {i + 30}\n' for i, piece in entries)
    )
    (directory / "v.txt").write_text("".join(f"{piece}\n" for piece in pieces))


def read_vocabulary(file: Path) -> None:
    read_lines(word_tokenizer(Vocabulary.of(file, read_pieces(file), unk=1, eos=0)))


def make_state_dict(directory: Path) -> None:
    directory.mkdir()
    torch.save(state_dict(), directory / "zip.pt")
    torch.save(state_dict(), directory / "old.pt", _use_new_zipfile_serialization=False)


def read_state_dict(file: Path) -> None:
    weights = {name: torch.from_numpy(array) for name, array in read_file(file).items()}
    from_state_dict(weights, heads=HEADS, source_tokens=WORDS).tokenizers.source.encode(["a dog"])


FORMATS: dict[str, Format] = {
    **{family: Format(make, read_directory) for family, make in DIRECTORIES.items()},
    **{
        f"{family}-tokenizer.json": Format(partial(make_with_tokenizer_json, family=family), read_directory)
        for family in ("bart", "m2m-100", "t5")
    },
    "sentencepiece": Format(make_pieces, lambda file: read_lines(sentencepiece.tokenizer(sentencepiece.read(file)))),
    "vocabulary": Format(make_vocabularies, read_vocabulary),
    "state-dict": Format(make_state_dict, read_state_dict),
}


def read_all(names: Sequence[str], first: int, count: int) -> None:
    """Read the damaged files of some formats, and print a line of JSON about each. Sound files come before."""
    warnings.simplefilter("error")
    warnings.simplefilter("ignore", ZhuyiWarning)  # a line for the user
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (1 << 32, 1 << 32))  # so that no file takes the machine's memory
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            whole = Path(folder) / name / "whole"
            whole.parent.mkdir()
            FORMATS[name].make(whole)
            files = sorted(whole.iterdir())
            for file in files:
                FORMATS[name].read(file)
            for seed in range(first, first + count):
                file, damage = choose(name, seed, files)
                content = file.read_bytes()
                file.write_bytes(damage(content))
                limit = math.ceil(time.process_time()) + SECONDS + 1
                resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
                found = {"format": name, "seed": seed, "file": file.name, **attempt(FORMATS[name].read, file)}
                print(json.dumps(found), flush=True)
                file.write_bytes(content)


def choose(name: str, seed: int, files: Sequence[Path]) -> tuple[Path, Callable[[bytes], bytes]]:
    """The file that a format and a number damage, and how."""
    rng = random.Random(f"{name} {seed}")
    return rng.choice(files), lambda data: damaged(data, rng)


def attempt(read: Callable[[Path], Any], file: Path) -> dict[str, Any]:
    """What comes of a file, in which time, and the most memory that the process has had until then."""
    start = time.process_time()
    outcome, problem = "read", ""
    try:
        read(file)
    except ZhuyiError as error:
        outcome = "refused"
        if "\n" in str(error) or len(str(error)) > 2000 or "memory" in str(error).lower():
            problem = f"not a line about the file: {str(error)[:300]!r}"
    except Exception:
        problem = traceback.format_exc(limit=-4)
    seconds = time.process_time() - start
    megabytes = most_memory() // 1_000_000
    return {"outcome": outcome, "problem": problem, "seconds": round(seconds, 3), "megabytes": megabytes}


def most_memory() -> int:
    """The most memory that this program has had, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux counts in ru_maxrss what the process had before, as a part of the one that started it
        return 1024 * next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@dataclass
class Result:
    """What came of some damaged files of a format."""

    files: int = 0
    read: int = 0
    refused: int = 0
    slowest: dict[str, Any] = field(default_factory=lambda: {"seconds": 0.0})
    megabytes: int = 0
    problems: list[str] = field(default_factory=list)
    sound: list[list[int]] = field(default_factory=list)
    """The numbers of the files of rounds without a problem: from the first of two up to the second."""

    def add(self, line: dict[str, Any]) -> None:
        self.files += 1
        self.read += line["outcome"] == "read"
        self.refused += line["outcome"] == "refused"
        had, self.megabytes = self.megabytes, max(self.megabytes, line["megabytes"])
        if line["seconds"] > self.slowest["seconds"]:
            self.slowest = {key: line[key] for key in ("seconds", "seed", "file")}
        what = f"seed {line['seed']}, {line['file']}"
        if line["problem"]:
            self.problems.append(f"{what}: {line['problem']}")
        if line["seconds"] > SECONDS or line["megabytes"] > MEGABYTES >= had:  # of those after it, all have had so much
            self.problems.append(f"{what}: {line['seconds']} s, {line['megabytes']} MB")

    def merge(self, other: "Result", first: int) -> None:
        """Add what came of a round of others, whose first has this number; of one with a problem, that alone."""
        self.problems += other.problems
        if other.problems or not other.files:  # the process that reads has ended before
            return
        ranges = sorted([*self.sound, [first, first + other.files]])
        self.sound = ranges[:1]
        for start, end in ranges[1:]:
            if start == self.sound[-1][1]:
                self.sound[-1][1] = end
            else:
                self.sound.append([start, end])
        self.files += other.files
        self.read += other.read
        self.refused += other.refused
        self.slowest = max(self.slowest, other.slowest, key=lambda each: each["seconds"])
        self.megabytes = max(self.megabytes, other.megabytes)

    def has(self, first: int, count: int) -> bool:
        """Whether a round is among them."""
        return any(start <= first and first + count <= end for start, end in self.sound)


def fuzz(names: Sequence[str], count: int, first: int = 0) -> dict[str, Result]:
    """Read so many damaged files of each format in a process; a seed at which that ends is a problem."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, __file__, "--read", "--first", str(first), "--count", str(count), *names]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    results = {name: Result() for name in names}
    for line in ran.stdout.splitlines():
        found = json.loads(line)
        results[found["format"]].add(found)
    if ran.returncode:
        name = next(name for name in names if results[name].files < count)
        ended = f"ended with code {ran.returncode}: {ran.stderr[-1000:]}"
        results[name].problems.append(f"seed {first + results[name].files}: {ended}")
    return results


def lap(names: Sequence[str], first: int, count: int, log: Path | None, minutes: float = math.inf) -> dict[str, Result]:
    """Read so many damaged files of each format, but those that a log has, to which the results are added.

    Problems that the log has are left out: those that are still there are found again.
    """
    logged = json.loads(log.read_text(encoding="utf-8"))["formats"] if log and log.exists() else {}
    results = {name: Result(**{**logged.get(name, {}), "problems": []}) for name in names}
    start = time.monotonic()
    for one in range(first, first + count, ROUND):
        size = min(ROUND, first + count - one)
        wanted = [name for name in names if not results[name].has(one, size)]
        if time.monotonic() - start > 60 * minutes:
            break
        for name, found in (fuzz(wanted, size, one) if wanted else {}).items():
            results[name].merge(found, one)
        if log:
            others = json.loads(log.read_text(encoding="utf-8"))["formats"] if log.exists() else {}
            written = {"python": platform.python_version(), "torch": torch.__version__, "seconds": SECONDS}
            written |= {
                "megabytes": MEGABYTES,
                "formats": others | {name: vars(each) for name, each in results.items()},
            }
            write_atomically(log, f"{json.dumps(written, indent=1)}\n".encode())
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("formats", nargs="*", metavar="FORMAT", help=f"of {', '.join(FORMATS)}; all of them if none")
    parser.add_argument("--count", type=int, default=10_000, help="of the files of each format")
    parser.add_argument("--first", type=int, default=0, help="number of the first")
    parser.add_argument("--minutes", type=float, default=math.inf, help="after which no further files are begun with")
    parser.add_argument("--log", type=Path, help="where results are added to those that are there")
    parser.add_argument("--keep", type=Path, help="write a damaged file, and what belongs to it, into this directory")
    parser.add_argument("--read", action="store_true", help=argparse.SUPPRESS)  # the process that reads
    asked = parser.parse_args()
    asked.formats = asked.formats or [*FORMATS]
    if asked.read:
        read_all(asked.formats, asked.first, asked.count)
        return
    if asked.keep:
        FORMATS[asked.formats[0]].make(asked.keep)
        file, damage = choose(asked.formats[0], asked.first, sorted(asked.keep.iterdir()))
        file.write_bytes(damage(file.read_bytes()))
        print(file)
        return
    results = lap(asked.formats, asked.first, asked.count, asked.log, asked.minutes)
    for name, found in results.items():
        print(
            f"{name}: {found.files:,} files, {found.read:,} read, {found.refused:,} refused, "
            f"{found.slowest['seconds']} s, {found.megabytes} MB",
            *found.problems,
            sep="\n  ",
        )
    sys.exit(any(found.problems for found in results.values()))


if __name__ == "__main__":
    main()
