"""An environment for each peer: made once, used again as long as its requirements are the same."""

import hashlib
import subprocess
import sys
import venv
from pathlib import Path

REQUIREMENTS = Path(__file__).parent / "requirements"


class InstallError(Exception):
    """Why a peer cannot be measured, in one line."""


def python_of(name: str, work: Path, requirements: Path = REQUIREMENTS) -> Path:
    """The interpreter of a peer's environment, `work/venv-NAME`.

    `requirements`/NAME.txt is installed first; then NAME.no-deps.txt, whose packages ask for versions that no longer
    exist, without their dependencies. zhuyi has the environment in which this runs.

    Raises:
        InstallError: with the last line that pip had to say.
    """
    if name == "zhuyi":
        return Path(sys.executable)
    files = [path for path in (requirements / f"{name}.txt", requirements / f"{name}.no-deps.txt") if path.exists()]
    wanted = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    folder = work / f"venv-{name}"
    python, stamp = folder / "bin" / "python", folder / "installed"
    if stamp.exists() and stamp.read_text() == wanted:
        return python
    print(f"installing {name} in {folder}", flush=True)
    try:
        venv.create(folder, with_pip=True, clear=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise InstallError(f"no environment: {error}") from error
    for path in files:
        options = ["--no-deps"] if path.name.endswith(".no-deps.txt") else []
        command = [str(python), "-m", "pip", "install", "--quiet", *options, "-r", str(path)]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            said = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
            raise InstallError(f"pip: {said[-1] if said else done.returncode}")
    stamp.write_text(wanted)
    return python
