"""The native engine: a sentence in company, futures, forks, threads, and what it refuses."""

import gc
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from functools import cache
from itertools import chain
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch

from zhuyi.checkpoint import build_model, weights_of
from zhuyi.config import Config, DecodingConfig, ModelConfig, Precision, Shape, TextConfig
from zhuyi.decoding.hypothesis import Hypothesis
from zhuyi.directory import StoredModel, Weights, write_model
from zhuyi.engine.choice import engine_of
from zhuyi.engine.library import DIRECTORY, usable
from zhuyi.engine.native import NativeEngine
from zhuyi.engine.packed import PackedModel
from zhuyi.engine.torch import TorchEngine
from zhuyi.errors import CheckpointError
from zhuyi.model.shapes import SHAPES
from zhuyi.model.transformer import Network, Transformer
from zhuyi.text.tokenizer import Tokenizers

CONFIG = ModelConfig(
    width=20, heads=2, encoder_layers=2, decoder_layers=2, feed_forward=39, max_length=16, bias="all", tie="none"
)
VOCABULARY = 60
DECODINGS = [
    DecodingConfig(beam=1, max_extra=2, max_ratio=1.0),
    DecodingConfig(beam=4, n_best=3, max_ratio=0.0, max_extra=9),
    DecodingConfig(strategy="sampling", n_best=2, top_p=0.9),
    DecodingConfig(beam=2, n_best=2, length_penalty=0.5, no_repeat_ngram=2),
]
LONG = DecodingConfig(beam=64, n_best=64, max_repetition=0)
"""A sentence takes long enough to do something meanwhile."""

Found = list[list[Hypothesis]]


of_shapes = pytest.mark.parametrize("shape", ["encoder-decoder", "decoder"])


def config_of(shape: Shape) -> ModelConfig:
    return CONFIG.model_copy(update={"shape": shape})


@cache
def model(shape: Shape = "encoder-decoder") -> Network:
    torch.manual_seed(1)
    network = SHAPES[shape](config_of(shape), VOCABULARY, None if shape == "decoder" else VOCABULARY + 3).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return network


def weights(shape: Shape = "encoder-decoder") -> Weights:
    return {name: weight.numpy() for name, weight in weights_of(model(shape)).items()}


def engine(precision: Precision = "float32", workers: int | None = 2, shape: Shape = "encoder-decoder") -> NativeEngine:
    return NativeEngine([PackedModel(weights(shape), config_of(shape), precision)], workers)


@cache
def sources() -> list[list[int]]:
    draw = random.Random(1)
    lengths = [draw.randrange(16) for _ in range(57)]
    return [[draw.randrange(4, VOCABULARY) for _ in range(length)] for length in (*lengths, 0, 15, 1)]


def alone(native: NativeEngine, decoding: DecodingConfig) -> Found:
    return [native.decode([source], decoding, [line])[0] for line, source in enumerate(sources())]


@of_shapes
@pytest.mark.parametrize("precision", get_args(Precision))
@pytest.mark.parametrize("decoding", DECODINGS, ids=["greedy", "beam", "samples", "filters"])
def test_a_sentence_is_the_same_alone_and_in_any_company(
    decoding: DecodingConfig, precision: Precision, shape: Shape
) -> None:
    expected = alone(engine(precision, 1, shape), decoding)
    for workers in (1, 2, 5):
        native = engine(precision, workers, shape)
        assert native.decode(sources(), decoding) == expected
        order = random.Random(workers).sample(range(len(sources())), k=len(sources()))
        mixed = native.decode([sources()[line] for line in order], decoding, order)
        assert [mixed[order.index(line)] for line in range(len(order))] == expected


@pytest.mark.slow
@of_shapes
def test_every_instruction_set_finds_what_torch_finds(shape: Shape, monkeypatch: pytest.MonkeyPatch) -> None:
    by_torch = TorchEngine(model(shape), CONFIG.max_length, "cpu")
    expected = {decoding: by_torch.decode(sources(), decoding) for decoding in DECODINGS[:2]}
    for name in usable(DIRECTORY):
        monkeypatch.setenv("ZHUYI_ENGINE_ISA", name)
        for decoding, hypotheses in expected.items():
            found = engine(shape=shape).decode(sources(), decoding)
            for one, other in zip(chain(*found), chain(*hypotheses), strict=True):
                assert (one.tokens, one.finished) == (other.tokens, other.finished)
                assert one.token_logprobs == pytest.approx(other.token_logprobs, rel=1e-5, abs=1e-5)


