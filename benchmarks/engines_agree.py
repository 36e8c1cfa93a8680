"""Decode random texts by both engines, and count the outputs that differ.

    python benchmarks/engines_agree.py MODEL [MODEL ...] [--texts 10000] [--beam 5]

The texts are made from the source lines that a model was trained on: their words in random order, changed lines,
characters from all of Unicode, and very short ones. Each is decoded with this beam, and otherwise as the model says.

In float32 the outputs of the native engine should be those of torch. Each that is not is listed with its margin: the
least difference between two scores that decides what the search takes. If it is no more than what rounding changes,
either output is right. Of bf16 and int8 the equal outputs are counted. Writes results/engines-agree.json, and keeps
what it holds of other models.
"""

import argparse
import random
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from machine import describe
from stored import load, save

import zhuyi
from zhuyi.config import DecodingConfig
from zhuyi.data.corpus import Corpus
from zhuyi.decoding.hypothesis import Candidate, Hypothesis
from zhuyi.decoding.search import search
from zhuyi.directory import load_config_of
from zhuyi.engine.library import library
from zhuyi.engine.torch import TorchEngine
from zhuyi.text.tokenizer import EOS

AT_ONCE = 250
LONGEST = 40
PRECISIONS = ("float32", "bf16", "int8")


def random_texts(lines: Sequence[str], seed: int) -> Iterator[str]:
    """Texts of at most `LONGEST` words, or characters where a line is a word; none is empty."""
    draw = random.Random(seed)
    separator = " " if mean(len(line.split()) for line in lines) > 1.5 else ""
    split = str.split if separator else list
    units = sorted({unit for line in lines for unit in split(line)})

    def shuffled() -> str:
        return separator.join(draw.choices(units, k=draw.randint(1, LONGEST)))

    def changed() -> str:
        line = split(draw.choice(lines))[:LONGEST]
        for _ in range(draw.randint(1, 3)):
            place = draw.randrange(len(line) + 1)
            line[place : place + draw.randint(0, 2)] = draw.choices(units, k=draw.randint(0, 2))
        return separator.join(line)

    def any_characters() -> str:
        first, end = draw.choice(((0x20, 0x7F), (0x20, 0x250), (0x20, 0x3000), (0x3000, 0xD800), (0xE000, 0x1FB00)))
        return "".join(chr(draw.randrange(first, end)) for _ in range(draw.randint(1, LONGEST)))

    def short() -> str:
        return draw.choice((".", "-", "?!" * 20, draw.choice(units), draw.choice(units)[:1]))

    while True:
        [kind] = draw.choices((shuffled, changed, any_characters, short), weights=(45, 40, 10, 5))
        if text := kind().strip():
            yield text


def margin(engine: TorchEngine, source: Sequence[int], decoding: DecodingConfig, other: Hypothesis) -> dict[str, Any]:
    """What torch alone makes of a source, and how nearly its search took another way."""
    steps: list[list[Candidate]] = []
    tokens = torch.tensor([[*source, EOS]])
    [[best, *_]] = search(
        *(engine.transformer, tokens, tokens >= 0, decoding, engine.max_length),
        observe=lambda strategy: steps.append(strategy.candidates(0)),
    )
    gaps = [abs(best.score - other.score)] if best.tokens != other.tokens else []
    for candidates in steps:
        taken = [each.total for each in candidates if each.fate != "pruned"]
        left = [each.total for each in candidates if each.fate == "pruned"]
        gaps += [abs(one - two) for one in taken for two in left]
    return {"torch_alone_is_native": best.tokens == other.tokens, "margin": min(gaps)}


def compare(directory: Path, count: int, beam: int, seed: int) -> Iterator[dict[str, Any]]:
    """What was found of one model so far, after every `AT_ONCE` texts."""
    data = load_config_of(directory).data
    lines = [pair.source for pair in Corpus(data.source, data.target)][:100_000]
    reference = zhuyi.load(directory, device="cpu", engine="torch")
    natives = {precision: zhuyi.load(directory, engine="native", precision=precision) for precision in PRECISIONS}
    texts = list(islice(random_texts(lines, seed), count))
    encoded = [tokens[: reference.longest] for tokens in reference.tokenizers.source.encode(texts)]
    decoding = reference.decoding(beam=beam)
    done = 0
    differ: list[dict[str, Any]] = []
    differences: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
    equal = dict.fromkeys(PRECISIONS, 0)

    for first in range(0, count, AT_ONCE):
        numbers = [number for number in range(first, min(first + AT_ONCE, count)) if encoded[number]]
        sources = [encoded[number] for number in numbers]
        found = {
            name: [best for best, *_ in translator.engine.decode(sources, decoding, numbers)]
            for name, translator in (("torch", reference), *natives.items())
        }
        done += len(sources)
        for precision in PRECISIONS:
            for number, source, one, two in zip(numbers, sources, found["torch"], found[precision], strict=True):
                same = one.tokens == two.tokens and one.finished == two.finished
                equal[precision] += same
                differences[precision].append(abs(one.score - two.score))
                if precision == "float32" and not same:
                    assert isinstance(reference.engine, TorchEngine)
                    outputs = reference.tokenizers.target.decode([one.tokens, two.tokens])
                    scores = {"torch_score": one.score, "native_score": two.score}
                    row = {"text": texts[number], "torch": outputs[0], "native": outputs[1], **scores}
                    differ.append(row | margin(reference.engine, source, decoding, two))
        yield {
            "texts": done,
            "source_tokens": mean(len(tokens) for tokens in encoded if tokens),
            "search": reference.with_decoding(decoding).search_signature,
            **{
                precision: {
                    "instructions": library(precision).name,
                    "equal": equal[precision],
                    "share": round(equal[precision] / done, 5),
                    "mean_score_difference": mean(differences[precision]),
                    "largest_score_difference": max(differences[precision]),
                }
                for precision in PRECISIONS
            },
            "differ_in_float32": differ,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--texts", type=int, default=10_000)
    parser.add_argument("--beam", type=int, default=5)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    result, machine = load("engines-agree") or {"models": {}}, describe(threads=1)
    for directory in arguments.models:
        for found in compare(directory, arguments.texts, arguments.beam, arguments.seed):
            result["models"][f"{directory.name}, beam {arguments.beam}"] = {"machine": machine, **found}
            save("engines-agree", result)
            shares = {precision: found[precision]["equal"] for precision in PRECISIONS}
            print(directory.name, found["texts"], shares, flush=True)


if __name__ == "__main__":
    main()
