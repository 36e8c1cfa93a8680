import csv
import gzip
import io
import json
import lzma
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from zhuyi.data import compression
from zhuyi.data import corpus as module
from zhuyi.data.corpus import Corpus, Pair, Text, read_lines
from zhuyi.errors import DataError, MissingExtra

COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda content: content,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".zst": lambda content: pa.compress(content, codec="zstd", asbytes=True),
}
SOURCES = ["A dog.", "Two dogs,\u2028still one line\x0b\x85\x1c.", "", 'She said "no"', " 狗 \x01\r."]
TARGETS = ["Ein Hund.", "Zwei Hunde.", "leer", "„nein“", "x"]


def file(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)


def text(path: Path, *lines: str) -> str:
    return file(path, "".join(line + "\n" for line in lines).encode())


def error_of(*specs: str) -> str:
    with pytest.raises(DataError) as caught:
        list(Corpus(*specs) if len(specs) == 2 else read_lines(*specs))
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("ending", COMPRESS)
def test_text_files(tmp_path: Path, ending: str) -> None:
    pack = COMPRESS[ending]
    source = file(tmp_path / f"source.en{ending}", pack("\n".join([*SOURCES, ""]).encode()))
    target = file(tmp_path / f"target.de{ending}", pack("\n".join(TARGETS).encode()))  # no "\n" at the end
    corpus = Corpus(source, target)
    expected = [Pair(i + 1, s, t) for i, (s, t) in enumerate(zip(SOURCES, TARGETS, strict=True))]
    assert list(corpus) == expected
    assert list(corpus) == expected  # once more
    assert list(read_lines(source)) == SOURCES


@pytest.mark.parametrize("ending", COMPRESS)
def test_tsv(tmp_path: Path, ending: str) -> None:
    rows = "".join(f"{s}\t7\t{t}\n" for s, t in zip(SOURCES, TARGETS, strict=True))
    bare = file(tmp_path / f"bare.tsv{ending}", COMPRESS[ending](rows.encode()))
    headed = file(tmp_path / f"headed.tsv{ending}", COMPRESS[ending](("en\tn\tde\n" + rows).encode()))
    by_number, by_name = Corpus(f"{bare}#1", f"{bare}#3"), Corpus(f"{headed}#en", f"{headed}#de")
    assert list(by_number) == list(by_name)
    assert [(pair.source, pair.target) for pair in by_number] == list(zip(SOURCES, TARGETS, strict=True))
    assert list(read_lines(f"{headed}#de")) == TARGETS


QUOTED = ["A dog.", 'She said "no", and\tleft;', "two\nlines\n", "", "a,b;c\td", '"']


