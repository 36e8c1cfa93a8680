"""The page around a trace, served or as one file: nothing foreign runs, nothing is lost, both languages say all."""

import base64
import hashlib
import json
import re
import socket
import struct
from collections.abc import Iterator
from dataclasses import replace
from html import unescape
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
import torch
from command_line import in_shape, tiny_model, zhuyi
from pages import served

from zhuyi.config import Shape
from zhuyi.errors import ConfigError
from zhuyi.loading import load
from zhuyi.microscope import page, wire
from zhuyi.microscope.effects import head_effects, occlusion
from zhuyi.microscope.server import MAX_REQUEST_BYTES, Microscope
from zhuyi.microscope.trace import Trace, WhatIf, transformer_of
from zhuyi.microscope.wire import floats, roots
from zhuyi.ports import address
from zhuyi.translator import Translator

EVIL = "dogs </script><script>x"
FRONTEND = Path(__file__).parents[2] / "frontend" / "src"


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def translator(directory: Path) -> Translator:
    return load(directory, engine="torch", device="cpu")


@pytest.fixture(scope="module")
def young(tmp_path_factory: pytest.TempPathFactory) -> Translator:
    """A checkpoint of its training: other weights."""
    found = load(tiny_model(tmp_path_factory.mktemp("young")), engine="torch", device="cpu")
    with torch.no_grad():
        found.engine.transformer.encoder.blocks[0].mixer.query.weight.mul_(3)
    return found


@pytest.fixture(scope="module")
def trace(translator: Translator) -> Trace:
    return page.look(translator, EVIL, target="zwei")


@pytest.fixture(scope="module")
def server(translator: Translator, young: Translator) -> Iterator[Microscope]:
    with served(translator, checkpoints={"step-000001": lambda: young}) as server:
        yield server


def ask(server: Microscope, method: str, path: str, body: str | None = None, **headers: str):
    connection = HTTPConnection("127.0.0.1", server.server_address[1], timeout=60)
    kind = {"Content-Type": "application/json"} if body is not None else {}
    connection.request(method, path, body, {**kind, **{key.replace("_", "-"): value for key, value in headers.items()}})
    answer = connection.getresponse()
    return answer.status, answer.read(), answer.headers


def look(server: Microscope, **request: object):
    status, body, _ = ask(server, "POST", "/api/look", json.dumps(request))
    return status, json.loads(body)


def content(html: str, name: str) -> str:
    (text,) = re.findall(rf'<script type="[a-z/]*" id="{name}">(.*?)</script>', html, re.DOTALL)
    return text


def held(html: str) -> dict:
    return json.loads(content(html, "held"))


def test_a_users_text_is_text_in_the_file(trace: Trace) -> None:
    old = trace.translator
    html = page.frozen_html(
        replace(trace, translator=Translator(old.config, old.tokenizers, old.engine, "</title><script>"))
    )
    assert html.count("<script") == 2  # ours, and the data
    assert held(html)["trace"]["text"] == EVIL
    assert held(html)["model"]["name"] == "</title><script>"


