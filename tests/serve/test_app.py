"""The application over HTTP: each API's requests and answers, and how each refuses."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from serving import Held, post, service, until, with_client

from zhuyi.loading import load
from zhuyi.serve.detection import detect

BROKEN = {"content": b'{"lines": [', "headers": {"Content-Type": "application/json"}}


def test_lines_of_our_own_api(en_de: str) -> None:
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
        ("/api/translate", BROKEN, 400, "the request is not JSON: Expecting value (character 11)"),
        ("/api/translate", {"json": {}}, 400, "lines: Field required"),
        ("/api/translate", {"json": {"lines": "a"}}, 400, "lines: Input should be a valid list"),
        ("/api/translate", {"json": {"lines": ["a"], "n_best": 0}}, 400, "n_best: Input should be greater than"),
        ("/api/translate", {"content": b"\xff\xfe"}, 400, "header Content-Type: application/json"),
        ("/api/translate", {"json": [1]}, 400, "not a JSON object"),
        ("/api/translate", {"json": {"lines": ["a"], "beam": 99}}, 400, "1 to 10 hypotheses in a beam"),
        ("/api/nothing", {"json": {}}, 404, "no such path"),
        ("/api/translate", {**BROKEN, "content": b'["\xff'}, 400, "the request is not UTF-8"),
        ("/api/models", {"json": {}}, 405, "this path allows only GET"),
        ("/nothing", {"json": {}}, 404, "no such path"),
        ("/translate", BROKEN, 400, "the request is not JSON: EOF while parsing a list at line 1 column 11"),
        ("/translate", {"json": {"q": "a"}}, 400, "target: Field required"),
        ("/translate", {"data": {"q": "a"}}, 400, "target: Field required"),
        ("/translate", {"json": {"q": "a", "target": "de", "format": "markdown"}}, 400, "'text' or 'html'"),
        ("/translate", {"json": {"q": "a", "target": "de", "alternatives": 99}}, 400, "1 to 10 translations"),
        ("/translate", {"content": b'{"q": "a"}'}, 400, "neither a form, nor JSON with the header Content-Type"),
        ("/translate", {"data": {'{"q": "a"}': ""}}, 400, "neither a form, nor JSON with the header Content-Type"),
        ("/translate", {"json": [1]}, 400, "not a JSON object"),
        ("/translate", {"json": {"q": 1, "target": "de"}}, 400, "q: Input should be a valid string"),
        ("/translate", {"json": {"q": ["a", None], "target": "de"}}, 400, "q.1: Input should be a valid string"),
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


def test_the_description_says_what_every_answer_has() -> None:
    described = with_client(service(), lambda client: client.get("/openapi.json")).json()
    answers = [
        content["schema"]
        for operations in described["paths"].values()
        for operation in operations.values()
        for response in operation["responses"].values()
        for kind, content in response["content"].items()
        if kind == "application/json"
    ]
    assert len(answers) > 100
    for schema in [*answers, *described["components"]["schemas"].values()]:
        assert schema
        assert schema.get("additionalProperties") is not True
        assert schema.get("items", {}).get("additionalProperties") is not True


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


def test_only_the_pages_of_named_sites_may_read_answers(en_de: str) -> None:
    for origin, allowed in (("https://example.org", "https://example.org"), ("https://example.com", None)):
        answer = with_client(
            service(en_de),
            lambda client, origin=origin: client.get("/api/models", headers={"Origin": origin}),
            ["https://example.org"],
        )
        assert answer.headers.get("Access-Control-Allow-Origin") == allowed


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:80", 200),
        ("[::1]:80", 200),
        ("[::1]", 200),
        ("a.example.org", 200),
        ("a.b.EXAMPLE.org:80", 200),
        ("example.org", 400),
        ("anexample.org", 400),
        ("localhost:a.example.org", 400),
        ("[::1]a.example.org", 400),
        ("::1", 400),
        ("", 400),
    ],
)
def test_a_name_may_stand_for_those_below_it(host: str, status: int) -> None:
    hosts = ["localhost", "[::1]", "*.Example.org"]

    async def ask(client: Any) -> Any:
        return await client.get("/health", headers={"Host": host})

    assert with_client(service(), ask, hosts=hosts).status_code == status


def test_a_key_is_asked_for_in_the_manner_of_each_api(en_de: str) -> None:
    served = service(en_de, api_key="secret-1")
    own, libre = {"lines": ["a dog"]}, {"q": "a dog", "target": "de"}
    for given, status in ((None, 401), ("wrong", 401), ("secret-1", 200)):
        headers = {"Authorization": f"Bearer {given}"} if given else {}
        answer = post(served, "/api/translate", json=own, headers=headers)
        assert answer.status_code == status
        if status == 401:
            assert answer.json() == {"error": "the API key is missing or wrong"}
    for given, status in ((None, 403), ("wrong", 403), ("secret-1", 200)):
        for kind in ("json", "data"):
            answer = post(served, "/translate", **{kind: {**libre, **({"api_key": given} if given else {})}})
            assert answer.status_code == status
    for path, status in (("/api/models", 401), ("/health", 200), ("/metrics", 200), ("/openapi.json", 200)):
        assert with_client(served, lambda client, path=path: client.get(path)).status_code == status


def test_what_is_too_large_or_too_much_is_refused_with_a_status_of_its_own(en_de: str, held: Held) -> None:
    answer = post(service(en_de, request_bytes=20), "/api/translate", json={"lines": ["a dog runs"]})
    assert (answer.status_code, answer.json()) == (413, {"error": "a request has at most 20 bytes"})
    served = service(en_de, queue=10, deadline=0.2)

    async def crowd(client: Any) -> list[Any]:
        body = {"q": "a dog", "target": "de"}
        return await asyncio.gather(*(client.post("/translate", json=body) for _ in range(3)))

    answers = with_client(served, crowd)
    assert sorted(answer.status_code for answer in answers) == [429, 504, 504]
    (busy,) = (answer for answer in answers if answer.status_code == 429)
    assert int(busy.headers["Retry-After"]) >= 1
    assert "try again" in busy.json()["error"]


def test_a_body_without_room_beside_others_is_told_to_come_again(en_de: str) -> None:
    body = json.dumps({"lines": ["a dog"]}).encode()
    served = service(en_de, request_bytes=len(body), all_bytes=2 * len(body) - 2)

    async def use(client: Any) -> list[Any]:
        begun, go_on = asyncio.Event(), asyncio.Event()

        async def slowly() -> AsyncIterator[bytes]:
            yield body[:-1]
            begun.set()
            await go_on.wait()
            yield body[-1:]

        async def ask(content: Any) -> Any:
            headers = {"Content-Type": "application/json"}
            return await client.post("/api/translate", content=content, headers=headers)

        slow = asyncio.create_task(ask(slowly()))
        await begun.wait()
        beside = [await ask(body), await ask(b"{}")]
        go_on.set()
        return [*beside, await slow, await ask(body)]

    answers = with_client(served, use)
    assert [answer.status_code for answer in answers] == [429, 400, 200, 200]
    assert int(answers[0].headers["Retry-After"]) >= 1
    assert answers[0].headers["Connection"] == "close"  # the rest of it is not read
    assert answers[0].json() == {"error": "the server has too many requests to read: try again later"}


def test_a_failure_of_our_own_says_nothing_of_the_text(
    en_de: str, held: Held, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(client: Any) -> Any:
        asked = asyncio.create_task(client.post("/api/translate", json={"lines": ["geheim"]}))
        await until(lambda: bool(held.waiting))
        held.waiting[0][1].set_exception(ValueError("geheim"))
        return await asked

    answer = with_client(service(en_de), fail)
    assert answer.status_code == 500
    assert answer.json() == {"error": "internal error; the server's log says where"}
    assert "ValueError" in caplog.text
    assert "geheim" not in caplog.text


def test_metrics_count_what_each_api_has_answered(en_de: str) -> None:
    async def use(client: Any) -> str:
        await client.post("/api/translate", json={"lines": ["a dog"]})
        await client.post("/translate", data={"q": "a dog", "target": "de"})
        await client.post("/translate", data={"q": "a dog"})
        return (await client.get("/metrics")).text

    served = service(en_de)
    counted = dict(line.rsplit(" ", 1) for line in with_client(served, use).splitlines() if line[0] != "#")
    assert counted['zhuyi_requests_total{api="zhuyi",status="200"}'] == "1.0"
    assert counted['zhuyi_requests_total{api="libretranslate",status="200"}'] == "1.0"
    assert counted['zhuyi_requests_total{api="libretranslate",status="400"}'] == "1.0"
    assert counted['zhuyi_request_seconds_count{api="libretranslate"}'] == "2.0"
    assert counted["zhuyi_queue_characters"] == "0.0"
    (model,) = served.models
    assert float(counted['zhuyi_model_weight_bytes{model="en-de"}']) == model.weight_bytes > 0


def test_libretranslate_takes_texts_lists_and_alternatives(en_de: str, de_fr: str) -> None:
    served, alone = service(en_de, de_fr), load(en_de, device="cpu")
    texts = ["the dog runs", "a dog runs two"]
    found = alone.hypotheses(texts, alone.decoding(n_best=3))
    assert all(each[0].text for each in found)
    best, others = [each[0].text for each in found], [[other.text for other in each[1:]] for each in found]
    asked = {"source": "en", "target": "de", "alternatives": 2}
    answer = post(served, "/translate", json={"q": texts, **asked})
    assert answer.json() == {"translatedText": best, "alternatives": others}
    for kind in ("json", "data"):
        answer = post(served, "/translate", **{kind: {"q": texts[0], **asked}})
        assert answer.json() == {"translatedText": best[0], "alternatives": others[0]}
    answer = post(served, "/translate", json={"q": "this is a dog that runs", "source": "auto", "target": "de"})
    assert answer.json()["detectedLanguage"]["language"] == "en"
    answer = post(served, "/translate", json={"q": "a", "source": "en", "target": "ja"})
    assert (answer.status_code, "no model translates" in answer.json()["error"]) == (400, True)


def test_libretranslate_lists_languages_and_finds_them(en_de: str, de_fr: str) -> None:
    served = service(en_de, de_fr)
    listed = with_client(served, lambda client: client.get("/languages")).json()
    assert listed == [
        {"code": "de", "name": "German", "targets": ["fr"]},
        {"code": "en", "name": "English", "targets": ["de", "fr"]},
        {"code": "fr", "name": "French", "targets": []},
    ]
    found = post(served, "/detect", json={"q": "Das ist ein kurzer deutscher Satz."}).json()
    assert found[0]["language"] == "de"
    assert found[0]["confidence"] > 50


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        ("nob_Latn", "Dette er en norsk setning om en hund som løper over gaten."),
        ("tgl_Latn", "Ito ay isang pangungusap sa Tagalog tungkol sa isang aso."),
    ],
)
def test_a_language_is_found_whatever_the_model_calls_it(tag: str, text: str) -> None:
    assert detect(text, ["eng_Latn", tag])[0].language == tag