@pytest.mark.slow
@of_shapes
def test_on_every_instruction_set_a_sentence_is_the_same_in_any_company(
    shape: Shape, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in usable(DIRECTORY):
        monkeypatch.setenv("ZHUYI_ENGINE_ISA", name)
        for precision in get_args(Precision):
            native = engine(precision, shape=shape)
            assert native.decode(sources(), DECODINGS[1]) == alone(native, DECODINGS[1])


@of_shapes
@pytest.mark.parametrize("precision", get_args(Precision))
def test_in_an_ensemble_of_two_widths_a_sentence_is_the_same_alone_and_in_any_company(
    precision: Precision, shape: Shape
) -> None:
    config = config_of(shape).model_copy(update={"width": 96, "head_width": 48})
    torch.manual_seed(2)
    wide = SHAPES[shape](config, VOCABULARY, None if shape == "decoder" else VOCABULARY + 3)
    with torch.no_grad():
        next(iter(wide.stacks().values())).embedding.weight[5] = torch.nan
    named = {name: weight.numpy() for name, weight in weights_of(wide).items()}
    members = PackedModel(named, config, precision), PackedModel(weights(shape), config_of(shape), precision)
    native, fails = NativeEngine(members, 1), [5] * 15
    lines = [fails, *([token for token in source if token != 5] for source in sources())]
    found = native.decode(lines, DECODINGS[1])
    assert found == [native.decode([source], DECODINGS[1])[0] for source in lines]
    assert [source for source, (best, *_) in zip(lines, found, strict=True) if not best.token_logprobs] == [fails]


@of_shapes
@pytest.mark.parametrize(("precision", "most"), [("bf16", 0.02), ("int8", 0.05)])
def test_a_precision_changes_the_loss_a_little(precision: Precision, most: float, shape: Shape) -> None:
    targets = [source[::-1] for source in sources()]
    exact = engine(shape=shape).loss(sources(), targets)
    assert 0 < abs(engine(precision, shape=shape).loss(sources(), targets) - exact) < most * exact
    best, other = (engine(each, shape=shape).decode(sources(), DECODINGS[0]) for each in ("float32", precision))
    same = [one[0].tokens[:1] == two[0].tokens[:1] for one, two in zip(best, other, strict=True)]
    assert sum(same) >= 0.8 * len(same)


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "most"), [("bf16", 0.05), ("int8", 0.1)])
@pytest.mark.parametrize(("head", "heads", "groups"), [(7, 1, 1), (16, 2, 1), (20, 2, 2), (33, 4, 2), (100, 1, 1)])
def test_on_every_instruction_set_a_precision_changes_log_probabilities_a_little(
    head: int, heads: int, groups: int, precision: Precision, most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = CONFIG.model_copy(update={"width": head * heads, "heads": heads, "key_value_heads": groups})
    torch.manual_seed(1)
    named = {name: weight.numpy() for name, weight in weights_of(Transformer(config, VOCABULARY).eval()).items()}
    targets, greedy = [source[::-1] for source in sources()], DecodingConfig(beam=1)
    for name in usable(DIRECTORY):
        monkeypatch.setenv("ZHUYI_ENGINE_ISA", name)
        exact, rounded = (NativeEngine([PackedModel(named, config, each)]) for each in ("float32", precision))
        # The first tokens of an output are given, so that both engines give the log-probabilities of the same text.
        for source, target in zip(sources(), targets, strict=True):
            [[one, *_], [other, *_]] = (each.decode([source], greedy, prefix=target)[0] for each in (exact, rounded))
            count = len(target)
            assert one.token_logprobs[:count] == pytest.approx(other.token_logprobs[:count], abs=most)


def test_futures_of_mixed_settings_are_what_decode_finds() -> None:
    native, prefixes = engine(), [[], [7], [5, 9]]
    wanted = [(line, DECODINGS[line % 4], prefixes[line % 3]) for line in range(len(sources()))]
    futures = [native.submit(sources()[line], decoding, line, prefix) for line, decoding, prefix in wanted]
    found = [future.result(timeout=60) for future in futures]
    assert found == [native.decode([sources()[line]], decoding, [line], prefix)[0] for line, decoding, prefix in wanted]


def test_futures_that_are_cancelled_give_up_their_place() -> None:
    native, busy = engine(workers=1), [LONG] * 400
    start = time.perf_counter()
    native.decode(sources()[:10], LONG)
    ten = time.perf_counter() - start
    futures = [native.submit(sources()[1], decoding) for decoding in busy]
    assert sum(future.cancel() for future in futures) > 300
    start = time.perf_counter()
    assert native.decode(sources()[:1], DECODINGS[0]) == engine().decode(sources()[:1], DECODINGS[0])
    assert time.perf_counter() - start < 10 * ten + 1
    assert {type(outcome(future)) for future in futures} <= {CancelledError, list}


def outcome(future: "Future[list[Hypothesis]]") -> object:
    try:
        return future.result(timeout=60)
    except CancelledError as cancelled:
        return cancelled


def test_futures_that_are_cancelled_at_any_moment_do_not_change_the_others() -> None:
    native, draw = engine(), random.Random(2)
    expected = alone(native, DECODINGS[0])
    futures = []
    for line in range(600):
        futures.append(native.submit(sources()[line % len(expected)], DECODINGS[0]))
        if draw.random() < 0.5:
            draw.choice(futures).cancel()
    assert not wait(futures, timeout=60).not_done
    for line, future in enumerate(futures):
        assert future.cancelled() or future.result() == expected[line % len(expected)]


def test_an_engine_that_is_dropped_keeps_its_promises_and_then_ends() -> None:
    threads = threading.active_count()
    expected = engine().decode(sources()[:20], DECODINGS[1])
    futures = [engine().submit(source, DECODINGS[1]) for source in sources()[:20]]
    native = engine()
    futures = [native.submit(source, DECODINGS[1]) for source in sources()[:20]]
    del native
    assert [future.result(timeout=60) for future in futures] == expected
    del futures
    ends = time.monotonic() + 60
    while threading.active_count() > threads and time.monotonic() < ends:
        gc.collect()
        time.sleep(0.02)
    assert threading.active_count() <= threads


def test_many_threads_may_use_an_engine_at_once() -> None:
    native = engine()
    expected = [alone(native, decoding) for decoding in DECODINGS]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: native.decode(sources(), DECODINGS[number % 4]), range(16)))
    assert found == expected * 4


