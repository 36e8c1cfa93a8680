"""Measure what it costs to build the store of a generated corpus that is larger than memory, and to train from it.

    python benchmarks/corpus.py --work DIR [--pairs 200000 2000000 20000000] [--format zst]
    taskset -c 0 python benchmarks/corpus.py ...      on one core
    python benchmarks/corpus.py --work DIR --text FILE [--times 90]      running text, into results/corpus-text.json

For each size, in separate processes: compute the digest of the files; learn the vocabulary; build the store (and,
before and after, run the tokeniser alone on the first lines and on the same cores); check; iterate over one epoch of
batches; and start `zhuyi train` from the cache. Each number of pairs, format and number of cores has a row of its own
in results/corpus.json, which a new measurement replaces. DIR needs about 0.3 GB per million pairs; files that exist in
it are used again.

Of running text only memory is measured: that of `zhuyi check`, and of all its processes, on a file repeated many times.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

from machine import describe
from stored import load, save

CORES = len(os.sched_getaffinity(0))
"""On which this process may run, and those that it starts."""
SHARD = 1_000_000
SAMPLE = 100_000
"""Pairs over which the tokeniser runs alone."""
WATCHED = 60.0
"""Seconds for which a training is watched."""
SETTINGS = [
    "text.vocabulary=8000",
    "model.max_length=128",
    "model.width=128",
    "model.feed_forward=256",
    "training.tokens_per_batch=4096",
    "training.threads=1",
    "training.log_every=1",
    "training.save_every=1000000",
]


def generate(folder: Path, pairs: int, ending: str) -> None:
    """Write shards of generated sentences: words made of syllables, with the frequencies of Zipf's law."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(pairs)
    syllables = [c + v + e for c in "bdfgklmnprstvz" for v in "aeiou" for e in ("", "n", "r", "s", "l")]
    vocabularies = []
    for _ in range(2):
        counts = random.integers(1, 5, 60_000)
        vocabularies.append(np.array(["".join(random.choice(syllables, n)) for n in counts], object))
    probability = np.cumsum(1 / (np.arange(60_000) + 2.7) ** 1.05)
    for shard, first in enumerate(range(0, pairs, SHARD)):
        if (folder / f"part-{shard:03}.done").exists():
            continue
        rows = min(SHARD, pairs - first)
        random = np.random.default_rng([pairs, shard])
        longs = np.clip(random.lognormal(2.3, 0.45, rows), 1, 60)
        sides = {}
        for name, words, lengths in zip(
            ("en", "de"), vocabularies, (longs, np.clip(longs * random.normal(1.05, 0.15, rows), 1, 70)), strict=True
        ):
            ends = np.cumsum(lengths.astype(np.int64))
            drawn = words[np.searchsorted(probability, random.random(int(ends[-1])) * probability[-1])].tolist()
            sides[name] = [" ".join(drawn[a:b]) + "." for a, b in pairwise([0, *ends.tolist()])]
        if ending == "parquet":
            pq.write_table(pa.table(sides), folder / f"part-{shard:03}.parquet", compression="zstd")
        else:
            for name, lines in sides.items():
                path = str(folder / f"part-{shard:03}.{name}.{ending}")
                with pa.output_stream(path, compression={"zst": "zstd", "txt": None}[ending]) as file:
                    file.write(("\n".join(lines) + "\n").encode())
        (folder / f"part-{shard:03}.done").touch()


def config_of(folder: Path, ending: str) -> Path:
    """Write a configuration that names the shards of a folder."""
    files = ["*.parquet#en", "*.parquet#de"] if ending == "parquet" else [f"*.en.{ending}", f"*.de.{ending}"]
    path = folder / f"{ending}.toml"
    path.write_text(f'preset = "tiny"\n[data]\nsource = "{files[0]}"\ntarget = "{files[1]}"\n')
    return path


