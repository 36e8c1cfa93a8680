"""Strings in, hypotheses out: as many as came in, in order, always."""

import asyncio
import random
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import TINY, tiny_model

from zhuyi.checkpoint import build_model, load_model, save_model
from zhuyi.config import DecodingConfig, Precision, build_config, changed
from zhuyi.data.batches import collate, pad_sources, plan
from zhuyi.data.build import build_store
from zhuyi.data.corpus import Corpus
from zhuyi.decoding.hypothesis import Hypothesis
from zhuyi.decoding.search import search
from zhuyi.errors import CheckpointError, ConfigError, DataError
from zhuyi.evaluation import evaluate
from zhuyi.loading import build_translator, load, save
from zhuyi.microscope.page import look
from zhuyi.microscope.trace import WhatIf
from zhuyi.text.tokenizer import Tokenizers
from zhuyi.training.objective import cross_entropy
from zhuyi.translator import Translation, Translator

LINES = [
    *(
        "a dog runs",
        "",
        "two cats",
        "   ",
        "a",
        "dogs " * 7,
        "\t",
        "👩‍👩‍👧 🇩🇪",
        "\x00\x01\x7f",
        "\x1b[31mred",
        "日本語 عربي",
    ),
    *("a\u2028b\x85c", "\ufeffdog", "</s> <pad> <s>", "two cats", "a dog"),
]
EMPTY = {"", "   ", "\t"}


@pytest.fixture(scope="module")
def translator(tmp_path_factory: pytest.TempPathFactory) -> Translator:
    return load(tiny_model(tmp_path_factory.mktemp("model")), engine="torch", device="cpu")


class Saying:
    """An engine that finds the same for every line."""

    precision = "float32"

    def __init__(self, *tokens: int) -> None:
        self.found = [Hypothesis([*tokens], -1.0, [-1.0] * (len(tokens) + 1), True)]

    def decode(self, sources: Sequence[Sequence[int]], *_: object) -> list[list[Hypothesis]]:
        return [self.found for _ in sources]

    def submit(self, *_: object) -> "Future[list[Hypothesis]]":
        future: Future[list[Hypothesis]] = Future()
        future.set_result(self.found)
        return future


def test_a_translation_made_of_bytes_is_one_line_without_tabs(translator: Translator) -> None:
    bytes_ = translator.tokenizers.target.fallback
    text = "one\ntwo\r\nthree\u2028four\x85five\tsix\x0bseven\x1eeight"
    saying = Translator(translator.config, translator.tokenizers, Saying(*(bytes_[byte] for byte in text.encode())))
    expected = "one two  three four five six seven eight"
    assert saying.translate(["a dog", ""]) == [expected, ""]
    assert [each.text for each in asyncio.run(saying.find("a dog"))] == [expected]


@pytest.mark.slow
@pytest.mark.parametrize("beam", [1, 3])
def test_as_many_lines_as_came_in_and_in_their_order(translator: Translator, beam: int) -> None:
    answers = translator.translate(LINES, beam=beam)
    assert len(answers) == len(LINES)
    assert all(answer == "" for line, answer in zip(LINES, answers, strict=True) if line in EMPTY)
    order = random.Random(3).sample(range(len(LINES)), len(LINES))
    assert translator.translate([LINES[i] for i in order], beam=beam) == [answers[i] for i in order]


@pytest.mark.slow
@pytest.mark.parametrize("beam", [1, 4])
def test_neighbours_change_nothing(translator: Translator, beam: int) -> None:
    decoding = translator.decoding(beam=beam, n_best=beam)
    together = translator.hypotheses(LINES, decoding)
    for line, found in zip(LINES, together, strict=True):
        (alone,) = translator.hypotheses([line], decoding)
        assert [each.pieces for each in alone] == [each.pieces for each in found]
        assert [each.score for each in alone] == pytest.approx([each.score for each in found], abs=1e-5)


def test_no_lines_are_no_answers(translator: Translator) -> None:
    assert translator.translate([]) == []
    assert translator.hypotheses([]) == []
    assert translator.translate(["", " "]) == ["", ""]


@pytest.mark.slow
def test_an_overlong_line_is_cut_and_named(translator: Translator) -> None:
    printed: list[tuple[int, int]] = []
    long = "dog " * 500
    answers = translator.translate(["a", long, "", "two", long], beam=1, on_cut=lambda *what: printed.append(what))
    tokens = len(translator.tokenizers.source.encode([long])[0])
    assert tokens > translator.longest == translator.config.model.max_length - 1
    assert printed == [(1, tokens), (4, tokens)]
    assert answers[1] == answers[4]
    assert [answers[0], answers[3]] == translator.translate(["a", "two"], beam=1)
    kept = translator.tokenizers.source.encode([long])[0][: translator.longest]
    source, mask = pad_sources([kept])
    decoding, max_length = translator.decoding(beam=1), translator.config.model.max_length
    (by_hand,) = search(translator.engine.transformer, source, mask, decoding, max_length)
    assert answers[1] == translator.tokenizers.target.decode([by_hand[0].tokens])[0]