def test_the_file_lets_nothing_run_but_the_page(trace: Trace) -> None:
    html = page.frozen_html(trace)
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', html)
    for element, directive in (("script", "script-src"), ("style", "style-src")):
        (content,) = re.findall(rf"<{element}>(.*?)</{element}>", html, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{directive} 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert "base-uri 'none'; form-action 'none'" in policy
    assert "connect-src" not in policy


def test_the_model_in_a_file_is_this_one(trace: Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    old = trace.translator
    evil = Translator(old.config, old.tokenizers, old.engine, "</title><script>")
    html = page.living_html(evil, page.opening_of(trace), first=page.first_answer(trace))
    assert json.loads(content(html, "first"))["trace"]["output"] == trace.output
    assert html.index('id="first"') < html.index("<script>") < html.index('id="weights"')
    embedded = json.loads(content(html, "embedded"))
    assert embedded["model"]["name"] == "</title><script>"
    assert embedded["tokenizers"] == [*old.tokenizers.files().values()]
    parameters = dict(transformer_of(old).named_parameters())
    assert embedded["shapes"] == {name: list(each.shape) for name, each in parameters.items()}
    weights = b"".join(floats(each) for each in parameters.values())
    assert base64.b64decode(content(html, "weights")) == weights
    (opening,) = re.findall(r'<main id="page" data-opening="([^"]*)">', html)
    assert dict(parse_qsl(unescape(opening)))["text"] == EVIL

    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', html)
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    digests = [
        base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in (script, content(html, "model"))
    ]
    assert f"script-src 'sha256-{digests[0]}' 'sha256-{digests[1]}'; worker-src blob:; " in policy
    assert policy.startswith("default-src 'none'; ")
    assert "connect-src" not in policy

    monkeypatch.setattr(wire, "MAX_FLOAT32_PARAMETERS", old.config.model.width)
    html = page.living_html(old, {}, first=page.first_answer(trace))
    assert json.loads(content(html, "embedded"))["model"]["precision"] == "float16"
    assert 'id="first"' not in html
    assert len(base64.b64decode(content(html, "weights"))) == len(weights) // 2
    monkeypatch.setattr(wire, "MAX_FLOAT16_PARAMETERS", old.config.model.width)
    with pytest.raises(ConfigError, match=r"parameters; a page computes with at most .* write a frozen file"):
        page.living_html(old, {})


def test_the_file_holds_the_tensors_exactly(trace: Trace) -> None:
    found = held(page.frozen_html(trace))["tensors"]
    for name in ("encoder.0.self.weights", "decoder.0.cross.scores", "encoder.0.feed_forward.residual"):
        assert base64.b64decode(found[name]["floats"]) == floats(trace[name])
    assert "logits" not in found  # what a temperature needs is among the steps
    assert set(trace) == held(page.frozen_html(trace, full=True))["tensors"].keys()
    assert base64.b64decode(found["encoder.0.self.weights"]["roots"]) == roots(trace["encoder.0.self.weights"])
    assert not any(name.startswith("parameters.") for name in found)


def test_a_file_keeps_to_its_size_unless_it_is_to_be_full(trace: Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = len(page.frozen_html(trace, full=True).encode())
    limit = len(page.frozen_html(trace).encode()) - 2_000
    monkeypatch.setattr(page, "MAX_FILE_BYTES", limit)
    small = page.frozen_html(trace)
    assert len(small.encode()) <= limit
    assert len(page.frozen_html(trace, full=True).encode()) == whole
    assert "roots" in held(small)["tensors"]["encoder.0.self.weights"]
    assert len(held(small)["tensors"]) < len(held(page.frozen_html(trace, full=True))["tensors"])


def test_the_command_writes_one_file(directory: Path, tmp_path: Path) -> None:
    file = tmp_path / "dogs.html"
    done = zhuyi("look", str(directory), "two dogs", "--html", str(file), "--frozen")
    assert done.code == 0, done.err
    assert held(file.read_text(encoding="utf-8"))["trace"]["text"] == "two dogs"
    done = zhuyi("look", str(directory), "--html", str(file), "--beam", "3")
    assert done.code == 0, done.err
    embedded = json.loads(content(file.read_text(encoding="utf-8"), "embedded"))
    assert embedded["model"]["name"] == directory.name
    assert embedded["model"]["decoding"]["beam"] == 3
    html = ["--html", "x.html"]
    for words in (
        *(["two dogs", *html, "--full"], [" ", *html], [*html, "--frozen"], ["two dogs", "--frozen"]),
        *(["two dogs", "--checkpoints"], ["two dogs", *html, "--frozen", "--checkpoints"], ["--target", "zwei", *html]),
    ):
        done = zhuyi("look", str(directory), *words)
        assert done.code == 2
        assert len(done.err.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "labels"), [("decoder", "line"), ("encoder", "line"), ("encoder", "token")])
def test_the_command_looks_at_every_shape(tmp_path: Path, shape: Shape, labels: str) -> None:
    directory = tiny_model(tmp_path / "model", in_shape(shape, labels))
    right = "ein Hund" if labels == "token" else "Hund"
    done = zhuyi("look", directory, "two dogs", "--target", right, "--html", tmp_path / "dogs.html", "--frozen")
    assert done.code == 0, done.err
    found = held((tmp_path / "dogs.html").read_text(encoding="utf-8"))
    assert found["model"]["config"]["shape"] == shape
    assert found["trace"]["output"] == load(directory, engine="torch", device="cpu").translate(["two dogs"])[0]
    assert f"{shape}.0.self.weights" in found["tensors"]
    assert found["trace"]["reference"]["losses"]
    if shape == "encoder":
        done = zhuyi("look", directory, "two dogs", "--target", "zwei zwei Hund", "--html", tmp_path / "x.html")
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert "the reference has 3 labels" in done.err


@pytest.mark.slow
def test_what_is_served_is_what_was_seen(server: Microscope, translator: Translator) -> None:
    status, found = look(server, text="two dogs", target="zwei", beam=2)
    assert status == 200
    trace = page.look(translator, "two dogs", target="zwei", beam=2)
    assert found["output"] == trace.output
    place = f"/api/tensor/{found['id']}"
    assert ask(server, "GET", f"{place}/encoder.0.self.weights")[1] == floats(trace["encoder.0.self.weights"])
    assert ask(server, "GET", f"{place}/encoder.0.self.weights?as=roots")[1] == roots(trace["encoder.0.self.weights"])
    weight = translator.engine.transformer.encoder.blocks[0].mixer.query.weight
    assert ask(server, "GET", f"{place}/parameters.encoder.blocks.0.mixer.query.weight")[1] == floats(weight)
    count = len(ask(server, "GET", f"{place}/logits")[1]) // struct.calcsize("<f")
    assert count == trace["logits"].numel()


@pytest.mark.slow
def test_a_head_can_be_switched_off_over_the_wire(server: Microscope, translator: Translator) -> None:
    status, found = look(server, text="two dogs", heads_off=[["encoder.0.self", 0]], positions_off=True)
    assert status == 200
    what_if = WhatIf(heads_off=frozenset({("encoder.0.self", 0)}), positions_off=True)
    right = page.look(translator, "two dogs", what_if=what_if)
    assert ask(server, "GET", f"/api/tensor/{found['id']}/encoder.output")[1] == floats(right["encoder.output"])
    assert found["what_if"] == {
        "heads_off": [["encoder.0.self", 0]],
        "positions_off": True,
        "mask_lifted": False,
        "prefix": [],
    }


@pytest.mark.slow
def test_a_checkpoint_of_the_training_can_be_looked_at(server: Microscope, young: Translator) -> None:
    assert json.loads(ask(server, "GET", "/api/model")[1])["checkpoints"] == ["step-000001"]
    found = look(server, text="two dogs", checkpoint="step-000001")[1]
    assert found["checkpoint"] == "step-000001"
    scores = ask(server, "GET", f"/api/tensor/{found['id']}/encoder.0.self.scores")[1]
    assert scores == floats(page.look(young, "two dogs")["encoder.0.self.scores"])
    last = look(server, text="two dogs")[1]
    assert ask(server, "GET", f"/api/tensor/{last['id']}/encoder.0.self.scores")[1] != scores


@pytest.mark.slow
@pytest.mark.parametrize("remembered", [True, False])
def test_what_a_token_depends_on_is_computed_for_the_very_request(
    translator: Translator, young: Translator, remembered: bool
) -> None:
    asked = {"text": "two dogs", "target": "zwei", "heads_off": [["encoder.0.self", 0]], "checkpoint": "step-000001"}
    what_if = WhatIf(heads_off=frozenset({("encoder.0.self", 0)}))
    trace = page.look(young, "two dogs", target="zwei", what_if=what_if)
    with served(translator, checkpoints={"step-000001": lambda: young}) as server:
        look(server, **({} if remembered else {"beam": 2}), **asked)
        place = json.dumps({**asked, "position": 1, "reference": True})
        status, heads, _ = ask(server, "POST", "/api/heads", place)
        assert status == 200
        assert json.loads(heads)["heads"] == [vars(each) for each in head_effects(trace, 1, reference=True)]
        status, hidden, _ = ask(server, "POST", "/api/occlusion", place)
        assert status == 200
        assert json.loads(hidden)["losses"] == occlusion(trace, 1, reference=True)
        for wrong in ({"position": 99}, {"position": -1}, {"position": "1"}, {}, {"position": 1, "token": 1}):
            status, body, _ = ask(server, "POST", "/api/heads", json.dumps({**asked, **wrong}))
            assert status == 400
            assert "position" in json.loads(body)["error"] or "token" in json.loads(body)["error"]


@pytest.mark.slow
def test_an_output_can_be_made_to_begin_otherwise(server: Microscope) -> None:
    plain = look(server, text="two dogs")[1]["replay"]["target_out"]["ids"]
    other = 5 if plain[0] != 5 else 6
    assert look(server, text="two dogs", prefix=[other])[1]["replay"]["target_out"]["ids"][0] == other


@pytest.mark.parametrize(
    ("request_", "says"),
    [
        ({"text": ""}, "the sentence is empty"),
        ({"text": "dogs " * 999}, "shorten it"),
        ({}, "not a request"),
        ({"text": "a", "shell": "rm"}, "shell"),
        ({"text": "a", "target": 5}, "target"),
        ({"text": "a", "checkpoint": [1]}, "checkpoint"),
        ({"text": "a", "beam": 100_000_000}, "beam"),
        ({"text": "a", "beam": 0}, "beam"),
        ({"text": "a", "heads_off": [["encoder.7.self", 0]]}, "no attention"),
        ({"text": "a", "heads_off": 3}, "not a request"),
        ({"text": "a", "prefix": [10**9]}, "no token"),
        ({"text": "a", "checkpoint": "../secret"}, "no checkpoint"),
    ],
)
def test_a_mistake_is_one_line(server: Microscope, request_: dict, says: str) -> None:
    status, found = look(server, **request_)
    assert status == 400
    assert says in found["error"]
    assert "Traceback" not in found["error"]


def test_what_may_not_be_asked(server: Microscope) -> None:
    number = look(server, text="a")[1]["id"]
    for path in (
        "/etc/passwd",
        "/../page.js",
        f"/api/tensor/{number}/__class__",
        "/api/tensor/99/logits",
        "/api/tensor/",
    ):
        assert ask(server, "GET", path)[0] == 404, path
    assert ask(server, "GET", f"/api/tensor/{number}/logits?as=roots")[0] == 404
    assert ask(server, "POST", "/api/look", "[]")[0] == 400
    assert ask(server, "POST", "/api/look", "[" * 90_000)[0] == 400
    assert ask(server, "POST", "/api/look", "{")[0] == 400
    assert ask(server, "POST", "/api/look", "{}", Content_Type="text/plain")[0] == 404
    assert ask(server, "POST", "/api/look", " " * (MAX_REQUEST_BYTES + 1))[0] == 413
    for length in ("\xb2", "-1", "+1", "9" * 5000):  # a superscript two is a digit to Python
        assert ask(server, "POST", "/api/look", "{}", Content_Length=length)[0] == 413


def test_other_sites_cannot_ask_through_the_browser(server: Microscope) -> None:
    assert server.server_address[0] == "127.0.0.1"
    for host in ("127.0.0.1:8000", "localhost"):  # through a tunnel
        assert ask(server, "GET", "/api/model", Host=host)[0] == 200
    for host in ("evil.example", f"evil.example:{server.server_address[1]}", "", "192.168.1.7:80", "[::1"):
        assert ask(server, "GET", "/api/model", Host=host)[0] == 403
        assert ask(server, "POST", "/api/look", '{"text": "a"}', Host=host)[0] == 403
    status, body, headers = ask(server, "GET", "/")
    assert status == 200
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert b"<script>" not in body
    assert headers["X-Content-Type-Options"] == "nosniff"


def test_a_port_that_is_taken_is_named(server: Microscope, translator: Translator) -> None:
    port = server.server_address[1]
    with pytest.raises(ConfigError, match=rf"cannot listen on 127\.0\.0\.1, port {port}: .*: choose another --port"):
        Microscope(translator, port=port)
    assert server.url == f"http://127.0.0.1:{port}/"
    assert address("::1", server.socket) == f"http://[::1]:{port}"


def test_a_server_for_others_answers_to_addresses_and_its_own_name(translator: Translator) -> None:
    with Microscope(translator, host="0.0.0.0") as served:
        port = served.server_address[1]
        assert served.url == f"http://127.0.0.1:{port}/"
        for host in ("192.168.1.7", "127.0.0.1", "localhost", "[fe80::1]", socket.gethostname()):
            assert served.answers_to(f"{host}:{port}"), host
        assert served.answers_to(f"{socket.gethostname().upper()}:{port}")
        for host in ("evil.example", "", "192.168.1.7.evil.example"):
            assert not served.answers_to(f"{host}:{port}"), host


@pytest.mark.slow
def test_the_servers_memory_is_short(server: Microscope) -> None:
    first = look(server, text="a")[1]["id"]
    for _ in range(9):
        ask(server, "POST", "/api/peek", '{"text": "a"}')
    assert ask(server, "GET", f"/api/tensor/{first}/logits")[0] == 200
    for _ in range(8):
        last = look(server, text="a")[1]["id"]
    assert ask(server, "GET", f"/api/tensor/{first}/logits")[0] == 404
    assert ask(server, "GET", f"/api/tensor/{last}/logits")[0] == 200


def test_both_languages_say_everything() -> None:
    en, zh = (json.loads((FRONTEND / f"{language}.json").read_text(encoding="utf-8")) for language in ("en", "zh"))
    assert en.keys() == zh.keys()
    for key in en:
        assert sorted(re.findall(r"\{\w+\}", en[key])) == sorted(re.findall(r"\{\w+\}", zh[key])), key
    code = "".join(path.read_text(encoding="utf-8") for path in FRONTEND.rglob("*.ts*"))
    asked = set(re.findall(r'say\("(\w+)"', code))
    assert asked <= en.keys()


def test_the_page_is_small() -> None:
    import gzip

    assert len(gzip.compress((page.asset("page.js") + page.asset("page.css")).encode())) <= 120_000
