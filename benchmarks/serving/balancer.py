"""Put nginx, set up as docs/serving.md says, before two processes of `zhuyi serve`, and end one of them under load.

    python benchmarks/serving/balancer.py MODEL --source test.en

Needs nginx. Clients ask through nginx for lines one after the other; halfway, one process gets SIGTERM. An answer is
right if it is the line's translation without a server. Writes results/balancer.json, and exits with 1 if any answer is
not right, or if the process does not end with 0.
"""

import argparse
import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # machine.py and stored.py are there

from load import HEAD, read_answer
from machine import describe
from run import wait_for
from stored import save

from zhuyi import load

ROOT = Path(__file__).parents[2]
CLIENTS, REQUESTS, ENDED_AFTER = 16, 600, 300
PORTS, PROXY = (8101, 8102), 8100
PLACES = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def nginx_config(work: Path) -> str:
    """The lines of the guide, on a port that needs no rights, with all files of nginx in `work`."""
    found = re.search(r"```nginx\n(.*?)```", (ROOT / "docs/serving.md").read_text(encoding="utf-8"), re.DOTALL)
    assert found, "docs/serving.md has no lines for nginx"
    lines = found[1].replace("listen 80;", f"listen 127.0.0.1:{PROXY};")
    assert all(f"127.0.0.1:{port};" in lines for port in (*PORTS, PROXY))
    places = "".join(f"{name}_temp_path {work / name};\n" for name in PLACES)
    return f"pid {work / 'pid'};\nerror_log {work / 'log'};\nevents {{}}\nhttp {{\naccess_log off;\n{places}{lines}}}\n"


async def ask(lines: list[str], ended: "subprocess.Popen[bytes]") -> list[tuple[str, str]]:
    """Each line, and its translation or the status in its place. `ended` gets SIGTERM halfway."""
    left, found = iter(enumerate(lines)), []

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", PROXY)
        for number, line in left:
            if number == ENDED_AFTER:
                ended.send_signal(signal.SIGTERM)
            body = json.dumps({"q": line, "source": "en", "target": "de"}).encode()
            writer.write(HEAD.format(len(body)).encode() + body)
            status, _, answer = await read_answer(reader)
            found.append((line, json.loads(answer)["translatedText"] if status == 200 else str(status)))
        writer.close()

    async with asyncio.TaskGroup() as group:
        for _ in range(CLIENTS):
            group.create_task(client())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--source", type=Path, required=True)
    arguments = parser.parse_args()
    if shutil.which("nginx") is None:
        parser.error("nginx is not installed")
    known = [line for line in arguments.source.read_text(encoding="utf-8").splitlines() if line.strip()]
    lines = [known[i % len(known)] for i in range(REQUESTS)]
    right = dict(zip(known, load(arguments.model, device="cpu").translate(known), strict=True))
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        serve = [sys.executable, "-m", "zhuyi", "serve", str(arguments.model), "--port"]
        servers = [stack.enter_context(subprocess.Popen([*serve, str(port)])) for port in PORTS]
        config = Path(folder) / "nginx.conf"
        config.write_text(nginx_config(Path(folder)), encoding="utf-8")
        try:
            for port, server in zip(PORTS, servers, strict=True):
                wait_for(port, server)
            proxy = stack.enter_context(subprocess.Popen(["nginx", "-c", str(config), "-g", "daemon off;"]))
            servers.append(proxy)
            wait_for(PROXY, proxy)
            found = asyncio.run(ask(lines, servers[0]))
            code = servers[0].wait()
        finally:
            for server in servers:
                server.terminate()
    outcomes = Counter("right" if answer == right[line] else f"not right: {answer}" for line, answer in found)
    version = subprocess.run(["nginx", "-v"], stderr=subprocess.PIPE, text=True).stderr.strip()
    result = {
        "machine": describe(os.cpu_count()),
        "nginx": version.rpartition("/")[2],
        "clients": CLIENTS,
        "requests": REQUESTS,
        "outcomes": outcomes,
        "exit_code_of_the_ended_process": code,
    }
    save("balancer", result)
    print(json.dumps(result, indent=1, ensure_ascii=False))
    sys.exit(outcomes["right"] != REQUESTS or code != 0)


if __name__ == "__main__":
    main()
