"""Run the Ray Data code of docs/distributed.md on two nodes, kill one of them, and look for every line in the result.

    pip install 'ray[data]'
    python benchmarks/ray_data.py MODEL [--shards 24] [--lines 500]

The nodes are two raylets on this machine (`ray.cluster_utils.Cluster`), of three logical CPUs each, the driver being on
the first. The second one is killed, with its workers, when the first files of the result are there. Each line has
its number in it; every line has to be in the result exactly once, with the translation that this process gets without
Ray. Writes results/ray-data.json, and exits with 1 if a line is missing, twice or different.
"""

import argparse
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from importlib import metadata
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import ray
from machine import describe
from ray.cluster_utils import Cluster
from stored import save

import zhuyi

GUIDE = Path(__file__).parent.parent / "docs" / "distributed.md"
WORDS = ["a", "dog", "runs", "two", "cats", "sleep", "the", "old", "man", "sees", "no", "house"]
NODE = {"num_cpus": 3, "object_store_memory": 200 * 2**20}


def write_shards(folder: Path, shards: int, lines: int) -> list[str]:
    """Write files of lines, no two of which are equal; gives the lines."""
    rng = random.Random(1)
    folder.mkdir()
    texts = [f"{number} {' '.join(rng.choices(WORDS, k=6))}" for number in range(shards * lines)]
    for start in range(0, len(texts), lines):
        content = "".join(f"{text}\n" for text in texts[start : start + lines])
        (folder / f"{start // lines:03}.txt").write_text(content, encoding="utf-8")
    return texts


def kill_when_it_works(cluster: Cluster, node: Any, killed: dict[str, Any], translated: Path) -> None:
    """Kill a node, when files of the result have begun to appear."""
    while not list(translated.glob("*.parquet")):
        time.sleep(0.05)
    (raylet,) = node.all_processes["raylet"]
    listed = subprocess.run(["ps", "--ppid", str(raylet.process.pid), "-o", "args="], capture_output=True, check=True)
    killed["processes"] = sorted(line.strip() for line in listed.stdout.decode().splitlines() if "ray::" in line)
    killed["files_written_before"] = len(list(translated.glob("*.parquet")))
    cluster.remove_node(node, allow_graceful=False)
    killed["exit_code"] = raylet.process.wait(60)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--shards", type=int, default=24)
    parser.add_argument("--lines", type=int, default=500, help="of each shard")
    arguments = parser.parse_args()

    (code,) = re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    model = arguments.model.resolve()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("en-de").symlink_to(model)
        texts = write_shards(Path("shards"), arguments.shards, arguments.lines)
        code = code.replace('"en-de"', repr(str(model)))  # workers have a directory of their own
        cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
        second = cluster.add_node(**NODE)
        ray.init(address=cluster.address, log_to_driver=False)
        killed: dict[str, Any] = {"nodes": len(ray.nodes())}
        killer = threading.Thread(
            target=kill_when_it_works, args=(cluster, second, killed, Path("translated").resolve()), daemon=True
        )
        killer.start()
        exec(code, {"__name__": "guide"})
        killer.join(60)
        rows = [row for path in Path("translated").glob("*.parquet") for row in pq.read_table(path).to_pylist()]
        killed["nodes_at_the_end"] = sum(each["Alive"] for each in ray.nodes())
        ray.shutdown()
        cluster.shutdown()
        os.chdir("/")

    translator = zhuyi.load(model, precision="int8", workers=1)
    right = dict(zip(texts, translator.translate(texts, beam=1), strict=True))
    times = Counter(row["text"] for row in rows)
    result = {
        "command": " ".join(["python", "benchmarks/ray_data.py", "MODEL", *sys.argv[2:]]),
        "machine": {**describe(threads=None), **{name: metadata.version(name) for name in ("ray", "pyarrow")}},
        "killed": killed,
        "lines": len(texts),
        "lines_in_the_result": len(rows),
        "missing": sum(times[text] == 0 for text in texts),
        "twice": sum(times[text] > 1 for text in texts),
        "different": sum(right.get(row["text"]) != row["translation"] for row in rows),
    }
    print(json.dumps(result, indent=1), save("ray-data", result))
    sys.exit(bool(result["missing"] or result["twice"] or result["different"]))


if __name__ == "__main__":
    main()
