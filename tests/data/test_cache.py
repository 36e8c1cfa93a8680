import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from filelock import Timeout

from zhuyi.data import cache
from zhuyi.data.cache import cache_directory, cached, exclusive, file_digest


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows with each file that is read through."""
    real, done = cache.hashlib.file_digest, []
    monkeypatch.setattr(cache.hashlib, "file_digest", lambda *arguments: done.append(1) or real(*arguments))
    return done


def test_a_file_at_rest_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[int]) -> None:
    monkeypatch.setattr(cache, "SETTLED_SECONDS", 0.05)
    path = tmp_path / "a.txt"
    path.write_text("one")
    time.sleep(0.1)
    first = file_digest(str(path))
    assert file_digest(str(path)) == first
    monkeypatch.chdir(tmp_path)
    assert file_digest("a.txt") == first  # by another name
    assert len(reads) == 1


def test_a_changed_file_is_never_taken_for_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[int]
) -> None:
    monkeypatch.setattr(cache, "SETTLED_SECONDS", 0.05)
    path = tmp_path / "a.txt"
    path.write_text("one")
    before = path.stat()
    time.sleep(0.1)
    first = file_digest(str(path))
    path.write_text("two")  # as long, and with its date set back
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns
    second = file_digest(str(path))
    other = tmp_path / "b.txt"
    other.write_text("one")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)
    assert file_digest(str(path)) == first != second
    assert len(reads) == 3


def test_a_file_that_was_just_written_is_not_remembered(tmp_path: Path, reads: list[int]) -> None:
    path = tmp_path / "a.txt"
    path.write_text("one")
    file_digest(str(path))
    file_digest(str(path))
    assert len(reads) == 2


def test_the_digest_of_each_file_has_a_note_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reads: list[int]
) -> None:
    """One note of all files would be read and written as often as there are files, and its length grows with them."""
    monkeypatch.setattr(cache, "SETTLED_SECONDS", -1.0)
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text(str(number))
    first, again = ([file_digest(str(tmp_path / f"{number}.txt")) for number in range(3)] for _ in range(2))
    assert first == again
    assert len(reads) == len(set(first)) == len(list((cache_directory() / "notes").iterdir())) == 3


def test_a_note_is_made_once() -> None:
    made: list[int] = []
    for _ in range(2):
        assert cached({"a": 1}, lambda: made.append(1) or {"b": [1, "ä"]}) == {"b": [1, "ä"]}
    assert cached({"a": 2}, lambda: "other") == "other"
    assert len(made) == 1


def test_a_damaged_note_is_made_again() -> None:
    cached({"a": 1}, lambda: "value")
    [path] = (cache_directory() / "notes").iterdir()
    good = path.read_bytes()
    for bad in (b"", good[:-1], good.replace(b"value", b"valve"), b"\n", os.urandom(50)):
        path.write_bytes(bad)
        assert cached({"a": 1}, lambda: "value") == "value"
        assert path.read_bytes() == good


def test_a_cache_that_cannot_be_written_is_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ZHUYI_CACHE", str(tmp_path / "file" / "cache"))
    assert cached({"a": 1}, lambda: "value") == "value"
    assert len(file_digest(str(tmp_path / "file"))) == 64


def test_a_lock_is_held_by_one_at_a_time_and_leaves_no_file(tmp_path: Path) -> None:
    lock, counter = tmp_path / "lock", tmp_path / "counter"
    counter.write_text("0")

    def count(_: int) -> None:
        with exclusive(lock, wait=True):
            value = int(counter.read_text())
            time.sleep(0.001)
            counter.write_text(str(value + 1))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(count, range(40)))
    assert counter.read_text() == "40"
    assert list(tmp_path.iterdir()) == [counter]


def test_a_lock_that_is_held_is_refused_at_once(tmp_path: Path) -> None:
    with exclusive(tmp_path / "lock", wait=False), pytest.raises(Timeout), exclusive(tmp_path / "lock", wait=False):
        pass
    with exclusive(tmp_path / "lock", wait=False):
        pass
