"""The service below all APIs: whose company changes nothing, who has a place, and which model answers."""

import asyncio
import gc
import os
import random
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from command_line import TINY, in_shape, tiny_model, zhuyi
from serving import CPU, Held, service, speaking, until

from zhuyi.config import Config, build_config
from zhuyi.errors import CheckpointError, ConfigError
from zhuyi.loading import load
from zhuyi.microscope.page import look
from zhuyi.serve import Alignment, Answer, Models, Query, Refusal, Settings
from zhuyi.serve.passages import split
from zhuyi.serve.service import AT_ONCE, LONG
from zhuyi.text.tokenizer import Tokenizer
from zhuyi.translator import Translation

LINE = "two the dog runs"
"""Of which the small models make something, and each something else: their answers to many others are empty."""
WORDS = ["a", "dog", "runs", "two", "cats", "ein", "Hund", "zwei", "Katzen", "日本語", "é", "👍", "x"]


def some_lines(count: int, seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(WORDS, k=draw.randint(0, 9))) for _ in range(count)]


def as_answers(found: Sequence[Translation]) -> list[Answer]:
    return [Answer(each.text, pytest.approx(each.score, abs=1e-5), each.finished) for each in found]


@pytest.mark.slow
@pytest.mark.parametrize(("engine", "requests"), [("native", 40), ("torch", 12)])
def test_what_a_line_gets_does_not_depend_on_what_arrives_beside_it(en_de: str, engine: str, requests: int) -> None:
    """Requests of several kinds arrive at random, some go away again, and each line gets what it gets alone."""
    draw, lines = random.Random(1), some_lines(40)
    served = service(en_de, settings=Settings("cpu", engine))
    queries = [
        Query(draw.sample(lines, draw.randint(1, 4)), beam=(beam := draw.choice([1, 3])), n_best=draw.randint(1, beam))
        for _ in range(requests)
    ]

    async def arrive(query: Query) -> list[Answer] | None:
        await asyncio.sleep(draw.random() / 10)
        task = asyncio.create_task(served.translate(query))
        if draw.random() < 0.25:
            await asyncio.sleep(draw.random() / 100)
            task.cancel()
        return (await asyncio.gather(task, return_exceptions=True))[0]

    async def run() -> list[list[Answer] | None]:
        await served.translate(Query(["a dog"]))  # loads
        return await asyncio.gather(*map(arrive, queries))

    answers = asyncio.run(run())
    alone = load(en_de, device="cpu", engine=engine)
    completed = 0
    for query, got in zip(queries, answers, strict=True):
        if isinstance(got, asyncio.CancelledError):
            continue
        completed += 1
        for line, answer in zip(query.texts, got, strict=True):
            (expected,) = alone.hypotheses([line], alone.decoding(beam=query.beam, n_best=query.n_best))
            best, *others = as_answers(expected)
            assert answer == Answer(best.text, best.score, best.finished, others)
    assert completed >= requests / 2
    assert served.queue.taken == 0


@pytest.mark.parametrize(
    "text", ["two cats\n\n  a dog runs\r\n", "a dog. " * 30, "猫。狗。" * 20 + "\n", "", " ", "\n"]
)
def test_a_text_that_is_no_line_is_that_of_its_parts(en_de: str, text: str) -> None:
    alone = load(en_de, device="cpu")
    (answer,) = asyncio.run(service(en_de).translate(Query([text], n_best=2)))
    passage = split(text, lambda line: len(alone.encode(line)) <= alone.longest, "en")
    found = alone.hypotheses(passage.lines, alone.decoding(n_best=2))
    assert answer.text == passage.join([each[0].text for each in found])
    assert answer.score == pytest.approx(sum(each[0].score for each in found), abs=1e-4)
    assert [other.text for other in answer.alternatives] == [
        passage.join([each[-1].text for each in found]) for _ in range(any(len(each) > 1 for each in found))
    ]


