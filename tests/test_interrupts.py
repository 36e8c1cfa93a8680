"""Ctrl-C at any moment: exit code 130 (or 0 where all was done), not a word of Python's, nothing half-written."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Event, Thread

import pytest
from command_line import TINY, tiny_model, write_pairs
from foreign_models import make_opus_mt

import zhuyi

pytestmark = [pytest.mark.unix, pytest.mark.slow]

SETTINGS = [f"model.{key}={value}" for key, value in TINY["model"].items()]
SETTINGS += ["text.vocabulary=300", "training.steps=200", "training.save_every=5", "training.device=cpu"]
SET = [word for setting in SETTINGS for word in ("--set", setting)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


def command_line(command: str, model: Path, folder: Path) -> list[str]:
    source, target = map(str, write_pairs(folder))
    files = ["--source", source, "--target", target]
    return {
        "--help": ["--help"],
        "check": ["check", *files, *SET],
        "train": ["train", *files, "--dev-source", source, "--dev-target", target, "--out", str(folder / "out"), *SET],
        "import": ["import", str(folder.parent / "opus-mt"), "--out", str(folder / "out")],
        "translate": ["translate", str(model)],  # which waits for its standard input
        "evaluate": ["evaluate", str(model), *files],
        "look": ["look", str(model), "--no-browser"],
        "look --html": ["look", str(model), "a dog", "--html", str(folder / "page.html")],
        "demo": ["demo", "--minutes", "0.02", "--out", str(folder / "demo")],
    }[command]


def interrupted(arguments: list[str], after: str, seconds: float = 0.0, times: int = 1) -> tuple[int, str]:
    """The exit code and standard error of a process that got SIGINT once it had imported a module, and some later."""
    environment = {**os.environ, "PYTHONPROFILEIMPORTTIME": "1"}  # a line for each module that has been imported
    with subprocess.Popen(
        [sys.executable, "-m", "zhuyi", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment,
        start_new_session=True,
    ) as process:
        printed: list[str] = []
        imported = Event()

        def listen() -> None:
            assert process.stderr is not None
            for line in process.stderr:
                text = line.decode()
                if not text.startswith("import time:"):
                    printed.append(text)
                elif text.split()[-1] == after:
                    imported.set()
            imported.set()

        listener = Thread(target=listen, daemon=True)
        listener.start()
        if not imported.wait(60) or process.poll() is not None:
            process.kill()
            pytest.fail(f"{after} was not imported")
        time.sleep(seconds)
        for _ in range(times):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)  # the whole group, as a terminal does
            time.sleep(0.02)
        code = process.wait(60)
        listener.join()
        return code, "".join(printed)


def assert_a_quiet_end(code: int, printed: str, folder: Path) -> None:
    assert code in (130, 0), printed
    assert "Traceback" not in printed
    assert "Exception" not in printed
    assert "KeyboardInterrupt" not in printed
    assert not [path for path in folder.rglob("*") if ".writing" in path.name]
    for manifest in folder.rglob("manifest.json"):
        zhuyi.load(manifest.parent)


@pytest.mark.parametrize(
    ("command", "module"),
    [
        *(("translate", module) for module in ("inspect", "typer", "zhuyi.errors", "numpy", "zhuyi.engine.choice")),
        *(("train", module) for module in ("torch._C", "torch", "zhuyi.checkpoint")),
    ],
)
def test_within_the_imports(command: str, module: str, model: Path, tmp_path: Path) -> None:
    code, printed = interrupted(command_line(command, model, tmp_path), after=module)
    assert (code, printed) == (130, "")


AT_WORK = [
    ("--help", "zhuyi.errors", 0.0, (0.05,)),
    ("check", "zhuyi.data.check", 0.0, (0.05, 0.2)),
    ("train", "zhuyi.training.distributed", 0.5, (0.9, 1.3)),
    ("import", "zhuyi.interop.families.bart", 0.0, (0.1, 0.3)),
    ("translate", "zhuyi.engine.choice", 1.0, (0.0,)),
    ("evaluate", "zhuyi.engine.choice", 0.0, (0.5,)),
    ("look", "zhuyi.microscope.server", 1.0, (0.0,)),
    ("look --html", "zhuyi.microscope.page", 0.0, (0.2,)),
    ("demo", "zhuyi.demo", 0.1, (0.8,)),
]
"""Of each command: the module after whose import it is interrupted, how many seconds after, and other such delays."""


@pytest.mark.parametrize(
    ("command", "after", "delay"),
    [
        pytest.param(*each[:3], marks=[pytest.mark.long] if each[0] in ("evaluate", "look --html") else [])
        for each in AT_WORK
    ],
)
def test_at_work(command: str, after: str, delay: float, model: Path, tmp_path: Path) -> None:
    assert end_of(command, after, delay, model, tmp_path) == 130


@pytest.mark.long
@pytest.mark.parametrize(
    ("command", "after", "delay"),
    [(command, after, delay) for command, after, _, delays in AT_WORK for delay in delays],
)
def test_at_work_or_at_the_end(command: str, after: str, delay: float, model: Path, tmp_path: Path) -> None:
    end_of(command, after, delay, model, tmp_path)


def end_of(command: str, after: str, delay: float, model: Path, folder: Path) -> int:
    """The exit code of a command that was interrupted, and ended quietly."""
    if command == "import":
        make_opus_mt(folder / "opus-mt")
    (folder / "here").mkdir()
    code, printed = interrupted(command_line(command, model, folder / "here"), after, delay)
    assert_a_quiet_end(code, printed, folder / "here")
    return code


@pytest.mark.parametrize(
    ("command", "after"),
    [("train", "zhuyi.checkpoint"), ("translate", "zhuyi.engine.choice"), ("demo", "zhuyi.checkpoint")],
)
def test_again_and_again(command: str, after: str, model: Path, tmp_path: Path) -> None:
    code, printed = interrupted(command_line(command, model, tmp_path), after, seconds=0.8, times=4)
    assert_a_quiet_end(code, printed, tmp_path)
    assert code == 130


def test_processes_that_tokenise_leave_it_to_the_one_that_started_them(tmp_path: Path) -> None:
    write_pairs(tmp_path)
    code = f"""if True:
        import os
        os.sched_getaffinity = lambda _: {{0, 1}}  # two cores, wherever this is
        import sys
        from zhuyi.data import tokenise
        tokenise.MAX_CHUNKS_ALONE = 0  # however few lines there are
        sys.argv = ["zhuyi", "check", "--source", {str(tmp_path / "train.source")!r},
                    "--target", {str(tmp_path / "train.target")!r}, "--set", "text.kind=character"]
        from zhuyi.__main__ import main
        main()
    """
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, start_new_session=True)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    while process.poll() is None and not children.read_text().strip():
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)
    _, printed = process.communicate(timeout=60)
    assert (process.returncode, printed) == (130, b"")


def test_where_it_is_ignored_it_stays_ignored() -> None:
    """As a shell without job control does for `command &`."""
    code = """if True:
        import signal, sys
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        from zhuyi.__main__ import main
        sys.argv = ["zhuyi", "--version"]
        try:
            main()
        finally:
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
