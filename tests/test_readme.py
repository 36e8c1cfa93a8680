"""What the documents say is so: their commands run, their code runs, their links lead somewhere."""

import random
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import notebooks
import pytest
import typer.main
from command_line import zhuyi as run
from foreign_models import make_multilingual, make_opus_mt

from zhuyi import cli
from zhuyi.data.compression import packed
from zhuyi.version import __version__

ROOT = Path(__file__).parents[1]
ENGLISH, CHINESE = ROOT / "README.md", ROOT / "README.zh.md"
ARCHITECTURE = ROOT / "docs/architecture.md"
GUIDES = [
    ROOT / f"docs/{name}.md" for name in ("start", "train", "finetune", "import", "use", "export", "look", "engine")
]
SERVING = ROOT / "docs/serving.md"  # which tests/serve/test_server.py runs
COURSE = notebooks.chapters(ROOT / "docs/course")
BOTH_LANGUAGES = [
    (ENGLISH, CHINESE),
    *((guide, ROOT / "docs/zh" / guide.name) for guide in (*GUIDES, SERVING)),
    *((chapter, ROOT / "docs/zh/course" / chapter.name) for chapter in COURSE),
]
DOCUMENTS = [*(page for pages in BOTH_LANGUAGES for page in pages), ROOT / "CONTRIBUTING.md", ARCHITECTURE]
GROUP: Any = typer.main.get_command(cli.app)

READY = "pip install -c constraints.txt -e . && zhuyi demo"
TESTED = "pip install -c constraints.txt -e '.[test]' && pytest -n auto"

every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
both_languages = pytest.mark.parametrize(("english", "chinese"), BOTH_LANGUAGES, ids=lambda path: path.name)


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", document.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def commands(document: Path) -> list[str]:
    return [line for block in blocks(document, "sh") for line in block.splitlines()]


def zhuyi_commands(document: Path) -> list[str]:
    return [line for line in commands(document) if line.startswith("zhuyi ")]


# The command line


def test_the_two_commands_stand_in_both_readmes() -> None:
    for readme in (ENGLISH, CHINESE):
        assert [line for line in commands(readme) if line in (READY, TESTED)] == [READY, TESTED]


@every_document
def test_every_command_is_one_that_exists(document: Path) -> None:
    for line in zhuyi_commands(document):
        _, command, *arguments = shlex.split(re.split(r" [<>|] ", line)[0])
        with GROUP.commands[command].make_context(command, arguments):  # parses, and does not run
            pass