def test_the_longest_line_that_fits_is_not_cut(translator: Translator) -> None:
    line = "a" + " a" * (translator.longest - 1)
    assert len(translator.tokenizers.source.encode([line])[0]) == translator.longest
    translator.translate([line], beam=1, on_cut=lambda *_: pytest.fail("it was cut"))


@pytest.mark.parametrize("n_best", [1, 2, 5])
def test_n_best_are_the_best_first(translator: Translator, n_best: int) -> None:
    found = translator.hypotheses(["a dog", "", "two cats run"], translator.decoding(beam=5, n_best=n_best))
    assert found[1] == [Translation("", 0.0, [], [], True)]
    for alternatives in (found[0], found[2]):
        assert 1 <= len(alternatives) <= n_best
        assert len({tuple(each.pieces) for each in alternatives}) == len(alternatives)
        finished = [each.score for each in alternatives if each.finished]
        assert finished == sorted(finished, reverse=True)
        for each in alternatives:
            assert len(each.token_logprobs) == len(each.pieces) + each.finished
            assert all(value <= 0 for value in each.token_logprobs)


@pytest.mark.slow
def test_the_score_is_the_sum_over_the_penalty(translator: Translator) -> None:
    for alpha in (0.0, 0.6, 1.0):
        for each in translator.hypotheses(["a dog", "two cats"], translator.decoding(beam=3, length_penalty=alpha)):
            penalty = ((5 + len(each[0].token_logprobs)) / 6) ** alpha
            assert each[0].score == pytest.approx(sum(each[0].token_logprobs) / penalty, rel=1e-5)


@pytest.mark.slow
def test_samples_depend_on_the_number_of_the_line_in_the_text(translator: Translator) -> None:
    """Not on the batch, nor on how the text is handed over."""
    decoding = translator.decoding(strategy="sampling", n_best=2, temperature=2.0)
    lines = [*LINES, "a dog", "a dog"]
    together = translator.hypotheses(lines, decoding)
    assert together[-1] != together[-2]
    for first in range(0, len(lines), 4):
        part = translator.hypotheses(lines[first : first + 4], decoding, first=first)
        assert [[each.pieces for each in found] for found in part] == [
            [each.pieces for each in found] for found in together[first : first + 4]
        ]


def test_the_signature_names_what_makes_a_score_comparable(translator: Translator) -> None:
    def signature(**settings: object) -> str:
        return translator.with_decoding(changed(translator.config.decoding, settings)).search_signature

    assert signature() == "beam:5|alpha:1"
    assert signature(max_ratio=1.5, max_extra=7, no_repeat_ngram=3, max_repetition=0) == (
        "beam:5|alpha:1|ratio:1.5|extra:7|no_repeat_ngram:3|max_repetition:0"
    )
    assert signature(stop="marian", penalty="power", min_length=9, end_at_limit=True, allow_unknown=False) == (
        "beam:5|alpha:1|penalty:power|stop:marian|min_length:9|end_at_limit:True|allow_unknown:False"
    )
    assert signature(strategy="sampling") == "strategy:sampling|seed:1|alpha:1"
    assert signature(strategy="sampling", temperature=0.7, top_k=10, top_p=0.95, seed=4_000_000_001) == (
        "strategy:sampling|seed:4000000001|alpha:1|temperature:0.7|top_k:10|top_p:0.95"
    )


def test_settings_come_from_the_model_and_bad_ones_are_refused(translator: Translator) -> None:
    assert translator.decoding() == translator.config.decoding
    assert translator.decoding(beam=2).beam == 2
    assert translator.decoding(beam=2).length_penalty == translator.config.decoding.length_penalty
    with pytest.raises(ConfigError, match="beam"):
        translator.translate(["a"], beam=0)
    with pytest.raises(ConfigError, match="n_best"):
        translator.decoding(beam=2, n_best=3)
    several = translator.with_decoding(translator.decoding(beam=5, n_best=4))
    assert several.decoding(beam=2).n_best == 2
    for key, value in (("engine", "native"), ("precision", "int8"), ("workers", 2)):
        with pytest.raises(ConfigError, match=rf"zhuyi\.load\(DIRECTORY, {key}={value!r}\)"):
            translator.decoding(**{key: value})
    sampling = several.with_decoding(several.decoding(strategy="sampling"))
    assert sampling.decoding().n_best == 4
    for use in (sampling.decoding, lambda beam: sampling.translate(LINES, beam=beam)):
        with pytest.raises(ConfigError, match=r"decoding\.beam = 3 is of no use with decoding\.strategy"):
            use(beam=3)