def test_by_default_there_is_a_worker_for_each_core() -> None:
    native = engine(workers=None)
    assert 1 <= native.worker_count <= (os.cpu_count() or 1)
    assert native.decode(sources(), DECODINGS[0]) == engine(workers=1).decode(sources(), DECODINGS[0])


@of_shapes
def test_no_sentences_and_the_shortest_and_the_longest(shape: Shape) -> None:
    native, by_torch = engine(shape=shape), TorchEngine(model(shape), CONFIG.max_length, "cpu")
    assert native.decode([], DECODINGS[0]) == []
    for source in ([], [5], [5] * (CONFIG.max_length - 1)):
        [[best]], [[other]] = native.decode([source], DECODINGS[0]), by_torch.decode([source], DECODINGS[0])
        assert (best.tokens, best.finished) == (other.tokens, other.finished)


@pytest.mark.parametrize(
    ("source", "prefix", "named"),
    [
        ([5, VOCABULARY], [], "a token of a source"),
        ([-1], [], "a token of a source"),
        ([5] * CONFIG.max_length, [], "a source has no token, or more"),
        ([5], [VOCABULARY + 3], "a token of a prefix"),
        ([5], [-1], "a token of a prefix"),
    ],
)
def test_what_the_model_cannot_take_is_refused_and_the_engine_goes_on(
    source: list[int], prefix: list[int], named: str
) -> None:
    native = engine()
    for ask in (
        lambda: native.decode([[5], source], DECODINGS[0], prefix=prefix),
        lambda: native.submit(source, DECODINGS[0], 0, prefix),
    ):
        with pytest.raises(ValueError, match=f"does not take these sentences: {named}"):
            ask()
    assert native.decode([[5]], DECODINGS[0]) == [native.submit([5], DECODINGS[0]).result(timeout=60)]


@cache
def stored(shape: Shape = "encoder-decoder") -> StoredModel:
    """A model with its tokenizers, as a directory holds it."""
    kinds = dict.fromkeys(("kind", "source_kind", "target_kind"), "character")
    config = Config(model=config_of(shape), text=TextConfig(**kinds, shared=shape == "decoder"))
    return build_model(config, Tokenizers.train(config.text, ["abc"], ["defg"])).stored()