@pytest.mark.parametrize("text", ["the dog runs", "the dog runs\na dog"])
def test_a_line_is_tokenised_once(en_de: str, text: str) -> None:
    served, encode = service(en_de), Tokenizer.encode
    lines: list[str] = []

    def counted(tokenizer: Tokenizer, of: Sequence[str]) -> list[list[int]]:
        lines.extend(of)
        return encode(tokenizer, of)

    with patch("zhuyi.text.tokenizer.Tokenizer.encode", counted):
        asyncio.run(served.translate(Query([text])))
    assert lines == text.split("\n")


@pytest.mark.parametrize("engine", ["native", "torch"])
def test_an_alignment_is_the_cross_attention_of_the_replay(en_de: str, engine: str) -> None:
    served, lines = service(en_de, settings=Settings("cpu", engine)), ["a dog runs", "", "two cats"]
    answers = asyncio.run(served.translate(Query(lines, beam=1, alignment=True)))
    assert [len(answer.alignments) for answer in answers] == [1, 0, 1]
    for line, answer in zip(lines, answers, strict=True):
        for alignment in answer.alignments:
            trace = look(load(en_de, device="cpu"), line, beam=1)
            assert trace.output == answer.text
            weights = trace["decoder.0.cross.weights"].mean(dim=0)
            assert torch.allclose(torch.tensor(alignment.weights), weights, atol=1e-5)
            assert alignment.source == trace.source_pieces
            assert len(alignment.target) == len(alignment.weights)
    (model,) = served.models
    assert model.resident_bytes == model.weight_bytes * (2 if engine == "native" else 1)


def test_alignments_that_nobody_waits_for_are_not_computed(en_de: str) -> None:
    served, begun, go_on = service(en_de), threading.Event(), threading.Event()
    aligned: list[str] = []

    def slow(_: object, line: str, __: object) -> Alignment:
        aligned.append(line)
        begun.set()
        assert go_on.wait(30)
        return Alignment([], [], [])

    async def run() -> None:
        asked = asyncio.create_task(served.translate(Query(["a dog", "two cats"], beam=1, alignment=True)))
        await until(begun.is_set)
        asked.cancel()
        await asyncio.wait([asked], timeout=0.05)
        assert served.queue.taken > 0  # as long as the thread works
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert served.queue.taken == 0

    with patch("zhuyi.serve.alignment.align", slow):
        asyncio.run(run())
    assert aligned == ["a dog"]


def test_a_text_that_is_split_for_nobody_keeps_its_place_until_that_ends(en_de: str) -> None:
    served, begun, go_on = service(en_de), threading.Event(), threading.Event()
    asked_of: list[str] = []

    def slow(_: object, line: str) -> list[int]:
        asked_of.append(line)
        begun.set()
        assert go_on.wait(30)
        return []

    async def run() -> None:
        with patch("zhuyi.translator.Translator.encode", slow):
            asked = asyncio.create_task(served.translate(Query(["a dog\n" * LONG])))
            await until(begun.is_set)
            asked.cancel()
            await asyncio.wait([asked], timeout=0.05)
            assert served.queue.taken > LONG
            go_on.set()
            with pytest.raises(asyncio.CancelledError):
                await asked
        assert served.queue.taken == 0

    asyncio.run(run())
    assert asked_of == ["a dog"]


def test_no_alignment_is_made_up(en_de: str, de_fr: str, tmp_path: Path) -> None:
    decoder = tiny_model(tmp_path / "gpt", in_shape("decoder"))
    for served, message in (
        (service(str(decoder)), "no cross-attention"),
        (service(en_de, de_fr), "no alignment through both"),
    ):
        with pytest.raises(Refusal, match=message) as refused:
            asyncio.run(served.translate(Query(["a dog"], source="en", target="fr", alignment=True)))
        assert refused.value.status == 400


