"""Models of the hub, of which there is one here: a server that answers `huggingface_hub` as the real one does."""

import base64
import hashlib
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import yaml
from command_line import tiny_model
from command_line import zhuyi as run
from foreign_models import make_opus_mt

import zhuyi
from zhuyi.config import build_config
from zhuyi.errors import CheckpointError, DamagedError, MissingExtra
from zhuyi.files import MANIFEST
from zhuyi.hub import card_head, licence_of

constants = pytest.importorskip("huggingface_hub.constants")

LINE = "the dog runs"
"""Of which the small model makes something: its answers to many others are empty."""


class Hub(ThreadingHTTPServer):
    """Repositories by name, each with its files by name."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.files: dict[str, dict[str, bytes]] = {}
        self.private: set[str] = set()

    def commit(self, name: str) -> str:
        """The revision of a repository: another one whenever a file is."""
        return _oid(b"".join(file.encode() + data for file, data in sorted(self.files[name].items())))


def _oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class _Answers(BaseHTTPRequestHandler):
    server: Hub

    def log_message(self, *_: object) -> None:
        pass

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        _, *parts = self.path.split("?")[0].split("/")
        if parts == ["api", "repos", "create"]:
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
            if name.startswith("else/"):
                return self._json({"error": "You have no rights to it"}, 403)
            known = name in self.server.files
            self.server.files.setdefault(name, {})
            if asked.get("private") or asked.get("visibility") == "private":
                self.server.private.add(name)
            return self._json({"url": f"{self.server.url}/{name}"}, 409 if known else 200)
        if parts[-1] == "validate-yaml":
            return self._json({})
        name, action = "/".join(parts[2:4]), parts[4]
        if action == "preupload":
            files = json.loads(body)["files"]
            return self._json(
                {"files": [{"path": each["path"], "uploadMode": "regular", "shouldIgnore": False} for each in files]}
            )
        assert action == "commit"
        for line in body.splitlines():
            entry = json.loads(line)
            if entry["key"] == "file":
                self.server.files[name][entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
        commit = self.server.commit(name)
        url = f"{self.server.url}/{name}/commit/{commit}"
        return self._json({"success": True, "commitOid": commit, "commitUrl": url})

    def do_GET(self) -> None:
        self._get(with_content=True)

    def do_HEAD(self) -> None:
        self._get(with_content=False)

    def _get(self, with_content: bool) -> None:
        _, *parts = self.path.split("?")[0].split("/")
        is_api = parts[0] == "api"
        name, rest = ("/".join(parts[2:4]), parts[4:]) if is_api else ("/".join(parts[:2]), parts[2:])
        if (files := self.server.files.get(name)) is None:
            return self._json({"error": "Repository not found"}, 404, {"X-Error-Code": "RepoNotFound"})
        if is_api and rest[:1] == ["tree"]:
            return self._json(
                [{"type": "file", "path": file, "size": len(data), "oid": _oid(data)} for file, data in files.items()]
            )
        if is_api:
            siblings = [{"rfilename": file} for file in files]
            return self._json(
                {"id": name, "modelId": name, "sha": self.server.commit(name), "private": True, "siblings": siblings}
            )
        content = files.get("/".join(rest[2:]))
        if content is None:
            return self._json({"error": "Entry not found"}, 404, {"X-Error-Code": "EntryNotFound"})
        self.send_response(200)
        for key, value in {
            "Content-Length": str(len(content)),
            "ETag": f'"{_oid(content)}"',
            "X-Repo-Commit": self.server.commit(name),
        }.items():
            self.send_header(key, value)
        self.end_headers()
        if with_content:
            self.wfile.write(content)
        return None

    def _json(self, content: object, code: int = 200, headers: dict[str, str] | None = None) -> None:
        data = json.dumps(content).encode()
        self.send_response(code)
        for key, value in {
            "Content-Type": "application/json",
            "Content-Length": str(len(data)),
            **(headers or {}),
        }.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    with Hub() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, server.url)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        monkeypatch.setenv("HF_TOKEN", "hf_none")
        yield server
        server.shutdown()


def test_a_model_is_uploaded_and_used_from_there(hub: Hub, tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "model")
    (model / "checkpoints").mkdir()
    (model / "checkpoints" / "large").write_bytes(b"is not uploaded")
    done = run("export", model, "--to", "hub:me/en-de")
    assert done.code == 0, done.err
    assert done.out == f"hub:me/en-de: {hub.url}/me/en-de/commit/{hub.commit('me/en-de')}\n"
    assert hub.private == {"me/en-de"}
    listed = json.loads((model / MANIFEST).read_text())["files"]
    assert hub.files["me/en-de"].keys() == {*listed, MANIFEST}
    here = run("translate", model, stdin=f"{LINE}\n".encode())
    there = run("translate", "hub:me/en-de", stdin=f"{LINE}\n".encode())
    assert (there.code, there.out) == (0, here.out)
    assert here.out.strip()
    assert run("export", model, "--to", "hub:me/en-de").code == 0, "it is replaced"
    assert run("export", "hub:me/en-de", "--to", "hub:me/copy").code == 0
    assert hub.files["me/copy"] == hub.files["me/en-de"]

    hub.files["me/en-de"]["README.md"] = b"edited there"
    assert zhuyi.load("hub:me/en-de", device="cpu").translate([LINE]) == [here.out.removesuffix("\n")]
    hub.files["me/en-de"]["model.safetensors"] = b"something else"
    with pytest.raises(DamagedError, match="damaged"):
        zhuyi.load("hub:me/en-de", device="cpu")


def test_a_model_of_the_hub_is_not_tuned(hub: Hub, tmp_path: Path) -> None:
    assert run("export", tiny_model(tmp_path / "model"), "--to", "hub:me/en-de").code == 0
    lines = tmp_path / "dev"
    lines.write_text("a dog\n", encoding="utf-8")
    files = ("--source", lines, "--target", lines)
    done = run("evaluate", "hub:me/en-de", *files, "--metric", "chrf", "--tune-length-penalty")
    assert (done.code, done.out) == (2, "")
    assert "hub:me/en-de: is on the hub: change a copy of it" in done.err
    assert "length penalty" not in done.err, "it was tried before"


def test_a_model_of_the_hub_is_served_by_its_name(hub: Hub, tmp_path: Path) -> None:
    pytest.importorskip("uvicorn", reason="the extra serve is not installed")
    from zhuyi.serve import Models, Settings

    model = tiny_model(tmp_path / "model")
    assert run("export", model, "--to", "hub:me/en-de").code == 0
    models = Models(["hub:me/en-de@main", "b=hub:me/en-de"], Settings("cpu"))
    assert [each.name for each in models] == ["en-de", "b"]
    (own, _) = models
    assert own.weight_bytes > 0


def test_what_cannot_be_done_is_said_in_one_line(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_model(tmp_path / "model")
    for command in (
        ("translate", "hub:me/missing"),
        ("translate", "hub:me"),
        ("translate", "hub:a/b/c"),
        ("export", model, "--to", "hub:me"),
        ("export", model, "--to", "hub:else/model"),
        ("export", tmp_path, "--to", "hub:me/model"),
        ("export", model, "--to", "hub:me/model", "--out", tmp_path / "out"),
        ("export", model, "--to", "onnx"),
        ("config", "hub:me/missing", "--save", "--set", "decoding.beam=2"),
    ):
        done = run(*command, stdin=b"a\n")
        assert done.code == 2, command
        assert len(done.err.strip().split("\n")) == 1, done.err
    assert "me/model" not in hub.files
    with pytest.raises(CheckpointError, match="hub:me/missing: cannot be fetched"):
        zhuyi.load("hub:me/missing")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtra, match=r"zhuyi\[hub\]"):
        zhuyi.load("hub:me/model")


def test_a_model_of_another_program_is_imported_from_there(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = make_opus_mt(tmp_path / "opus")
    hub.files["Helsinki-NLP/opus-mt"] = {path.name: path.read_bytes() for path in directory.iterdir()}
    hub.files["Helsinki-NLP/opus-mt"]["tf_model.h5"] = b"is not fetched"
    monkeypatch.chdir(tmp_path)
    done = run("import", "hub:Helsinki-NLP/opus-mt")
    assert done.code == 0, done.err
    card = (tmp_path / "opus-mt" / "README.md").read_text(encoding="utf-8")
    assert yaml.safe_load(card.split("---\n")[1])["license"] == "cc-by-4.0"
    assert zhuyi.load("opus-mt", device="cpu").translate(["a dog"])
    assert not [*(tmp_path / "hub-cache").rglob("tf_model.h5")]


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        (
            "---\nlanguage:\n" + "- xxx\n" * 300 + 'tags:\n- nllb\nlicense: "cc-by-nc-4.0"\n---\n# NLLB\n',
            "cc-by-nc-4.0",
        ),
        ("---\r\nlicense: mit\r\n---\r\n", "mit"),
        ("---\ntags:\n- a\n---\nlicense: mit\n", None),
        ("license: mit\n", None),
        ("---\nlicense:\n---\n", None),
        ("---\nlicense: \x1b]0;title\x07mit\n---\n", None),
    ],
)
def test_the_licence_is_that_of_the_head_of_the_card(tmp_path: Path, card: str, licence: str | None) -> None:
    (tmp_path / "README.md").write_bytes(card.encode())
    assert licence_of(tmp_path) == licence
    (tmp_path / "LICENSE").write_text("MIT")
    assert licence_of(tmp_path) == (licence or "LICENSE")


@pytest.mark.parametrize(
    ("tree", "task", "languages"),
    [
        ({"data": {"source_language": "no", "target_language": "zh-Hant"}}, "translation", ["no", "zh"]),
        ({"model": {"shape": "encoder"}}, "text-classification", None),
        (
            {"text": {"kind": "character"}, "model": {"shape": "encoder", "labels": "token"}},
            "token-classification",
            None,
        ),
        ({"model": {"shape": "decoder"}, "data": {"text": "a.txt"}}, "text-generation", None),
    ],
)
def test_the_head_of_a_card(tree: dict, task: str, languages: list[str] | None) -> None:
    """`no` is a language, and false in YAML."""
    config = build_config(tree)
    start, head, text = (card_head(config, "mit", ["bleu"]) + "# A card\n").split("---\n")
    assert (start, text) == ("", "\n# A card\n")
    found = yaml.safe_load(head)
    assert found.get("language") == languages
    assert found["tags"] == ["zhuyi", config.model.shape]
    assert (found["license"], found["library_name"], found["pipeline_tag"]) == ("mit", "zhuyi", task)
    assert found["metrics"] == ["bleu"]
    assert "license" not in yaml.safe_load(card_head(config, "not stated beside the model").split("---\n")[1])