@of_shapes
def test_weights_that_are_not_those_of_the_model_are_refused_by_name(shape: Shape) -> None:
    def refused(weights: Weights) -> str:
        with pytest.raises(CheckpointError) as refusal:
            engine_of(replace(stored(shape), weights=weights), "cpu")
        return str(refusal.value)

    weights = dict(stored(shape).weights)
    assert isinstance(engine_of(stored(shape), "cpu"), NativeEngine)
    for name, weight in weights.items():
        assert refused({other: weights[other] for other in weights if other != name}) == f"tensor {name} is missing"
        for wrong in (weight[:-1], np.concatenate([weight, weight]), weight.T[1:].T):
            assert f"tensor {name} has shape {wrong.shape}, the model wants {weight.shape}" == refused(
                {**weights, name: wrong}
            )
    for name in ("encoder.blocks.2.mixer_residual.norm.weight", "decoder.norm.bias", "other"):
        assert refused({**weights, name: weights["decoder.norm.weight"]}) == f"tensor {name} is not one of this model"


@pytest.mark.parametrize("name", ["é" * 200, "x" + "é" * 200])
def test_a_long_name_is_cut_between_characters(name: str) -> None:
    with pytest.raises(CheckpointError, match=r"^tensor x?é{123,124}$"):
        PackedModel({**weights(), name: weights()["encoder.norm.weight"]}, CONFIG)


@pytest.mark.parametrize("bias", ["none", "feed_forward"])
def test_a_bias_that_the_model_has_not_is_refused(bias: str) -> None:
    config = CONFIG.model_copy(update={"bias": bias})
    with pytest.raises(
        CheckpointError, match=r"tensor encoder\.blocks\.0\.mixer\.query\.bias is not one of this model"
    ):
        PackedModel(weights(), config)


def run(folder: Path, script: str) -> "subprocess.Popen[str]":
    """A process without torch, with `native`, an engine for the model, and `sources` and `DECODING`."""
    write_model(stored(), folder)
    begin = f"""
        import os, signal, sys, time, zhuyi
        from zhuyi.config import DecodingConfig
        native = zhuyi.load({str(folder)!r}, engine="native", workers=2).engine
        sources, BEAM = [[4, 5, 6], [5], [], [4] * 15] * 5, DecodingConfig(beam=4, n_best=2)
        LONG = DecodingConfig(beam=64, max_repetition=0)
    """
    code = textwrap.dedent(begin) + textwrap.dedent(script) + "\nassert 'torch' not in sys.modules\n"
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.unix
@pytest.mark.slow
def test_a_fork_decodes_too(tmp_path: Path) -> None:
    script = """
        import warnings
        warnings.simplefilter("ignore", DeprecationWarning)  # Python's, of forks in programs with threads
        expected = native.decode(sources, BEAM)
        assert native.submit(sources[0], BEAM).result() == expected[0]
        pending = [native.submit(source, LONG) for source in sources]
        child = os.fork()
        assert native.decode(sources, BEAM) == expected
        assert native.submit(sources[0], BEAM).result() == expected[0]
        if not child:
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        assert all(future.result() for future in pending)
    """
    with run(tmp_path / "model", script) as process:
        assert process.communicate(timeout=100) == ("", "")
        assert process.returncode == 0


@pytest.mark.slow
def test_a_program_may_end_while_sentences_are_being_decoded(tmp_path: Path) -> None:
    with run(tmp_path / "model", "futures = [native.submit(source, LONG) for source in sources * 20]") as process:
        assert process.communicate(timeout=100) == ("", "")
        assert process.returncode == 0


@pytest.mark.unix
@pytest.mark.slow
def test_ctrl_c_ends_a_long_decoding_within_a_second(tmp_path: Path) -> None:
    script = """
        signal.signal(signal.SIGINT, signal.default_int_handler)
        print("begins", flush=True)
        try:
            native.decode(sources * 5000, LONG)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        assert len(native.decode(sources, BEAM)) == len(sources)
    """
    with run(tmp_path / "model", script) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begins\n"
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        start = time.perf_counter()
        assert process.stdout.readline() == "interrupted\n"
        assert time.perf_counter() - start < 2  # a second, and one more on a busy machine
        assert process.communicate(timeout=100) == ("", "")
        assert process.returncode == 0