def test_a_task_that_is_cancelled_makes_place_at_once(en_de: str, held: Held) -> None:
    served = service(en_de, queue=10)

    async def run() -> None:
        first = asyncio.create_task(served.translate(Query(["a dog", "runs"])))
        await until(lambda: len(held.waiting) == 2)
        with pytest.raises(Refusal, match="try again later"):
            await served.translate(Query(["two cats"]))
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert all(future.cancelled() for _, future in held.waiting)
        second = asyncio.create_task(served.translate(Query(["two cats"])))
        await until(lambda: len(held.waiting) == 3)
        held.answer_all()
        assert [answer.score for answer in await second] == [-1.0]

    asyncio.run(run())


def test_a_long_request_leaves_room_for_a_short_one(en_de: str, held: Held) -> None:
    served = service(en_de)

    async def run() -> None:
        long = asyncio.create_task(served.translate(Query(["a dog"] * (AT_ONCE + 3))))
        await until(lambda: len(held.waiting) == AT_ONCE)
        assert len(asyncio.all_tasks()) == AT_ONCE + 2  # `run` and `long`
        short = asyncio.create_task(served.translate(Query(["two cats"])))
        await until(lambda: len(held.waiting) == AT_ONCE + 1)
        held.answer_all()
        assert len(await short) == 1
        await until(lambda: len(held.waiting) == 3)
        held.answer_all()
        assert len(await long) == AT_ONCE + 3

    asyncio.run(run())


def test_a_full_queue_says_when_to_come_again(en_de: str, held: Held) -> None:
    served = service(en_de, queue=10)

    async def run() -> Refusal:
        first = asyncio.create_task(served.translate(Query(["a dog"])))
        await until(lambda: len(held.waiting) == 1)
        with pytest.raises(Refusal) as refused:
            await served.translate(Query(["two cats"]))
        held.answer_all()
        await first
        return refused.value

    refusal = asyncio.run(run())
    assert refusal.status == 429
    assert int(refusal.headers["Retry-After"]) >= 1


@pytest.mark.parametrize(
    ("query", "taken"),
    [
        (Query(["a" * 100]), 100),
        (Query(["a" * 100], beam=1), 20),
        (Query(["a" * 100], n_best=5), 100),
        (Query(["a" * 100], n_best=10), 200),
        (Query(["a" * 100], beam=10), 200),
        (Query(["a" * 100], source="en", target="fr"), 200),
        (Query(["a" * 100], source="en", target="fr", n_best=10), 300),
    ],
)
def test_a_request_takes_as_much_of_the_queue_as_its_search_costs(
    en_de: str, de_fr: str, held: Held, query: Query, taken: int
) -> None:
    served = service(en_de, de_fr) if query.target else service(en_de)
    assert all(model.decoding.beam == 5 for model in served.models)

    async def run() -> None:
        asked = asyncio.create_task(served.translate(query))
        await until(lambda: bool(held.waiting))
        assert served.queue.taken == taken
        asked.cancel()
        await asyncio.wait([asked])
        assert served.queue.taken == 0

    asyncio.run(run())


def test_a_request_is_given_up_at_its_deadline(en_de: str, held: Held) -> None:
    served = service(en_de, deadline=0.05)

    async def run() -> None:
        with pytest.raises(Refusal, match=r"no answer within 0\.05 seconds") as refused:
            await served.translate(Query(["a dog"]))
        assert refused.value.status == 504
        assert all(future.cancelled() for _, future in held.waiting)

    asyncio.run(run())
    assert served.queue.taken == 0


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        (Query(["a"] * 4), 413, "at most 3 texts"),
        (Query(["a" * 101]), 413, "at most 100 characters"),
        (Query(["a\n" * 11]), 413, "at most 100 characters; this counts as 112: a line break as 10"),
        (
            Query(["a" * 60], n_best=10),
            413,
            "this counts as 120: .* a beam wider than the model's as so many times more",
        ),
        (Query(["a"], n_best=11), 400, "allows 1 to 10 translations of a text, not 11"),
        (Query(["a"], n_best=0), 400, "allows 1 to 10 translations of a text, not 0"),
        (Query(["a"], beam=11), 400, "allows 1 to 10 hypotheses in a beam, not 11"),
        (Query(["a"], beam=2, n_best=3), 400, r"decoding\.n_best = 3 is more than decoding\.beam = 2"),
        (Query(["a\udc80"]), 400, "half a character"),
    ],
)
def test_what_is_more_than_the_server_gives_is_refused(en_de: str, query: Query, status: int, message: str) -> None:
    served = service(en_de, texts=3, queue=100)
    with pytest.raises(Refusal, match=message) as refused:
        asyncio.run(served.translate(query))
    assert refused.value.status == status
    assert served.queue.taken == 0


