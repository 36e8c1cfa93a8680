"""Without what only Unix has: every command works, and no file is renamed or removed while it is open or mapped."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import TINY, write_pairs

import zhuyi

PROGRAM = """
import json, os, signal, subprocess, sys, types, warnings

for name in ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "syslog", "posix_ipc"):
    sys.modules[name] = None
sys.modules["portalocker"] = types.ModuleType("portalocker")  # sacrebleu's, which has a lock of its own on Windows
warnings.filterwarnings("ignore", "only soft file lock")
import pyarrow, rich, sacrebleu, tokenizers, torch, typer  # whatever these ask of the system
from torch.distributed.checkpoint import hf_storage

for name in ("getuid", "geteuid", "fork", "forkpty", "killpg", "getpgid", "setsid", "sched_getaffinity", "sysconf",
             "posix_fadvise", "mkfifo", "chown", "O_DIRECTORY", "O_NONBLOCK"):
    vars(os).pop(name, None)
for name in ("SIGHUP", "SIGUSR1", "SIGUSR2", "SIGALRM", "SIGQUIT", "SIGPIPE", "SIGKILL", "SIGTSTP", "pthread_kill"):
    vars(signal).pop(name, None)

def refuse(event, arguments):
    # What Windows refuses: links without a privilege; to rename, replace or remove a file that is in use.
    if event == "os.symlink":
        raise PermissionError(1, "A required privilege is not held by the client")
    if event not in ("os.rename", "os.remove"):
        return
    for path in arguments[: 2 if event == "os.rename" else 1]:
        path = os.path.realpath(os.fsdecode(path))
        descriptors = (f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd"))
        with open("/proc/self/maps") as maps:
            if any(map(lambda each: os.path.realpath(each) == path, descriptors)) or f" {path}\\n" in maps.read():
                raise PermissionError(13, "The process cannot access the file because it is being used", path)

if sys.platform == "linux":
    sys.addaudithook(refuse)

from zhuyi import cli
for arguments in json.loads(sys.argv[1]):
    sys.argv = ["zhuyi", *arguments]
    try:
        cli.main()
    except SystemExit as end:
        if end.code:
            raise
print("all done")
"""

SETTINGS = [f"model.{key}={value}" for key, value in TINY["model"].items()]
SETTINGS += ["text.vocabulary=300", "text.bpe_dropout=0.1", "training.device=cpu", "training.threads=1"]
SETTINGS += ["training.tokens_per_batch=200", "training.save_every=2", "training.keep=1"]
SET = [word for setting in SETTINGS for word in ("--set", setting)]


@pytest.mark.slow
def test_what_only_unix_has_is_not_needed(tmp_path: Path) -> None:
    source, target = write_pairs(tmp_path)
    files = ["--source", source, "--target", target]
    out, page = tmp_path / "out", tmp_path / "page.html"
    train = ["train", *files, "--dev-source", source, "--dev-target", target, "--out", out, *SET]
    commands = [
        ["check", *files, *SET],
        [*train, "--set", "training.epochs=2"],
        [*train, "--set", "training.epochs=3", "--resume"],
        ["evaluate", out, *files],
        ["look", out, "a b", "--html", page],
        ["config", out, "--set", "decoding.beam=2", "--save"],
        ["translate", out],
    ]
    command = [sys.executable, "-c", PROGRAM, json.dumps(commands, default=str)]
    done = subprocess.run(command, input=b"a b\nc\n", capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    *said, _, _, end = done.stdout.decode().splitlines()
    assert end == "all done"
    assert any("Going on from step" in line for line in said)
    assert page.is_file()


def test_no_module_names_fcntl() -> None:
    sources = Path(zhuyi.__file__).parent.rglob("*.py")
    assert [path.name for path in sources if "fcntl" in path.read_text(encoding="utf-8")] == []
