import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import zhuyi
from zhuyi.config import TextConfig
from zhuyi.data import build, tokenise
from zhuyi.data import store as reader
from zhuyi.data.build import build_store
from zhuyi.data.cache import cache_directory, exclusive
from zhuyi.data.corpus import Corpus, Pair
from zhuyi.data.store import FilterReport, Store
from zhuyi.errors import DataError, ZhuyiError
from zhuyi.text.tokenizer import Tokenizers

WORDS = TextConfig(kind="whitespace")


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several record batches even for little data."""
    monkeypatch.setattr(build, "CHUNK_PAIRS", 7)


def corpus_of(folder: Path, pairs: list[tuple[str, str]]) -> Corpus:
    for name, side in (("source.txt", 0), ("target.txt", 1)):
        (folder / name).write_text("".join(pair[side] + "\n" for pair in pairs), encoding="utf-8")
    return Corpus(str(folder / "source.txt"), str(folder / "target.txt"))


def tokenizers_of(corpus: Corpus, config: TextConfig = WORDS) -> Tokenizers:
    return Tokenizers.train(config, (pair.source for pair in corpus), (pair.target for pair in corpus))


def numbered(folder: Path, pairs: int = 40) -> Corpus:
    return corpus_of(folder, [(f"a{i} " * (i % 5 + 1), f"b{i} " * (i % 3 + 1)) for i in range(pairs)])


def content(store: Store) -> list[tuple[int, list[int], list[int]]]:
    return [(store.line(i), store.source(i).tolist(), store.target(i).tolist()) for i in range(len(store))]


def files() -> list[Path]:
    return sorted(path for path in cache_directory().iterdir() if path.is_file())


@pytest.mark.parametrize("pairs", [1, 6, 7, 8, 40])
def test_a_store_holds_what_the_tokenizers_say(tmp_path: Path, pairs: int) -> None:
    corpus = numbered(tmp_path, pairs)
    tokenizers = tokenizers_of(corpus)
    seen: list[int] = []
    store = build_store(corpus, tokenizers, 100, "skip", progress=seen.append)
    assert content(store) == [
        (pair.line, *tokenizers.source.encode([pair.source]), *tokenizers.target.encode([pair.target]))
        for pair in corpus
    ]
    assert store.source_lengths.tolist() == [len(store.source(i)) for i in range(pairs)]
    assert store.target_lengths.tolist() == [len(store.target(i)) for i in range(pairs)]
    assert (store.source_lengths.dtype, store.source(0).dtype) == (np.uint16, np.uint16)
    assert not store.source(0).flags.owndata  # a view of the file
    targets = [part.values["target"] for part in store.parts()]
    assert np.concatenate(targets).tolist() == [t for _, _, line in content(store) for t in line]
    assert store.outcome == FilterReport(pairs, pairs, 0, (), 0, (), "skip")
    assert seen[-1] == pairs


def test_it_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = numbered(tmp_path)
    tokenizers = tokenizers_of(corpus)
    first = build_store(corpus, tokenizers, 100, "skip")
    monkeypatch.setattr(build, "tokenised_chunks", lambda *_: pytest.fail("built twice"))
    again = build_store(corpus, tokenizers, 100, "skip")
    assert content(again) == content(first)
    assert again.outcome == first.outcome


def test_whatever_makes_a_difference_makes_another_store(tmp_path: Path) -> None:
    corpus = numbered(tmp_path)
    tokenizers = tokenizers_of(corpus)
    build_store(corpus, tokenizers, 100, "skip")
    build_store(corpus, tokenizers, 99, "skip")
    build_store(corpus, tokenizers, 100, "truncate")
    build_store(corpus, tokenizers_of(corpus, TextConfig(kind="character")), 100, "skip")
    assert len(files()) == 4
    (tmp_path / "target.txt").write_text("".join(f"c{i}\n" for i in range(40)))
    changed = build_store(corpus, tokenizers, 100, "skip")
    assert len(files()) == 5
    assert set(changed.target_lengths.tolist()) == {1}


LONG = [("a b c d", "x"), ("a", "x y z v"), ("a b c", "x y z"), ("", "x"), ("a", "  "), ("a b c d", "x y z v w")]


def test_long_pairs_are_left_out_and_counted(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, LONG)
    store = build_store(corpus, tokenizers_of(corpus), 4, "skip")  # three tokens and EOS
    assert [store.line(i) for i in range(len(store))] == [3]
    assert store.outcome == FilterReport(6, 1, 2, (4, 5), 3, (1, 2, 6), "skip")
    assert build_store(corpus, tokenizers_of(corpus), 4, "skip").outcome == store.outcome  # from the file


def test_long_pairs_are_cut_and_counted(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, LONG)
    tokenizers = tokenizers_of(corpus)
    store = build_store(corpus, tokenizers, 4, "truncate")
    assert [store.line(i) for i in range(len(store))] == [1, 2, 3, 6]
    assert tokenizers.source.decode([store.source(i).tolist() for i in range(4)]) == ["a b c", "a", "a b c", "a b c"]
    assert tokenizers.target.decode([store.target(i).tolist() for i in range(4)]) == ["x", "x y z", "x y z", "x y z"]
    assert store.outcome == FilterReport(6, 4, 2, (4, 5), 3, (1, 2, 6), "truncate")


def test_a_pair_that_is_cut_keeps_what_stands_around_it(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, [("a b c d", "x y z v"), ("a", "x")])
    text = TextConfig(kind="whitespace", tags=("<xx>",), source_suffix=("</s>", "<xx>"), target_prefix=("<xx>",))
    tokenizers = tokenizers_of(corpus, text).with_templates_of(text)
    store = build_store(corpus, tokenizers, 5, "truncate")
    assert tokenizers.source.pieces(store.source(0)) == ["a", "b", "</s>", "<xx>"]
    assert tokenizers.target.pieces(store.target(0)) == ["<xx>", "x", "y", "z"]


def test_long_pairs_are_an_error_that_counts_all(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, [("a b c d", "x")] * 12 + [("a", "x")])
    with pytest.raises(DataError, match=r"12 of 13 pairs are longer than 3 tokens \(model\.max_length = 4") as caught:
        build_store(corpus, tokenizers_of(corpus), 4, "error")
    assert "lines 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, …" in str(caught.value)
    assert "data.long_lines" in str(caught.value)
    assert files() == []
    assert len(build_store(corpus, tokenizers_of(corpus), 5, "error")) == 13


def test_nothing_left_is_an_error(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, [("a b c d", "x"), ("", "x")])
    with pytest.raises(DataError, match="nothing to train on") as caught:
        build_store(corpus, tokenizers_of(corpus), 4, "skip")
    assert "\n" not in str(caught.value)
    assert files() == []


def test_batches_without_a_usable_pair_do_no_harm(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, [("", "x")] * 20 + [("a", "x")] + [("", "x")] * 20)
    store = build_store(corpus, tokenizers_of(corpus), 4, "skip")
    assert [store.line(i) for i in range(len(store))] == [21]
    assert store.outcome.empty == 40
    assert store.outcome.empty_lines == tuple(range(1, 11))


def test_a_bad_line_midway_leaves_nothing_behind(tmp_path: Path) -> None:
    corpus = numbered(tmp_path)
    tokenizers = tokenizers_of(corpus)
    with open(tmp_path / "source.txt", "ab") as file:
        file.write(b"\xff\n")
    with pytest.raises(DataError, match=r"source\.txt:41"):
        build_store(corpus, tokenizers, 100, "skip")
    assert files() == []


PROGRAM = """
import os, signal, sys
from zhuyi.config import TextConfig
from zhuyi.data import build, tokenise
from zhuyi.data.corpus import Corpus
from zhuyi.text.tokenizer import Tokenizers
build.CHUNK_PAIRS, tokenise.MAX_CHUNKS_ALONE = 7, 2
source, target, last, processes = sys.argv[1:]
corpus = Corpus(source, target)
sides = (pair.source for pair in corpus), (pair.target for pair in corpus)
tokenizers = Tokenizers.train(TextConfig(kind='whitespace'), *sides)
die = lambda pairs: pairs > int(last) and os.kill(os.getpid(), signal.SIGKILL)
build.build_store(corpus, tokenizers, 100, 'skip', progress=die, processes=int(processes))
"""


def killed_after(corpus: Corpus, pairs: int, processes: int = 1) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(zhuyi.__file__).parents[1])}
    command = [sys.executable, "-c", PROGRAM, corpus.source, corpus.target, str(pairs), str(processes)]
    run = subprocess.run(command, env=environment, timeout=60, check=False)
    assert run.returncode == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.unix
@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_build_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: int) -> None:
    corpus = numbered(tmp_path)
    tokenizers = tokenizers_of(corpus)
    build_store(corpus, tokenizers, 100, "skip")
    [path] = files()
    uninterrupted = path.read_bytes()
    path.unlink()
    killed_after(corpus, 20, processes)
    assert [rest.suffix for rest in files()] == [".lock", ".log", ".tmp"]
    made: list[int] = []
    tokenize = build.ChunkTokenizer.__call__
    monkeypatch.setattr(
        build.ChunkTokenizer, "__call__", lambda self, chunk: made.append(chunk[0]) or tokenize(self, chunk)
    )
    seen: list[int] = []
    build_store(corpus, tokenizers, 100, "skip", progress=seen.append, processes=1)
    assert made == [22, 29, 36]
    assert seen == [21, 28, 35, 40]
    assert files() == [path]
    assert path.read_bytes() == uninterrupted


@pytest.mark.slow
@pytest.mark.unix
def test_a_damaged_rest_costs_only_what_is_damaged(tmp_path: Path) -> None:
    corpus = numbered(tmp_path)
    tokenizers = tokenizers_of(corpus)
    build_store(corpus, tokenizers, 100, "skip")
    [path] = files()
    uninterrupted = path.read_bytes()
    path.unlink()
    killed_after(corpus, 20)
    rest = {file: file.read_bytes() for file in files() if file.suffix != ".lock"}
    log, draft = rest
    for file, content in (
        (log, None),
        (log, rest[log][:-10]),
        (draft, None),
        (draft, rest[draft][:-10]),
        (draft, rest[draft][:-100] + b"!" + rest[draft][-99:]),
        (draft, os.urandom(5000)),
    ):
        for each, whole in rest.items():
            each.write_bytes(whole)
        file.unlink() if content is None else file.write_bytes(content)
        build_store(corpus, tokenizers, 100, "skip")
        assert files() == [path]
        assert path.read_bytes() == uninterrupted
        path.unlink()


@pytest.mark.slow
def test_as_many_processes_as_one_likes_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenise, "MAX_CHUNKS_ALONE", 2)
    corpus = numbered(tmp_path, 100)
    tokenizers = tokenizers_of(corpus, TextConfig(vocabulary=300))
    contents = set()
    for processes in (1, 2, 3):
        build_store(corpus, tokenizers, 100, "truncate", processes=processes)
        [path] = files()
        contents.add(path.read_bytes())
        path.unlink()
    assert len(contents) == 1


@pytest.mark.unix
def test_a_worker_that_dies_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenise, "MAX_CHUNKS_ALONE", 2)
    monkeypatch.setattr(tokenise.sys, "executable", "/bin/false")
    corpus = numbered(tmp_path)
    with pytest.raises(ZhuyiError, match="continues from what is finished"):
        build_store(corpus, tokenizers_of(corpus), 100, "skip", processes=2)


@pytest.mark.slow
def test_two_at_the_same_store_do_not_make_it_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = numbered(tmp_path)
    tokenizers = tokenizers_of(corpus)
    opened = []
    real = build.tokenised_chunks

    def slow(*arguments: object) -> Iterator[object]:
        opened.append(1)
        time.sleep(0.2)
        yield from real(*arguments)

    monkeypatch.setattr(build, "tokenised_chunks", slow)
    with ThreadPoolExecutor(3) as threads:
        stores = list(threads.map(lambda _: build_store(corpus, tokenizers, 100, "skip"), range(3)))
    assert len(opened) == 1
    assert content(stores[0]) == content(stores[1]) == content(stores[2])
    assert len(files()) == 1


@pytest.mark.slow
@pytest.mark.unix
def test_what_nobody_goes_on_with_is_removed(tmp_path: Path) -> None:
    corpus = numbered(tmp_path)
    killed_after(corpus, 20)
    rest = files()
    build_store(corpus, tokenizers_of(corpus), 99, "skip")
    assert set(rest) < set(files())  # somebody may go on
    for file in rest:
        os.utime(file, (0, 0))
    [lock] = (file for file in rest if file.suffix == ".lock")
    with exclusive(lock, wait=True):
        os.utime(lock, (0, 0))
        build_store(corpus, tokenizers_of(corpus), 98, "skip")
        assert set(rest) < set(files())  # somebody goes on
    for ending in (".tmp", ".log"):
        os.utime(lock.with_suffix(ending), (0, 0))
    build_store(corpus, tokenizers_of(corpus), 97, "skip")
    assert not set(rest) & set(files())


def test_a_damaged_file_is_noticed_and_built_again(tmp_path: Path) -> None:
    corpus = numbered(tmp_path)
    tokenizers = tokenizers_of(corpus)
    whole = content(build_store(corpus, tokenizers, 100, "skip"))
    [path] = files()
    good = path.read_bytes()
    for bad in (b"", b"ARROW1", good[: len(good) // 2], good[:-1], os.urandom(1000)):
        path.unlink()
        path.write_bytes(bad)
        with pytest.raises(ValueError, match=path.name):
            Store(path)
        assert content(build_store(corpus, tokenizers, 100, "skip")) == whole
        assert path.read_bytes() == good


@pytest.mark.slow
def test_every_flipped_byte_is_noticed(tmp_path: Path) -> None:
    corpus = numbered(tmp_path)
    build_store(corpus, tokenizers_of(corpus), 100, "skip")
    [path] = files()
    good = path.read_bytes()
    for place in range(0, len(good), 5):
        bad = tmp_path / f"{place}.arrow"  # a file of its own: an open map must not change under its reader
        bad.write_bytes(good[:place] + bytes([good[place] ^ 0x41]) + good[place + 1 :])
        with pytest.raises((ValueError, DataError), match="damaged"):  # when it is opened, or when it is looked at
            content(Store(bad))
        bad.unlink()


def test_damage_is_noticed_where_it_is(tmp_path: Path) -> None:
    corpus = numbered(tmp_path)
    store = build_store(corpus, tokenizers_of(corpus), 100, "skip")
    bad = tmp_path / "bad.arrow"
    whole = bytearray(store.path.read_bytes())
    whole[store._places[2] - 20] ^= 1  # in the second record batch: pairs 7 to 13
    bad.write_bytes(whole)
    damaged = Store(bad)
    for pair in range(40):
        if 7 <= pair < 14:
            with pytest.raises(DataError, match=r"bad\.arrow: damaged: remove it, and it will be made again"):
                damaged.source(pair)
        else:
            assert damaged.source(pair).tolist() == store.source(pair).tolist()


@pytest.mark.slow
def test_what_was_looked_at_does_not_stay_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "MAX_RESIDENT_BYTES", 5000)
    corpus = numbered(tmp_path, 400)
    store = build_store(corpus, tokenizers_of(corpus), 100, "skip")
    view = store.source(3)
    before = view.tolist()
    for _ in range(2):
        for pair in range(400):
            store.source(pair)
            assert len(store._open) <= 5000 // min(np.diff(store._places)) + 2
    assert view.tolist() == before  # it is still the file's


@pytest.mark.slow
def test_large_vocabularies_and_long_lines(tmp_path: Path) -> None:
    many = [f"w{i}" for i in range(70_000)]
    corpus = corpus_of(tmp_path, [(" ".join(many), "x"), ("w5", "y")])
    tokenizers = tokenizers_of(corpus, TextConfig(kind="whitespace", vocabulary=100_000, shared=False))
    store = build_store(corpus, tokenizers, 80_000, "error")
    assert store.source_lengths.tolist() == [70_000, 1]
    assert (store.source(0).dtype, store.source_lengths.dtype) == (np.int32, np.int32)
    assert tokenizers.source.decode([store.source(0).tolist()]) == [" ".join(many)]


def test_a_cache_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = numbered(tmp_path)
    monkeypatch.setenv("ZHUYI_CACHE", str(tmp_path / "source.txt" / "cache"))  # below a file: nobody may, root included
    with pytest.raises(DataError, match="set ZHUYI_CACHE") as caught:
        build_store(corpus, tokenizers_of(corpus), 100, "skip")
    assert str(tmp_path) in str(caught.value)


def test_after_a_full_disk_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = numbered(tmp_path)
    tokenizers = tokenizers_of(corpus)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", _no_space)
        with pytest.raises(DataError, match="No space left on device; free some space and give the same command again"):
            build_store(corpus, tokenizers, 100, "skip")
    assert {path.suffix for path in files()} == {".tmp", ".log"}
    monkeypatch.setattr(
        build, "tokenised_chunks", lambda _tokenize, chunks, _: list(chunks)
    )  # nothing is left to be done
    assert len(build_store(corpus, tokenizers, 100, "skip")) > 0
    assert {path.suffix for path in files()} == {".arrow"}


def test_files_of_others_in_the_cache_are_left_alone(tmp_path: Path) -> None:
    corpus = numbered(tmp_path)
    cache_directory().mkdir(parents=True, exist_ok=True)
    others = [cache_directory() / name for name in ("theirs.log", "theirs.tmp", "folder.log")]
    others[-1].mkdir()
    for path in others[:-1]:
        path.write_text("mine\n")
    for path in others:
        os.utime(path, (0, 0))
    build_store(corpus, tokenizers_of(corpus), 100, "skip")
    assert all(path.exists() for path in others)


def _no_space(_: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.unix
def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ZHUYI_CACHE", "/chosen")
    assert cache_directory() == Path("/chosen")
    monkeypatch.delenv("ZHUYI_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/shared")
    assert cache_directory() == Path("/shared/zhuyi")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_directory() == Path.home() / ".cache" / "zhuyi"


def test_dropout_gives_each_epoch_its_own_file(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, [("the dogs are running", "die hunde laufen")] * 50)
    tokenizers = tokenizers_of(corpus, TextConfig(vocabulary=400, bpe_dropout=0.3))

    def build(epoch: int) -> Store:
        return build_store(corpus, tokenizers, 100, "error", dropout=0.3, epoch=epoch, oldest=epoch - 1)

    first, second = content(build(0)), content(build(1))
    assert first != second
    assert content(build(0)) == first  # a resumed run reads it again
    decoded = tokenizers.source.decode([source for _, source, _ in first + second])
    assert set(decoded) == {"the dogs are running"}
    build(2)
    build(3)
    assert [path.stem.partition(".")[2] for path in files()] == ["epoch-2", "epoch-3"]


def test_dropout_keeps_the_same_pairs_in_every_epoch(tmp_path: Path) -> None:
    corpus = corpus_of(tmp_path, [("the dogs are running " * n, "die hunde laufen") for n in range(1, 9)] * 5)
    tokenizers = tokenizers_of(corpus, TextConfig(vocabulary=400, bpe_dropout=0.5))
    longest = int(build_store(corpus, tokenizers, 1000, "error").source_lengths.max())
    for epoch in range(3):
        store = build_store(corpus, tokenizers, longest + 1, "error", dropout=0.5, epoch=epoch)
        assert len(store) == 40
        assert store.source_lengths.max() <= longest


class Endless(Corpus):
    """A corpus that would not fit in memory, were it held."""

    def __iter__(self) -> Iterator[Pair]:
        return (Pair(i, "a b", "x") for i in range(1, 20_001))


@pytest.mark.slow
def test_lookups_across_many_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "CHUNK_PAIRS", 1000)
    corpus = numbered(tmp_path)
    endless = Endless(corpus.source, corpus.target)
    store = build_store(endless, tokenizers_of(corpus), 100, "skip")
    assert len(store) == 20_000
    for i in (0, 999, 1000, 1001, 19_999):
        assert store.line(i) == i + 1
        assert (len(store.source(i)), len(store.target(i))) == (2, 1)
