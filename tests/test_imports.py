"""Who imports whom: no circle, nothing upward, and no torch where an engine without torch has to work."""

import ast
import runpy
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from command_line import tiny_model

ROOT = Path(__file__).parents[1]
SCRIPT = runpy.run_path(str(ROOT / "docs/pictures/imports.py"))


def test_the_graph_in_the_document_is_that_of_the_code() -> None:
    text = SCRIPT["PAGE"].read_text(encoding="utf-8")
    assert SCRIPT["BLOCK"].search(text)
    assert SCRIPT["page"](text) == text, "run python docs/pictures/imports.py"


def test_the_benchmarks_do_not_import_one_another_in_a_circle() -> None:
    paths = {path.stem: path for path in (ROOT / "benchmarks").glob("*.py")}
    graph = {}
    for name, path in paths.items():
        nodes = [*ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
        imported = {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
        imported |= {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        graph[name] = imported & paths.keys()
    assert graph["scaling_checks"] >= {"scaling", "machine"}
    TopologicalSorter(graph).prepare()  # raises CycleError


@pytest.mark.parametrize("module", ["cli", "data.corpus"])
def test_what_every_command_begins_with_loads_nothing_heavy(module: str) -> None:
    heavy = {"torch", "pyarrow", "pandas", "matplotlib", "sacrebleu", "babel", "rich.console"}
    code = f"import sys, zhuyi.{module}; sys.exit(', '.join({heavy} & sys.modules.keys()) or 0)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    "module",
    [
        "config",
        "files",
        "upgrade",
        "text.tokenizer",
        "text.lines",
        "text.segmentation",
        "directory",
        "decoding.hypothesis",
        "engine.protocol",
        "engine.choice",
        "translator",
        "loading",
    ],
)
def test_what_an_engine_without_torch_needs_loads_no_torch(module: str) -> None:
    code = f"import sys, zhuyi.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


HEAVY = {"torch", "pyarrow", "pandas", "matplotlib", "sacrebleu", "babel", "rich", "jaxtyping"}


@pytest.mark.parametrize("file", [False, True])
def test_translating_natively_loads_nothing_heavy(tmp_path: Path, file: bool) -> None:
    """Imports are most of the time that an answer to one line takes."""
    (tmp_path / "text").write_text("a dog\n")
    model = tiny_model(tmp_path / "model")
    command = [sys.executable, "-X", "importtime", "-m", "zhuyi", "translate", model, "--device", "cpu"]
    command += [tmp_path / "text"] if file else []
    outcome = subprocess.run(command, input="a dog\n", capture_output=True, text=True)
    assert outcome.returncode == 0
    assert len(outcome.stdout.splitlines()) == 1
    imported = {line.rpartition("|")[2].strip() for line in outcome.stderr.splitlines() if line.startswith("import ")}
    assert {"numpy", "zhuyi.engine.native"} <= imported
    assert not HEAVY & imported
