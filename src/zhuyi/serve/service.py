"""The service that all APIs call: texts in, translations out.

    service = Service(Models(["en-de"]))
    answers = await service.translate(Query(["A dog runs."], target="de"))
    answers[0].text

Whatever a request contains, the service raises no other exception than `Refusal`.
"""

import asyncio
import hmac
import math
import re
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeVar

from zhuyi.config import DecodingConfig
from zhuyi.errors import CheckpointError, ConfigError
from zhuyi.serve.detection import NOT_SOUGHT, Detected, detect
from zhuyi.serve.limits import Limits
from zhuyi.serve.models import AUTO, Hop, Models
from zhuyi.serve.passages import Passage, split
from zhuyi.serve.pressure import Queue, characters_of
from zhuyi.serve.query import Alignment, Answer, Query
from zhuyi.serve.refusals import late, malformed, too_large, unauthorized, unavailable
from zhuyi.translator import Translation, Translator

AT_ONCE = 256
"""Most lines of a request that are searched at once, so that a short request need not wait for a long one."""

LONG = 2000
"""Longer texts, in characters, are split in a thread, so that other requests are not held up."""

Result = TypeVar("Result")

_HALF = re.compile("[\ud800-\udfff]").search


class Service:
    """Translates for all APIs.

    Args:
        models: to translate with.
        limits: of requests.
        api_key: that every request must have; None: none is needed.

    Raises:
        ConfigError: if the API key is empty, or not printable ASCII, as HTTP headers need.
    """

    def __init__(self, models: Models, limits: Limits = Limits(), api_key: str | None = None) -> None:  # noqa: B008 – frozen
        if api_key is not None and not (api_key and api_key.isascii() and api_key.isprintable()):
            raise ConfigError("the API key is empty, or has characters outside printable ASCII: choose another one")
        self.models, self.limits, self.queue, self._api_key = models, limits, Queue(limits.queue), api_key

    def authorize(self, api_key: str | None) -> None:
        """Check the API key of a request.

        Raises:
            Refusal: if the server has an API key, and this is not it.
        """
        if self._api_key is not None and not hmac.compare_digest((api_key or "").encode(), self._api_key.encode()):
            raise unauthorized()

    async def translate(self, query: Query) -> list[Answer]:
        """Translate the texts of a query.

        A translation does not depend on what else is being translated. If the task is cancelled, its place in the queue
        is freed as soon as nothing works for it: immediately, or when its thread has noticed.

        Returns:
            An answer for each text, in their order.

        Raises:
            Refusal: if the query is not valid, the server is overloaded, or the deadline has passed.
        """
        limits = self.limits
        for what, count in (("translations of a text", query.n_best), ("hypotheses in a beam", query.beam or 1)):
            if not 1 <= count <= limits.alternatives:
                raise malformed(f"this server allows 1 to {limits.alternatives} {what}, not {count}")
        texts = list(query.texts)
        if len(texts) > limits.texts:
            raise too_large(f"a request has at most {limits.texts:,} texts; this has {len(texts):,}")
        if any(map(_HALF, texts)):
            raise malformed("a text has half a character (a lone surrogate, \\ud800 to \\udfff)")
        async with self.in_time():
            source = await self._source(query)
            hops = self._hops(query, source)
            if query.alignment:
                _check_aligns(hops)
            with self.queue.place(math.ceil(_cost(query, hops) * sum(map(characters_of, texts)))):
                for hop in hops[:-1]:
                    texts = [answer.text for answer in await self._pass(hop, texts, query.beam)]
                answers = await self._pass(hops[-1], texts, query.beam, query.n_best, query.alignment)
                return [replace(answer, source=source) for answer in answers]

    @asynccontextmanager
    async def in_time(self) -> AsyncIterator[None]:
        """Cancel the block at the deadline.

        Raises:
            Refusal: if the block did not end before the deadline.
        """
        try:
            async with asyncio.timeout(self.limits.deadline):
                yield
        except TimeoutError:
            raise late(f"no answer within {self.limits.deadline:g} seconds: send less text in a request") from None

    async def hops(self, query: Query) -> list[Hop]:
        """The models that translate a query, one after the other.

        Raises:
            Refusal: if there is no such model, or none with these languages.
        """
        return self._hops(query, await self._source(query))

    async def detect(self, text: str, among: Sequence[str] = ()) -> list[Detected]:
        """As `detection.detect`, in a thread."""
        return await asyncio.to_thread(detect, text, among)

    async def _source(self, query: Query) -> Detected:
        """The language of the texts of a query: as it says, or detected if it has to be known."""
        models = self.models
        if _says_source(query):
            return Detected(query.source or "", 1.0)
        is_named = query.model and models.only is None
        if is_named or not query.texts or (query.source != AUTO and (models.only or len(models.sources) < 2)):
            return NOT_SOUGHT
        found, *_ = await self.detect("\n".join(query.texts), models.sources)
        return found

    def _hops(self, query: Query, source: Detected) -> list[Hop]:
        # A detected language is of no use to models that do not name their source languages.
        stated = source.language if self.models.sources or _says_source(query) else None
        return self.models.route(query.model or None, stated or None, query.target or None)

    async def _pass(
        self, hop: Hop, texts: Sequence[str], beam: int | None, n_best: int = 1, alignment: bool = False
    ) -> list[Answer]:
        """Translate texts with one model."""
        async with hop.model.translator() as loaded:
            try:
                translator = loaded.with_languages(hop.target, hop.source)
                decoding = _decoding(translator, beam, n_best)
            except ConfigError as error:
                raise malformed(str(error)) from error
            passages, tokens = await _split(texts, translator, hop.language)
            found: list[list[list[Translation]]] = [[[] for _ in passage.lines] for passage in passages]
            left = (
                (line, into, place)
                for passage, into in zip(passages, found, strict=True)
                for place, line in enumerate(passage.lines)
            )

            async def search() -> None:
                for line, into, place in left:
                    into[place] = await translator.find(line, decoding, tokens=tokens.get(line))

            searches = min(AT_ONCE, sum(len(passage.lines) for passage in passages))
            if searches == 1:  # most requests: without a task
                await search()
            else:
                async with asyncio.TaskGroup() as tasks:
                    for _ in range(searches):
                        tasks.create_task(search())
            answers = [joined(passage.join, each) for passage, each in zip(passages, found, strict=True)]
            if not alignment:
                return answers
            opened = (await hop.model.opened()).with_languages(hop.target, hop.source)
            return await _in_thread(lambda given_up: _aligned(opened, answers, passages, found, given_up))