def stage(name: str, config_path: Path) -> dict[str, Any]:
    """Run one of the steps of `prepare`, the tokeniser alone, or an epoch of batches, and measure its time."""
    from zhuyi.config import load_config
    from zhuyi.data import prepare as module
    from zhuyi.data.batches import collate, padding_share, plan
    from zhuyi.data.check import make_report
    from zhuyi.text.tokenizer import Tokenizers

    config = load_config(config_path, SETTINGS)
    began = time.perf_counter()
    corpus = module.open_corpus(config)
    if name == "digest":
        corpus.fingerprint()
        return {"seconds": time.perf_counter() - began}
    tokenizers = Tokenizers.from_files(module.learn(config, corpus)["files"])
    if name == "learn":
        return {"seconds": time.perf_counter() - began, "vocabulary": len(tokenizers.source)}
    if name == "alone":
        return alone(corpus, tokenizers)
    began, used = time.perf_counter(), cpu_seconds()
    store = module.store_of_epoch(config, corpus, tokenizers, 0)
    if name == "build":
        return {
            "seconds": time.perf_counter() - began,
            "cpu_seconds": cpu_seconds() - used,
            "tokens": int(store.source_lengths.sum() + store.target_lengths.sum()),
            "bytes": store.path.stat().st_size,
        }
    if name == "check":
        make_report(config, tokenizers, store)
        return {"seconds": time.perf_counter() - began}
    began = time.process_time()
    batches = plan(store, config.training.tokens_per_batch, 1, 0)
    planned = time.process_time() - began
    tokens = 0
    for pairs in batches:
        tokens += collate(store, pairs).tokens
    seconds = time.process_time() - began
    return {
        "plan_seconds": planned,
        "seconds": seconds,
        "tokens": tokens,
        "batches": len(batches),
        "padding": padding_share(store, batches),
    }


def cpu_seconds() -> float:
    """What this process has used until now, with the processes that it started and that have ended."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def alone(corpus: Any, tokenizers: Any) -> dict[str, Any]:
    """The rate of the tokeniser alone: the library's batches over lines in memory, with the results discarded."""
    pairs = list(islice(corpus, SAMPLE))
    sides = (
        (tokenizers.source._engine, [pair.source for pair in pairs]),
        (tokenizers.target._engine, [pair.target for pair in pairs]),
    )
    began, used = time.perf_counter(), time.process_time()
    found = []
    for engine, lines in sides:
        for start in range(0, len(lines), 10_000):
            found.append(engine.encode_batch_fast(lines[start : start + 10_000], add_special_tokens=False))
    seconds, cpu = time.perf_counter() - began, time.process_time() - used
    tokens = sum(len(encoding) for batch in found for encoding in batch)
    return {"seconds": seconds, "cpu_seconds": cpu, "tokens": tokens}


