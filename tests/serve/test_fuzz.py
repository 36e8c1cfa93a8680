"""Requests that schemathesis makes of the OpenAPI description, sound and broken ones, to a running server.

Whatever is asked, the answer is one that the description allows, and no failure of the server's own. With `-s`, the
number of the answers to each operation is printed, by status.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from serving import running, service, with_client

schemathesis = pytest.importorskip("schemathesis")

import requests  # noqa: E402  # needs it
from schemathesis.checks import not_a_server_error  # noqa: E402  # needs it
from schemathesis.specs.openapi.checks import (  # noqa: E402  # needs it
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

pytestmark = pytest.mark.slow

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
DESCRIBED = schemathesis.openapi.from_dict(with_client(service(), lambda client: client.get("/openapi.json")).json())
"""The description does not depend on the models."""
EXAMPLES, MANY = 4, 3500
"""Random requests for each operation and server; those at the limits of the description come on top of them."""
NAMES = {
    "model": ("en-de", "second", "de-fr"),
    "role": ("user",),
    **dict.fromkeys(("source", "source_lang", "from"), ("en", "de", "auto")),
    **dict.fromkeys(("target", "target_lang", "to"), ("de", "fr")),
}
"""What there is, by the field that names it. What is random finds none of it."""


@DESCRIBED.hook
def map_body(_: Any, body: Any) -> Any:
    """The body of a random request, with names of what there is in the place of about half of those in it."""
    if isinstance(body, list):
        return [map_body(None, each) for each in body]
    if not isinstance(body, dict):
        return body
    named = {key: (value, NAMES[key]) for key, value in body.items() if isinstance(value, str) and key in NAMES}
    known = {key: names[len(value) // 2 % len(names)] for key, (value, names) in named.items() if len(value) % 2 == 0}
    return {key: map_body(None, value) for key, value in body.items()} | known


@dataclass
class Fuzzed:
    """A server, a connection to it, and its answers by operation and status."""

    url: str
    session: requests.Session
    answers: dict[str, Counter[int]] = field(default_factory=dict)

    def ask(self, case: Any) -> None:
        answer = case.call_and_validate(base_url=self.url, session=self.session, checks=CHECKS)
        self.answers.setdefault(case.operation.label, Counter())[answer.status_code] += 1


@pytest.fixture(
    scope="module", params=[pytest.param(1, id="one-model"), pytest.param(2, id="two-models", marks=pytest.mark.long)]
)
def fuzzed(request: pytest.FixtureRequest, en_de: str, de_fr: str) -> Iterator[Fuzzed]:
    """With one model every language is taken; with two, a request has to name one that there is."""
    with running(service(*(en_de, de_fr)[: request.param])) as url, requests.Session() as session:
        fuzzed = Fuzzed(url, session)
        yield fuzzed
    for operation, statuses in fuzzed.answers.items():
        counts = ", ".join(f"{status}: {count:,}" for status, count in sorted(statuses.items()))
        print(f"\n{operation:28} {statuses.total():7,} answers ({counts})", end="")


def of_random(count: int) -> settings:
    slow = [HealthCheck.too_slow, HealthCheck.filter_too_much]
    return settings(max_examples=count, deadline=None, derandomize=True, database=None, suppress_health_check=slow)


@DESCRIBED.parametrize()
@of_random(EXAMPLES)
def test_every_answer_is_one_that_the_description_allows(case: Any, fuzzed: Fuzzed) -> None:
    fuzzed.ask(case)


@pytest.mark.long
@pytest.mark.timeout(7200)
@DESCRIBED.parametrize()
@of_random(MANY)
def test_every_one_of_many_answers_is_one_that_the_description_allows(case: Any, fuzzed: Fuzzed) -> None:
    fuzzed.ask(case)