@pytest.mark.parametrize("names", [{}, {"model": "gpt-4o"}, {"source": "xx", "target": "yy"}, {"source": "auto"}])
def test_one_model_takes_every_name_and_language(en_de: str, names: dict[str, str]) -> None:
    (answer,) = asyncio.run(service(en_de).translate(Query([LINE], **names)))
    assert answer.text == load(en_de, device="cpu").translate([LINE])[0] != ""


def test_several_models_answer_by_name_by_languages_and_one_after_the_other(en_de: str, de_fr: str) -> None:
    served = service(en_de, f"b={de_fr}")
    first, second = (load(each, device="cpu") for each in (en_de, de_fr))

    def ask(**names: str) -> str:
        (answer,) = asyncio.run(served.translate(Query([LINE], **names)))
        return answer.text

    (german,) = first.translate([LINE])
    (french,) = second.translate([LINE])
    (through_german,) = second.translate([german])
    assert len({german, french, through_german, ""}) == 4
    assert ask(target="de") == ask(model="en-de") == ask(source="ENG", target="de-AT") == german
    assert ask(source="de", target="fra_Latn") == ask(model="b") == french
    assert ask(source="en", target="fr") == ask(source="auto", target="fr") == through_german
    with pytest.raises(Refusal, match="no such model: choose one of en-de, b"):
        ask(model="c")
    with pytest.raises(
        Refusal, match=r"no model translates between these languages: choose from en → de \(en-de\); de"
    ):
        ask(source="fr", target="en")
    with pytest.raises(Refusal, match="name the target language, or the model: en-de, b"):
        ask(source="en")


def test_a_model_of_several_languages_is_told_them(tmp_path: Path) -> None:
    tags = {"tags": (">>fra<<", ">>deu<<"), "source_prefix": (">>fra<<",)}
    many = str(
        tiny_model(
            tmp_path / "many", lambda config: config.model_copy(update={"text": config.text.model_copy(update=tags)})
        )
    )
    served, alone = service(many), load(many, device="cpu")
    line = "a dog runs two"
    expected = {tag: alone.translate([line], to=tag)[0] for tag in ("deu", "fra")}
    assert len({*expected.values(), ""}) == 3
    for wanted, tag in (("de", "deu"), ("fr", "fra"), (None, "fra")):
        (answer,) = asyncio.run(served.translate(Query([line], target=wanted)))
        assert answer.text == expected[tag]
    (answer,) = asyncio.run(served.translate(Query(["Der Hund läuft über die Straße."], source="auto")))
    assert answer.source.language == "de"  # of which the model need not know
    with pytest.raises(Refusal, match=r"the model does not have this language: choose from \? → fra, deu"):
        asyncio.run(served.translate(Query(["a dog"], target="ja")))


def test_a_model_is_loaded_on_first_use_and_released_when_idle(en_de: str) -> None:
    served = service(en_de, settings=Settings("cpu", idle=0.05))
    (model,) = served.models
    assert not model.is_loaded

    async def run() -> None:
        for _ in range(2):
            await served.translate(Query(["a dog"]))
            assert model.is_loaded
            async with model.translator() as translator:
                engine = weakref.ref(translator.engine)
                del translator
                await asyncio.sleep(0.1)  # in use
                assert model.is_loaded
            await until(lambda: not model.is_loaded)
            gc.collect()
            assert engine() is None

    asyncio.run(run())


