"""Running text: every token is an answer once an epoch, whatever the length of the windows and where they begin."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import zhuyi
from zhuyi.config import TextConfig
from zhuyi.data import build, tokenise
from zhuyi.data.batches import Batch, collate, padding_share, plan, plan_in_order, token_counts
from zhuyi.data.build import build_store
from zhuyi.data.corpus import Text
from zhuyi.data.sequences import Collated
from zhuyi.data.store import Store
from zhuyi.data.windows import Windows
from zhuyi.text.tokenizer import BOS, PAD, Tokenizers
from zhuyi.training.memory import longest_batch

CHARACTERS = TextConfig(kind="character", whitespace="keep")
SONG = "".join(f"{i} green bottles\n\n  hanging on the wall,\n" for i in range(20))


@pytest.fixture(autouse=True)
def _small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several record batches even for little text."""
    monkeypatch.setattr(build, "CHUNK_PAIRS", 7)


def text_of(folder: Path, content: str = SONG) -> Text:
    (folder / "text.txt").write_text(content, encoding="utf-8", newline="")
    return Text(str(folder / "text.txt"))


def tokenizers_of(text: Text, config: TextConfig = CHARACTERS) -> Tokenizers:
    return Tokenizers.train(config, (), (pair.target for pair in text))


def store_of(text: Text, config: TextConfig = CHARACTERS) -> Store:
    return build_store(text, tokenizers_of(text, config), None, "skip")


def all_tokens(store: Store) -> list[int]:
    return [token for i in range(len(store)) for token in store.target(i).tolist()]


def answers(windows: Windows) -> list[int]:
    return [token for i in range(len(windows.target_lengths)) for token in windows.target(i).tolist()]


@pytest.mark.parametrize("kind", ["character", "bpe", "unigram"])
def test_the_text_comes_back_from_its_windows(tmp_path: Path, kind: str) -> None:
    config = TextConfig(kind=kind, whitespace="keep", vocabulary=320)
    text = text_of(tmp_path)
    tokenizers = tokenizers_of(text, config)
    windows = Windows.of_epoch(build_store(text, tokenizers, None, "skip"), 13, seed=1, epoch=3)
    assert "".join(tokenizers.target.decode([answers(windows)])) == SONG


@pytest.mark.slow
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(length=st.integers(1, 2000), seed=st.integers(0, 3), epoch=st.integers(0, 3), offset=st.data())
def test_every_token_is_an_answer_once(
    tmp_path: Path, length: int, seed: int, epoch: int, offset: st.DataObject
) -> None:
    store = store_of(text_of(tmp_path))
    whole = all_tokens(store)
    for windows in (
        Windows(store, length, offset.draw(st.integers(0, length - 1))),
        Windows.of_epoch(store, length, seed, epoch),
    ):
        assert answers(windows) == whole
        assert windows.target_lengths.min() >= 1
        assert set(windows.target_lengths[1:-1].tolist()) <= {length}
        assert not windows.source_lengths.any()
        seen: list[tuple[int, int]] = []
        for pairs in plan(windows, 300, seed, epoch):
            batch = collate(windows, pairs)
            seen += list(zip(pairs.tolist(), (batch.target_out != PAD).sum(1).tolist(), strict=True))
        assert sorted(seen) == list(enumerate(windows.target_lengths.tolist()))


def test_windows_differ_between_epochs_and_are_the_same_again(tmp_path: Path) -> None:
    store = store_of(text_of(tmp_path))
    firsts = [Windows.of_epoch(store, 64, 1, epoch).target_lengths[0] for epoch in range(20)]
    assert len(set(firsts)) > 10
    assert firsts == [Windows.of_epoch(store, 64, 1, epoch).target_lengths[0] for epoch in range(20)]
    assert firsts != [Windows.of_epoch(store, 64, 2, epoch).target_lengths[0] for epoch in range(20)]
    assert Windows(store, 64).target_lengths[0] == 64