@pytest.mark.parametrize("ending", [*COMPRESS, ".GZ"])
@pytest.mark.parametrize("dialect", ["excel", "excel-tab", "unix"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_csv(tmp_path: Path, ending: str, dialect: str, separator: str) -> None:
    pack = COMPRESS[ending.lower()]
    written = io.StringIO()
    writer = csv.writer(written, dialect, delimiter=separator)
    writer.writerow(["en", "n", "de"])
    writer.writerows((text, 7, text[::-1]) for text in QUOTED)
    path = file(tmp_path / f"pairs.csv{ending}", pack(b"\xef\xbb\xbf" + written.getvalue().encode()))
    pairs = [(pair.source, pair.target) for pair in Corpus(f"{path}#en", f"{path}#de")]
    assert pairs == [(text, text[::-1]) for text in QUOTED]
    assert list(read_lines(f"{path}#3")) == ["de", *(text[::-1] for text in QUOTED)]


def test_a_quoted_tsv_is_read_right_as_csv(tmp_path: Path) -> None:
    content = '"en"\t"de"\n"She said ""no""."\t"Nein."\n'
    tsv, named = text(tmp_path / "a.tsv", content[:-1]), text(tmp_path / "a.csv", content[:-1])
    assert list(Corpus(f"{tsv}#1", f"{tsv}#2"))[1] == Pair(2, '"She said ""no""."', '"Nein."')
    assert list(Corpus(f"{named}#en", f"{named}#de")) == [Pair(1, 'She said "no".', "Nein.")]


@pytest.mark.parametrize(
    ("rows", "line", "says"),
    [
        (["a,b", '"two\nlines",c', "one, two,three"], 4, "has 3 columns, and the first row 2"),
        (["a,b", '"two\nlines",c', ""], 4, "has 1 columns"),
        (["a,b", '"never closed,c', "d,e"], 2, "unexpected end of data"),
        (["a,b", "c,d", '"half" quoted,e'], 3, "not valid CSV"),
        (["a,b", "c,\0"], 2, "NUL"),
    ],
)
def test_bad_csv_is_located(tmp_path: Path, rows: list[str], line: int, says: str) -> None:
    path = text(tmp_path / "a.csv", *rows)
    message = error_of(f"{path}#1", f"{path}#2")
    assert f"{path}:{line}: " in message
    assert says in message


def test_a_field_of_a_csv_may_be_a_document(tmp_path: Path) -> None:
    document = "long " * 30_000
    path = text(tmp_path / "a.csv", f'"{document}",c')
    assert list(Corpus(f"{path}#1", f"{path}#2")) == [Pair(1, document, "c")]


def test_a_csv_of_one_column(tmp_path: Path) -> None:
    path = text(tmp_path / "a.csv", "one", "", '"two, three"')
    assert list(read_lines(f"{path}#1")) == ["one", "", "two, three"]


def test_tables_are_not_read_as_lines(tmp_path: Path) -> None:
    path = text(tmp_path / "a.csv", "en,de", "a,b")
    assert f"{path}#COLUMN, by its number (1 to 2)" in error_of(path)
    assert "'en', 'de'" in error_of(path)
    for name in ("a.json", "A.JSON", "a.json.gz"):
        path = file(tmp_path / name, COMPRESS[".gz" if name.endswith("gz") else ""](b'[{"en": "a"}]\n'))
        for spec in (path, f"{path}#en"):
            assert "jq -c '.[]'" in error_of(spec)
            assert ".jsonl" in error_of(spec)


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz", "a.tsv#1", "a.csv#1", "a.jsonl#en"])
def test_other_encodings_are_not_read_as_text(tmp_path: Path, name: str) -> None:
    path = tmp_path / name.partition("#")[0]
    pack = COMPRESS.get(path.suffix, COMPRESS[""])
    content = 'en\n{"en": "a"}\n'
    for encoding in ("utf-16", "utf-16-le", "utf-16-be"):
        path.write_bytes(pack(content.encode(encoding)))
        message = error_of(str(tmp_path / name))
        assert f"{path}:1: " in message
        assert "iconv -f UTF-16" in message
    path.write_bytes(pack(content.replace("\n", "\r").encode()))
    assert f"{path}:1: its lines end in CR alone" in error_of(str(tmp_path / name))


@pytest.mark.parametrize("ending", COMPRESS)
def test_jsonl(tmp_path: Path, ending: str) -> None:
    rows = [{"translation": {"en": s, "de": t}, "a.b": s, "n": 1} for s, t in zip(SOURCES, TARGETS, strict=True)]
    content = "".join(json.dumps(row, ensure_ascii=i % 2 == 0) + "\n" for i, row in enumerate(rows)).encode()
    path = file(tmp_path / f"pairs.jsonl{ending}", COMPRESS[ending](content))
    corpus = Corpus(f"{path}#translation.en", f"{path}#translation.de")
    assert [(pair.source, pair.target) for pair in corpus] == list(zip(SOURCES, TARGETS, strict=True))
    assert list(read_lines(f"{path}#a.b")) == SOURCES  # a key with a dot in its name


def test_parquet(tmp_path: Path) -> None:
    nested = [{"en": s, "de": t} for s, t in zip(SOURCES, TARGETS, strict=True)]
    path = tmp_path / "pairs.parquet"
    pq.write_table(pa.table({"en": SOURCES, "de": TARGETS, "translation": nested}), path, row_group_size=2)
    flat, deep = Corpus(f"{path}#en", f"{path}#de"), Corpus(f"{path}#translation.en", f"{path}#translation.de")
    assert list(flat) == list(deep)
    assert [(pair.source, pair.target) for pair in flat] == list(zip(SOURCES, TARGETS, strict=True))
    assert list(read_lines(f"{path}#de")) == TARGETS


def test_sides_may_come_from_different_formats(tmp_path: Path) -> None:
    source = text(tmp_path / "a.txt", "one", "two")
    target = text(tmp_path / "b.tsv", "x\teins", "y\tzwei")
    assert list(Corpus(source, f"{target}#2")) == [Pair(1, "one", "eins"), Pair(2, "two", "zwei")]


def test_windows_line_ends_and_byte_order_mark(tmp_path: Path) -> None:
    path = file(tmp_path / "a.txt", b"\xef\xbb\xbfone\r\ntwo\rstill two\r\n\r\n\xef\xbb\xbffour")
    assert list(read_lines(path)) == ["one", "two\rstill two", "", "\ufefffour"]
    table = file(tmp_path / "a.tsv", b"\xef\xbb\xbfen\tde\r\none\teins\r\n")
    assert list(Corpus(f"{table}#en", f"{table}#de")) == [Pair(1, "one", "eins")]


def test_one_table_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, asked, opened = text(tmp_path / "a.tsv", "one\teins"), [], compression.opened
    monkeypatch.setattr(compression, "opened", lambda name: asked.append(name) or opened(name))
    assert list(Corpus(f"{path}#1", f"{path}#2")) == [Pair(1, "one", "eins")]
    assert asked == [path]


def test_an_existing_file_is_that_file_whatever_its_name(tmp_path: Path) -> None:
    path = text(tmp_path / "c#2.txt", "one")
    assert list(read_lines(path)) == ["one"]
    table = text(tmp_path / "c#.tsv", "one\ttwo")
    assert list(read_lines(f"{table}#2")) == ["two"]


def test_reading_is_lazy(tmp_path: Path) -> None:
    path = file(tmp_path / "a.txt", b"fine\n\xff\n")
    lines = read_lines(path)
    assert next(lines) == "fine"


def test_different_lengths_give_both_counts(tmp_path: Path) -> None:
    three, five = text(tmp_path / "3.txt", *"abc"), text(tmp_path / "5.txt", *"abcde")
    assert f"{three} has 3 lines, {five} has 5" in error_of(three, five)
    assert f"{five} has 5 lines, {three} has 3" in error_of(five, three)


def test_invalid_utf8_is_located(tmp_path: Path) -> None:
    for start in (b"", b"\xef\xbb\xbf"):
        path = file(tmp_path / "a.txt", start + "ä\n".encode() + b"abc\xe4def\n")
        message = error_of(path)
        assert f"{path}:2: " in message
        assert f"0xE4 at offset {len(start) + 6} " in message
    path = file(tmp_path / "b.txt", b"\xef\xbb\xbfa\xff\n")
    assert f"{path}:1: " in error_of(path)
    assert "offset 4 " in error_of(path)


@pytest.mark.unix
@pytest.mark.parametrize("name", ["a" * 5000, "a" * 5000 + "#1", "*" + "a" * 5000, "a" * 5000 + "/*.en"])
def test_a_name_that_no_file_can_have(name: str) -> None:
    assert "no such file" in error_of(name)


def test_files_that_are_not_there_or_not_files(tmp_path: Path) -> None:
    assert "no such file" in error_of(str(tmp_path / "a.txt"))
    assert "no such file" in error_of(str(tmp_path / "a.tsv#1"))
    assert "directory" in error_of(str(tmp_path))
    there = text(tmp_path / "there.txt", "a")
    with pytest.raises(DataError, match="no such file"):
        Corpus(there, str(tmp_path / "not"))  # at once
    assert "regular file" in error_of("/dev/null")


@pytest.mark.parametrize(
    "name", ["a.txt", "a.tsv#1", "a.tsv#en", "a.csv#1", "a.csv#en", "a.jsonl#en", "a.txt.gz", "a.txt.zst"]
)
def test_empty_files(tmp_path: Path, name: str) -> None:
    path = tmp_path / name.partition("#")[0]
    path.write_bytes(COMPRESS[path.suffix](b"") if path.suffix in COMPRESS else b"")
    assert "empty" in error_of(str(tmp_path / name))
    full = text(tmp_path / "full.txt", "a")
    assert "empty" in error_of(full, str(tmp_path / name))


def test_a_table_with_a_header_alone_is_empty(tmp_path: Path) -> None:
    path = text(tmp_path / "a.tsv", "en\tde")
    assert "empty" in error_of(f"{path}#en", f"{path}#de")
    empty = tmp_path / "a.parquet"
    pq.write_table(pa.table({"en": pa.array([], pa.string())}), empty)
    assert "empty" in error_of(f"{empty}#en")


def test_missing_columns_name_those_that_exist(tmp_path: Path) -> None:
    table = text(tmp_path / "a.tsv", "en\tde", "a\tb", "c")
    assert "'en', 'de'" in error_of(f"{table}#fr")
    assert f"{table}:3: has 1 of the 2 columns" in error_of(f"{table}#de")
    assert "count from 1" in error_of(f"{table}#0")
    assert "do not mix" in error_of(f"{table}#1", f"{table}#de")
    lines = text(tmp_path / "a.jsonl", '{"t": {"en": "a"}, "x": "b"}')
    assert f"{lines}:1: no field 'de'; there are 't', 'x'" in error_of(f"{lines}#de")
    assert "there are 'en'" in error_of(f"{lines}#t.de")
    assert "there is a str" in error_of(f"{lines}#x.y")
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"en": ["a"], "n": [1]}), path)
    assert "'en', 'n'" in error_of(f"{path}#de")


