"""Put a server under load by honest and by broken clients, and check what they get, its memory, its log and its end.

    python benchmarks/serving/soak.py MODEL --source test.en [--minutes 10] [--seed 1]

Starts `zhuyi serve` on 127.0.0.1 with a small queue and an API key. Honest clients ask by every API but the
microscope's, and retry after a 429; what they get is compared with what `zhuyi translate` made of the same lines
before. Beside them, others go away at random moments, send what is too large, broken or without the key, send and read
slowly, or open connections and ask nothing (`CLIENTS`). Writes results/soak.json, and exits with 1 if anything is not
as it must be (`problems`).
"""

import argparse
import asyncio
import json
import os
import random
import re
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

sys.path.insert(0, str(Path(__file__).parents[1]))  # machine.py and stored.py are there

from load import read_answer
from machine import describe
from run import wait_for
from stored import save

from zhuyi import load
from zhuyi.serve import Limits
from zhuyi.serve.page import html

KEY = "soak-8d1f"
LIMITS = {"queue": 2000, "request-bytes": 20_000, "deadline": 20}
"""Of the server: what eight honest clients ask for at once is about what has a place."""
HEAD_SECONDS = Limits().head_deadline
"""How long a client may take for the head of a request."""
PATIENCE = 120
"""Seconds without an answer after which it is lost."""
SAMPLE_SECONDS = 2
SETTLED = 2
"""Seconds in which the server notices the last clients that went away."""
FLAT = 1.05
"""By what factor resident memory may be higher in the last fifth of the time than in the second one."""
JSON, FORM = "application/json", "application/x-www-form-urlencoded"


class Request(NamedTuple):
    """One request, without the fields of its head that say how the body comes."""

    path: str
    kind: str = JSON
    body: bytes = b""
    authorization: str = ""
    method: str = "POST"

    def head(self, *fields: str) -> bytes:
        key = [f"Authorization: {self.authorization}"] if self.authorization else []
        lines = [
            f"{self.method} {self.path} HTTP/1.1",
            "Host: localhost",
            f"Content-Type: {self.kind}",
            *key,
            *fields,
            "",
            "",
        ]
        return "\r\n".join(lines).encode()

    @property
    def whole(self) -> bytes:
        return self.head(f"Content-Length: {len(self.body)}") + self.body


@dataclass(frozen=True)
class API:
    """An API as its clients know it."""

    ask: Callable[[list[str], str], Request]
    """The request for some lines, with this API key."""
    read: Callable[[str], list[str]]
    """The translations in an answer."""
    forbidden: int = 401
    """The status of a wrong key."""
    most: int = 8
    """Lines of a request."""


def _json(path: str, content: dict[str, Any], authorization: str = "") -> Request:
    return Request(path, JSON, json.dumps(content).encode(), authorization)


def _streamed(answer: str) -> list[str]:
    """The text of server-sent events."""
    events = [json.loads(event) for event in re.findall("^data: ({.*)$", answer, re.MULTILINE)]
    return ["".join(event["choices"][0]["delta"].get("content", "") for event in events)]


def _chat(lines: list[str], key: str, stream: bool) -> Request:
    message = {"role": "user", "content": lines[0]}
    return _json("/v1/chat/completions", {"model": "m", "messages": [message], "stream": stream}, f"Bearer {key}")


