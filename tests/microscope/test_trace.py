"""Looking: what the trace says is what decoding did, and the model is the same afterwards."""

from html import unescape
from pathlib import Path

import pytest
import torch
from command_line import TINY, in_shape, tiny_model
from torch.testing import assert_close

from zhuyi.config import build_config
from zhuyi.errors import CheckpointError, ConfigError, DataError
from zhuyi.loading import load
from zhuyi.microscope.page import look
from zhuyi.microscope.trace import Trace, WhatIf, record
from zhuyi.model import kernels
from zhuyi.text.lines import one_line
from zhuyi.text.tokenizer import BOS, EOS
from zhuyi.training.objective import cross_entropy
from zhuyi.translator import Translator

LINE, REFERENCE = "two dogs run 👩‍👧", "zwei Hunde"


@pytest.fixture(scope="module")
def translator(tmp_path_factory: pytest.TempPathFactory) -> Translator:
    return load(tiny_model(tmp_path_factory.mktemp("model")), engine="torch", device="cpu")


@pytest.fixture(scope="module")
def trace(translator: Translator) -> Trace:
    return look(translator, LINE, target=REFERENCE, beam=3)


@pytest.mark.slow
@pytest.mark.parametrize("beam", [1, 3])
@pytest.mark.parametrize("length_penalty", [0.0, 1.0])
def test_the_trace_is_of_what_translate_says(translator: Translator, beam: int, length_penalty: float) -> None:
    trace = look(translator, LINE, beam=beam, length_penalty=length_penalty)
    decoding = translator.decoding(beam=beam, length_penalty=length_penalty)
    (said,) = translator.hypotheses([LINE], decoding)
    assert one_line(trace.output) == said[0].text
    assert trace.hypotheses[0].score == said[0].score
    assert trace.difference <= 1e-5


def test_every_value_has_the_shape_of_its_sentence(translator: Translator, trace: Trace) -> None:
    heads, width = translator.config.model.heads, translator.config.model.width
    source, target = len(trace.source), len(trace.replay.target_in)
    assert trace["encoder.0.self.weights"].shape == (heads, source, source)
    assert trace["decoder.0.cross.weights"].shape == (heads, target, source)
    assert trace["encoder.embedding"].shape == (source, width)
    assert trace.source[-1] == EOS
    assert trace.replay.target_in[0] == BOS
    assert trace.replay.target_in[1:] == trace.replay.target_out[:-1]
    assert all(value.dtype in (torch.float32, torch.bool) for value in trace.replay.values.values())
    assert len(list(trace)) == len(trace)
    with pytest.raises(KeyError, match=r"did you mean .*encoder\.0\.self\.weights"):
        trace["encoder.0.self.weight"]


def test_losses_are_those_of_evaluation_and_training(translator: Translator, trace: Trace) -> None:
    assert trace.reference is not None
    assert_close(float(trace.reference.losses.mean()), translator.loss([LINE], [REFERENCE]), atol=1e-6, rtol=1e-6)
    hidden, right = trace.reference.values["decoder.output"], torch.tensor([trace.reference.target_out])
    smoothed, plain = cross_entropy(hidden[None], translator.engine.transformer.projection.weight, right, 0.1)
    assert_close(trace.reference.smoothed_losses(0.1).sum(), smoothed, atol=1e-4, rtol=1e-5)
    assert_close(trace.reference.losses.sum(), plain, atol=1e-4, rtol=1e-5)
    assert_close(trace.replay.values["encoder.output"], trace.reference.values["encoder.output"])


def test_a_rank_counts_what_was_more_probable(trace: Trace) -> None:
    order = trace.replay.values["logits"].argsort(dim=-1, descending=True)
    ranks = (order == torch.tensor(trace.replay.target_out)[:, None]).nonzero()[:, 1].tolist()
    assert trace.replay.ranks == ranks