def test_a_tab_within_a_field_does_not_shift_the_columns(tmp_path: Path) -> None:
    table = text(tmp_path / "a.tsv", "en\tde", "a dog\tein Hund", "a stray\ttab\tein Tabulator")
    for source, target in (("en", "de"), ("1", "2")):
        message = error_of(f"{table}#{source}", f"{table}#{target}")
        assert message.startswith(f"{table}:3: has 3 columns, and the first row 2")
    assert "cut -f 1-2" in message
    fewer = text(tmp_path / "b.tsv", "en\tde\tnote", "a\tx\tshort", "b\ty")
    assert list(read_lines(f"{fewer}#de")) == ["x", "y"]  # the last may be missing where nobody asks for it


def test_a_name_that_two_columns_have_is_no_name(tmp_path: Path) -> None:
    rows = ["text,text,label", "hello,hallo,x"]
    for path in (text(tmp_path / "a.csv", *rows), text(tmp_path / "a.tsv", *(row.replace(",", "\t") for row in rows))):
        assert "2 columns have the name 'text'" in error_of(f"{path}#text", f"{path}#text")
        assert list(read_lines(f"{path}#label")) == ["x"]
    table = tmp_path / "a.parquet"
    pq.write_table(pa.Table.from_arrays([pa.array(["a"])] * 3, ["text", "text", "label"]), table)
    assert "2 columns have the name 'text'" in error_of(f"{table}#text")
    assert list(read_lines(f"{table}#label")) == ["a"]


