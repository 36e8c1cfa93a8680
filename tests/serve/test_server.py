"""The server as a process: real clients, clients that go away, bodies that do not end, and SIGTERM."""

import http.client
import itertools
import json
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from zhuyi.loading import load

pytest.importorskip("uvicorn")
libretranslatepy = pytest.importorskip("libretranslatepy")

pytestmark = [pytest.mark.slow, pytest.mark.unix]

ADDRESS = "127.0.0.1:8000"
"""In the guide."""
LINE = "the dog runs"
"""Of which the small model makes something: its answers to many others are empty."""
MESSAGES: dict[str, Callable[[Any], str]] = {
    "/api/translate": lambda answer: answer["error"],
    "/translate": lambda answer: answer["error"],
    "/v1/models": lambda answer: answer["error"]["message"],
    "/v2/translate": lambda answer: answer["message"],
    "/imme": lambda answer: answer["message"],
    "/health": lambda answer: answer["error"],
}
"""A path of each API, and where its answers say what is wrong."""
GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
MANY = [LINE] * 400
"""Lines that take a while, with a wide beam."""


@contextmanager
def started(*arguments: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """`zhuyi serve ARGUMENTS` on a free port, and its address."""
    with addressed(["-m", "zhuyi", "serve", *arguments, "--port", "0", "--workers", "1"]) as both:
        yield both


@contextmanager
def addressed(arguments: list[str]) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """Python with these arguments, and the address that it prints."""
    command = [sys.executable, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = next((line.strip() for line in process.stdout if line.startswith("http")), None)
        assert url is not None, process.communicate()[1]
        yield url, process
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def url(en_de: str) -> Iterator[str]:
    with started(en_de, "--request-bytes", "20000") as (url, process):
        yield url
        process.send_signal(signal.SIGTERM)
        assert (process.communicate(timeout=60)[1], process.returncode) == ("", 0)


def ask(url: str, lines: list[str], beam: int = 1) -> Any:
    body = json.dumps({"lines": lines, "beam": beam}).encode()
    request = urllib.request.Request(f"{url}/api/translate", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        return [found[0]["text"] for found in json.load(answer)["translations"]]


def get(url: str, path: str, host: str = "localhost") -> tuple[int, Any, bytes]:
    """The status, the fields of the head and the content of an answer."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
    try:
        connection.request("GET", path, headers={"Host": host})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def metric(url: str, name: str) -> float:
    with urllib.request.urlopen(f"{url}/metrics", timeout=60) as answer:
        found = [line.rsplit(" ", 1)[1] for line in answer.read().decode().splitlines() if line.startswith(name)]
    return float(found[0]) if found else 0.0


def wait_until(url: str, name: str, holds: Any) -> None:
    ends = time.monotonic() + 60
    while not holds(metric(url, name)):
        assert time.monotonic() < ends, name


def wait_until_closed(url: str) -> None:
    """Until the server takes no connection any more."""
    with suppress(OSError):
        while True:
            with connect(url, b""):
                time.sleep(0.01)


def connect(url: str, request: bytes) -> socket.socket:
    parts = urlsplit(url)
    connection = socket.create_connection((parts.hostname, parts.port), timeout=60)
    connection.sendall(request)
    return connection


def head(path: str, *headers: str) -> bytes:
    return "\r\n".join(
        [f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", *headers, "", ""]
    ).encode()


def test_the_client_of_libretranslate_is_answered(url: str, en_de: str) -> None:
    client = libretranslatepy.LibreTranslateAPI(url)
    assert client.translate(LINE, "en", "de") == load(en_de, device="cpu").translate([LINE])[0] != ""
    assert client.languages()[0] == {"code": "de", "name": "German", "targets": []}
    assert client.detect("Das ist ein kurzer deutscher Satz.")[0]["language"] == "de"


def test_the_guide_does_what_it_says(url: str, en_de: str, capsys: pytest.CaptureFixture[str]) -> None:
    guide = (
        (Path(__file__).parents[2] / "docs/serving.md")
        .read_text(encoding="utf-8")
        .replace(ADDRESS, urlsplit(url).netloc)
        .replace("A dog runs.", LINE)
    )
    install, serve, curl = re.findall(r"```sh\n(.*?)```", guide, re.DOTALL)[0].splitlines()
    assert (install.startswith("pip install "), serve) == (True, "zhuyi serve en-de")  # as `url` does
    address, header, content = (shlex.split(curl)[place] for place in (1, 3, 5))
    request = urllib.request.Request(f"http://{address}", content.encode(), dict([header.split(": ")]))
    with urllib.request.urlopen(request, timeout=60) as answer:
        ((found,),) = json.load(answer)["translations"]
    (expected,) = load(en_de, device="cpu").translate([LINE])
    assert found["text"] == expected != ""
    (code,) = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    exec(code, {})
    assert capsys.readouterr().out.splitlines()[-1] == expected


@pytest.mark.parametrize(
    ("options", "answered", "refused"),
    [
        (
            [],
            ["localhost", "127.0.0.1", "[::1]", "LOCALHOST:1234"],
            ["example.org", "localhost.example.org", "", "[::2]"],
        ),
        (["--allow-host", "example.org"], ["localhost:80", "example.org:80"], ["www.example.org"]),
        (["--host", "0.0.0.0"], ["localhost", "example.org"], []),
    ],
    ids=["loopback", "named", "open"],
)
def test_a_name_that_is_not_this_machine_s_is_refused(
    en_de: str, options: list[str], answered: list[str], refused: list[str]
) -> None:
    with started(en_de, *options) as (url, _):
        for host in answered:
            assert get(url, "/health", host)[0] == 200
        for host in refused:
            for path, message in MESSAGES.items():
                status, _, answer = get(url, path, host)
                assert (status, "--allow-host" in message(json.loads(answer))) == (400, True)


def test_head_is_get_without_the_content(url: str) -> None:
    both = GET.replace(b"GET", b"HEAD") + GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
    with connect(url, both) as connection, connection.makefile("rb") as answers:
        first, second, content = answers.read().split(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 200")
    assert second.startswith(b"HTTP/1.1 200")
    assert f"content-length: {len(content)}".encode() in first


def test_a_client_that_goes_away_frees_its_place(url: str) -> None:
    body = json.dumps({"lines": MANY, "beam": 10}).encode()
    gone = metric(url, "zhuyi_requests_gone_total")
    connection = connect(url, head("/api/translate", f"Content-Length: {len(body)}") + body)
    wait_until(url, "zhuyi_queue_characters", lambda value: value > 0)
    connection.close()
    wait_until(url, "zhuyi_requests_gone_total", lambda value: value == gone + 1)
    wait_until(url, "zhuyi_queue_characters", lambda value: value == 0)


def test_a_connection_too_many_is_refused_as_long_as_the_others_are_open(en_de: str) -> None:
    with started(en_de, "--connections", "2") as (url, _):
        with (
            connect(url, head("/translate", "Content-Length: 9")),
            connect(url, head("/translate", "Content-Length: 9")),
        ):
            for path, message in MESSAGES.items():
                status, fields, answer = get(url, path)
                assert (status, fields["Retry-After"], fields["Connection"]) == (503, "1", "close")
                assert "too many open connections" in message(json.loads(answer))
        ends = time.monotonic() + 60
        while get(url, "/health")[0] != 200:
            assert time.monotonic() < ends
        refused = 'zhuyi_requests_total{api="deepl",status="503"}'
        assert metric(url, refused) == 1.0


@pytest.mark.parametrize("before", [b"", GET], ids=["first", "after-an-answer"])
def test_a_head_that_comes_too_slowly_ends_the_connection(en_de: str, before: bytes) -> None:
    code = (
        "import sys; from zhuyi.serve import Limits, Models, Service, Settings, run\n"
        "models = Models(sys.argv[1:], Settings(device='cpu'))\n"
        "run(Service(models, Limits(head_deadline=2)), port=0, on_start=lambda url: print(url, flush=True))"
    )
    with addressed(["-c", code, en_de]) as (url, process), connect(url, before) as connection:
        if before:
            assert connection.recv(10_000).startswith(b"HTTP/1.1 200")
        connection.settimeout(0.1)
        head_without_end = itertools.cycle(b"GET /health HTTP/1.1\r\nHost: localhost\r\nA: ")
        answer, ends = None, time.monotonic() + 60
        with suppress(ConnectionError):
            while answer != b"":
                assert time.monotonic() < ends
                connection.sendall(bytes([next(head_without_end)]))
                with suppress(TimeoutError):
                    answer = connection.recv(1)
        assert get(url, "/health")[0] == 200
        process.send_signal(signal.SIGTERM)
        assert (process.communicate(timeout=60)[1], process.returncode) == ("", 0)


@pytest.mark.parametrize(
    "endless",
    [
        GET[:-2] + b"A: ",
        GET[:5],
        head("/translate", "Transfer-Encoding: chunked") + b"1\r\n \r\n0\r\nA: ",
    ],
    ids=["field", "path", "trailer"],
)
def test_a_head_without_end_ends_the_connection(url: str, endless: bytes) -> None:
    def go_on(connection: socket.socket) -> None:
        for _ in range(1000):
            connection.sendall(b"a" * 100_000)

    with connect(url, endless) as connection, pytest.raises(ConnectionError):
        go_on(connection)
    assert get(url, "/health")[0] == 200


@pytest.mark.parametrize(
    "request_",
    [
        head("/api/translate", "Content-Length: 10000000000"),
        head("/translate", "Transfer-Encoding: chunked")
        + b"4000\r\n"
        + b" " * 0x4000
        + b"\r\n4000\r\n"
        + b" " * 0x4000,
    ],
    ids=["declared", "chunked"],
)
def test_a_body_that_is_too_large_is_refused_before_it_has_come(url: str, request_: bytes) -> None:
    with connect(url, request_) as connection, connection.makefile("rb") as answer:
        read = answer.read().decode()  # to the end: the server closes
    assert read.startswith("HTTP/1.1 413 ")
    assert read.endswith('{"error":"a request has at most 20,000 bytes"}')


def test_sigterm_finishes_what_was_taken_and_takes_nothing_new(en_de: str) -> None:
    with started(en_de) as (url, process), ThreadPoolExecutor(2) as threads:
        taken = [threads.submit(ask, url, MANY, 10) for _ in range(2)]
        both = 4 * sum(map(len, MANY))  # with twice the model's beam
        wait_until(url, "zhuyi_queue_characters", lambda value: value == both)
        process.send_signal(signal.SIGTERM)
        wait_until_closed(url)
        alone = load(en_de, device="cpu")
        expected = alone.translate([LINE], beam=10)
        assert [each.result(timeout=120) for each in taken] == [expected * len(MANY)] * 2
        assert (process.communicate(timeout=60)[1], process.returncode) == ("", 0)


def test_a_second_ctrl_c_gives_up_what_was_taken(en_de: str) -> None:
    body = json.dumps({"lines": MANY, "beam": 10}).encode()
    complete = head("/api/translate", f"Content-Length: {len(body)}") + body
    incomplete = head("/v2/translate", "Content-Length: 10", "Expect: 100-continue")
    with started(en_de) as (url, process):
        with connect(url, complete) as searched, connect(url, incomplete) as read:
            wait_until(url, "zhuyi_queue_characters", lambda value: value > 0)
            assert read.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
            process.send_signal(signal.SIGINT)
            wait_until_closed(url)
            process.send_signal(signal.SIGINT)
            for connection in (searched, read):
                with connection.makefile("rb") as answer:
                    assert answer.readline() == b"HTTP/1.1 503 Service Unavailable\r\n"
                    assert answer.read().endswith(b':"the server was stopped before the answer"}')
        assert (process.communicate(timeout=60)[1], process.returncode) == ("", 130)


def test_a_port_that_is_taken_is_one_line(en_de: str, url: str) -> None:
    port = str(urlsplit(url).port)
    done = subprocess.run(
        [sys.executable, "-m", "zhuyi", "serve", en_de, "--port", port], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert f"port {port}: Address already in use: choose another --port" in done.stderr


def test_without_its_libraries_the_command_says_what_to_install(en_de: str) -> None:
    code = "import sys; sys.modules['uvicorn'] = None; from zhuyi.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", code, "serve", en_de], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "serve needs an optional library: pip install 'zhuyi[serve]'" in done.stderr
