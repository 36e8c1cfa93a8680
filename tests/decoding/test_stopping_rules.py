"""The rules of `decoding.stop` against plain ones: what Hugging Face and Marian do, as lists of texts."""

import math
from collections.abc import Callable
from typing import get_args

import pytest
import torch
from fake_model import FakeModel, batch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from zhuyi.config import DecodingConfig, StoppingRule, changed
from zhuyi.decoding import Candidate, Hypothesis, Strategy, search
from zhuyi.text.tokenizer import BOS, EOS, PAD, UNK

Text = tuple[list[int], float]
"""Tokens, EOS among them, and the sum of their log-probabilities, as far as these count."""
Grow = Callable[[list[Text], int], list[Text]]
"""From texts and the number of the step to all their continuations, best first."""

RULES = get_args(StoppingRule)
OTHERS = [rule for rule in RULES if rule != "bound"]


def penalised(total: float, length: int, decoding: DecodingConfig) -> float:
    base = length if decoding.penalty == "power" else (5 + length) / 6
    return total / base**decoding.length_penalty


def growing(model: FakeModel, source: Tensor, decoding: DecodingConfig, limit: int, prefix: list[int]) -> Grow:
    free = decoding.stop.startswith("huggingface")  # what is forced costs nothing

    def grow(texts: list[Text], step: int) -> list[Text]:
        candidates = []
        forced = prefix[step] if step < len(prefix) else EOS if decoding.end_at_limit and step + 1 == limit else None
        for tokens, total in texts:
            for token, log_prob in enumerate(model.log_probs(source, tokens)):
                if forced is not None:
                    if token == forced:
                        candidates.append(([*tokens, token], total + (0.0 if free else log_prob)))
                elif token == EOS and step + 1 < decoding.min_length:
                    continue
                elif token not in (PAD, BOS) and (decoding.allow_unknown or token != UNK):
                    candidates.append(([*tokens, token], total + log_prob))
        return sorted(candidates, key=lambda text: -text[1])

    return grow


def plain_huggingface(grow: Grow, decoding: DecodingConfig, limit: int) -> list[tuple[list[int], float]]:
    """`_beam_search` of transformers: the list of the finished has `beam` places."""
    beam, live, finished = decoding.beam, [([], 0.0)], []
    for step in range(1, limit + 1):
        candidates = grow(live, step - 1)[: 2 * beam]
        finished += [
            (tokens, penalised(total, step, decoding))
            for tokens, total in candidates[:beam]
            if tokens[-1] == EOS or step == limit
        ]
        finished = sorted(finished, key=lambda text: -text[1])[:beam]
        live = [text for text in candidates if text[0][-1] != EOS][:beam]
        taken = len(finished) == beam
        if not live or (taken and decoding.stop == "huggingface-early"):
            break
        if taken and penalised(live[0][1], step, decoding) <= finished[-1][1]:
            break
    return finished[: decoding.n_best]


def plain_marian(grow: Grow, decoding: DecodingConfig, limit: int) -> list[tuple[list[int], float]]:
    """`BeamSearch::search` of Marian: those that ended are purged, and the others are the next beam."""
    places, live, finished = decoding.beam, [([], 0.0)], []
    for step in range(1, limit + 1):
        candidates = grow(live, step - 1)[:places]
        ended = [text for text in candidates if text[0][-1] == EOS or step == limit]
        finished += [(tokens, penalised(total, step, decoding)) for tokens, total in ended]
        live = [text for text in candidates if text not in ended]
        places -= len(ended)
        if not live:
            break
    return sorted(finished, key=lambda text: -text[1])[: decoding.n_best]


def asked(draw: st.DrawFn, rules: list[str]) -> DecodingConfig:
    beam = draw(st.integers(2, 6))
    return DecodingConfig(
        beam=beam,
        n_best=draw(st.integers(1, beam)),
        stop=draw(st.sampled_from(rules)),
        penalty=draw(st.sampled_from(["wu", "power"])),
        length_penalty=draw(st.sampled_from([0.0, 0.6, 1.0, 2.0])),
        end_at_limit=draw(st.booleans()),
        allow_unknown=draw(st.booleans()),
        max_ratio=0,
        max_extra=draw(st.integers(1, 9)),
        min_length=draw(st.sampled_from([0, 0, 1, 2, 5, 20])),
        max_repetition=0,
    )


def found_by(
    model: FakeModel, lines: list[list[int]], decoding: DecodingConfig, **more: object
) -> list[list[Hypothesis]]:
    return search(model, *batch(*lines), decoding, 100, **more)


decodings = st.composite(asked)
lines = st.lists(st.integers(4, 300), min_size=1, max_size=12)
models = st.builds(
    FakeModel,
    st.sampled_from([12, 40]),
    st.integers(0, 10_000),
    st.sampled_from([1.5, 8.0]),
    eos=st.sampled_from([-3.0, 0.0, 1.5, 3.0]),
)
prefixes = st.lists(st.integers(4, 11), max_size=2)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(models, decodings(OTHERS), lines, prefixes)
def test_a_rule_is_that_of_the_other_program(
    model: FakeModel, decoding: DecodingConfig, line: list[int], prefix: list[int]
) -> None:
    limit = decoding.max_extra
    assert limit is not None
    prefix = prefix[: limit - 1]
    plain = plain_marian if decoding.stop == "marian" else plain_huggingface
    expected = plain(growing(model, torch.tensor(line), decoding, limit, prefix), decoding, limit)
    [found] = found_by(model, [line], decoding, prefix=prefix)
    assert [each.tokens + [EOS] * each.finished for each in found] == [tokens for tokens, _ in expected]
    assert [each.score for each in found] == pytest.approx([score for _, score in expected], rel=1e-4, abs=1e-5)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(models, decodings(list(RULES)), st.lists(lines, min_size=1, max_size=4))
