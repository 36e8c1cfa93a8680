"""The one thing that all request shapes call: texts in, translations out.

    service = Service(Models(["en-de"]))
    answers = await service.translate(Query(["A dog runs."], target="de"))
    answers[0].text

It raises a `Refusal` for what it does not do, and nothing else for anything that a request can say.
"""

import asyncio
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass

from zhuyi.errors import ConfigError
from zhuyi.serve.detection import Detected, detect
from zhuyi.serve.limits import Limits
from zhuyi.serve.models import AUTO, Leg, Models
from zhuyi.serve.pressure import Queue
from zhuyi.serve.refusals import late, malformed, too_large, unauthorized
from zhuyi.translator import Translation

_HALF = re.compile("[\ud800-\udfff]").search


@dataclass(frozen=True)
class Query:
    """What a request of any shape asks for."""

    texts: Sequence[str]
    """Each is translated by itself. One that fits is one line, as in `zhuyi translate`."""
    model: str | None = None
    """Its name; unset: the one that has the languages. Where there is one model alone, every name means it."""
    source: str | None = None
    """The language of the texts, by any of its names; unset or "auto": it is found out, if it has to be known."""
    target: str | None = None
    """The language of the translations."""
    beam: int | None = None
    """Hypotheses that are kept at each step. Unset: as many as the model says, or as `n_best`."""
    n_best: int = 1
    """Translations of each text, at most; at least one is given."""


@dataclass(frozen=True)
class Answer:
    """What a text became."""

    text: str
    """The best translation."""
    score: float
    """Its log-probability over its length penalty; of a text of several lines, their sum. −inf: there was no number."""
    finished: bool
    """Whether it ended by itself; otherwise the length limit cut it off."""
    alternatives: list["Answer"]
    """Further translations, best first."""


class Service:
    """Translates for all request shapes.

    Args:
        models: that it has.
        limits: of requests.
        api_key: that every request has to bring; None: none has to.
    """

    def __init__(self, models: Models, limits: Limits = Limits(), api_key: str | None = None) -> None:  # noqa: B008
        self.models, self.limits, self.queue, self._api_key = models, limits, Queue(limits.queue), api_key

    def authorize(self, api_key: str | None) -> None:
        """See that a request may ask.

        Raises:
            Refusal: if the server has an API key, and this is another one.
        """
        if self._api_key is not None and not hmac.compare_digest((api_key or "").encode(), self._api_key.encode()):
            raise unauthorized()

    async def translate(self, query: Query) -> list[Answer]:
        """The translations of the texts of a query, in their order.

        What a text becomes depends on nothing that is translated beside it. A task that is cancelled makes place for
        others at once.

        Raises:
            Refusal: if the query asks for what there is not, or the server has too much to do, or takes too long.
        """
        limits = self.limits
        for what, count in (("translations of a text", query.n_best), ("hypotheses in a beam", query.beam or 1)):
            if not 1 <= count <= limits.alternatives:
                raise malformed(f"this server gives 1 to {limits.alternatives} {what}, not {count}")
        texts = list(query.texts)
        if len(texts) > limits.texts:
            raise too_large(f"a request has at most {limits.texts:,} texts; this has {len(texts):,}")
        if any(map(_HALF, texts)):
            raise malformed("a text has half a character (a lone surrogate, \\ud800 to \\udfff)")
        source = await self._source(query)
        legs = self.models.route(query.model or None, source, query.target or None)
        with self.queue.place(sum(map(len, texts))):
            try:
                async with asyncio.timeout(limits.deadline):
                    for leg in legs[:-1]:
                        texts = [answer.text for answer in await self._pass(leg, texts, query.beam, 1)]
                    return await self._pass(legs[-1], texts, query.beam, query.n_best)
            except TimeoutError:
                raise late(f"no answer within {limits.deadline:g} seconds: ask for less at once") from None

    async def detect(self, text: str, among: Sequence[str] = ()) -> list[Detected]:
        """As `detection.detect`, beside whatever else goes on."""
        return await asyncio.to_thread(detect, text, among)

    async def _source(self, query: Query) -> str | None:
        """The language of the texts of a query; None, if it is not said and need not be known."""
        if query.source not in (None, "", AUTO):
            return query.source
        models = self.models
        if models.only is not None or query.model or len(models.sources) < 2 or not query.texts:
            return None
        return (await self.detect("\n".join(query.texts), models.sources))[0].language

    async def _pass(self, leg: Leg, texts: Sequence[str], beam: int | None, n_best: int) -> list[Answer]:
        """Texts by one model."""
        async with leg.model.translator() as loaded:
            try:
                translator = loaded.with_languages(leg.target, leg.source)
                own = translator.config.decoding
                widened = max(own.beam, n_best) if beam is None and own.strategy == "beam" else beam
                decoding = translator.decoding(beam=widened, n_best=n_best)
            except ConfigError as error:
                raise malformed(str(error)) from error
            async with asyncio.TaskGroup() as tasks:
                found = [tasks.create_task(translator.find(text, decoding)) for text in texts]
        return [_answer(each.result()) for each in found]


def _answer(found: Sequence[Translation]) -> Answer:
    best, *others = (Answer(each.text, each.score, each.finished, []) for each in found)
    return Answer(best.text, best.score, best.finished, others)