def test_values_that_are_not_strings(tmp_path: Path) -> None:
    for value, kind in (
        ("1", "a number"),
        ("null", "null"),
        ('["a"]', "a list"),
        ("true", "a truth"),
        ("{}", "object"),
    ):
        path = text(tmp_path / "a.jsonl", '{"en": "fine"}', f'{{"en": {value}}}')
        message = error_of(f"{path}#en")
        assert f"{path}:2: " in message
        assert kind in message
    path = text(tmp_path / "s.jsonl", '{"en": "\\ud83d\\ude00"}', '{"en": "\\ud83d"}')
    assert f"{path}:2: " in error_of(f"{path}#en")
    table = tmp_path / "a.parquet"
    pq.write_table(pa.table({"en": ["a", None], "n": [1, 2]}), table)
    assert "row 2" in error_of(f"{table}#en")
    assert error_of(f"{table}#n").endswith("is a number, not a string: convert the whole field to strings")
    assert error_of(f"{table}#en").endswith("leave such rows out")
    pq.write_table(pa.table({"b": [b"a"], "d": [date(2020, 1, 1)]}), table)
    assert "is bytes, not" in error_of(f"{table}#b")
    assert "is a date, not" in error_of(f"{table}#d")


@pytest.mark.parametrize("bad", ["", "{", "[", "nonsense", '{"en": "a"', "[" * 100_000])
def test_bad_json_is_located(tmp_path: Path, bad: str) -> None:
    path = text(tmp_path / "a.jsonl", '{"en": "fine"}', bad)
    assert f"{path}:2: " in error_of(f"{path}#en")