def of_text(_: Config) -> Config:
    return build_config({**TINY, "model": {**TINY["model"], "shape": "decoder"}, "data": {"text": "book.txt"}})


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_memory_of_a_released_model_goes_back_to_the_system(tmp_path: Path) -> None:
    wide = {**TINY, "model": {**TINY["model"], "width": 512, "feed_forward": 2048, "encoder_layers": 4}}
    directory = tiny_model(tmp_path / "wide", lambda _: build_config(wide))
    served = service(str(directory), settings=Settings("cpu", "native", idle=0.0))
    (model,) = served.models

    def resident() -> int:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    async def run() -> None:
        for _ in range(3):  # the C library behaves otherwise from the second time on
            async with model.translator():
                released = resident() - model.weight_bytes / 2
            await until(lambda most=released: resident() < most)
            assert not model.is_loaded

    asyncio.run(run())


@pytest.mark.parametrize(
    ("change", "message"),
    [(in_shape("encoder"), "predicts labels, which serve does not support"), (of_text, "running text")],
)
def test_what_does_not_translate_is_refused_at_the_start(
    tmp_path: Path, change: Callable[[Config], Config], message: str
) -> None:
    outcome = zhuyi("serve", tiny_model(tmp_path / "other", change))
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert message in outcome.err


@pytest.mark.parametrize("origin", ["example.org", "https://example.org/", "https://example.org/a", ""])
def test_an_origin_that_no_browser_sends_is_refused_at_the_start(en_de: str, origin: str) -> None:
    outcome = zhuyi("serve", en_de, "--allow-origin", origin)
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert "https://example.org, without a path" in outcome.err


@pytest.mark.parametrize("host", ["https://example.org", "example.org:8000", "a*.org", "::1", ""])
def test_a_host_that_no_header_names_is_refused_at_the_start(en_de: str, host: str) -> None:
    outcome = zhuyi("serve", en_de, "--allow-host", host)
    assert (outcome.code, outcome.err.count("\n")) == (2, 1)
    assert "translate.example.org, without a port" in outcome.err


def test_what_cannot_be_served_is_one_line_at_the_start(en_de: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="two models have the name en-de: give one another name, NAME="):
        Models([en_de, en_de])
    with pytest.raises(CheckpointError, match="no such model directory"):
        Models([str(tmp_path / "none")])
    with pytest.raises(ConfigError, match=r"decoding\.precision should be"):
        Models([en_de], Settings(precision="int4"))
    with pytest.raises(ConfigError, match="device 'tpu' is not one of auto, cpu, cuda"):
        Models([en_de], Settings("tpu"))
    for key in ("", "schlüssel", "a\n"):
        with pytest.raises(ConfigError, match="the API key is empty, or has characters outside"):
            service(en_de, api_key=key)


def test_a_model_that_is_gone_is_an_answer_and_a_line_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tiny_model(tmp_path / "en-de")
    served = service(str(directory))
    weights = (directory / "model.safetensors").read_bytes()
    (directory / "model.safetensors").unlink()
    for _ in range(2):
        with pytest.raises(Refusal, match="the model cannot be loaded: the server's log says why") as refused:
            asyncio.run(served.translate(Query(["a dog"])))
        assert refused.value.status == 503
    assert "model.safetensors" in caplog.text
    (directory / "model.safetensors").write_bytes(weights)
    assert asyncio.run(served.translate(Query(["a dog"])))


def test_languages_come_from_the_configuration_or_the_name(en_de: str, tmp_path: Path) -> None:
    own = tiny_model(tmp_path / "xx-yy", speaking("pt-BR", "zh-Hant"))
    models = Models([en_de, f"de-fr={en_de}", f"any={en_de}", str(own)], CPU)
    assert [(model.sources, model.targets) for model in models] == [
        (("en",), ("de",)),
        (("de",), ("fr",)),
        ((), ()),
        (("pt-BR",), ("zh-Hant",)),
    ]
    assert [model.pairs for model in models][:3] == ["en → de (en-de)", "de → fr (de-fr)", "any"]