def test_the_tree_holds_every_path(trace: Trace) -> None:
    nodes = {each.number: each for each in trace.candidates}
    assert len(nodes) == len(trace.candidates)
    for each in trace.candidates:
        parent = None if each.parent is None else nodes[each.parent]
        assert (parent is None) == (each.step == 0)
        if parent is not None:
            assert parent.fate == "kept"
            assert parent.step == each.step - 1
        assert_close(each.total, (parent.total if parent else 0.0) + each.log_prob, atol=1e-6, rtol=1e-6)
    for step in range(max(each.step for each in trace.candidates) + 1):
        fates = [each.fate for each in trace.candidates if each.step == step]
        assert fates.count("kept") <= 3
        assert fates.count("finished") <= 3
    for hypothesis in trace.hypotheses:
        (leaf,) = [each for each in trace.candidates if _path(nodes, each.number) == [*hypothesis.tokens, EOS]] or [
            each for each in trace.candidates if _path(nodes, each.number) == hypothesis.tokens
        ]
        assert leaf.fate == ("finished" if hypothesis.finished else "kept")
        assert_close(leaf.score, hypothesis.score, atol=1e-6, rtol=1e-6)


def test_greedy_search_is_a_tree_without_branches(translator: Translator) -> None:
    trace = look(translator, LINE, beam=1)
    best = trace.hypotheses[0]
    assert [each.token for each in trace.candidates] == best.tokens + [EOS] * best.finished
    assert [each.parent for each in trace.candidates] == [None, *range(len(trace.candidates) - 1)]
    assert_close(trace.candidates[-1].score, best.score)


def with_samples(translator: Translator, **settings: object) -> Translator:
    return translator.with_decoding(translator.decoding(strategy="sampling", **settings))