def test_bad_json_is_located_within_its_line(tmp_path: Path) -> None:
    path = text(tmp_path / "a.jsonl", '{"en": "a"}', '{"en": a}')
    assert error_of(f"{path}#en").endswith("at character 8")
    assert "blank" in error_of(text(tmp_path / "b.jsonl", '{"en": "a"}', " ") + "#en")


@pytest.mark.parametrize("ending", [".gz", ".xz", ".zst"])
@pytest.mark.parametrize("harm", ["cut", "flip", "other", "more"])
def test_broken_compression(tmp_path: Path, ending: str, harm: str) -> None:
    whole = COMPRESS[ending]("".join(f"line {i * 7919 % 1000}\n" for i in range(5000)).encode())
    middle = len(whole) // 2
    broken = {
        "cut": whole[:middle],
        "flip": whole[:middle] + bytes(byte ^ 0xFF for byte in whole[middle : middle + 40]) + whole[middle + 40 :],
        "other": whole[:6] + b"and nothing like it\n",
        "more": whole + b"and nothing like it\n",
    }[harm]
    path = file(tmp_path / f"a.txt{ending}", broken)
    assert path in error_of(path)


@pytest.mark.parametrize("ending", [".gz", ".xz", ".zst"])
def test_parts_that_were_compressed_alone_are_one_file(tmp_path: Path, ending: str) -> None:
    """`cat a.gz b.gz`; xz may have zeros between them, in fours, and pzstd begins with a frame to be skipped."""
    lines = [f"line {i * 7919 % 1000}" for i in range(5000)]
    pack = COMPRESS[ending]
    first, second = (pack("".join(f"{line}\n" for line in part).encode()) for part in (lines[:3000], lines[3000:]))
    between = {".xz": b"\0" * 20_000, ".zst": b"\x50\x2a\x4d\x18\x04\0\0\0abcd"}.get(ending, b"")
    before = between if ending == ".zst" else b""
    path = file(tmp_path / f"a{ending}", before + first + between + pack(b"") + second + between)
    assert list(read_lines(path)) == lines


@pytest.mark.parametrize("ending", COMPRESS)
def test_a_wrong_name_does_not_matter(tmp_path: Path, ending: str) -> None:
    content = COMPRESS[ending](b"a\nb\n")
    for name in ("a", "a.en", "a.en.gz", "a.en.xz", "a.en.zst"):
        assert list(read_lines(file(tmp_path / name, content))) == ["a", "b"]


@pytest.mark.parametrize("name", ["a.tmx", "a.sgm.gz", "A.XML", "a.xliff", "en.conllu"])
def test_formats_that_are_not_lines_of_text_are_named(tmp_path: Path, name: str) -> None:
    path = text(tmp_path / name, "<seg>a</seg>")
    assert error_of(path).startswith(f"{path}: ")


def test_broken_parquet(tmp_path: Path) -> None:
    path = file(tmp_path / "a.parquet", b"PAR1 nothing like it")
    assert path in error_of(f"{path}#en")


def test_fields_go_with_tables_alone(tmp_path: Path) -> None:
    path = text(tmp_path / "a.txt", "a")
    assert "only .tsv, .csv, .jsonl and .parquet" in error_of(f"{path}#1")
    for name in ("a.tsv", "a.csv", "a.jsonl", "a.parquet", "A.TSV", "A.CSV"):
        table = text(tmp_path / name, "a")
        assert f"{table}#" in error_of(table)
    assert "unpack" in error_of(text(tmp_path / "a.parquet.gz", "a") + "#en")