def test_a_batch_has_bos_before_and_nothing_after(tmp_path: Path) -> None:
    text = text_of(tmp_path, "abcdefgh")
    windows = Windows(store_of(text), 4, offset=2)  # ab cdef gh⏎
    assert isinstance(windows, Collated)
    batch = collate(windows, np.array([1, 2, 0]))
    assert isinstance(batch, Batch)
    assert batch.source.shape == batch.source_mask.shape == (3, 0)
    a, b, c, d, e, f, g, h, end = all_tokens(store_of(text))
    assert batch.target_in.tolist() == [[BOS, c, d, e], [BOS, g, h, PAD], [BOS, a, PAD, PAD]]
    assert batch.target_out.tolist() == [[c, d, e, f], [g, h, end, PAD], [a, b, PAD, PAD]]
    assert batch.pairs.tolist() == [1, 2, 0]
    assert (batch.source_tokens, batch.target_tokens) == token_counts(windows, np.array([1, 2, 0])) == (0, 9)


def test_windows_of_equal_length_fill_a_batch_to_the_last_token(tmp_path: Path) -> None:
    windows = Windows(store_of(text_of(tmp_path)), 16)
    for batches in (plan(windows, 64, 1, 0), plan_in_order(windows, 64)):
        sizes = sorted(collate(windows, pairs).positions for pairs in batches)
        assert sizes[-1] == sizes[1] == 64
        assert padding_share(windows, batches) < 0.02
    assert collate(windows, longest_batch(windows, 64)).positions == 64


def test_a_text_shorter_than_a_window_is_one(tmp_path: Path) -> None:
    windows = Windows.of_epoch(store_of(text_of(tmp_path, "a")), 1000, 1, 0)
    assert sum(windows.target_lengths) == 2  # and its line break


def test_a_window_knows_the_line_in_which_it_begins(tmp_path: Path) -> None:
    text = text_of(tmp_path)
    windows = Windows(store_of(text), 5, offset=3)
    starts = [0, *range(3, len(SONG), 5)]
    assert [windows.line(i) for i in range(len(starts))] == [SONG.count("\n", 0, start) + 1 for start in starts]


def test_nothing_is_left_out_for_being_blank_or_long(tmp_path: Path) -> None:
    long = "x" * 70_000
    store = store_of(text_of(tmp_path, f"\n\na\n{long}\n\n"))
    assert store.outcome.pairs == store.outcome.kept == len(store) == 6  # the long one is two
    assert (store.outcome.empty, store.outcome.long) == (0, 0)
    assert store.outcome.characters == store.text_tokens == 70_006
    assert store.outcome.bytes == 70_006


def test_characters_and_bytes_are_those_of_the_text(tmp_path: Path) -> None:
    song = SONG + "狗叫 e\u0301\n"
    outcome = store_of(text_of(tmp_path, song)).outcome
    assert (outcome.characters, outcome.bytes) == (len(song), len(song.encode()))


PROGRAM = """
import os, signal, sys
from zhuyi.config import TextConfig
from zhuyi.data import build, tokenise
from zhuyi.data.corpus import Text
from zhuyi.text.tokenizer import Tokenizers
build.CHUNK_PAIRS, tokenise.MAX_CHUNKS_ALONE = 7, 2
text = Text(sys.argv[1])
config = TextConfig(kind='character', whitespace='keep')
tokenizers = Tokenizers.train(config, (), (pair.target for pair in text))
die = lambda lines: lines > 20 and os.kill(os.getpid(), signal.SIGKILL)
build.build_store(text, tokenizers, None, 'skip', progress=die, processes=1)
"""


@pytest.mark.slow
@pytest.mark.unix
def test_a_killed_build_goes_on_and_any_number_of_processes_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenise, "MAX_CHUNKS_ALONE", 2)
    text = text_of(tmp_path)
    tokenizers = tokenizers_of(text)
    contents = set()
    for processes in (1, 2):
        store = build_store(text, tokenizers, None, "skip", processes=processes)
        contents.add(store.path.read_bytes())
        store.path.unlink()
    environment = {**os.environ, "PYTHONPATH": str(Path(zhuyi.__file__).parents[1])}
    killed = subprocess.run([sys.executable, "-c", PROGRAM, text.target], env=environment, timeout=60, check=False)
    assert killed.returncode == -signal.SIGKILL
    seen: list[int] = []
    store = build_store(text, tokenizers, None, "skip", progress=seen.append)
    assert seen[0] == 21
    assert contents == {store.path.read_bytes()}
