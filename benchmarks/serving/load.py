"""Many clients at once, each with a connection of its own: what they get, and how long each answer takes."""

import asyncio
import itertools
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

HEAD = "POST /translate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n"


@dataclass
class Answers:
    """What the clients of one measurement got."""

    seconds: list[float] = field(default_factory=list)
    """From the request to the answer, for each answer that came within the measurement."""
    texts: dict[str, set[str]] = field(default_factory=dict)
    """The translations of each line: only one, if an answer does not depend on the load."""
    refused: int = 0
    """Requests that were refused for now (429)."""


def put_under_load(port: int, lines: Sequence[str], clients: int, seconds: float, warm_up: float) -> Answers:
    """Let `clients` ask for lines one after the other, each for the next line as soon as it has an answer.

    Raises:
        RuntimeError: if an answer is neither a translation nor a refusal.
    """
    return asyncio.run(_all(port, lines, clients, seconds, warm_up))


async def _all(port: int, lines: Sequence[str], clients: int, seconds: float, warm_up: float) -> Answers:
    answers, shared = Answers(), itertools.cycle(lines)
    begin = time.perf_counter() + warm_up
    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(_one(port, shared, begin, begin + seconds, answers))
    return answers


async def _one(port: int, lines: Iterator[str], begin: float, end: float, answers: Answers) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while (asked := time.perf_counter()) < end:
        line = next(lines)
        body = json.dumps({"q": line, "source": "en", "target": "de"}).encode()
        writer.write(HEAD.format(len(body)).encode() + body)
        status, _, answer = await read_answer(reader)
        answered = time.perf_counter()
        if status == 429:
            answers.refused += 1
            await asyncio.sleep(0.1)
        elif status != 200:
            raise RuntimeError(f"status {status}: {answer[:200]!r}")
        else:
            answers.texts.setdefault(line, set()).add(json.loads(answer)["translatedText"])
            if begin <= answered <= end:
                answers.seconds.append(answered - asked)
    writer.close()


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """The status, the fields of the head, by their names in lower case, and the body of an answer."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    fields = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
    return int(head.split(" ", 2)[1]), fields, await reader.readexactly(int(fields["content-length"]))
