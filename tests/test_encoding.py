"""What is not UTF-8 text is never taken for it."""

import io
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from zhuyi.encoding import decoded
from zhuyi.errors import ConfigError, DataError

TEXT = "a dog\nzwei Hunde\nein Kätzchen\n"


def lines_of(content: bytes) -> list[str]:
    return list(decoded(io.BytesIO(content), "x:"))


def error_of(content: bytes) -> str:
    with pytest.raises(DataError) as caught:
        lines_of(content)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        (TEXT.encode(), TEXT.splitlines()),
        (TEXT.replace("\n", "\r\n").encode(), TEXT.splitlines()),
        (b"\xef\xbb\xbfa\nb", ["a", "b"]),
        (b"a\rb\nc\r\r\n", ["a\rb", "c\r"]),  # within a line of a file that has line feeds
        (b"", []),
        (b"\n\n", ["", ""]),
        ("a\u2028b\x85\x0b\x0c\x1c\n".encode(), ["a\u2028b\x85\x0b\x0c\x1c"]),
    ],
)
def test_lines_of_text(content: bytes, lines: list[str]) -> None:
    assert lines_of(content) == lines


@pytest.mark.parametrize("encoding", ["UTF-16", "UTF-16LE", "UTF-16BE", "UTF-32", "UTF-16 with a mark, big-endian"])
def test_the_command_that_is_named_converts_it(encoding: str) -> None:
    content = b"\xfe\xff" + TEXT.encode("UTF-16BE") if "mark" in encoding else TEXT.encode(encoding)
    message = error_of(content)
    assert message.startswith("x:1: ")
    command = shlex.split(message.partition("convert it: ")[2].partition(" < ")[0])
    assert command[0] == "iconv"
    done = subprocess.run(command, input=content, capture_output=True, check=True)
    assert lines_of(done.stdout) == TEXT.splitlines()


def test_utf16_whose_first_line_has_no_nul() -> None:
    assert error_of("\u4e2d\u6587\n\u4e2d\n".encode("UTF-16LE")).startswith("x:1: ")
    assert "UTF-16BE" in error_of("\u2020\u2020\n".encode("UTF-16BE"))


def test_a_nul_is_located() -> None:
    assert error_of(b"fine\nfine\nwrong\0\n").startswith("x:3: has a NUL byte")
    assert error_of(b"\x7fELF\2\1\1\0\0\r").startswith("x:1: has a NUL byte")


@pytest.mark.parametrize("content", [b"a\rb\rc\r", b"a\rb", b"\xef\xbb\xbfa\rb\r", b"a\r"])
def test_lines_that_end_in_cr_alone(content: bytes) -> None:
    message = error_of(content)
    assert message.startswith("x:1: its lines end in CR alone")
    done = subprocess.run(
        shlex.split(message.partition("convert it: ")[2].partition(" < ")[0]), input=content, capture_output=True
    )
    assert [line.strip() for line in lines_of(done.stdout)] == [
        line.strip() for line in content.decode("utf-8-sig").split("\r") if line
    ]


@pytest.mark.parametrize("command", ["gzip", "bzip2", "xz", "zstd", "zip"])
def test_compressed_input_is_named(command: str, tmp_path: Path) -> None:
    if shutil.which(command) is None:
        pytest.skip(f"no {command} here")
    (tmp_path / "x").write_text(TEXT)
    options = ["-q", "-", "x"] if command == "zip" else ["-c", "x"]
    packed = subprocess.run([command, *options], cwd=tmp_path, capture_output=True, check=True).stdout
    message = error_of(packed)
    assert message.startswith(f"x:1: is compressed by {command}")
    (tmp_path / "OLD").write_bytes(packed)
    unpacking = shlex.split(message.partition("decompress it: ")[2].partition(" > ")[0])
    if shutil.which(unpacking[0]):
        assert lines_of(subprocess.run(unpacking, cwd=tmp_path, capture_output=True).stdout) == TEXT.splitlines()


def test_a_pointer_of_git_lfs_is_named() -> None:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 12345\n"
    assert "git lfs pull" in error_of(pointer)


@pytest.mark.parametrize("kind", [ConfigError, DataError])
def test_the_error_is_of_the_kind_asked_for(kind: type[ConfigError] | type[DataError]) -> None:
    with pytest.raises(kind, match=r"^here 2: not valid UTF-8 \(byte 0xE9 at offset 5 of the input\)"):
        list(decoded([b"a\n", b"caf\xe9\n"], "here ", kind))


def test_lines_come_before_the_error() -> None:
    lines = decoded([b"a\n", b"b\n", b"\xff\n"], "x:")
    assert [next(lines), next(lines)] == ["a", "b"]
