"""Two tokenizers as one of Hugging Face, which cuts the lines of the source and joins the tokens of the target.

A directory there has one `tokenizer.json`, in which a name is an id and an id is a name. Ids are put in this order:

    the target's tokens        in our order; the source's too, where both sides have one vocabulary and one embedding
    the source's tokens        otherwise, in our order, with an EOS of their own
    pieces without a token     that the source's engine cuts, and the model's list lacks: each has the row of UNK

A name that the engine must not find in a text begins with `NEVER_TEXT`, which the decoder takes away.
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from zhuyi.text.tokenizer import BOS, EOS, PAD, SPECIALS, UNK, Tokenizers

NEVER_TEXT = "\uffff"
"""A code point that is no character (Unicode 17, section 23.7)."""


@dataclass(frozen=True)
class JointTokenizer:
    """A tokenizer of Hugging Face, and which rows of our matrices its ids have."""

    content: dict[str, Any]
    """The object in its `tokenizer.json`."""
    target: int
    """How many tokens the target has: these ids come first."""
    first: int
    """The id of the source's token 0."""
    others: list[int]
    """The source's tokens, by our ids, whose rows the ids after the target's have."""

    @property
    def never_written(self) -> list[int]:
        """The ids that no output has: PAD, BOS, and what only a source has."""
        return [PAD, BOS, *range(self.target, self.target + len(self.others))]


def joint_tokenizer(tokenizers: Tokenizers, together: bool) -> JointTokenizer:
    """One tokenizer of Hugging Face for both sides.

    Args:
        tokenizers: with what stands before every line, which it puts there too.
        together: whether the sides have one embedding, and so the same ids.
    """
    source, target = tokenizers.source, tokenizers.target
    first = 0 if together else len(target)
    others = [] if together else list(range(len(source)))
    content = json.loads(source.engine_to_json())
    unknown, names = _unknown(content["model"]), {}
    for token, i in source.engine_vocabulary().items():
        if i >= len(SPECIALS):
            names[first + i] = token
        elif i == UNK and token not in (unknown, *SPECIALS):
            names[len(target) + len(others)] = token
            others.append(UNK)
    hidden = {i: NEVER_TEXT + name for i, name in enumerate(target.names)}
    if not together:
        hidden |= {first + i: 2 * NEVER_TEXT + name for i, name in enumerate(source.names)}
    tags = {first + i: source.names[i] for i in source.template.tags}
    names = {**hidden, **names, **dict(enumerate(SPECIALS)), **tags}
    added = {*range(len(SPECIALS)), *range(first, first + len(SPECIALS)), *tags, *target.template.tags}
    of_lines = {first + i for i in source.template.own.values()}
    before, end = [names[first + i] for i in source.template.prefix], names[first + EOS]
    content["model"] = _renumbered(content["model"], [names[i] for i in range(len(names))], first + UNK)
    content["added_tokens"] = [_added(i, names[i], i not in of_lines) for i in sorted(added)]
    content["pre_tokenizer"] = _guarded(content, [*SPECIALS, *tags.values()])
    content["decoder"] = _unhiding(json.loads(target.engine_to_json())["decoder"])
    content["post_processor"] = _template(before, end, {name: i for i, name in names.items()})
    return JointTokenizer(content, len(target), first, others)


def _unknown(model: dict[str, Any]) -> str | None:
    """The engine's own token for what it does not know."""
    if model["type"] == "Unigram":
        return None if model["unk_id"] is None else str(model["vocab"][model["unk_id"]][0])
    return str(model["unk_token"])


def _renumbered(model: dict[str, Any], names: list[str], unknown: int) -> dict[str, Any]:
    """An engine's model with these tokens, in this order."""
    if model["type"] != "Unigram":
        return {**model, "vocab": {name: i for i, name in enumerate(names)}, "unk_token": names[unknown]}
    scores = dict(model["vocab"])
    return {**model, "vocab": [[name, scores.get(name, 0.0)] for name in names], "unk_id": unknown}


def _added(i: int, name: str, special: bool) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {"id": i, "content": name, **flags, "special": special}


def _guarded(content: dict[str, Any], names: list[str]) -> dict[str, Any] | None:
    """Words that no token without text is in: unigram would take "</s>" in a text for the token of this name.

    They end before its last brackets, where no two unknown characters are separated, which are one UNK together.
    """
    words: dict[str, Any] | None = content["pre_tokenizer"]
    if content["model"]["type"] != "Unigram" or words is None:
        return words
    ends = {name: name[len(name.rstrip("<>_")) :] or name[-1] for name in names}
    cut = "|".join(f"(?<={re.escape(name.removesuffix(end))}){re.escape(end)}" for name, end in ends.items())
    guard = {"type": "Split", "pattern": {"Regex": cut}, "behavior": "MergedWithNext", "invert": False}
    return {"type": "Sequence", "pretokenizers": [*_parts(words, "pretokenizers"), guard]}


def _unhiding(decoder: dict[str, Any]) -> dict[str, Any]:
    first = {"type": "Replace", "pattern": {"String": NEVER_TEXT}, "content": ""}
    return {"type": "Sequence", "decoders": [first, *_parts(decoder, "decoders")]}


def _parts(sequence: dict[str, Any], key: str) -> list[Any]:
    return list(sequence[key]) if sequence["type"] == "Sequence" else [sequence]


def _template(before: list[str], end: str, ids: dict[str, int]) -> dict[str, Any]:
    """What stands around a line: the prefix before it, EOS after it."""
    prefix, suffix = ([{"SpecialToken": {"id": name, "type_id": 0}} for name in names] for names in (before, [end]))
    one, other = ({"Sequence": {"id": side, "type_id": 0}} for side in "AB")
    return {
        "type": "TemplateProcessing",
        "single": [*prefix, one, *suffix],
        "pair": [*prefix, one, other, *suffix],
        "special_tokens": {name: {"id": name, "ids": [ids[name]], "tokens": [name]} for name in (*before, end)},
    }