@pytest.mark.slow
@pytest.mark.parametrize("n_best", [1, 3])
def test_samples_are_those_of_translate_and_the_tree_says_what_was_drawn(translator: Translator, n_best: int) -> None:
    sampler = with_samples(translator, n_best=n_best, temperature=1.5, top_k=20)
    trace = look(sampler, LINE)
    (said,) = sampler.hypotheses([LINE])
    assert one_line(trace.output) == said[0].text
    assert [each.score for each in trace.hypotheses] == [each.score for each in said]
    assert trace.difference <= 1e-5
    nodes = {each.number: each for each in trace.candidates}
    assert len(nodes) == len(trace.candidates)
    for each in trace.candidates:
        parent = None if each.parent is None else nodes[each.parent]
        assert (parent is None) == (each.step == 0)
        assert parent is None or (parent.fate, parent.step) == ("kept", each.step - 1)
        assert_close(each.total, (parent.total if parent else 0.0) + each.log_prob, atol=1e-5, rtol=1e-5)
    leaves = [each for each in trace.candidates if each.fate == "finished" or each.step == max(nodes) // (5 * n_best)]
    drawn = [_path(nodes, each.number) for each in leaves if each.fate != "pruned"]
    assert sorted(drawn) == sorted([*each.tokens, *[EOS] * each.finished] for each in trace.hypotheses)
    first = [each for each in trace.candidates if each.step == 0]
    assert [each.fate for each in first].count("kept") + [each.fate for each in first].count("finished") == n_best
    assert len(first) > n_best
    for each in first:
        assert_close(each.log_prob, trace.replay.log_probs[0, each.token].item(), atol=1e-5, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("how", [{"beam": 1}, {"beam": 3}, {"strategy": "sampling", "temperature": 0.05}])
def test_an_output_that_repeats_itself_is_ended_while_looking(translator: Translator, how: dict) -> None:
    guarded = translator.with_decoding(translator.decoding(max_extra=30, max_repetition=4, **how))
    ended = [
        trace
        for trace in (look(guarded, line) for line in ("two dogs run", "a", "dogs dogs", "cats and dogs"))
        if trace.output != look(translator.with_decoding(guarded.decoding(max_repetition=0)), trace.text).output
    ]
    assert ended, "one of them repeats itself"
    for trace in ended:
        assert trace.difference <= 1e-5


def test_the_weights_are_there_whatever_kernel_is_in_use(translator: Translator, trace: Trace) -> None:
    with kernels.use("fused"):
        looked = look(translator, trace.text)
    assert list(looked) == list(trace)


@pytest.mark.slow
def test_a_head_that_is_off_adds_nothing_and_comes_back(translator: Translator) -> None:
    before = {name: weight.clone() for name, weight in translator.engine.transformer.named_parameters()}
    plain = look(translator, LINE)
    off = look(translator, LINE, what_if=WhatIf(heads_off=frozenset({("encoder.0.self", 1)})))
    assert_close(plain["encoder.0.self.context"], off["encoder.0.self.context"])
    width = translator.config.model.head_width
    context = plain["encoder.0.self.context"].clone()
    context[1] = 0.0
    by_hand = translator.engine.transformer.encoder.blocks[0].mixer.output(context.transpose(0, 1).flatten(1))
    assert context.shape[-1] == width
    assert_close(off["encoder.0.self.output"], by_hand.detach())
    assert off.difference <= 1e-5
    assert all(torch.equal(weight, before[name]) for name, weight in translator.engine.transformer.named_parameters())
    assert_close(look(translator, LINE)["logits"], plain["logits"], atol=0, rtol=0)


@pytest.mark.slow
def test_without_positions_the_order_does_not_matter(translator: Translator) -> None:
    off = WhatIf(positions_off=True)
    one, other = (look(translator, line, what_if=off)["encoder.output"][:-1] for line in ("dogs cats", "cats dogs"))
    assert_close(one.sum(dim=0), other.sum(dim=0), atol=1e-4, rtol=1e-4)
    one, other = (look(translator, line)["encoder.output"][:-1] for line in ("dogs cats", "cats dogs"))
    assert not torch.allclose(one.sum(dim=0), other.sum(dim=0), atol=1e-4)


def test_a_lifted_mask_lets_the_past_see_the_future(translator: Translator, trace: Trace) -> None:
    lifted = look(translator, LINE, beam=3, what_if=WhatIf(mask_lifted=True))
    assert lifted.hypotheses == trace.hypotheses
    assert (trace["decoder.0.self.weights"].triu(1) == 0).all()
    assert (lifted["decoder.0.self.weights"] > 0).all()
    assert lifted.difference != lifted.difference


@pytest.mark.slow
@pytest.mark.parametrize("beam", [1, 3])
def test_an_output_begins_with_its_prefix(translator: Translator, trace: Trace, beam: int) -> None:
    chosen = trace.replay.target_out[:1]
    other = int(trace.replay.log_probs[1].argsort(descending=True)[3])
    given = look(translator, LINE, beam=beam, what_if=WhatIf(prefix=(*chosen, other)))
    assert all(each.tokens[:2] == [*chosen, other] for each in given.hypotheses)
    assert given.difference <= 1e-5  # the forced token keeps the log-probability that the model gives it
    assert [each.token for each in given.candidates if each.step < 2] == [*chosen, other]
    ended = look(translator, LINE, beam=beam, what_if=WhatIf(prefix=(*chosen, EOS)))
    assert ended.hypotheses[0].tokens == chosen
    assert ended.hypotheses[0].finished
    best = tuple(trace.replay.target_out)
    assert look(translator, LINE, beam=beam, what_if=WhatIf(prefix=best)).output == trace.output


def test_a_trace_is_saved_as_a_page_and_shows_itself_in_a_notebook(trace: Trace, tmp_path: Path) -> None:
    trace.save(tmp_path / "look.html")
    alive = (tmp_path / "look.html").read_text(encoding="utf-8")
    trace.save(tmp_path / "look.html", frozen=True)
    page = (tmp_path / "look.html").read_text(encoding="utf-8")
    assert all(each.startswith("<!doctype html>") for each in (alive, page))
    assert 'id="weights"' in alive
    assert 'id="weights"' not in page
    shown = trace._repr_html_()
    assert unescape(shown.partition('srcdoc="')[2].partition('"')[0]) == page
    with pytest.raises(CheckpointError, match="cannot write"):
        trace.save(tmp_path / "look.html" / "below a file")


@pytest.mark.parametrize(
    ("line", "target", "what_if", "error", "says"),
    [
        (" ", None, WhatIf(), DataError, "the sentence is empty"),
        ("a", "", WhatIf(), DataError, "the reference is empty"),
        ("dogs " * 300, None, WhatIf(), DataError, "shorten it"),
        ("a", None, WhatIf(heads_off=frozenset({("encoder.9.self", 0)})), ConfigError, "there are encoder.0.self"),
        ("a", None, WhatIf(heads_off=frozenset({("encoder.0.self", 9)})), ConfigError, "no head 9"),
        ("a", None, WhatIf(prefix=(10**6,)), ConfigError, "no token of the target"),
        ("a", None, WhatIf(prefix=(BOS,)), ConfigError, "no token of the target"),
    ],
)
def test_what_cannot_be_looked_at(translator: Translator, line, target, what_if, error, says) -> None:
    with pytest.raises(error, match=says):
        look(translator, line, target=target, what_if=what_if)


def _path(nodes: dict, number: int | None) -> list[int]:
    path = []
    while number is not None:
        path.append(nodes[number].token)
        number = nodes[number].parent
    return path[::-1]


def test_a_model_whose_answer_is_no_number_says_so(tmp_path: Path) -> None:
    broken = load(tiny_model(tmp_path), engine="torch", device="cpu")
    with torch.no_grad():
        broken.engine.transformer.encoder.blocks[0].mixer.query.weight.fill_(float("nan"))
    with pytest.raises(CheckpointError, match="NaN"):
        look(broken, LINE)


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Translator:
    """Of the decoder shape: source BOS target."""
    directory = tiny_model(tmp_path_factory.mktemp("decoder"), in_shape("decoder"))
    return load(directory, engine="torch", device="cpu")


@pytest.fixture(scope="module", params=["line", "token"])
def encoder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Translator:
    """Of the encoder shape, with a label a line or a token."""
    directory = tiny_model(tmp_path_factory.mktemp("encoder"), in_shape("encoder", request.param))
    return load(directory, engine="torch", device="cpu")


@pytest.mark.parametrize("beam", [1, 3])
def test_the_decoder_shape_is_traced_over_source_and_target_in_one_sequence(decoder: Translator, beam: int) -> None:
    trace = look(decoder, LINE, target=REFERENCE, beam=beam)
    (said,) = decoder.hypotheses([LINE], decoder.decoding(beam=beam))
    assert (trace.output, trace.hypotheses[0].score) == (said[0].text, said[0].score)
    assert trace.difference <= 1e-5
    assert trace.candidates
    assert trace.reference is not None
    for replay in (trace.replay, trace.reference):
        assert replay.decoder_in == [*trace.source[:-1], BOS, *replay.target_out[:-1]]
        time = len(replay.decoder_in)
        assert replay.values["decoder.0.self.weights"].shape[1:] == (time, time)
        assert (replay.values["decoder.0.self.weights"].triu(1) == 0).all()
        embedding = decoder.engine.transformer.decoder.embedding.weight[replay.decoder_in]
        assert_close(replay.values["decoder.embedding"], embedding.detach() * embedding.shape[1] ** 0.5)
        assert len(replay.values["logits"]) == len(replay.target_out)
        of_target = replay.values["decoder.output"][len(trace.source) - 1 :]
        assert_close(replay.values["logits"], of_target @ decoder.engine.transformer.projection.weight.detach().T)
    assert_close(float(trace.reference.losses.mean()), decoder.loss([LINE], [REFERENCE]), atol=1e-6, rtol=1e-6)


@pytest.mark.slow
def test_what_if_of_the_decoder_shape(decoder: Translator) -> None:
    plain = look(decoder, LINE)
    lifted = look(decoder, LINE, what_if=WhatIf(mask_lifted=True))
    assert (lifted["decoder.0.self.weights"] > 0).all()
    assert lifted.hypotheses == plain.hypotheses
    off = look(decoder, LINE, what_if=WhatIf(heads_off=frozenset({("decoder.0.self", 1)})))
    assert_close(plain["decoder.0.self.queries"][:, :3], off["decoder.0.self.queries"][:, :3])
    assert not torch.allclose(plain["decoder.0.self.output"][:3], off["decoder.0.self.output"][:3])
    assert off.difference <= 1e-5
    # One block of attention, without positions, sees a set of tokens before BOS.
    without = WhatIf(positions_off=True)
    one, other = (look(decoder, line, what_if=without)["logits"][0] for line in ("a b", "b a"))
    assert_close(one, other)
    one, other = (look(decoder, line)["logits"][0] for line in ("a b", "b a"))
    assert not torch.allclose(one, other, atol=1e-4)
    other = int(plain.replay.log_probs[0].argsort(descending=True)[3])
    given = look(decoder, LINE, what_if=WhatIf(prefix=(other,)))
    assert given.hypotheses[0].tokens[:1] == [other]
    assert given.difference <= 1e-5
    with pytest.raises(ConfigError, match=r"there are decoder\.0\.self$"):
        look(decoder, "a", what_if=WhatIf(heads_off=frozenset({("decoder.0.cross", 0)})))


def test_labels_are_traced_as_translate_gives_them(encoder: Translator) -> None:
    each = encoder.config.model.labels == "token"
    reference = "ein Hund zwei Katzen" if each else "Hund"
    trace = look(encoder, LINE, target=reference)
    assert trace.output == encoder.translate([LINE])[0]
    assert trace.difference <= 1e-5
    assert trace.candidates == []
    assert trace.reference is not None
    for replay in (trace.replay, trace.reference):
        assert (replay.target_in, replay.decoder_in) == ([], [])
        assert len(replay.target_out) == (len(trace.source) - 1 if each else 1) == len(replay.values["logits"])
        assert EOS not in replay.target_out
        assert len(replay.losses) == len(replay.ranks) == len(replay.target_out)
        assert_close(replay.log_probs.exp().sum(dim=1), torch.ones(len(replay.target_out)))
        assert (replay.log_probs[:, : EOS + 1] == -torch.inf).all()
    assert_close(float(trace.reference.losses.mean()), encoder.loss([LINE], [reference]), atol=1e-6, rtol=1e-6)
    off = look(encoder, LINE, what_if=WhatIf(heads_off=frozenset({("encoder.0.self", 1)}), positions_off=True))
    assert not torch.allclose(off["encoder.output"], trace["encoder.output"])


def test_a_label_has_alternatives(tmp_path: Path) -> None:
    encoder = load(tiny_model(tmp_path, in_shape("encoder")), engine="torch", device="cpu")
    trace = record(encoder, LINE, encoder.decoding(n_best=3))
    best = trace.replay.log_probs[0].topk(3)
    assert [each.tokens for each in trace.hypotheses] == best.indices[:, None].tolist()
    assert_close(torch.tensor([each.score for each in trace.hypotheses]), best.values)


@pytest.mark.parametrize("what_if", [WhatIf(prefix=(5,)), WhatIf(mask_lifted=True)])
def test_labels_have_no_prefix_and_no_mask(encoder: Translator, what_if: WhatIf) -> None:
    with pytest.raises(ConfigError, match="no prefix and no causal mask"):
        look(encoder, LINE, what_if=what_if)


def test_a_reference_of_labels_has_as_many_as_the_model_gives(encoder: Translator) -> None:
    wanted = {"line": "1, one for the sentence", "token": "4, one for each token"}[encoder.config.model.labels]
    with pytest.raises(DataError, match=f"the reference has 2 labels; the model gives {wanted}"):
        look(encoder, LINE, target="ein Hund")


@pytest.mark.slow
def test_a_language_model_continues_the_sentence(tmp_path: Path) -> None:
    text = {**TINY["text"], "whitespace": "keep"}
    sections = {"data": {"text": "a.txt"}, "text": text, "model": {**TINY["model"], "shape": "decoder"}}
    config = build_config(sections)
    model = load(tiny_model(tmp_path, lambda _: config), engine="torch", device="cpu")
    trace = look(model, "two dogs", target="two cats")
    (begun,) = model.tokenizers.source.encode(["two dogs"])
    assert trace.output.startswith("two dogs")
    assert trace.source == [EOS]
    assert trace.replay.decoder_in == trace.replay.target_in == [BOS, *trace.replay.target_out[:-1]]
    assert trace.replay.target_out[: len(begun)] == begun
    assert len(trace.replay.target_out) > len(begun)
    assert trace.difference <= 1e-5
    assert trace.reference is not None
    other = look(model, "two dogs", what_if=WhatIf(prefix=(begun[0], 7)))
    assert other.replay.target_out[:2] == [begun[0], 7]
