"""Measure what it costs to build the store of a generated corpus that is larger than memory, and to train from it.

    python benchmarks/corpus.py --work DIR [--pairs 200000 2000000 20000000] [--format zst]
    taskset -c 0 python benchmarks/corpus.py ...      on one core
    python benchmarks/corpus.py --work DIR --text FILE [--times 90]      running text, into results/corpus-text.json

For each size, in separate processes: learn the vocabulary; tokenise (and, before and after, run the tokeniser alone
over the same lines on the same cores); check; start `zhuyi train` from the cache; and iterate over one epoch of
batches. Adds to results/corpus.json. DIR needs about 0.3 GB per million pairs; files that exist in it are used again.

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

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "benchmarks" / "results" / "corpus.json"
TEXT_RESULT = RESULT.with_name("corpus-text.json")
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
    files = ["*.parquet#en", "*.parquet#de"] if ending == "parquet" else [f"*.en.{ending}", f"*.de.{ending}"]
    path = folder / f"{ending}.toml"
    path.write_text(f'preset = "tiny"\n[data]\nsource = "{files[0]}"\ntarget = "{files[1]}"\n')
    return path


def stage(name: str, config_path: Path) -> dict[str, Any]:
    """One of the steps of `prepare`, or what an epoch of batches costs; run in a process of its own."""
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
    began = time.perf_counter()
    store = module.store_of_epoch(config, corpus, tokenizers, 0)
    if name == "build":
        tokens = int(store.source_lengths.sum() + store.target_lengths.sum())
        return {
            "seconds": time.perf_counter() - began,
            "cpu_seconds": sum(
                used.ru_utime + used.ru_stime
                for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
            ),
            "tokens": tokens,
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
        "cores": len(os.sched_getaffinity(0)),
        "peak": peak,
    }
    print(json.dumps(result), flush=True)
    return result


def run_stage(name: str, config: Path) -> dict[str, Any]:
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
        "cores": len(os.sched_getaffinity(0)),
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
    """The numbers of one corpus in tables and picture; shares refer to the mean of the tokeniser before and after."""
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


PAGE = """# Large corpora