@pytest.mark.parametrize("ending", COMPRESS)
def test_shards_are_read_as_one_file(tmp_path: Path, ending: str) -> None:
    for i, rows in enumerate([range(3), range(3, 4), range(4, 10)]):
        for side in ("en", "de"):
            content = "".join(f"{side} {row}\n" for row in rows).encode()
            file(tmp_path / f"part-{i:02}.{side}{ending}", COMPRESS[ending](content))
    (tmp_path / "part-99.en").mkdir()  # no file
    corpus = Corpus(f"{tmp_path}/part-*.en{ending}", f"{tmp_path}/part-??.de{ending}")
    assert list(corpus) == [Pair(i + 1, f"en {i}", f"de {i}") for i in range(10)]
    assert list(read_lines(f"{tmp_path}/part-0[02].de{ending}")) == [f"de {i}" for i in (0, 1, 2, 4, 5, 6, 7, 8, 9)]
    before = corpus.fingerprint()
    file(tmp_path / f"part-01.en{ending}", COMPRESS[ending](b"something else\n"))
    assert corpus.fingerprint() != before


def test_shards_of_a_table(tmp_path: Path) -> None:
    for i in range(3):
        pq.write_table(pa.table({"en": [f"a{i}", "b"], "de": [f"x{i}", "y"]}), tmp_path / f"{i}.parquet")
    corpus = Corpus(f"{tmp_path}/*.parquet#en", f"{tmp_path}/*.parquet#de")
    pairs = [(f"a{i}", f"x{i}") if first else ("b", "y") for i in range(3) for first in (True, False)]
    assert [(pair.source, pair.target) for pair in corpus] == pairs


def test_shards_that_do_not_match(tmp_path: Path) -> None:
    for i in range(3):
        text(tmp_path / f"{i}.en", "a", "b")
        text(tmp_path / f"{i}.de", "x", "y")
    text(tmp_path / "1.de", "x")
    message = error_of(f"{tmp_path}/*.en", f"{tmp_path}/*.de")
    assert f"{tmp_path}/1.en has 2 lines, {tmp_path}/1.de has 1" in message
    assert "1.en: no file is left" in error_of(f"{tmp_path}/*.en", f"{tmp_path}/0.de")
    assert "(source files: 1, target files: 3)" in error_of(f"{tmp_path}/0.en", f"{tmp_path}/*.de")
    assert "no file that matches" in error_of(f"{tmp_path}/*.fr")
    assert f"write a pattern: {tmp_path}/*.en" in error_of(str(tmp_path))
    (tmp_path / "1.en").write_bytes(b"")
    assert f"{tmp_path}/1.en: is empty" in error_of(f"{tmp_path}/*.en")
    (tmp_path / "2.en").write_bytes(b"a\n\xff\n")
    (tmp_path / "1.en").write_bytes(b"a\n")
    assert f"{tmp_path}/2.en:2: " in error_of(f"{tmp_path}/*.en")


def shards(folder: Path, ending: str, *names: str) -> str:
    """A file `NAME + ENDING` of three lines for each name; gives the pattern of them all."""
    for name in names:
        text(folder / f"{name}{ending}", *(f"{name} {line}" for line in "abc"))
    return f"{folder}/*{ending}"


def test_shards_belong_together_by_name(tmp_path: Path) -> None:
    """By rank, these gave nine pairs, three of them wrong."""
    source, target = shards(tmp_path, ".en", "01", "02", "04"), shards(tmp_path, ".de", "01", "03", "04")
    message = error_of(source, target)
    assert f"{tmp_path}/02.en and {tmp_path}/03.de" in message
    assert "'02' in the first and '03' in the second" in message
    (tmp_path / "03.de").unlink()
    assert f"{tmp_path}/02.en and {tmp_path}/04.de" in error_of(source, target)
    (tmp_path / "02.en").unlink()
    shards(tmp_path, ".de", "05")
    assert f"{tmp_path}/05.de: no file is left to pair it with" in error_of(source, target)
    (tmp_path / "05.de").unlink()
    assert [pair.source for pair in Corpus(source, target)] == [pair.target for pair in Corpus(source, target)]