def test_whatever_the_rule_hypotheses_are_sound(
    model: FakeModel, decoding: DecodingConfig, sources: list[list[int]]
) -> None:
    together = found_by(model, sources, decoding)
    for line, found in zip(sources, together, strict=True):
        assert found_by(model, [line], decoding) == [found]
        assert [each.score for each in found] == sorted((each.score for each in found), reverse=True)
        for each in found:
            length = len(each.token_logprobs)
            assert each.finished or (length == decoding.max_extra and not decoding.end_at_limit)
            assert length >= min(decoding.min_length, decoding.max_extra)
            assert decoding.allow_unknown or UNK not in each.tokens
            free = decoding.end_at_limit and length == decoding.max_extra and decoding.stop.startswith("huggingface")
            total = sum(each.token_logprobs[: length - free])
            assert each.score == pytest.approx(penalised(total, length, decoding), rel=1e-4, abs=1e-5)


@pytest.mark.slow
@settings(max_examples=20, deadline=None)
@given(models, decodings(list(RULES)), st.lists(lines, min_size=1, max_size=3))
def test_a_beam_of_1_is_greedy_search(model: FakeModel, decoding: DecodingConfig, sources: list[list[int]]) -> None:
    one = changed(decoding, {"beam": 1, "n_best": 1})
    greedy = changed(one, {"stop": "bound"})
    for [mine], [right] in zip(found_by(model, sources, one), found_by(model, sources, greedy), strict=True):
        assert (mine.tokens, mine.finished) == (right.tokens, right.finished)
        assert mine.token_logprobs == right.token_logprobs


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("rule", RULES)
def test_the_tree_shows_what_became_of_every_candidate(rule: StoppingRule, seed: int) -> None:
    """What goes on was kept, what ended is finished, and all hypotheses are leaves of one kind or the other."""
    decoding = DecodingConfig(beam=3, n_best=3, stop=rule, penalty="power", max_ratio=0, max_extra=7)
    nodes: dict[int, Candidate] = {}

    def observe(strategy: Strategy) -> None:
        nodes.update({each.number: each for each in strategy.candidates(0)})

    def text(number: int | None) -> list[int]:
        return [] if number is None else [*text(nodes[number].parent), nodes[number].token]

    [found] = found_by(FakeModel(20, seed, eos=1.0), [[4, EOS]], decoding, observe=observe)
    last = max(node.step for node in nodes.values())
    for node in nodes.values():
        assert node.parent is None or nodes[node.parent].fate == "kept"
        assert node.fate == "pruned" or (node.fate == "finished") == (node.token == EOS)
    kept = [[node.number for node in nodes.values() if (node.step, node.fate) == (step, "kept")] for step in range(8)]
    finished = [
        [node.number for node in nodes.values() if node.fate == "finished" and node.step <= k] for k in range(8)
    ]
    leaves = [text(number) for number in [*kept[last], *finished[last]]]
    assert all(each.tokens + [EOS] * each.finished in leaves for each in found)
    for step in range(last + 1):
        if rule == "marian":
            assert len(kept[step]) + len(finished[step]) == decoding.beam
        else:
            assert len(kept[step]) == decoding.beam or (step == last and len(kept[step]) < decoding.beam)


def test_a_forced_token_has_no_part_in_the_scores_of_hugging_face_alone() -> None:
    model, prefix = FakeModel(20, 3), [7, 5]
    for rule in RULES:
        for beam in (1, 4):
            decoding = DecodingConfig(beam=beam, stop=rule, max_ratio=0, max_extra=9)
            [[best]] = found_by(model, [[4, EOS]], decoding, prefix=prefix)
            assert math.isfinite(sum(best.token_logprobs[:2]))
            counted = best.token_logprobs[2 if rule.startswith("huggingface") else 0 :]
            expected = penalised(sum(counted), len(best.token_logprobs), decoding)
            assert best.score == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("how", [{"beam": 1}, {"beam": 4, "n_best": 4}, {"strategy": "sampling", "n_best": 4}])
def test_an_output_ends_at_its_limit_and_has_no_unknown(how: dict) -> None:
    model = FakeModel(9, 1, eos=-1000.0)
    model.table[:, UNK] += 5
    decoding = DecodingConfig(**how, max_ratio=1.0, max_extra=1, max_repetition=0)
    without = changed(decoding, {"end_at_limit": True, "allow_unknown": False})
    lines = [[5, EOS], [5, 6, 7, EOS]]
    for line, free, ended in zip(lines, found_by(model, lines, decoding), found_by(model, lines, without), strict=True):
        assert any(UNK in each.tokens for each in free)
        for each in free:
            assert (len(each.tokens), each.finished) == (len(line) + 1, False)
        for each in ended:
            assert (len(each.tokens), each.finished) == (len(line), True)
            assert UNK not in each.tokens