def memory(pid: int) -> tuple[int, int]:
    """Resident bytes of a process, and how many of them are its own rather than pages of files."""
    try:
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        return int(status["VmRSS"].split()[0]) * 1024, int(status["RssAnon"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return 0, 0


@contextmanager
def watched(pid: int) -> Iterator[dict[str, int]]:
    """The largest memory of a process within the context, sampled twenty times a second."""
    peak, ended = {"resident": 0, "own": 0}, threading.Event()

    def watch() -> None:
        while not ended.wait(0.05):
            for key, value in zip(peak, memory(pid), strict=True):
                peak[key] = max(peak[key], value)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        ended.set()
        thread.join()


def family(pid: int) -> list[int]:
    """A process and all that it has started."""
    try:
        children = [
            int(child)
            for task in Path(f"/proc/{pid}/task").iterdir()
            for child in (task / "children").read_text().split()
        ]
    except OSError:
        return [pid]
    return [pid, *(member for child in children for member in family(child))]


def measure_text(work: Path, text: Path, times: int, kind: str) -> dict[str, Any]:
    """The memory of `zhuyi check` from nothing, for `text` so many times over; shared pages count in each process."""
    work.mkdir(parents=True, exist_ok=True)
    (work / "text.txt").write_bytes(text.read_bytes() * times)
    cache = work / "text-cache"
    shutil.rmtree(cache, ignore_errors=True)
    settings = ["data.text=text.txt", "model.shape=decoder", f"text.kind={kind}", "text.vocabulary=8000"]
    command = [sys.executable, "-m", "zhuyi", "check", *(word for each in settings for word in ("--set", each))]
    environment = {**os.environ, "ZHUYI_CACHE": str(cache)}
    peak = {"resident": 0, "resident_of_all_processes": 0}
    with subprocess.Popen(command, cwd=work, env=environment, stdout=subprocess.PIPE) as process:
        while process.poll() is None:
            found = [memory(member)[0] for member in family(process.pid)]
            for key, value in zip(peak, (found[0], sum(found)), strict=True):
                peak[key] = max(peak[key], value)
            time.sleep(0.05)
        if process.returncode:
            sys.exit("zhuyi check failed")
    stores = sum(path.stat().st_size for path in cache.glob("*.arrow"))
    content = (work / "text.txt").read_text(encoding="utf-8")
    result = {
        "text": text.name,
        "times": times,
        "characters": len(content),
        "lines": content.count("\n"),
        "kind": kind,
        "stores_bytes": stores,
        "cores": CORES,
        "peak": peak,
    }
    print(json.dumps(result), flush=True)
    return result


def run_stage(name: str, config: Path) -> dict[str, Any]:
    """The result of `stage` in a process of its own, and the largest memory of that process."""
    command = [sys.executable, __file__, "--stage", name, "--config", str(config)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process, watched(process.pid) as peak:
        assert process.stdout is not None
        answer = process.stdout.read()
        process.wait()
    if process.returncode:
        sys.exit(f"{name} failed")
    result = {**json.loads(answer), "peak": dict(peak)}
    print(f"  {name:8}", json.dumps(result), flush=True)
    return result


def train(config: Path) -> dict[str, Any]:
    """Seconds from the start of `zhuyi train` to its first step, of the clock and of the CPU; and its memory in the
    minute after.
    """
    out = config.parent / "run"
    shutil.rmtree(out, ignore_errors=True)
    settings = [argument for setting in [*SETTINGS, "training.minutes=60"] for argument in ("--set", setting)]
    command = [sys.executable, "-m", "zhuyi", "train", str(config), "--out", str(out), *settings]
    began, first, used = time.perf_counter(), 0.0, 0.0
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process, watched(process.pid) as peak:
        while process.poll() is None and (not first or time.perf_counter() - began < first + WATCHED):
            if not first and (out / "metrics.jsonl").exists() and (out / "metrics.jsonl").stat().st_size:
                first = time.perf_counter() - began
                used = sum(map(int, Path(f"/proc/{process.pid}/stat").read_text().split()[13:15]))
            time.sleep(0.02)
        process.kill()
    used /= os.sysconf("SC_CLK_TCK")
    result = {"seconds_to_first_step": first, "cpu_seconds_to_first_step": used, "peak": dict(peak)}
    print(f"  {'train':8}", json.dumps(result), flush=True)
    return result


def measure(work: Path, pairs: int, ending: str) -> dict[str, Any]:
    """All measurements of a generated corpus: its row in results/corpus.json."""
    print(f"{pairs:,} pairs, {ending}", flush=True)
    folder = work / f"{ending}-{pairs}"
    generate(folder, pairs, ending)
    config = config_of(folder, ending)
    os.environ["ZHUYI_CACHE"] = str(folder / "cache")
    shutil.rmtree(folder / "cache", ignore_errors=True)
    result: dict[str, Any] = {
        "pairs": pairs,
        "format": ending,
        "files": len(list(folder.glob("*.done"))),
        "bytes": sum(path.stat().st_size for path in folder.glob("part-*")),
        "cores": CORES,
        "digest": run_stage("digest", config),
        "learn": run_stage("learn", config),
    }
    before = run_stage("alone", config)
    result["build"] = run_stage("build", config)
    result["alone"] = [before, run_stage("alone", config)]
    result["check"] = run_stage("check", config)
    result["epoch"] = run_stage("epoch", config)
    from zhuyi.config import load_config
    from zhuyi.data.prepare import prepare

    prepare(load_config(config, SETTINGS))  # for the report on the corpus
    result["train"] = train(config)
    return {**result, "rates": rates(result)}


def measure_training(work: Path, corpus: dict[str, Any]) -> dict[str, Any]:
    """Measure the batches and the training of `corpus` again, and keep the measurements of the build."""
    folder = work / f"{corpus['format']}-{corpus['pairs']}"
    os.environ["ZHUYI_CACHE"] = str(folder / "cache")
    config = config_of(folder, corpus["format"])
    result = {**corpus, "epoch": run_stage("epoch", config), "train": train(config)}
    return {**result, "rates": rates(result)}


def rates(corpus: dict[str, Any]) -> dict[str, float]:
    """What tables and picture show of one corpus; shares are of the tokeniser's mean rate before and after."""
    build, alone = corpus["build"], corpus["alone"]
    tokens = sum(each["tokens"] for each in alone)
    return {
        "build": build["tokens"] / build["seconds"],
        "share": build["tokens"] / build["seconds"] / (tokens / sum(each["seconds"] for each in alone)),
        "cpu_share": build["tokens"] / build["cpu_seconds"] / (tokens / sum(each["cpu_seconds"] for each in alone)),
        "build_cost": 1e9 * build["cpu_seconds"] / build["tokens"],
        "epoch_cost": 1e9 * corpus["epoch"]["seconds"] / corpus["epoch"]["tokens"],
        "builder": build["peak"]["resident"] / 1e9,
        "trainer": corpus["train"]["peak"]["resident"] / 1e9,
        "reader": corpus["epoch"]["peak"]["resident"] / 1e9,
        "first_step": corpus["train"]["seconds_to_first_step"],
        "first_step_cpu": corpus["train"]["cpu_seconds_to_first_step"],
    }


def key_of(row: dict[str, Any]) -> tuple[int, str, int]:
    """What a new measurement must share with a row to replace it."""
    return row["pairs"], row["format"], row["cores"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, metavar="DIR", help="holds the corpora and their caches")
    parser.add_argument("--pairs", type=int, nargs="+", default=[200_000, 2_000_000, 20_000_000])
    parser.add_argument("--format", choices=["zst", "txt", "parquet"], default="zst")
    parser.add_argument("--text", type=Path, help="measure the check of this running text, and nothing else")
    parser.add_argument("--times", type=int, default=90, help="how often the text is repeated")
    parser.add_argument(
        "--training-only", action="store_true", help="measure batches and training again, from the cache in DIR"
    )
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    parser.add_argument("--config", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stage:
        print(json.dumps(stage(arguments.stage, arguments.config)))
        return
    if arguments.work is None:
        parser.error("--work DIR is required")
    machine, work = describe(CORES), arguments.work.resolve()
    if arguments.text:
        texts = []
        for kind in ("character", "bpe"):
            texts.append(measure_text(work, arguments.text, arguments.times, kind))
            save("corpus-text", {"machine": machine, "texts": texts})
        return
    rows = {key_of(row): row for row in (load("corpus") or {"corpora": []})["corpora"]}
    for pairs in arguments.pairs:
        key = pairs, arguments.format, CORES
        if not arguments.training_only:
            rows[key] = measure(work, pairs, arguments.format)
        elif key in rows:
            rows[key] = measure_training(work, rows[key])
        else:
            parser.error(f"--training-only: results/corpus.json has no row of {pairs} pairs, {key[1]}, {CORES} cores")
        save("corpus", {"machine": machine, "corpora": [row for _, row in sorted(rows.items())]})


if __name__ == "__main__":
    main()