APIS = {
    "zhuyi": API(
        lambda lines, key: _json("/api/translate", {"lines": lines}, f"Bearer {key}"),
        lambda answer: [found[0]["text"] for found in json.loads(answer)["translations"]],
    ),
    "LibreTranslate": API(
        lambda lines, key: _json("/translate", {"q": lines, "source": "en", "target": "de", "api_key": key}),
        lambda answer: json.loads(answer)["translatedText"],
        forbidden=403,
    ),
    "LibreTranslate, form": API(
        lambda lines, key: Request(
            "/translate", FORM, urlencode({"q": lines[0], "source": "en", "target": "de", "api_key": key}).encode()
        ),
        lambda answer: [json.loads(answer)["translatedText"]],
        forbidden=403,
        most=1,
    ),
    "OpenAI": API(
        lambda lines, key: _chat(lines, key, stream=False),
        lambda answer: [json.loads(answer)["choices"][0]["message"]["content"]],
        most=1,
    ),
    "OpenAI, streamed": API(lambda lines, key: _chat(lines, key, stream=True), _streamed, most=1),
    "DeepL": API(
        lambda lines, key: _json(
            "/v2/translate", {"text": lines, "source_lang": "EN", "target_lang": "DE"}, f"DeepL-Auth-Key {key}"
        ),
        lambda answer: [each["text"] for each in json.loads(answer)["translations"]],
        forbidden=403,
    ),
    "DeepLX": API(
        lambda lines, key: _json(f"/deeplx?token={key}", {"text": lines[0], "source_lang": "EN", "target_lang": "DE"}),
        lambda answer: [json.loads(answer)["data"]],
        most=1,
    ),
    "Immersive Translate": API(
        lambda lines, key: _json(f"/imme?token={key}", {"text_list": lines, "source_lang": "en", "target_lang": "de"}),
        lambda answer: [each["text"] for each in json.loads(answer)["translations"]],
    ),
    "KISS Translator": API(
        lambda lines, key: _json(f"/kiss?token={key}", {"texts": lines, "from": "en", "to": "de"}),
        lambda answer: [each["text"] for each in json.loads(answer)["translations"]],
    ),
}