Written by `benchmarks/report.py` from `benchmarks/results/corpus.json`, which `benchmarks/corpus.py` measured on
{processor}, on {cores} of its {of} cores, with generated sentences of {length:.0f} tokens per side (word frequencies
follow Zipf's law).

A corpus may consist of many files: `data.source` and `data.target` accept a pattern in the last part of a path. A
source file and a target file belong together if the wildcards match the same text in both names, and they are read
line by line. The files are read in the order of their names, as if they were one.

    zhuyi train --source 'shards/*.en.zst' --target 'shards/*.de.zst'
    zhuyi train --source 'shards/*.parquet#en' --target 'shards/*.parquet#de'

The corpus is read as a stream, tokenised by one process per core, and stored in the cache. A build that is killed
continues from the parts that are finished. Training reads the store through a memory map, and releases what it has
read.

| pairs | the store | built at, tokens/s | of the tokeniser alone | builder's memory | first step | trainer's memory |
|---|---|---|---|---|---|---|
{table}

The tokeniser alone is `encode_batch_fast` on lines in memory, on the same cores, before and after the build. The
speed of this machine drifts by a fifth between the two, so that a share can exceed 100 %. The time of the first step
is measured from the start of `zhuyi train`, with everything in the cache. Memory is the largest resident size,
including mapped pages of files. Almost all of the trainer's memory is that of a small model, its gradients and its
activations: iterating over an epoch of batches without a model takes {reader:.2f} GB at {pairs:,} pairs.

| pairs | CPU time per token: to build | to plan and make batches | to plan an epoch | padding |
|---|---|---|---|---|
{costs}

![Cost and memory over the size of the corpus](pictures/corpus.svg)

Before the store is built, the vocabulary is learnt from at most two million lines; afterwards, the corpus is checked.
Both results are cached, as is the digest of each file, which is computed again only if the file's dates, its size or
its place on the disk have changed.

| pairs | digest of the files | vocabulary | check |
|---|---|---|---|
{before}

## Running text

Running text (`data.text`) is read and stored in the same way, a line at a time. These are the largest memory of
`zhuyi check` with an empty cache, which learns the vocabulary, builds the store and checks it, and that of all its
processes together ([corpus-text.json](../benchmarks/results/corpus-text.json)):

| characters | lines | tokens | the stores | memory | of all processes |
|---|---|---|---|---|---|
{texts}
"""


def page() -> str:
    """docs/large-corpora.md."""
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    machine, corpora, last = result["machine"], result["corpora"], result["corpora"][-1]
    table, costs, before = [], [], []
    for corpus in corpora:
        build, epoch, found, pairs = corpus["build"], corpus["epoch"], corpus["rates"], f"| {corpus['pairs']:,} "
        table.append(
            f"{pairs}| {build['bytes'] / 1e9:.2f} GB | {found['build']:,.0f} "
            f"| {found['share']:.0%} by the clock, {found['cpu_share']:.0%} by CPU time | {found['builder']:.2f} GB "
            f"| {found['first_step']:.1f} s, {found['first_step_cpu']:.1f} s of CPU | {found['trainer']:.2f} GB |"
        )
        costs.append(
            f"{pairs}| {found['build_cost']:,.0f} ns | {found['epoch_cost']:,.0f} ns "
            f"| {epoch['plan_seconds']:.2f} s | {epoch['padding']:.1%} |"
        )
        seconds = [f"{corpus[stage]['seconds']:.1f} s" for stage in ("digest", "learn", "check")]
        before.append(f"{pairs}| {' | '.join(seconds)} |")
    texts = [
        f"| {text['characters']:,} | {text['lines']:,} | {text['kind']} | {text['stores_bytes'] / 1e9:.2f} GB "
        f"| {text['peak']['resident'] / 1e9:.2f} GB | {text['peak']['resident_of_all_processes'] / 1e9:.2f} GB |"
        for text in json.loads(TEXT_RESULT.read_text(encoding="utf-8"))["texts"]
    ]
    return PAGE.format(
        processor=machine["processor"],
        cores=last["cores"],
        of=machine["cores"],
        length=last["build"]["tokens"] / last["pairs"] / 2,
        reader=last["rates"]["reader"],
        pairs=last["pairs"],
        table="\n".join(table),
        costs="\n".join(costs),
        before="\n".join(before),
        texts="\n".join(texts),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path)
    parser.add_argument("--pairs", type=int, nargs="+", default=[200_000, 2_000_000, 20_000_000])
    parser.add_argument("--format", choices=["zst", "txt", "parquet"], default="zst")
    parser.add_argument("--text", type=Path, help="measure the check of this running text, and nothing else")
    parser.add_argument("--times", type=int, default=90, help="how often the text is repeated")
    parser.add_argument("--training-only", action="store_true", help="measure that again, from the cache in DIR")
    parser.add_argument("--stage", help=argparse.SUPPRESS)
    parser.add_argument("--config", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stage:
        print(json.dumps(stage(arguments.stage, arguments.config)))
        return
    from machine import describe

    if arguments.text:
        texts = []
        for kind in ("character", "bpe"):
            texts.append(measure_text(arguments.work.resolve(), arguments.text, arguments.times, kind))
            result = {"machine": describe(len(os.sched_getaffinity(0))), "texts": texts}
            TEXT_RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
        return
    for pairs in arguments.pairs:
        found = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {"corpora": []}
        if arguments.training_only:
            known = next(each for each in found["corpora"] if each["pairs"] == pairs)
            measured = measure_training(arguments.work.resolve(), known)
        else:
            measured = measure(arguments.work.resolve(), pairs, arguments.format)
        others = [each for each in found["corpora"] if each["pairs"] != pairs]
        corpora = sorted([*others, measured], key=lambda each: each["pairs"])
        result = {"machine": describe(len(os.sched_getaffinity(0))), "corpora": corpora}
        RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