def test_what_follows_a_wildcard_does_not_decide_the_order(tmp_path: Path) -> None:
    """ "1.en" is before "10.en", and "10_de" before "1_de"."""
    names = [str(number) for number in range(1, 12)]
    pairs = list(Corpus(shards(tmp_path, ".en", *names), shards(tmp_path, "_de", *names)))
    assert len(pairs) == 33
    assert all(pair.source == pair.target for pair in pairs)


@pytest.mark.parametrize(
    ("source", "target", "agree"),
    [
        ("??.en", "*.de", True),
        ("[0-9]*.en", "0?.de", False),
        ("0*.en", "0?.de", True),
        ("**.en", "[!a][!a].de", True),
        ("*[1-2].en", "?[12].de", True),
        ("0*.*n", "0*.*e", False),
        ("0*.[ed]n", "0*.de", False),
        ("01.en", "02.d*", True),  # one side is named, so there is nothing that could differ
    ],
)
def test_runs_of_wildcards_are_compared(tmp_path: Path, source: str, target: str, agree: bool) -> None:
    names = ["02"] if target == "02.d*" else ["01", "02"]
    shards(tmp_path, ".en", "01", "02")
    shards(tmp_path, ".de", *names)
    if agree:
        assert len(list(Corpus(f"{tmp_path}/{source}", f"{tmp_path}/{target}"))) == 3 * len(names)
    else:
        assert f"{tmp_path}/01.en and {tmp_path}/01.de do not belong together" in error_of(
            f"{tmp_path}/{source}", f"{tmp_path}/{target}"
        )


def test_no_wildcard_matches_a_leading_dot(tmp_path: Path) -> None:
    """macOS leaves `._NAME` beside NAME in archives."""
    shards(tmp_path, ".en", "01")
    (tmp_path / "._01.en").write_bytes(b"\0\5\26\7")
    for name in ("*.en", "?*.en", "[!a]*1.en"):
        assert [pair.source for pair in Corpus(f"{tmp_path}/{name}", f"{tmp_path}/01.en")] == ["01 a", "01 b", "01 c"]
    assert "no file that matches" in error_of(f"{tmp_path}/*_01.en")
    assert "._01.en:1: has a NUL byte" in error_of(f"{tmp_path}/._*.en", f"{tmp_path}/01.en")


def test_patterns_that_match_nothing(tmp_path: Path) -> None:
    shards(tmp_path, ".en", "01")
    for name in ("[z-a].en", "*.fr", "nowhere/*.en"):
        assert "no file that matches" in error_of(f"{tmp_path}/{name}")
    assert "no such file" in error_of(f"{tmp_path}/0[1.en")  # not a pattern: the bracket is never closed


def test_the_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    first, second = text(tmp_path / "a.txt", "a"), text(tmp_path / "b.txt", "b")
    before = Corpus(first, second).fingerprint()
    assert Corpus(second, first).fingerprint() != before
    moved = text(tmp_path / "elsewhere.txt", "a")
    assert Corpus(moved, second).fingerprint() == before
    text(tmp_path / "a.txt", "A")
    assert Corpus(first, second).fingerprint() != before
    table = text(tmp_path / "t.tsv", "a\tb\tc")
    assert Corpus(f"{table}#1", f"{table}#2").fingerprint() != Corpus(f"{table}#1", f"{table}#3").fingerprint()


class Rows(list):
    _fingerprint = "f00d"


def test_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load_dataset(name: str, config: str | None, split: str) -> Rows:
        asked.append((name, config, split))
        if name == "no/such":
            raise RuntimeError("cannot reach it\nat all")
        return Rows([{"en": "a", "translation": {"en": "a", "de": "b"}}])

    library = ModuleType("datasets")
    library.load_dataset = load_dataset
    monkeypatch.setitem(sys.modules, "datasets", library)
    corpus = Corpus("hub:wmt/wmt14/de-en/train#translation.en", "hub:wmt/wmt14/de-en/train#translation.de")
    assert list(corpus) == [Pair(1, "a", "b")]
    assert len(corpus.fingerprint()) == 64
    assert list(read_lines("hub:some/thing/validation#en")) == ["a"]
    assert list(read_lines("hub:thing/train#en")) == ["a"]
    assert asked[0] == ("wmt/wmt14", "de-en", "train")
    assert asked[-2:] == [("some/thing", None, "validation"), ("thing", None, "train")]
    assert "no/such" in error_of("hub:no/such/train#en")
    assert "'en', 'translation'" in error_of("hub:some/thing/train#fr")
    for spec in ("hub:thing#en", "hub:some/thing/train"):
        assert "write it as hub:" in error_of(spec)


