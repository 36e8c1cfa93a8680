"""Damaged files: the same from the same random numbers."""

import json
import math
import random
import zipfile
from collections.abc import Iterator
from io import BytesIO
from typing import Any


def damaged(data: bytes, rng: random.Random) -> bytes:
    """A file after some accidents, or with another content in a sound container."""
    kinds = [with_other_bytes]
    if data.startswith(b"PK"):
        kinds.append(with_another_member)
    if data.startswith(b"{"):
        kinds += [with_another_value] * 3
    if data[8:9] == b"{":
        kinds.append(with_another_header)
    return rng.choice(kinds)(data, rng)


def with_other_bytes(data: bytes, rng: random.Random) -> bytes:
    """Some bytes changed, put in, repeated or taken out; those at the beginning and the end more often."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 3, 20])):
        within = rng.choice([len(changed), min(len(changed), 300), min(len(changed), 3000)])
        first = rng.randrange(within + 1)
        if rng.random() < 0.2:
            first = len(changed) - first
        length = rng.choice([1, 1, 4, 50])
        junk = rng.choice(
            [
                *(rng.randbytes(length), b"\xff" * length, b"\0" * length, b"9" * length, b"", changed[:length]),
                *(varint(rng.getrandbits(60)), b'"', b"\n", b": ", b"{[", b"null", bytes([rng.randrange(256)])),
            ]
        )
        changed[first : first + rng.choice([0, length, len(junk), len(junk)])] = junk
        if rng.random() < 0.1:
            del changed[rng.randrange(len(changed) + 1) :]
    return bytes(changed)


def varint(value: int) -> bytes:
    """As lengths and numbers stand in SentencePiece's files."""
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def with_another_member(data: bytes, rng: random.Random) -> bytes:
    """A sound archive with a damaged file in it, which the checksums do not give away."""
    with zipfile.ZipFile(BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    described = [name for name in members if name.endswith((".pkl", "model.yml.npy"))]
    name = rng.choice([*members, *described * len(members)])
    head = 128 if rng.random() < 0.5 else len(members[name])
    members[name] = with_other_bytes(members[name][:head], rng) + members[name][head:]
    written = BytesIO()
    with zipfile.ZipFile(written, "w") as archive:
        for each, content in members.items():
            archive.writestr(each, content)
    return written.getvalue()


def with_another_header(data: bytes, rng: random.Random) -> bytes:
    """A file of safetensors that says something else of its tensors."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = with_another_value(data[8:end], rng)
    return len(header).to_bytes(8, "little") + header + data[end:]


VALUES = [
    *(None, 0, -1, 1, 2, 7, 2**31 - 1, 2**40, 10**400, 1e300, 0.5, math.nan, True, False, [], {}, [1], {"a": 1}),
    *("", "x", "\0", "../x", "\ud800", "a" * 5000, "\n", "F64", "<unk>", "__en__", [[[]]], [1, 2], [0, 10**9]),
]

SETTINGS = [
    *("src_lang", "added_tokens_decoder", "extra_ids", "num_beams", "length_penalty", "max_length", "max_new_tokens"),
    *("n_positions", "num_decoder_layers", "forced_bos_token_id", "tie_word_embeddings", "__metadata__"),
]
"""Of which a file need not have one."""


def with_another_value(data: bytes, rng: random.Random) -> bytes:
    """JSON in which a value is of any kind, or stands elsewhere, or is missing."""
    content = json.loads(data)
    places = [*((content, key) for key in SETTINGS), *places_in(content)]
    for _ in range(rng.choice([1, 1, 2, 4])):
        container, key = rng.choice(places)
        match rng.randrange(4):
            case 0 if isinstance(container, dict):
                container.pop(key, None)
            case 1:
                other, place = rng.choice(places)
                container[key] = json.loads(json.dumps(other.get(place) if isinstance(other, dict) else other[place]))
            case _:
                container[key] = rng.choice(VALUES)
    return json.dumps(content).encode()


def places_in(content: Any) -> Iterator[tuple[Any, Any]]:
    """Every value of an object of JSON, as a container and the key in it."""
    entries = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in entries:
        yield content, key
        yield from places_in(value)
