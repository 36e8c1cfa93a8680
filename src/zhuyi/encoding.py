"""Decode bytes as UTF-8 text, and name other encodings and kinds of files, with the command that converts them."""

import codecs
from collections.abc import Iterable, Iterator

from zhuyi.errors import DataError, ZhuyiError

_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",  # before UTF-16, whose mark it begins with
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}

_PACKED = {
    b"\x1f\x8b": ("gzip", "zcat"),
    b"\xfd7zXZ\0": ("xz", "xzcat"),
    b"\x28\xb5\x2f\xfd": ("zstd", "zstdcat"),
    b"BZh91AY&SY": ("bzip2", "bzcat"),
    b"PK\x03\x04": ("zip", "unzip -p"),
}
_LFS = b"version https://git-lfs.github.com/spec/"


def decoded(lines: Iterable[bytes], where: str, error: type[ZhuyiError] = DataError) -> Iterator[str]:
    """The text of each line of a file or a stream, without its end and without a byte order mark.

    A line ends at "\\n" or "\\r\\n" and nowhere else, so that the number of lines is that of every other tool.

    Args:
        lines: the lines, starting with the first, including their line ends.
        where: the prefix of the line number in an error message, such as `train.en:`.
        error: the class of the error to raise.

    Raises:
        ZhuyiError: `error`, if a line is not UTF-8 text, or if all lines end in "\\r" alone.
    """
    start = 0
    for number, line in enumerate(lines, start=1):
        if number == 1:
            if wrong := _not_ours(line):
                raise error(f"{where}1: {wrong}")
            if line.startswith(codecs.BOM_UTF8):
                start = len(codecs.BOM_UTF8)
                line = line[start:]
        if 0 in line:  # faster than searching for a string of one byte
            encoding = "UTF-16LE" if (start + line.index(0)) % 2 else "UTF-16BE"
            raise error(
                f"{where}{number}: has a NUL byte: it is UTF-16 or another encoding, or no text at all; "
                f"{_convert(encoding)}"
            )
        try:
            text = line.decode()
        except UnicodeDecodeError as bad:
            byte = f"byte 0x{line[bad.start]:02X} at offset {start + bad.start:,} of the input"
            raise error(f"{where}{number}: not valid UTF-8 ({byte}); {_convert('ENCODING')}") from bad
        start += len(line)
        yield text.removesuffix("\n").removesuffix("\r") if line.endswith(b"\n") else text


def _not_ours(line: bytes) -> str:
    """What is wrong with a file, judged by its first line; empty if nothing is."""
    for mark, encoding in _MARKS.items():
        if line.startswith(mark):
            return f"is {encoding}; {_convert(encoding)}"
    for mark, (packing, command) in _PACKED.items():
        if line.startswith(mark):
            return f"is compressed by {packing}; decompress it: {command} OLD > NEW"
    if line.startswith(_LFS):
        return "is a pointer of Git LFS, not the file itself; fetch that: git lfs pull"
    if b"\r" in line and not line.endswith(b"\n") and 0 not in line:
        return r"its lines end in CR alone, with no line feed; convert it: tr '\r' '\n' < OLD > NEW"
    return ""


def _convert(encoding: str) -> str:
    return f"save it as UTF-8, or convert it: iconv -f {encoding} -t UTF-8 < OLD > NEW"