def _beam(own: DecodingConfig, beam: int | None, n_best: int) -> int | None:
    """The beam of a query for a model: its own, or else the model's, but at least `n_best`."""
    return max(own.beam, n_best) if beam is None and own.strategy == "beam" else beam


def _decoding(translator: Translator, beam: int | None, n_best: int) -> DecodingConfig:
    """The settings of a model's search for a query.

    Raises:
        ConfigError: as `Translator.decoding`.
    """
    own = translator.config.decoding
    beam = _beam(own, beam, n_best)
    if own.strategy == "beam" and (beam, n_best) == (own.beam, own.n_best):
        return own  # most queries: no validation is needed
    return translator.decoding(beam=beam, n_best=n_best)


def _cost(query: Query, hops: Sequence[Hop]) -> float:
    """The cost of the search of a query, relative to a search of one model with its own settings.

    The cost of a search is its number of rows in the engine's batch (`DecodingConfig.rows`).
    """
    cost = 0.0
    for hop in hops:
        own, n_best = hop.model.decoding, query.n_best if hop is hops[-1] else 1
        cost += (_beam(own, query.beam, n_best) or n_best) / own.rows
    return cost


def _says_source(query: Query) -> bool:
    return query.source not in (None, "", AUTO)


async def _split(
    texts: Sequence[str], translator: Translator, language: str | None
) -> tuple[list[Passage], dict[str, list[int]]]:
    """The texts as lines that fit into the model, and the tokens of the lines; in a thread, if the texts are long."""
    tokens: dict[str, list[int]] = {}

    def work(given_up: threading.Event) -> tuple[list[Passage], dict[str, list[int]]]:
        def fits(line: str) -> bool:
            if given_up.is_set():
                return True  # nothing is split further
            encoded = translator.encode(line)
            if len(encoded) > translator.longest:
                return False
            tokens[line] = encoded
            return True

        return [split(text, fits, language) for text in texts], tokens

    return await _in_thread(work) if sum(map(len, texts)) > LONG else work(threading.Event())


async def _in_thread(work: Callable[[threading.Event], Result]) -> Result:
    """Run `work` in a thread.

    If this is cancelled, the event is set, on which `work` should return early, and its end is awaited: the place of
    the request in the queue must not be freed before.
    """
    given_up = threading.Event()
    working = asyncio.create_task(asyncio.to_thread(work, given_up))
    try:
        return await asyncio.shield(working)
    finally:
        given_up.set()
        await asyncio.wait([working])


def joined(join: Callable[[list[str]], str], found: Sequence[Sequence[Translation | Answer]]) -> Answer:
    """The answer to a text, from the translations of its parts.

    The best translation of the text joins the best ones of its parts, the second joins the second ones, and so on. A
    part with fewer translations than others repeats its last one.

    Args:
        join: joins the translations of the parts to one text.
        found: the translations of each part, best first.
    """
    answers = []
    for rank in range(max(map(len, found), default=1)):
        parts = [each[min(rank, len(each) - 1)] for each in found]
        text = join([each.text for each in parts])
        answers.append(Answer(text, sum(each.score for each in parts), all(each.finished for each in parts)))
    best, *others = answers
    return replace(best, alternatives=others)


def _aligned(
    translator: Translator,
    answers: Sequence[Answer],
    passages: Sequence[Passage],
    found: Sequence[Sequence[Sequence[Translation]]],
    given_up: threading.Event,
) -> list[Answer]:
    """The answers with their alignments; ends early if `given_up` is set."""
    from zhuyi.serve.alignment import align  # imports torch

    def aligned(passage: Passage, found: Sequence[Sequence[Translation]]) -> Iterator[Alignment]:
        for line, (best, *_) in zip(passage.lines, found, strict=True):
            if best.pieces and not given_up.is_set():
                yield align(translator, line, best)

    try:
        alignments = [[*aligned(passage, each)] for passage, each in zip(passages, found, strict=True)]
    except CheckpointError as error:
        raise unavailable(str(error)) from error
    return [replace(answer, alignments=each) for answer, each in zip(answers, alignments, strict=True)]


def _check_aligns(hops: Sequence[Hop]) -> None:
    if len(hops) > 1:
        raise malformed("two models are chained for this translation: there is no alignment through both")
    if not hops[0].model.aligns:
        raise malformed("this model has no cross-attention, and so no alignments")
