"""`--keep-vocabulary`: only those tokens of a large vocabulary that some text needs.

A multilingual model spends most of its weights on the rows of tokens that one pair of languages never has. What is kept
is what lines are cut into, what the model answers to them by greedy search, single characters, and all special tokens.
Greedy answers to these lines stay as they are: no token that is left out was the most probable one. Lines are cut as
before, because the pieces that they had are still there.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain, islice
from typing import Any

import numpy as np

from zhuyi.config import changed
from zhuyi.directory import StoredModel
from zhuyi.engine.choice import engine_of
from zhuyi.errors import DataError
from zhuyi.interop.tokenizers.sentencepiece_model import SPACE
from zhuyi.text.lookup import VOCABULARY
from zhuyi.text.special import BYTES, SPECIALS
from zhuyi.text.tokenizer import Tokenizer, Tokenizers

BATCH = 256
"""Lines that are translated at a time."""


def keep_vocabulary(model: StoredModel, lines: Iterable[str]) -> StoredModel:
    """The same model with those tokens only that `lines` need.

    Args:
        model: an imported one, whose tokens are looked up in a list.
        lines: text as the model is to read it, and as it is to write it.

    Raises:
        DataError: if there is no line that is not blank.
    """
    sides = model.tokenizers.source, model.tokenizers.target
    used = [_always(tokenizer, model.config.text.tags) for tokenizer in sides]
    is_blank = True
    for source, target in _needed(model, (line for line in lines if line.strip())):
        used[0] |= source
        used[1] |= target
        is_blank = False
    if is_blank:
        raise DataError("--keep-vocabulary: all lines of the files are blank: name files with text in both languages")
    if model.tokenizers.shared:
        used = [used[0] | used[1]] * 2
    kept = [sorted(ids) for ids in used]
    tokenizers = Tokenizers(*(_pruned(side, ids) for side, ids in zip(sides, kept, strict=True)))
    rows = {"encoder.embedding.weight": kept[0]}
    rows |= dict.fromkeys(("decoder.embedding.weight", "projection.weight", "projection.bias"), kept[1])
    weights = {
        name: np.ascontiguousarray(weight[rows[name]]) if name in rows else weight
        for name, weight in model.weights.items()
    }
    return replace(model, tokenizers=tokenizers.with_templates_of(model.config.text), weights=weights)


def _needed(model: StoredModel, lines: Iterable[str]) -> Iterator[tuple[set[int], set[int]]]:
    """The tokens of each batch of lines: as source, and as target together with those of the answers."""
    engine = engine_of(model, "cpu")
    source, target = model.tokenizers.source, model.tokenizers.target
    greedy = changed(model.config.decoding, {"strategy": "beam", "beam": 1, "n_best": 1})
    longest = model.config.model.max_length - 1
    for batch in _batches(lines):
        lines_read, lines_written = source.encode(batch), target.encode(batch)
        cut = [source.cut(tokens, longest) for tokens in lines_read if tokens]
        answers = engine.decode(cut, greedy, prefix=target.template.prefix)
        written = {*chain.from_iterable(lines_written)}
        yield {*chain.from_iterable(lines_read)}, written.union(*(best.tokens for best, *_ in answers))


def _batches(lines: Iterable[str]) -> Iterator[list[str]]:
    rest = iter(lines)
    while batch := list(islice(rest, BATCH)):
        yield batch


def _always(tokenizer: Tokenizer, tags: Sequence[str]) -> set[int]:
    """The tokens that are kept whatever the text: special ones, tags, bytes and single characters."""
    kept = {*tokenizer.template.prefix, *tokenizer.template.suffix, *range(len(SPECIALS))}
    named = {i for i in map(tokenizer.find, tags) if i is not None}
    pieces = json.loads(tokenizer.to_json())[VOCABULARY]["pieces"]
    short = {i for i, piece in enumerate(pieces) if len(piece.removeprefix(SPACE)) <= 1 or piece in BYTES}
    return kept | named | short


def _pruned(tokenizer: Tokenizer, kept: list[int]) -> Tokenizer:
    """The tokenizer with these tokens, which have their place in the list as their ids."""
    content: dict[str, Any] = json.loads(tokenizer.to_json())
    listed = content[VOCABULARY]
    new = {old: i for i, old in enumerate(kept)}
    content[VOCABULARY] = {
        "pieces": [listed["pieces"][i] for i in kept],
        "special": [new[i] for i in listed["special"] if i in new],
    }
    known = {*content[VOCABULARY]["pieces"], *BYTES}
    model = content["model"]
    if model["type"] == "Unigram":
        lowest = min(score for _, score in model["vocab"])  # what is unknown costs more than that
        unknown = model["vocab"][model["unk_id"]] if model["unk_id"] is not None else None
        entries = [entry for entry in model["vocab"] if entry[0] in known or entry == unknown or entry[1] == lowest]
        content["model"] |= {"vocab": entries, "unk_id": entries.index(unknown) if unknown is not None else None}
    elif model["type"] == "BPE":
        merges = _merges_of(model["merges"], known)
        names = {model["unk_token"], *known, *(part for merge in merges for part in (*merge, "".join(merge)))}
        ordered = [name for name in sorted(model["vocab"], key=model["vocab"].__getitem__) if name in names]
        content["model"] |= {"vocab": {name: i for i, name in enumerate(ordered)}, "merges": merges}
    return Tokenizer.from_json(json.dumps(content, ensure_ascii=False))


def _merges_of(merges: list[Any], known: set[str]) -> list[list[str]]:
    """The merges, in their order, that make what is known, or a part of it on the way."""
    pairs = [merge.split(" ") if isinstance(merge, str) else list(merge) for merge in merges]
    wanted, found = set(known), True
    while found:
        parts = {part for left, right in pairs if left + right in wanted for part in (left, right)} - wanted
        wanted |= parts
        found = bool(parts)
    return [pair for pair in pairs if pair[0] + pair[1] in wanted]
