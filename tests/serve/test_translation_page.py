"""What stands behind the page to translate in: its policy, and the microscope on one sentence."""

import re

import pytest
from serving import post, service, with_client

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
        ({}, 400, "text: Field required"),
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
