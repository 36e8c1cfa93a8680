"""APIs, as people's own programs use them: real clients where there are any, over a real connection."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from serving import post, running, service, with_client

from zhuyi.loading import load
from zhuyi.serve.openai import Instruction

deepl, openai = pytest.importorskip("deepl"), pytest.importorskip("openai")

ROOT = Path(__file__).parents[2]
KEY = "a key"
LINE = "the dog runs"


@pytest.fixture(scope="module")
def url(en_de: str, de_fr: str) -> Iterator[str]:
    """A server of both models, which wants the key."""
    with running(service(en_de, f"b={de_fr}", api_key=KEY)) as url:
        yield url


@pytest.fixture(scope="module")
def german(en_de: str) -> str:
    return load(en_de, device="cpu").translate([LINE])[0]


@pytest.fixture(scope="module")
def french(de_fr: str, german: str) -> str:
    found = load(de_fr, device="cpu").translate([LINE])[0]
    assert "" != found != german != ""
    return found


def ask(client: Any, model: str, *messages: tuple[str, Any], **how: Any) -> Any:
    said = [{"role": role, "content": content} for role, content in messages]
    return client.chat.completions.create(model=model, messages=said, **how)


def test_openais_client(url: str, german: str, french: str) -> None:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0)
    assert [model.id for model in client.models.list()] == ["en-de", "b"]
    assert client.models.retrieve("b").id == "b"
    conversation = [("system", "You are a translator."), ("user", "no"), ("assistant", "nein"), ("user", LINE)]
    for model, expected in (("en-de", german), ("b", french), ("eng_Latn-de", german), ("de-fr", french)):
        (choice,) = ask(client, model, *conversation, temperature=0).choices
        assert choice.message.content == expected
        assert choice.finish_reason in ("stop", "length")
    parts = [{"type": "text", "text": LINE}, {"type": "image_url", "image_url": {"url": "data:,"}}]
    assert ask(client, "en-de", ("user", parts)).choices[0].message.content == german
    (choice,) = ask(client, "gpt-4o", ("user", f"Translate from German to French:\n\n{LINE}")).choices
    assert choice.message.content == french
    several = ask(client, "en-de", ("user", LINE), n=3).choices
    assert len({each.message.content for each in several}) > 1
    with ask(client, "en-de", ("user", LINE), n=3, stream=True) as stream:
        deltas = [event.choices[0] for event in stream]
    for choice in several:
        own = [each for each in deltas if each.index == choice.index]
        assert "".join(each.delta.content or "" for each in own) == choice.message.content
        assert own[-1].finish_reason == choice.finish_reason


def test_a_stream_ends_as_its_readers_expect(en_de: str) -> None:
    asked = {"model": "x", "messages": [{"role": "user", "content": LINE}], "stream": True}
    answer = post(service(en_de), "/v1/chat/completions", json=asked)
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert answer.text.endswith("data: [DONE]\n\n")


def test_what_openais_client_is_refused(url: str) -> None:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0)
    with pytest.raises(openai.NotFoundError, match="no such model: choose one of en-de, b") as missing:
        ask(client, "gpt-4o", ("user", LINE))
    with pytest.raises(openai.NotFoundError, match="no such model: choose one of en-de, b"):
        client.models.retrieve("gpt-4o")
    assert missing.value.code == "model_not_found"
    with pytest.raises(openai.BadRequestError, match="none has the role"):
        ask(client, "en-de", ("system", LINE))
    with pytest.raises(openai.AuthenticationError, match="the API key is missing or wrong"):
        ask(client.with_options(api_key="another"), "en-de", ("user", LINE))


@pytest.mark.parametrize(
    ("message", "languages", "text"),
    [
        ("Translate to French: A dog.", (None, "fr"), "A dog."),
        ("Translate the following text from English to Simplified Chinese:\n\nA dog.", ("en", "zh_Hans"), "A dog."),
        ("Please translate it into Chinese (Traditional) (output only):\nA: b", (None, "zh_Hant"), "A: b"),
        ("I want you to translate this into german. NO notes:\n\n A dog.", (None, "de"), "A dog."),
    ],
)
def test_an_instruction_tells_the_languages(message: str, languages: tuple[str | None, str], text: str) -> None:
    instruction = Instruction.of(message)
    assert instruction is not None
    assert (instruction.source, instruction.target) == languages
    assert message[instruction.end :] == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "A dog.",
        "Note: translate to French",
        "He translated it to the board: it was long.",
        "Translate to French:",
        "Translate\nto French: a dog",
        "Welcome to French Guiana: a country.",
        f"Translate {'very ' * 200}well to French: a dog",
    ],
)
def test_other_text_is_no_instruction(text: str) -> None:
    assert Instruction.of(text) is None


def test_deepls_client(url: str, german: str, french: str) -> None:
    client = deepl.DeepLClient(KEY, server_url=url)
    one = client.translate_text(LINE, source_lang="EN", target_lang="DE", formality="prefer_more")
    assert (one.text, one.detected_source_lang, one.billed_characters) == (german, "EN", len(LINE))
    two = client.translate_text([LINE, "Der Hund läuft über die Straße."], target_lang="FR", source_lang="DE")
    assert two[0].text == french
    (found,) = client.translate_text(["Der Hund läuft über die Straße."], target_lang="FR")
    assert found.detected_source_lang == "DE"
    mixed = client.translate_text(["Der Hund läuft über die Straße.", LINE], target_lang="FR")
    assert {each.detected_source_lang for each in mixed} == {"DE"}  # as which both were translated
    assert mixed[1].text == french
    assert [each.code for each in client.get_source_languages()] == ["DE", "EN"]
    assert [(each.code, each.name) for each in client.get_target_languages()] == [("DE", "German"), ("FR", "French")]
    assert not client.get_usage().any_limit_reached
    with pytest.raises(deepl.DeepLException, match="no model translates between these languages"):
        client.translate_text(LINE, source_lang="EN", target_lang="JA")
    marked = client.translate_text(f"<p id=1>{LINE}</p>", source_lang="EN", target_lang="DE", tag_handling="html")
    assert marked.text == f"<p id=1>{german}</p>"
    with pytest.raises(deepl.DeepLException, match='tag_handling: only "html" is supported'):
        client.translate_text("<b>a</b>", target_lang="DE", tag_handling="xml")
    with pytest.raises(deepl.AuthorizationException, match="the API key is missing or wrong"):
        deepl.DeepLClient("another", server_url=url).translate_text(LINE, target_lang="DE")


def test_deepl_takes_forms(en_de: str) -> None:
    expected = load(en_de, device="cpu").translate([LINE, "two cats"])
    for texts, translations in (([LINE, "two cats"], expected), (LINE, expected[:1])):
        answer = post(service(en_de), "/v2/translate", data={"text": texts, "target_lang": "DE"})
        assert [each["text"] for each in answer.json()["translations"]] == translations


def test_deeplxs_api(en_de: str, german: str) -> None:
    for path in ("/deeplx", "/deeplx/translate"):
        answer = post(service(en_de), path, json={"text": LINE, "source_lang": "auto", "target_lang": "DE"}).json()
        assert isinstance(answer.pop("id"), int)
        assert answer == {
            "code": 200,
            "data": german,
            "alternatives": [],
            "method": "Free",
            "source_lang": "EN",
            "target_lang": "DE",
        }


def test_immersive_translates_api(en_de: str, german: str) -> None:
    asked = {"source_lang": "auto", "target_lang": "de", "text_list": [LINE, ""]}
    answer = post(service(en_de), "/imme", json=asked).json()
    assert answer["translations"][0] == {"detected_source_lang": "en", "text": german}
    assert len(answer["translations"]) == 2


def test_kiss_translators_api(en_de: str, german: str) -> None:
    one = {"text": german, "src": "en"}
    asked = {"from": "en", "to": "de"}
    assert post(service(en_de), "/kiss", json={**asked, "text": LINE}).json() == one
    assert post(service(en_de), "/kiss", json={**asked, "texts": [LINE]}).json() == {"translations": [one]}
    refused = post(service(en_de), "/kiss", json=asked)
    assert (refused.status_code, refused.json()) == (400, {"code": 400, "message": "text or texts: Field required"})


@pytest.mark.parametrize(
    "how",
    [
        {"params": {"token": KEY}},
        {"headers": {"Authorization": KEY}},
        {"headers": {"Authorization": f"Bearer {KEY}"}},
    ],
)
def test_plugins_bring_their_key_in_several_ways(en_de: str, how: dict[str, Any]) -> None:
    guarded, asked = service(en_de, api_key=KEY), {"text_list": ["a"], "target_lang": "de"}
    assert post(guarded, "/imme", json=asked, **how).status_code == 200
    assert post(guarded, "/imme", json=asked).status_code == 401


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("/v1/chat/completions", ("error", "message")),
        ("/v2/translate", ("message",)),
        ("/deeplx", ("message",)),
        ("/imme", ("message",)),
        ("/kiss", ("message",)),
        ("/v1/nothing", ("error", "message")),
        ("/v2/nothing", ("message",)),
    ],
)
def test_each_api_refuses_in_its_own_format(en_de: str, path: str, place: tuple[str, ...]) -> None:
    answer = post(service(en_de), path, json={"nothing": 1})
    assert answer.status_code == (404 if path.endswith("/nothing") else 400)
    assert "model_not_found" not in answer.text
    said = answer.json()
    for key in place:
        said = said[key]
    assert said
    assert "\n" not in said


@pytest.mark.parametrize("odd", ["\ud800", "\0", "", "en-" * 1000, "e_n-d_e", "日本語-日本語", "{0}"])
def test_odd_values_fail_nowhere(en_de: str, de_fr: str, odd: str) -> None:
    bodies = {
        "/v1/chat/completions": {"model": odd, "messages": [{"role": "user", "content": f"{LINE}{odd}"}]},
        "/v2/translate": {"text": [odd, LINE], "source_lang": odd, "target_lang": odd},
        "/deeplx": {"text": odd, "source_lang": odd, "target_lang": odd},
        "/imme": {"text_list": [odd], "source_lang": odd, "target_lang": odd},
        "/kiss": {"texts": [odd], "from": odd, "to": odd},
        "/look": {"text": odd, "model": odd, "source": odd, "target": odd},
    }

    async def use(client: Any) -> list[int]:
        headers = {"Content-Type": "application/json"}
        return [
            (await client.post(path, content=json.dumps(body), headers=headers)).status_code
            for path, body in bodies.items()
        ]

    for models in ([en_de], [en_de, f"b={de_fr}"]):
        statuses = with_client(service(*models), use)
        assert [status for status in statuses if status not in (200, 400, 404, 413)] == []


def test_the_languages_of_deepl_in_the_address(en_de: str) -> None:
    async def languages(client: Any) -> list[Any]:
        return [await client.get("/v2/languages", params={"type": side}) for side in ("target", "both")]

    targets, refused = with_client(service(en_de), languages)
    assert targets.json() == [{"language": "DE", "name": "German", "supports_formality": False}]
    assert (refused.status_code, refused.json()) == (400, {"message": "type: Input should be 'source' or 'target'"})


def test_the_clients_of_the_documents_run(url: str, german: str, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("libretranslatepy")
    for document in ("README.md", "docs/serving.md"):
        text = (ROOT / document).read_text(encoding="utf-8")
        for here, there in (("http://127.0.0.1:8000", url), ("A dog runs.", LINE), ('"none"', repr(KEY))):
            text = text.replace(here, there)
        text = text.replace("LibreTranslateAPI(", f"LibreTranslateAPI(api_key={KEY!r}, url=")
        for code in re.findall(r"^```py\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            exec(code, {})
        assert capsys.readouterr().out.splitlines() == [german] * 2