@every_document
def test_every_command_and_option_named_in_the_text_exists(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    options = {name for command in GROUP.commands.values() for parameter in command.params for name in parameter.opts}
    assert set(re.findall(r"`(--[\w-]+)`", text)) <= options | {"--help"}
    assert set(re.findall(r"`zhuyi ([a-z]+)", text)) <= set(GROUP.commands)


def test_the_table_of_commands_is_complete() -> None:
    for readme in (ENGLISH, CHINESE):
        assert re.findall(r"^\| `zhuyi (\w+)` \|", readme.read_text(encoding="utf-8"), re.MULTILINE) == list(
            GROUP.commands
        )


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the files that the README's commands speak of."""
    rng = random.Random(0)
    for part, count in (("train", 60), ("dev", 5), ("test", 4), ("my", 20), ("my-dev", 4)):
        lines = [" ".join(rng.choices(["a", "dog", "cat", "runs", "sleeps"], k=4)) for _ in range(count)]
        (tmp_path / f"{part}.en").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        (tmp_path / f"{part}.de").write_text("".join(f"{line.upper()}\n" for line in lines), encoding="utf-8")
        (tmp_path / f"{part}.kind").write_text("".join(f"{line.split()[0]}\n" for line in lines), encoding="utf-8")
    (tmp_path / "shards").mkdir()
    for name in ("1.zst", "2.zst"):
        with (tmp_path / "shards" / name).open("wb") as file, packed(file, ".zst") as write:
            write((tmp_path / "test.en").read_bytes())
    (tmp_path / "my.nds").write_bytes((tmp_path / "my.de").read_bytes())
    make_opus_mt(tmp_path / "opus-mt-en-de")
    make_multilingual(tmp_path / "nllb-200-distilled-600M", "nllb")
    monkeypatch.chdir(tmp_path)
    return tmp_path


SHORT = (
    *("training.steps=2", "text.vocabulary=300"),
    *("model.width=32", "model.feed_forward=32", "model.encoder_layers=1", "model.decoder_layers=1"),
    "model.max_length=64",
)
COMPARED = (
    "model.feed_forward=256",  # so that parameters can be made equal
    "decoding.beam=1",
)


@pytest.mark.slow
@pytest.mark.unix
def test_the_commands_run_one_after_another_and_then_the_python_of_the_guides(workplace: Path) -> None:
    """Those of the README and then of the guides. The test redirects `<` and `>` itself, and makes training short."""
    for line in [line for document in (ENGLISH, *GUIDES) for line in zhuyi_commands(document)]:
        words = shlex.split(line)[1:]
        files = {sign: words[words.index(sign) + 1] for sign in ("<", ">") if sign in words}
        arguments = words[: next((i for i, word in enumerate(words) if word in "<>"), None)]
        if arguments[0] in ("train", "compare"):
            short = SHORT[:1] if {"opus-en-de", "nllb"} & {*arguments} else SHORT  # their architecture is what it is
            arguments += [word for setting in short for word in ("--set", setting)]
        if arguments[0] == "compare":
            arguments += [word for setting in COMPARED for word in ("--set", setting)] + ["--seeds", "1"]
        outcome = run(*arguments, stdin=(workplace / files["<"]).read_bytes() if "<" in files else b"")
        assert outcome.code == 0, f"{line}\n{outcome.err}"
        if ">" in files:
            (workplace / files[">"]).write_text(outcome.out, encoding="utf-8")
        if "<" in files and "--n-best" not in arguments:
            assert len(outcome.lines) == 4
    for code in [code for guide in GUIDES for code in blocks(guide, "python")]:
        exec(code, {})


@pytest.mark.slow
@pytest.mark.unix
def test_the_python_of_the_readme_runs(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _ = blocks(ENGLISH, "python")
    assert '"training.minutes=30"' in code
    exec(code.replace('"training.minutes=30"', ", ".join(map(repr, SHORT))), {})
    assert "Score(name='chrf'" in capsys.readouterr().out


@pytest.mark.slow
def test_the_loop_of_ones_own_runs(capsys: pytest.CaptureFixture[str]) -> None:
    _, code = blocks(ENGLISH, "python")
    for long, short in (('"width": 64', '"width": 16, "feed_forward": 16'), ('"steps": 60', '"steps": 20')):
        assert long in code
        code = code.replace(long, short)
    exec(code, {})
    assert "update 20: " in capsys.readouterr().out


# Both languages, links, the order of imports


def bare(code: str) -> list[str]:
    """Code without its comments, which are in the document's own language."""
    return [re.sub(r"\s*# .*", "", line) for line in code.splitlines() if not line.startswith("#")]


@pytest.mark.parametrize("language", ["sh", "python", "py", "text"])
@both_languages
def test_both_languages_have_the_same_blocks(english: Path, chinese: Path, language: str) -> None:
    ours, theirs = ([bare(block) for block in blocks(document, language)] for document in (english, chinese))
    assert ours or english != ENGLISH
    assert ours == theirs


@pytest.mark.parametrize("pattern", [r"^#+ ", r"^\|", r"^:[\w-]+:"])
@both_languages
def test_both_languages_have_the_same_headings_tables_and_included_sections(
    english: Path, chinese: Path, pattern: str
) -> None:
    ours, theirs = (
        re.findall(pattern, document.read_text(encoding="utf-8"), re.MULTILINE) for document in (english, chinese)
    )
    assert ours == theirs


@pytest.mark.parametrize("pattern", [r"`(test_\w+)`", r"\]\((?!README)([^)]+)\)", r"<!-- (/?\w+) -->"])
def test_both_readmes_have_the_same_parts(pattern: str) -> None:
    """Tests, links, and the blocks that scripts fill in or guides include."""
    ours, theirs = (
        re.findall(pattern, readme.read_text(encoding="utf-8").replace("docs/zh/", "docs/"), re.MULTILINE)
        for readme in (ENGLISH, CHINESE)
    )
    assert ours
    assert ours == theirs


@every_document
def test_every_link_leads_to_a_file_and_every_name_is_defined_in_it(document: Path) -> None:
    text = re.sub(r"^```.*?^```$", "", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    for label, address, after in re.findall(r"\[([^\]]*)\]\(([^)]+)\)(?: · `(\w+)`)?", text):
        if address.startswith("http"):
            continue
        path = document.parent / address.partition("#")[0]
        assert path.exists(), f"{document.name}: [{label}]({address})"
        inside = re.search(r"` · `(\w+)`?$", label)
        if name := after or (inside and inside[1]):
            defined = rf"^(?:def|class) {name}\b|^(?:\w+, )*{name}\b.* ="
            content = path.read_text(encoding="utf-8")
            assert re.search(defined, content, re.MULTILINE), f"{document.name}: {address} has no {name}"


def test_the_order_of_imports_is_the_one_that_is_enforced() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    contract = next(each for each in settings["contracts"] if each["name"].startswith("Layers: each package"))
    (drawn,) = re.findall(
        r"<!-- layers -->\n(.*?)<!-- /layers -->", ARCHITECTURE.read_text(encoding="utf-8"), re.DOTALL
    )
    assert [line.strip() for line in drawn.splitlines()] == [
        layer.replace("zhuyi.", "") for layer in reversed(contract["layers"])
    ]


def test_every_module_that_the_plan_lists_exists_and_none_is_missing() -> None:
    (plan,) = re.findall(
        r"^    src/zhuyi/\n(.*?)^$", ARCHITECTURE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    folder, drawn = "", set()
    for entry in re.findall(r"^ +((?:[\w./]+, )*[\w./]+)", plan, re.MULTILINE):
        for path in entry.split(", "):
            if "/" in path:
                folder, path = path.rsplit("/", 1)
            elif (ROOT / "src/zhuyi" / path).exists():
                folder = ""
            drawn.add(f"{folder}/{path}".lstrip("/"))
    files = (path for ending in ("*.py", "*.cpp", "*.h") for path in (ROOT / "src/zhuyi").rglob(ending))
    there = {path.relative_to(ROOT / "src/zhuyi").as_posix() for path in files}
    plain = {name for name in there if not name.endswith("/__init__.py") and name != "__main__.py"}
    assert drawn - {"dates.toml"} == plain


def test_a_licence_is_there() -> None:
    assert "Apache License\n                           Version 2.0" in (ROOT / "LICENSE").read_text(encoding="utf-8")


def test_the_citation_names_the_version_of_the_package() -> None:
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