@dataclass
class Load:
    """The clients of one run, and what they got."""

    port: int
    expected: dict[str, str]
    """Of each line, what `zhuyi translate` made of it."""
    ends: float
    """When clients ask for nothing new (`time.monotonic`)."""
    outcomes: dict[str, Counter[str]] = field(default_factory=lambda: {kind: Counter() for kind in CLIENTS})
    """Of each kind of clients, by the request."""
    apis: Counter[str] = field(default_factory=Counter)
    """Answers with the right translations, by the API."""
    lines: int = 0
    """In them."""
    unexpected: list[str] = field(default_factory=list)
    """What clients got that no client should get."""

    def asks(self, draw: random.Random, most: int = 8, key: str = KEY) -> tuple[str, list[str], Request]:
        """An API, some lines, and the request for them."""
        name = draw.choice(list(APIS))
        lines = draw.choices(list(self.expected), k=draw.randint(1, min(most, APIS[name].most)))
        return name, lines, APIS[name].ask(lines, key)

    def judge(self, name: str, lines: Sequence[str], status: int, answer: bytes) -> str:
        """The outcome of an answer for a client that asked for these lines."""
        if status == 429:
            return "429"
        if status != 200:
            return self.surprise(f"{name}: status {status}: {answer[:200]!r}")
        found = APIS[name].read(answer.decode())
        if found != [self.expected[line] for line in lines]:
            return self.surprise(f"{name}: {lines} became {found}")
        self.apis[name] += 1
        self.lines += len(lines)
        return "right"

    async def refused(self, sent: bytes, status: int) -> str:
        """Send what has to be refused with this status."""
        async with self.connection() as (reader, writer):
            writer.write(sent)
            found, _, answer = await self.answer(reader)
        return str(status) if found == status else self.surprise(f"{found}, not {status}: {answer[:200]!r}")

    async def closed(self, head: bytes) -> str:
        """Send a head, one byte a second, until the server closes the connection, which has to be when it may no longer
        take."""
        begun, sent, answer = time.monotonic(), 0, None
        async with self.connection() as (reader, writer):
            while answer is None and time.monotonic() < begun + 2 * HEAD_SECONDS:
                writer.write(head[sent : sent + 1])
                sent += 1
                try:
                    async with asyncio.timeout(1):
                        answer = await reader.read(100)
                except TimeoutError:
                    pass
                except ConnectionError:  # the byte came when it was closed
                    answer = b""
        seconds = time.monotonic() - begun
        if answer == b"" and seconds > HEAD_SECONDS - 1:
            return "closed"
        return self.surprise(f"after {seconds:.0f} seconds, {sent} bytes of {head[:40]!r}: {answer!r}")

    def surprise(self, what: str) -> str:
        """Keep what no client should get; gives its outcome."""
        self.unexpected.append(what)
        return "unexpected"

    async def answer(self, reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
        """As `read_answer`.

        Raises:
            TimeoutError: if it does not come.
        """
        async with asyncio.timeout(PATIENCE):
            return await read_answer(reader)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield reader, writer
        finally:
            writer.close()


async def honest(run: Load, draw: random.Random) -> AsyncIterator[str]:
    """Asks for this and that over one connection; after a 429 it retries."""
    waiting = [run.asks(draw) for _ in range(draw.randint(1, 10))]
    while waiting:
        async with run.connection() as (reader, writer):
            while waiting:
                name, lines, request = waiting[-1]
                writer.write(request.whole)
                status, fields, answer = await run.answer(reader)
                yield run.judge(name, lines, status, answer)
                if status == 429:
                    break
                waiting.pop()
        if waiting:
            await asyncio.sleep(float(fields["retry-after"]))


async def slow_writer(run: Load, draw: random.Random) -> AsyncIterator[str]:
    """Sends a request a few bytes at a time."""
    name, lines, request = run.asks(draw)
    left = request.whole
    async with run.connection() as (reader, writer):
        while left:
            some = draw.randint(1, 100)
            writer.write(left[:some])
            left = left[some:]
            await asyncio.sleep(draw.uniform(0, 0.5))
        status, _, answer = await run.answer(reader)
    yield run.judge(name, lines, status, answer)


async def slow_reader(run: Load, draw: random.Random) -> AsyncIterator[str]:
    """Reads translations, or the page to translate in, through a small buffer and with pauses."""
    name, lines, request = run.asks(draw)
    if wants_page := draw.random() < 0.5:
        request = Request("/", method="GET")
    loop, received = asyncio.get_running_loop(), asyncio.StreamReader()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        connection.setblocking(False)
        await loop.sock_connect(connection, ("127.0.0.1", run.port))
        await loop.sock_sendall(connection, request.whole)
        reading = asyncio.create_task(run.answer(received))
        while not reading.done():
            some = await loop.sock_recv(connection, draw.randint(1, 2000))
            if some:
                received.feed_data(some)
            else:
                received.feed_eof()
            await asyncio.sleep(draw.uniform(0, 0.5))
    status, _, answer = reading.result()
    if not wants_page:
        yield run.judge(name, lines, status, answer)
    elif (status, answer.decode()) == (200, html()):
        yield "right"
    else:
        yield run.surprise(f"the page: status {status}, {len(answer)} bytes")


async def cut(run: Load, draw: random.Random) -> AsyncIterator[str]:
    """Goes away in the head, in the body, or before the answer; in good order, or by a reset."""
    _, _, request = run.asks(draw)
    whole, head = request.whole, len(request.whole) - len(request.body)
    moment, lengths = draw.choice(
        (
            ("in the head", range(head)),
            ("in the body", range(head, len(whole))),
            ("before the answer", range(len(whole), len(whole) + 1)),
        )
    )
    async with run.connection() as (_, writer):
        writer.write(whole[: draw.choice(lengths)])
        await asyncio.sleep(draw.uniform(0, 0.2))
        if draw.random() < 0.5:
            linger = struct.pack("ii", 1, 0)  # closing sends RST
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    yield moment


async def oversize(run: Load, draw: random.Random) -> AsyncIterator[str]:
    """Declares a body that is too large, or sends one in chunks until it is refused."""
    _, _, request = run.asks(draw)
    if draw.random() < 0.5:
        sent = request.head(f"Content-Length: {10 ** draw.randint(5, 12)}") + request.body
    else:
        sent = request.head("Transfer-Encoding: chunked") + 12 * (b"800\r\n" + bytes(0x800) + b"\r\n")
    yield await run.refused(sent, 413)


async def broken(run: Load, draw: random.Random) -> AsyncIterator[str]:
    """Sends JSON that breaks off, or is none."""
    _, _, request = run.asks(draw)
    body = request.body[: draw.randrange(len(request.body))] if draw.random() < 0.5 else draw.randbytes(50)
    yield await run.refused(request._replace(kind=JSON, body=body).whole, 400)


async def keyless(run: Load, draw: random.Random) -> AsyncIterator[str]:
    """Asks with a wrong API key."""
    name, _, request = run.asks(draw, key=draw.choice(("wrong", KEY[:-1], KEY + "0")))
    yield await run.refused(request.whole, APIS[name].forbidden)


async def stalled(run: Load, draw: random.Random) -> AsyncIterator[str]:
    """Sends a part of a request, and then nothing more until the server gives it up."""
    _, _, request = run.asks(draw)
    yield await run.refused(request.whole[: -draw.randint(1, len(request.body))], 408)


async def slow_head(run: Load, draw: random.Random) -> AsyncIterator[str]:
    """Sends the head of a request so slowly that it would take minutes."""
    _, _, request = run.asks(draw)
    yield await run.closed(request.head())


async def silent(run: Load, draw: random.Random) -> AsyncIterator[str]:
    """Opens a connection and says nothing."""
    yield await run.closed(b"")


Client = Callable[[Load, random.Random], AsyncIterator[str]]
"""Something that clients do once: it gives an outcome for each request."""

CLIENTS: dict[str, tuple[Client, int]] = {
    "honest": (honest, 16),
    "slow writers": (slow_writer, 8),
    "slow readers": (slow_reader, 8),
    "cut off": (cut, 8),
    "too large": (oversize, 2),
    "broken JSON": (broken, 2),
    "wrong key": (keyless, 2),
    "stalled": (stalled, 2),
    "slow heads": (slow_head, 8),
    "silent": (silent, 8),
}
"""What each kind does, and how many of it there are at once."""
UNHEARD = {"slow heads", "silent"}
"""The kinds that make no request of which the server knows."""


async def keep_on(run: Load, kind: str, number: int, seed: int) -> None:
    """One client, again and again until the end."""
    draw, counts = random.Random(f"{seed} {kind} {number}"), run.outcomes[kind]
    client, _ = CLIENTS[kind]
    while time.monotonic() < run.ends:
        try:
            async for outcome in client(run, draw):
                counts[outcome] += 1
        except (OSError, EOFError, TimeoutError) as error:  # EOFError: the server hung up before the answer
            run.unexpected.append(f"{kind}: {error!r}")
            counts["lost"] += 1
        await asyncio.sleep(draw.uniform(0, 0.2))


async def put_under_load(run: Load, seed: int) -> list[tuple[float, float]]:
    """All clients until the end; the seconds and the resident megabytes of each sample."""
    samples, begun = [], time.monotonic()
    async with asyncio.TaskGroup() as clients:
        every = [
            clients.create_task(keep_on(run, kind, number, seed))
            for kind, (_, count) in CLIENTS.items()
            for number in range(count)
        ]
        while not all(client.done() for client in every):
            found = await asyncio.to_thread(metrics, run.port)
            samples.append((time.monotonic() - begun, found["process_resident_memory_bytes"] / 1e6))
            await asyncio.sleep(SAMPLE_SECONDS)
    return samples


def metrics(port: int) -> dict[str, float]:
    """What the server says of itself."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


def translated(model: Path, source: Path) -> dict[str, str]:
    """Of each line that the model reads whole, what `zhuyi translate` makes of it."""
    translator = load(model, device="cpu")
    given = {line for line in source.read_text(encoding="utf-8").splitlines() if line.strip()}
    lines = sorted(line for line in given if len(translator.encode(line)) <= translator.longest)
    command = [sys.executable, "-m", "zhuyi", "translate", str(model)]
    text = "".join(f"{line}\n" for line in lines)
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=True, encoding="utf-8")
    return dict(zip(lines, done.stdout.splitlines(), strict=True))


def trial(model: Path, expected: dict[str, str], minutes: float, seed: int, folder: Path) -> dict[str, Any]:
    """One server from its start to its end."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    options = [part for name, value in LIMITS.items() for part in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "zhuyi", "serve", str(model), "--port", str(port), *options]
    log = folder / "log"
    with log.open("wb") as file:
        environment = {**os.environ, "ZHUYI_API_KEY": KEY}
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=file, env=environment)
    try:
        wait_for(port, process)
        run = Load(port, expected, time.monotonic() + 60 * minutes)
        samples = asyncio.run(put_under_load(run, seed))
        time.sleep(SETTLED)
        said = metrics(port)
        process.send_signal(signal.SIGTERM)
        code = process.wait(timeout=PATIENCE)
    finally:
        process.kill()
        process.wait()
    text = log.read_text(encoding="utf-8", errors="replace")
    answered = {name: count for name, count in said.items() if name.startswith("zhuyi_requests_total")}
    count = len(samples)
    fifths = [samples[part * count // 5 : max((part + 1) * count // 5, part * count // 5 + 1)] for part in range(5)]
    return {
        "clients": {kind: count for kind, (_, count) in CLIENTS.items()},
        "outcomes": run.outcomes,
        "right_by_api": run.apis,
        "lines_compared": run.lines,
        "unexpected": run.unexpected[:20],
        "server": {
            "answered": sum(answered.values()),
            "refused_429": sum(count for name, count in answered.items() if 'status="429"' in name),
            "errors_5xx": sum(count for name, count in answered.items() if 'status="5' in name),
            "gone": sum(count for name, count in said.items() if name.startswith("zhuyi_requests_gone_total")),
            "queue_characters_at_the_end": said["zhuyi_queue_characters"],
        },
        "resident_megabytes_by_fifth": [
            round(statistics.median(megabytes for _, megabytes in fifth), 1) for fifth in fifths
        ],
        "resident_megabytes": [(round(second), round(megabytes, 1)) for second, megabytes in samples],
        "log": {"lines": len(text.splitlines()), "tracebacks": text.count("Traceback"), "first": text[:2000]},
        "exit_code": code,
    }


def problems(found: dict[str, Any]) -> list[str]:
    """What is not as it must be."""
    server, outcomes, memory = found["server"], found["outcomes"], found["resident_megabytes_by_fifth"]
    seen = sum(sum(counts.values()) for kind, counts in outcomes.items() if kind not in {"cut off", *UNHEARD})
    cut_off = sum(outcomes["cut off"][moment] for moment in ("in the body", "before the answer"))
    checks = {
        "a client got what it should not, or nothing": not found["unexpected"],
        "a kind of clients got nothing at all": all(sum(counts.values()) for counts in outcomes.values()),
        "an API was never answered": set(found["right_by_api"]) == set(APIS),
        "nobody was refused for now": outcomes["honest"]["429"] > 0,
        "the server counts other requests than its clients": seen
        <= server["answered"]
        <= server["answered"] + server["gone"]
        <= seen + cut_off,
        "the queue has characters that nobody waits for": server["queue_characters_at_the_end"] == 0,
        "the server failed": server["errors_5xx"] == 0,
        "memory grows": memory[-1] <= FLAT * memory[1],
        "the log is not empty": found["log"]["lines"] == 0,
        "SIGTERM did not end it with 0": found["exit_code"] == 0,
    }
    return [problem for problem, is_right in checks.items() if not is_right]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1, help="of what clients do, and when")
    arguments = parser.parse_args()
    expected = translated(arguments.model, arguments.source)
    with tempfile.TemporaryDirectory(prefix="zhuyi-soak-") as folder:
        found = trial(arguments.model, expected, arguments.minutes, arguments.seed, Path(folder))
    result = {
        "machine": describe(os.cpu_count()),
        "minutes": arguments.minutes,
        "seed": arguments.seed,
        "limits": LIMITS,
        "lines": len(expected),
        **found,
        "problems": problems(found),
    }
    save("soak", result)
    print(json.dumps({key: value for key, value in result.items() if key != "resident_megabytes"}, indent=1))
    sys.exit(bool(result["problems"]))


if __name__ == "__main__":
    main()
