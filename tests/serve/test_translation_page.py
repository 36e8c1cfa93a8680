"""What stands behind the page to translate in: its policy, and the microscope on one sentence."""

import asyncio
import re
import threading
from typing import Any
from unittest.mock import patch

import pytest
from serving import post, service, until, with_client

from zhuyi.serve.page import LONGEST

KEY = "a key"
LINE = "the dog runs"


def test_nothing_but_the_pages_own_runs_and_loads(en_de: str) -> None:
    answer = with_client(service(en_de), lambda client: client.get("/"))
    policy = answer.headers["Content-Security-Policy"]
    assert re.match(r"default-src 'none'; script-src 'sha256-[\w+/=]+'; style-src 'sha256-[\w+/=]+'; ", policy)


@pytest.mark.parametrize(
    ("form", "status", "message"),
    [
        ({"text": "a" * (LONGEST + 1)}, 413, "at most 500 characters"),
        ({"text": " "}, 400, "empty"),
        ({"model": ""}, 400, "text: Field required"),
        ({}, 400, "neither a form, nor JSON"),
    ],
)
def test_what_cannot_be_looked_at_is_one_line(en_de: str, form: dict[str, str], status: int, message: str) -> None:
    answer = post(service(en_de), "/look", data=form)
    assert answer.status_code == status
    assert message in answer.json()["error"]


def test_a_look_wants_the_key(en_de: str) -> None:
    served = service(en_de, api_key=KEY)
    assert post(served, "/look", data={"text": LINE}).status_code == 401
    assert "<main" in post(served, "/look", data={"text": LINE, "api_key": KEY}).text


def test_a_look_is_given_up_at_the_deadline(en_de: str) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(*_: object) -> None:
        begun.set()
        assert go_on.wait(30)

    async def use(client: Any) -> Any:
        try:
            while True:
                answer = await client.post("/look", data={"text": LINE})
                assert answer.status_code == 504
                if begun.is_set():  # and not given up while the model was loaded
                    return answer
        finally:
            go_on.set()

    with patch("zhuyi.microscope.page.look", slow), patch("zhuyi.microscope.page.frozen_html", lambda _: "a page"):
        answer = with_client(service(en_de, deadline=0.2), use)
    assert answer.json() == {"error": "no answer within 0.2 seconds: send less text in a request"}


def test_one_sentence_is_looked_at_at_a_time(en_de: str) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(*_: object) -> None:
        begun.set()
        assert go_on.wait(30)

    async def use(client: Any) -> list[Any]:
        first = asyncio.create_task(client.post("/look", data={"text": LINE}))
        await until(begun.is_set)
        second = await client.post("/look", data={"text": LINE})
        go_on.set()
        return [await first, second]

    with patch("zhuyi.microscope.page.look", slow), patch("zhuyi.microscope.page.frozen_html", lambda _: "a page"):
        first, second = with_client(service(en_de), use)
    assert (first.status_code, first.text) == (200, "a page")
    assert second.status_code == 429
    assert int(second.headers["Retry-After"]) >= 1
