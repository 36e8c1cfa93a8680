"""The page of what a large corpus costs, docs/large-corpora.md, from the results of `corpus.py`."""

from stored import load

PAGE = """# Large corpora

Written by `benchmarks/report.py` from `benchmarks/results/corpus.json`, which `benchmarks/corpus.py` measured on
{processor} with {cores} cores, on generated sentences of {length:.0f} tokens per side (word frequencies follow Zipf's
law).

A corpus may consist of many files: `data.source` and `data.target` accept a pattern in the last part of a path. A
source file and a target file belong together if the wildcards match the same text in both names, and they are read
line by line. The files are read in the order of their names, as if they were one.

    zhuyi train --source 'shards/*.en.zst' --target 'shards/*.de.zst'
    zhuyi train --source 'shards/*.parquet#en' --target 'shards/*.parquet#de'

The corpus is read as a stream, tokenised by one process per core, and stored in the cache. A build that is killed
continues from the parts that are finished. Training reads the store through a memory map, and releases what it has
read.

| corpus | the store | built at, tokens/s | of the tokeniser alone | builder's memory | first step | trainer's memory |
|---|---|---|---|---|---|---|
{table}

The tokeniser alone is `encode_batch_fast` on lines in memory, on the same cores, before and after the build. One of
the two takes up to {drift:.0%} longer than the other, so that a share can exceed 100%. The time of the first step is
measured from the start of `zhuyi train`, with everything in the cache. Memory is the largest resident size,
including mapped pages of files. Almost all of the trainer's memory is that of a small model, its gradients and its
activations: iterating over an epoch of batches without a model takes {reader:.2f} GB at {pairs:,} pairs.

| corpus | CPU time per token: to build | to plan and make batches | to plan an epoch | padding |
|---|---|---|---|---|
{costs}

![Cost and memory over the size of the corpus](pictures/corpus.svg)

Before the store is built, the vocabulary is learnt from at most two million lines; afterwards, the corpus is checked.
Both results are cached, as is the digest of each file, which is computed again only if the file's dates, its size or
its place on the disk have changed.

| corpus | digest of the files | vocabulary | check |
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
    result = load("corpus")
    machine, corpora, last = result["machine"], result["corpora"], result["corpora"][-1]
    table, costs, before = [], [], []
    for corpus in corpora:
        build, epoch, found = corpus["build"], corpus["epoch"], corpus["rates"]
        cores = f"{corpus['cores']} core{'s' * (corpus['cores'] > 1)}"
        name = f"| {corpus['pairs']:,} pairs, {corpus['format']}, {cores} "
        table.append(
            f"{name}| {build['bytes'] / 1e9:.2f} GB | {found['build']:,.0f} "
            f"| {found['share']:.0%} by the clock, {found['cpu_share']:.0%} by CPU time | {found['builder']:.2f} GB "
            f"| {found['first_step']:.1f} s, {found['first_step_cpu']:.1f} s of CPU | {found['trainer']:.2f} GB |"
        )
        costs.append(
            f"{name}| {found['build_cost']:,.0f} ns | {found['epoch_cost']:,.0f} ns "
            f"| {epoch['plan_seconds']:.2f} s | {epoch['padding']:.1%} |"
        )
        seconds = [f"{corpus[stage]['seconds']:.1f} s" for stage in ("digest", "learn", "check")]
        before.append(f"{name}| {' | '.join(seconds)} |")
    texts = [
        f"| {text['characters']:,} | {text['lines']:,} | {text['kind']} | {text['stores_bytes'] / 1e9:.2f} GB "
        f"| {text['peak']['resident'] / 1e9:.2f} GB | {text['peak']['resident_of_all_processes'] / 1e9:.2f} GB |"
        for text in load("corpus-text")["texts"]
    ]
    alone = [[each["seconds"] for each in corpus["alone"]] for corpus in corpora]
    return PAGE.format(
        processor=machine["processor"],
        cores=machine["cores"],
        length=last["build"]["tokens"] / last["pairs"] / 2,
        drift=max(max(seconds) / min(seconds) for seconds in alone) - 1,
        reader=last["rates"]["reader"],
        pairs=last["pairs"],
        table="\n".join(table),
        costs="\n".join(costs),
        before="\n".join(before),
        texts="\n".join(texts),
    )