def test_hub_without_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtra, match=r"pip install 'zhuyi\[hub\]'"):
        list(read_lines("hub:some/thing/train#en"))


def lines_of(running: Text) -> list[str]:
    return [pair.target for pair in running]


@pytest.mark.parametrize("ending", COMPRESS)
def test_running_text_is_lines_with_their_breaks(tmp_path: Path, ending: str) -> None:
    place = file(tmp_path / f"a.txt{ending}", COMPRESS[ending](b"one\r\n\n  two \rthree\n\tlast"))
    assert lines_of(Text(place)) == ["one\n", "\n", "  two \rthree\n", "\tlast\n"]
    assert [(pair.line, pair.source) for pair in Text(place, 1, 3)] == [(2, ""), (3, "")]
    assert lines_of(Text(place, 1, 3)) == ["\n", "  two \rthree\n"]


def test_files_of_running_text_follow_each_other(tmp_path: Path) -> None:
    text(tmp_path / "part-1.txt", "a", "b")
    file(tmp_path / "part-2.txt", b"c")
    assert lines_of(Text(str(tmp_path / "part-*.txt"))) == ["a\n", "b\n", "c\n"]


def test_a_field_of_a_table_is_a_document_of_lines(tmp_path: Path) -> None:
    documents = ["a\n\n b\r\n", "", "c\u2028d"]
    rows = "".join(json.dumps({"text": document}) + "\n" for document in documents)
    place = file(tmp_path / "a.jsonl", rows.encode())
    pq.write_table(pa.table({"text": documents}), tmp_path / "a.parquet")
    for spec in (f"{place}#text", f"{tmp_path / 'a.parquet'}#text"):
        assert lines_of(Text(spec)) == ["a\n", "\n", " b\r\n", "\n", "\n", "c\u2028d\n"]


def test_long_lines_of_running_text_are_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_LINE_CHARACTERS", 4)
    place = text(tmp_path / "a.txt", "abcdefghij", "abcd", "abc")
    assert lines_of(Text(place)) == ["abcd", "efgh", "ij\n", "abcd", "\n", "abc\n"]


@pytest.mark.parametrize(("share", "dev"), [(0.5, ["ccc\n", "d\n"]), (0.4, ["d\n"]), (0.16, ["d\n"]), (0.99, None)])
def test_the_dev_part_begins_at_the_first_line_within_the_share(
    tmp_path: Path, share: float, dev: list[str] | None
) -> None:
    running = Text(text(tmp_path / "a.txt", "aaaa", "b", "ccc", "d"))  # 5 + 2 + 4 + 2 characters
    first = running.split_at(share)
    found = lines_of(Text(running.target, first=first))
    assert lines_of(Text(running.target, end=first)) + found == lines_of(running)
    assert found == (dev or lines_of(running)[1:])


def test_a_text_without_a_line_to_leave_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no line begins in the last 0\.1 of its characters .* data\.dev_text, or set"):
        Text(text(tmp_path / "a.txt", "a", "b" * 100)).split_at(0.1)


def test_what_running_text_is_made_of_tells_it_from_others(tmp_path: Path) -> None:
    one, other = text(tmp_path / "a.txt", "a", "b"), text(tmp_path / "b.txt", "a", "c")
    again = text(tmp_path / "c.txt", "a", "b")
    assert Text(one).fingerprint() == Text(again).fingerprint()
    assert len({Text(one).fingerprint(), Text(other).fingerprint(), Text(one, 1).fingerprint()}) == 3