def test_the_loss_is_the_objective(translator: Translator, tmp_path: Path) -> None:
    """Validation loss = what training minimises without smoothing: same pairs, same tokens, EOS included."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text("a dog\ntwo cats run\na\nthe dog\n", encoding="utf-8")
    target.write_text("ein Hund\nzwei\nKatzen laufen schnell\nein\n", encoding="utf-8")
    corpus = Corpus(str(source), str(target))
    store = build_store(corpus, translator.tokenizers, 32, "error")
    total, count = 0.0, 0
    with torch.no_grad():
        for pairs in plan(store, 40, seed=1, epoch=0):
            batch = collate(store, pairs)
            memory = translator.engine.transformer.encode(batch.source, batch.source_mask)
            hidden = translator.engine.transformer.decode(batch.target_in, memory, batch.source_mask)
            weight = translator.engine.transformer.projection.weight
            total += cross_entropy(hidden, weight, batch.target_out, 0.1)[1].item()
            count += batch.target_tokens
    pairs = list(corpus)
    loss = translator.loss([pair.source for pair in pairs], [pair.target for pair in pairs])
    assert loss == pytest.approx(total / count, rel=1e-5)


def test_the_loss_of_odd_lines_is_a_number(translator: Translator) -> None:
    loss = translator.loss(["", "dog " * 500, "a", "👍"], ["a", "dog " * 500, "", "👍"])
    assert np.isfinite(loss)
    assert loss > 0


def test_no_lines_have_no_loss(translator: Translator) -> None:
    with pytest.raises(DataError, match="there are no lines"):
        translator.loss([], [])


def test_evaluation_is_what_one_would_do_by_hand(translator: Translator) -> None:
    sources = ["a dog", "two cats", "", "a dog"]
    targets = ["ein Hund", "zwei Katzen", "", "ein Hund"]
    found = evaluate(translator, sources, targets, ["exact", "wer"])
    assert found.hypotheses == translator.translate(sources)
    assert found.loss == pytest.approx(translator.loss(sources, targets))
    distinct = dict(zip(sources, found.hypotheses, strict=True))
    right = sum(distinct[source] == target for source, target in set(zip(sources, targets, strict=True)))
    assert found.scores["exact"].value == pytest.approx(100 * right / 3)
    assert found.scores["wer"].value == pytest.approx(100 - 100 * right / 3)


@pytest.mark.slow
def test_a_translator_is_in_evaluation_mode_and_leaves_random_state_alone() -> None:
    config = build_config({**TINY, "model": {**TINY["model"], "dropout": 0.5}})
    torch.manual_seed(1)
    model = build_model(config, Tokenizers.train(config.text, ["a dog"], ["ein Hund"]))
    translator = build_translator(model, "cpu")
    state = torch.get_rng_state()
    assert translator.translate(LINES) == translator.translate(LINES)
    assert translator.loss(["a"], ["b"]) == translator.loss(["a"], ["b"])
    translator.hypotheses(LINES, translator.decoding(strategy="sampling"))
    assert torch.get_rng_state().equal(state)
    assert not any(module.training for module in model.transformer.modules())


@pytest.mark.slow
def test_threads_may_share_a_translator(translator: Translator) -> None:
    """Each thread gets what one alone gets, also while another looks at what the model would be without a head."""
    off = WhatIf(heads_off=frozenset({("encoder.0.self", 0), ("decoder.0.cross", 1)}), positions_off=True)

    def at_work(number: int) -> list[object]:
        if number % 2:
            trace = look(translator, "two cats run", what_if=off)
            return [trace.hypotheses, *trace.replay.losses.tolist()]
        return [translator.hypotheses(LINES), translator.loss(LINES, LINES)]

    alone = [at_work(0), at_work(1)]
    assert alone[1][0] != look(translator, "two cats run").hypotheses
    with ThreadPoolExecutor(4) as threads:
        for number, result in enumerate(threads.map(at_work, range(8))):
            assert result == alone[number % 2]


def test_a_weight_that_is_no_number_still_gives_a_line_for_each_line(tmp_path: Path) -> None:
    model = load_model(tiny_model(tmp_path))
    with torch.no_grad():
        next(model.transformer.parameters()).fill_(torch.nan)
    assert build_translator(model, "cpu").translate(["a dog", "", "cats"]) == ["", "", ""]


def test_a_model_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such model directory"):
        load(tmp_path / "none")


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"engine": "abacus"}, "decoding.engine should be 'auto', 'native' or 'torch', not 'abacus'"),
        ({"precision": "int4"}, "decoding.precision should be 'float32', 'bf16' or 'int8', not 'int4'"),
        ({"workers": 0}, "decoding.workers should be greater than or equal to 1, not 0"),
        ({"device": "tpu"}, "device 'tpu' is not one of auto, cpu, cuda"),
        ({"device": "meta"}, "device 'meta' is not one of auto, cpu, cuda"),
        ({"device": "cuda:999"}, "device 'cuda:999': torch sees (no|[0-9]+) GPUs?; use"),
        ({"engine": "torch", "precision": "int8"}, 'decoding.precision = "int8" needs the native engine'),
    ],
)
def test_what_load_does_not_know_is_named_with_what_there_is(tmp_path: Path, wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        load(tiny_model(tmp_path), **wrong)


class Echo:
    """An engine without a model: it answers with the source."""

    precision: Precision = "int8"

    def decode(
        self,
        sources: Sequence[Sequence[int]],
        decoding: DecodingConfig,
        lines: Sequence[int] | None = None,
        prefix: Sequence[int] = (),
    ) -> list[list[Hypothesis]]:
        return [[Hypothesis(list(tokens), -1.0, [0.0] * len(tokens), finished=True)] for tokens in sources]

    def loss(self, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]) -> float:
        return 0.0


def test_a_translator_is_tokenizers_around_an_engine(translator: Translator) -> None:
    source = translator.tokenizers.source
    echo = Translator(translator.config, Tokenizers(source, source), Echo())
    lines = ["a dog  runs", "", "日本語"]
    assert echo.translate(lines) == [source.normalise(line) for line in lines]
    assert echo.with_decoding(echo.decoding(beam=2)).engine is echo.engine
    assert echo.search_signature == "beam:5|alpha:1|precision:int8"
    with pytest.raises(ConfigError, match="Echo has no weights"):
        look(echo, "a dog")


@pytest.mark.parametrize("engine", ["auto", "torch"])
def test_a_prefix_begins_every_output(tmp_path: Path, engine: str) -> None:
    translator = load(tiny_model(tmp_path), device="cpu", engine=engine)
    sources, prefix = translator.tokenizers.source.encode(["a dog", "two cats run"]), [7, 300 - 1]
    for found in translator.engine.decode(sources, DecodingConfig(beam=3, n_best=2), prefix=prefix):
        assert all(each.tokens[:2] == prefix for each in found)


@pytest.mark.slow
def test_a_saved_translator_is_the_same_when_loaded(translator: Translator, tmp_path: Path) -> None:
    searching = translator.with_decoding(translator.decoding(beam=3))
    save(searching, tmp_path / "copy")
    copy = load(tmp_path / "copy", device="cpu")
    assert copy.config == searching.config
    assert copy.hypotheses(LINES) == searching.hypotheses(LINES)
    save(searching.with_decoding(searching.decoding(beam=2)), tmp_path / "copy")
    assert load(tmp_path / "copy").config.decoding.beam == 2


@pytest.mark.slow
def test_a_translator_whose_engine_keeps_no_weights_reads_them_again(translator: Translator, tmp_path: Path) -> None:
    loaded = load(tiny_model(tmp_path / "model"), device="cpu", precision="int8")
    other = Translator(loaded.config, loaded.tokenizers, Echo(), loaded.name, loaded.origins)
    other = other.with_decoding(other.decoding(beam=2))
    save(other, tmp_path / "copy")
    copy = load_model(tmp_path / "copy")
    assert (copy.config.decoding.beam, copy.config.decoding.precision) == (2, "int8")
    for name, weight in translator.engine.transformer.named_parameters():
        assert weight.equal(dict(copy.transformer.named_parameters())[name])
    assert look(other, "a dog").hypotheses == look(translator, "a dog", beam=2).hypotheses
    model = load_model(tmp_path / "model")
    with torch.no_grad():
        next(model.transformer.parameters()).zero_()
    save_model(model, tmp_path / "model")
    with pytest.raises(CheckpointError, match="holds another model than the one that was loaded"):
        look(other, "a dog")


def test_saving_overwrites_no_files_of_ones_own(translator: Translator, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("my own words")
    with pytest.raises(CheckpointError, match="holds files and no model"):
        save(translator, tmp_path)
    with pytest.raises(ConfigError, match="Echo has no weights"):
        save(Translator(translator.config, translator.tokenizers, Echo()), tmp_path / "echo")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_string_in_the_place_of_lines_is_refused(translator: Translator) -> None:
    for use in (translator.translate, translator.hypotheses, lambda text: translator.loss(text, text)):
        with pytest.raises(DataError, match=r"a list of lines is wanted, not a string: write \['a dog'\]"):
            use("a dog")


def test_a_run_is_not_overwritten_by_a_saved_model(translator: Translator, tmp_path: Path) -> None:
    save(translator, tmp_path / "run")
    save(translator, tmp_path / "run/checkpoints/step-000001")
    with pytest.raises(CheckpointError, match="holds a training run"):
        save(translator, tmp_path / "run")
