"""The application over HTTP: each shape's requests and answers, and how each refuses."""

from typing import Any

import pytest
from serving import post, service, with_client

from zhuyi.loading import load

BROKEN = {"content": b'{"lines": [', "headers": {"Content-Type": "application/json"}}


def test_lines_of_our_own_shape(en_de: str) -> None:
    asked = {"lines": ["a dog runs", "", "two cats"], "beam": 3, "n_best": 2}
    answer = post(service(en_de), "/api/translate", json=asked)
    alone = load(en_de, device="cpu")
    expected = alone.hypotheses(asked["lines"], alone.decoding(beam=3, n_best=2))
    assert answer.status_code == 200
    assert answer.json()["translations"] == [
        [{"text": each.text, "score": pytest.approx(each.score), "finished": each.finished} for each in found]
        for found in expected
    ]


def test_the_models_are_listed(en_de: str, de_fr: str) -> None:
    served = service(en_de, f"b={de_fr}")
    answer = with_client(served, lambda client: client.get("/api/models"))
    assert [(each["name"], each["source"], each["target"], each["loaded"]) for each in answer.json()["models"]] == [
        ("en-de", ["en"], ["de"], False),
        ("b", ["de"], ["fr"], False),
    ]


@pytest.mark.parametrize(
    ("path", "body", "status", "message"),
    [
        ("/api/translate", BROKEN, 400, "JSON decode error"),
        ("/api/translate", {"json": {}}, 400, "lines: Field required"),
        ("/api/translate", {"json": {"lines": "a"}}, 400, "lines: Input should be a valid list"),
        ("/api/translate", {"json": {"lines": ["a"], "n_best": 0}}, 400, "n_best: Input should be greater than"),
        ("/api/translate", {"content": b"\xff\xfe"}, 400, "Input should be a valid dictionary"),
        ("/api/translate", {"json": {"lines": ["a"], "beam": 99}}, 400, "1 to 10 hypotheses in a beam"),
        ("/api/nothing", {"json": {}}, 404, "Not Found"),
        ("/api/models", {"json": {}}, 405, "Method Not Allowed"),
        ("/nothing", {"json": {}}, 404, "Not Found"),
        ("/translate", BROKEN, 400, "Invalid JSON"),
        ("/translate", {"json": {"q": "a"}}, 400, "target: Field required"),
        ("/translate", {"data": {"q": "a"}}, 400, "target: Field required"),
        ("/translate", {"json": {"q": "a", "target": "de", "format": "html"}}, 400, "html"),
        ("/translate", {"json": {"q": "a", "target": "de", "alternatives": 99}}, 400, "1 to 10 translations"),
        ("/detect", {"json": {}}, 400, "q: Field required"),
    ],
)
def test_what_is_no_request_is_refused_in_one_line(
    en_de: str, path: str, body: dict[str, Any], status: int, message: str
) -> None:
    answer = post(service(en_de), path, **body)
    assert answer.status_code == status
    assert message in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


def test_a_browser_may_call_from_any_page(en_de: str) -> None:
    headers = {
        "Origin": "https://example.org",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
        "Access-Control-Request-Private-Network": "true",
    }
    for path in ("/api/translate", "/translate"):
        answer = with_client(service(en_de), lambda client, path=path: client.options(path, headers=headers))
        assert answer.status_code == 200
        assert answer.headers["Access-Control-Allow-Origin"] in ("*", "https://example.org")
        assert "authorization" in answer.headers["Access-Control-Allow-Headers"]
        assert answer.headers["Access-Control-Allow-Private-Network"] == "true"
    answer = post(service(en_de), "/api/translate", headers={"Origin": "https://example.org"}, **{"content": b"{"})
    assert answer.headers["Access-Control-Allow-Origin"] == "*"  # or the page could not read what is wrong
