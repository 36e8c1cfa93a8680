"""Runs a command, and writes its seconds and the most memory that it held, as JSON, to the file of the first argument.

A process of its own, and a small one: Linux counts the memory that a process held before `exec` as the command's.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

if __name__ == "__main__":
    begin = time.perf_counter()
    process = subprocess.Popen(sys.argv[2:])
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - begin
    result = {"seconds": seconds, "peak_bytes": usage.ru_maxrss * 1024}  # Linux counts in KiB
    Path(sys.argv[1]).write_text(json.dumps(result), encoding="utf-8")
    sys.exit(os.waitstatus_to_exitcode(status))
