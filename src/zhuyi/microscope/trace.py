"""A trace: one sentence's way through the model, every value by its name.

The sentence is decoded as always, and nothing is tapped. Then the finished output is replayed once, all positions at
the same time (teacher forcing), and a recording tap keeps everything. So looking can neither slow nor change
decoding; `difference` says how far the replay is from what decoding saw.

    trace = zhuyi.look(zhuyi.load("zhuyi-demo"), "mardi 25 mars 1986")
    trace["encoder.0.self.weights"]      α′ of the first encoder block: heads × queries × keys
    trace.replay.losses                  -log p of each token that was written

The decoder shape's values are of one sequence, source BOS target (`Replay.decoder_in`); its logits are of the target's
positions. A language model has no source: the sentence is what its text begins with. The encoder shape writes nothing:
its outputs are labels, and their replay has no target input.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Literal, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from zhuyi.config import DecodingConfig, changed
from zhuyi.data.batches import pad_sources
from zhuyi.decoding.hypothesis import Candidate, Hypothesis
from zhuyi.decoding.labels import label_log_probabilities
from zhuyi.decoding.search import Strategy, log_probabilities
from zhuyi.engine.torch import TorchEngine, answer
from zhuyi.errors import CheckpointError, ConfigError, DataError
from zhuyi.microscope.schema import Refusal
from zhuyi.model.attention import MultiHeadAttention
from zhuyi.model.blocks import Block
from zhuyi.model.positions import Positions
from zhuyi.model.shapes import DecoderOnly, EncoderOnly, join
from zhuyi.model.tap import Recording
from zhuyi.model.transformer import Network
from zhuyi.text.template import ended
from zhuyi.text.tokenizer import BOS, EOS, PAD
from zhuyi.translator import Translator

MAX_TOKENS = 256
"""Most tokens of a side: a trace holds layers × heads × tokens² scores and as many weights."""

CONTINUATION = 20
"""Tokens that a language model writes after a sentence, unless `decoding.max_extra` says how many."""


@dataclass(frozen=True)
class WhatIf:
    """Changes made to a copy of the model while it is looked at."""

    heads_off: frozenset[tuple[str, int]] = frozenset()
    """(`encoder.0.self`, 2): the third head of that attention adds nothing to the output."""
    positions_off: bool = False
    """Nothing tells the model where a token stands."""
    mask_lifted: bool = False
    """In the replay, every target position sees those after it. No decoding can do that."""
    prefix: tuple[int, ...] = ()
    """Tokens that every output begins with, whatever the model thinks of them; instead of the pieces of
    `text.target_prefix`, as far as it goes."""


@dataclass(frozen=True)
class Replay:
    """One pass over a whole target, every position given the right tokens before it."""

    target_in: list[int]
    """What the target is written from: BOS and tokens; nothing, where the outputs are labels."""
    target_out: list[int]
    """What is right at each place; ends in EOS, unless the length limit came first, or the outputs are labels."""
    decoder_in: list[int]
    """The tokens at the decoder's positions: `target_in`, which in the decoder shape the source stands before."""
    labels: bool
    """Whether the outputs are labels (the encoder shape), each by itself."""
    values: Mapping[str, Tensor]
    """By canonical name, without the dimension of the batch: float32, and bool for masks; on the CPU."""

    @property
    def losses(self) -> Float[Tensor, " target"]:
        """Cross entropy at each position in nats, no smoothing; the mean is what `zhuyi evaluate` calls loss."""
        return F.cross_entropy(self.values["logits"], torch.tensor(self.target_out), reduction="none")

    def smoothed_losses(self, smoothing: float) -> Float[Tensor, " target"]:
        """The same with label smoothing, which training minimises."""
        right = torch.tensor(self.target_out)
        return F.cross_entropy(self.values["logits"], right, reduction="none", label_smoothing=smoothing)

    @property
    def ranks(self) -> list[int]:
        """How many tokens the model finds more probable than the right one, at each position: 0 is its first choice."""
        logits = self.values["logits"]
        right = logits.gather(1, torch.tensor(self.target_out)[:, None])
        return cast(list[int], (logits > right).sum(dim=1).tolist())

    @property
    def log_probs(self) -> Float[Tensor, "target vocabulary"]:
        """What decoding would choose from at each position: log-probabilities, −inf for what is never written."""
        logits = self.values["logits"].clone()
        return label_log_probabilities(logits) if self.labels else log_probabilities(logits)


@dataclass(frozen=True)
class Trace:
    """Everything that was recorded of one sentence."""

    translator: Translator
    """Whose model was looked at."""
    text: str
    """The sentence."""
    source: list[int]
    """Its tokens, EOS at the end; of a language model EOS alone."""
    hypotheses: list[Hypothesis]
    """What decoding found, best first."""
    candidates: list[Candidate]
    """The search's tree, step by step, best first within a step."""
    replay: Replay
    """The best hypothesis, once more."""
    reference: Replay | None
    """The reference, if there is one: each position given the reference's tokens before it."""
    what_if: WhatIf
    """What was changed while looking."""
    decoding: DecodingConfig
    """How it was searched."""

    def __getitem__(self, name: str) -> Tensor:
        """A value of the replay by its canonical name; `list(trace)` has them all."""
        if name not in self.replay.values:
            near = get_close_matches(name, self.replay.values, n=3)
            raise KeyError(f"{name}: the model has no such value{'; did you mean ' + ', '.join(near) if near else ''}")
        return self.replay.values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.replay.values)

    def __len__(self) -> int:
        return len(self.replay.values)

    @property
    def given(self) -> int:
        """How many of the first tokens of every output are given (`text.target_prefix`): they are no choice."""
        return len(self.translator.tokenizers.target.template.prefix)

    @property
    def output(self) -> str:
        """The best hypothesis as text: what `translate` gives, but for line breaks and tabs, which stay."""
        return self.translator.tokenizers.target.decode([self.hypotheses[0].tokens])[0]

    @property
    def difference(self) -> float:
        """The largest difference between a token's log-probability in decoding and in the replay."""
        if self.what_if.mask_lifted or "mask" in self.translator.config.model.without:
            return float("nan")  # it is meant to differ
        chosen = torch.tensor(self.replay.target_out)
        replayed = self.replay.log_probs.gather(1, chosen[:, None])[:, 0]
        return float((replayed - torch.tensor(self.hypotheses[0].token_logprobs)).abs().max())

    @property
    def source_pieces(self) -> list[str]:
        """The tokens of the source as people read them."""
        return self.translator.tokenizers.source.pieces(self.source)

    def pieces(self, tokens: list[int]) -> list[str]:
        """Tokens of the target as people read them."""
        return self.translator.tokenizers.target.pieces(tokens)


def transformer_of(translator: Translator) -> Network:
    """The model inside a translator.

    Raises:
        ConfigError: if it is an ensemble, or its engine is another one than torch's, which alone can be looked into.
    """
    if not isinstance(translator.engine, TorchEngine) or len(translator.origins) > 1:
        raise ConfigError('only one model, with torch, can be looked into: zhuyi.load(DIRECTORY, engine="torch")')
    return translator.engine.network


class TextError(DataError):
    """A text that cannot be looked at.

    Args:
        message: in English.
        code: by which the page finds its own words.
        values: what these words name.
    """

    def __init__(self, message: str, code: Refusal, **values: int) -> None:
        super().__init__(message)
        self.code: Refusal = code
        self.values = values


def record(
    translator: Translator,
    line: str,
    decoding: DecodingConfig,
    target: str | None = None,
    what_if: WhatIf = WhatIf(),  # frozen
) -> Trace:
    """Decode one line, and replay what came out with everything recorded.

    Args:
        translator: whose model is in evaluation mode.
        line: a sentence.
        decoding: how to search.
        target: a reference, to be replayed as well.
        what_if: what to change meanwhile.

    Raises:
        DataError: if the line or the reference has no token, or more than the model or the microscope can take; or if
            a reference of labels has not as many as the model gives.
        ConfigError: if `what_if` names a head or a token that is not there, or changes what the model has not; or if
            its engine cannot be looked into.
        CheckpointError: if the model's answer is not a number.
    """
    tokenizers = translator.tokenizers
    longest = min(MAX_TOKENS, translator.config.model.max_length)
    (tokens,) = tokenizers.source.encode([line])
    _check_length(tokens, longest, "sentence")
    right = None
    if target is not None:
        (right,) = tokenizers.target.encode([target])
        _check_length(right, longest, "reference")

    if any(token in (PAD, BOS) or not 0 <= token < len(tokenizers.target) for token in what_if.prefix):
        raise ConfigError("the prefix holds a number that is no token of the target")
    given = tokenizers.target.template.prefix
    prefix = (*what_if.prefix, *given[len(what_if.prefix) :])
    if translator.config.continues:
        prefix, tokens = prefix or tuple(tokens), []
        more = CONTINUATION if decoding.max_extra is None else min(decoding.max_extra, CONTINUATION)
        decoding = changed(decoding, {"max_extra": len(prefix) + more})
    transformer = changed_network(transformer_of(translator), what_if)
    if isinstance(transformer, EncoderOnly):
        if what_if.prefix or what_if.mask_lifted:
            raise ConfigError("the encoder shape has no prefix and no causal mask: look without prefix and mask_lifted")
        if right is not None:
            _check_labels(right, tokens, translator.config.model.labels)
    source, source_mask = (each.to(next(transformer.parameters()).device) for each in pad_sources([tokens]))
    candidates: list[Candidate] = []

    def observe(strategy: Strategy) -> None:
        candidates.extend(strategy.candidates(0))

    with torch.inference_mode():
        (hypotheses,) = answer(transformer, source, source_mask, decoding, longest, observe, prefix)
        best = hypotheses[0]
        replay = _replay(transformer, source, source_mask, best.tokens, best.finished, what_if.mask_lifted)
        reference = None
        if right is not None:
            reference = _replay(transformer, source, source_mask, right, True, what_if.mask_lifted)
    return Trace(translator, line, ended(tokens), hypotheses, candidates, replay, reference, what_if, decoding)


def replay(translator: Translator, line: str, tokens: list[int], finished: bool) -> Replay:
    """One pass over an output that was found for a line, with every value recorded; nothing is searched for.

    Args:
        translator: whose engine is torch's.
        line: of which the model reads as much as in `Translator.hypotheses`.
        tokens: of the output, without EOS.
        finished: whether EOS follows.

    Raises:
        CheckpointError: if the model's answer is not a number.
        ConfigError: if its engine cannot be looked into.
    """
    transformer = transformer_of(translator)
    (source,) = translator.tokenizers.source.encode([line])
    device = next(transformer.parameters()).device
    padded, mask = (each.to(device) for each in pad_sources([source[: translator.longest]]))
    with torch.inference_mode():
        return _replay(transformer, padded, mask, tokens, finished, lifted=False)


def _check_length(tokens: list[int], longest: int, what: Literal["sentence", "reference"]) -> None:
    if not tokens:
        raise TextError(
            f"the {what} is empty: there is nothing to look at",
            "empty_sentence" if what == "sentence" else "empty_reference",
        )
    if len(tokens) + 1 > longest:
        raise TextError(
            f"the {what} has {len(tokens)} tokens; the microscope takes {longest - 1} with this model: shorten it",
            "long_sentence" if what == "sentence" else "long_reference",
            tokens=len(tokens),
            most=longest - 1,
        )


def _check_labels(right: list[int], tokens: list[int], labels: Literal["line", "token"]) -> None:
    wanted = len(tokens) if labels == "token" else 1
    if len(right) != wanted:
        each = "one for each token of the sentence" if labels == "token" else "one for the sentence"
        raise TextError(
            f"the reference has {len(right)} labels; the model gives {wanted}, {each}",
            "labels_of_tokens" if labels == "token" else "label_of_sentence",
            labels=len(right),
            wanted=wanted,
        )


def _replay(
    transformer: Network, source: Tensor, source_mask: Tensor, tokens: list[int], finished: bool, lifted: bool
) -> Replay:
    labels = isinstance(transformer, EncoderOnly)
    target_out = [*tokens, EOS] if finished and not labels else tokens
    target_in = [] if labels else [BOS, *target_out[:-1]]
    given = torch.tensor([target_in], dtype=source.dtype, device=source.device)
    tap = Recording(lifted_masks(transformer) if lifted else None)
    transformer(source, source_mask, given, tap)
    values = {name: value[0].cpu() for name, value in tap.values.items()}
    floats = {name: value if value.dtype == torch.bool else value.float() for name, value in values.items()}
    if not floats["logits"].isfinite().all():
        raise CheckpointError("the model answers NaN: its training diverged, or its weights are damaged")
    floats["logits"] = floats["logits"][: len(target_out)]  # the source's EOS has no label
    joined = join(source, source_mask, given)[0] if isinstance(transformer, DecoderOnly) else given
    return Replay(target_in, target_out, joined[0].tolist(), labels, floats)


def lifted_masks(transformer: Network) -> dict[str, Callable[[Tensor], Tensor]]:
    """For a tap: every causal mask lets everything be seen."""

    def everyone(mask: Bool[Tensor, "..."]) -> Bool[Tensor, "..."]:
        return torch.ones_like(mask)

    stack = transformer.stacks().get("decoder")
    return {f"decoder.{layer}.self.mask": everyone for layer in range(len(stack.blocks) if stack else 0)}


def changed_network(transformer: Network, what_if: WhatIf) -> Network:
    """A copy of the model, changed as `what_if` says; it shares every weight that is not changed.

    A head is switched off by zeros in its columns of W_o, so that decoding and replay run the same code as always.
    """
    shared = {id(tensor): tensor for tensor in [*transformer.parameters(), *transformer.buffers()]}
    copy = deepcopy(transformer, memo=shared)
    for name, head in sorted(what_if.heads_off):
        attention = _attention(copy, name, head)
        width = attention.output.in_features // attention.heads
        weight = attention.output.weight.detach().clone()
        weight[:, head * width : (head + 1) * width] = 0.0
        attention.output.weight = nn.Parameter(weight)
    if what_if.positions_off:
        for stack in copy.stacks().values():
            stack.positions = Positions(transformer.config)
    return copy


def attentions(transformer: Network) -> dict[str, MultiHeadAttention]:
    """Every attention by its canonical name: `encoder.0.self`, `decoder.2.cross`."""
    found: dict[str, object] = {}
    for name_of_stack, stack in transformer.stacks().items():
        for number, block in enumerate(cast(Iterable[Block], stack.blocks)):
            found[f"{name_of_stack}.{number}.self"] = block.mixer
            if block.has_cross:
                found[f"{name_of_stack}.{number}.cross"] = block.cross
    return {name: module for name, module in found.items() if isinstance(module, MultiHeadAttention)}


def _attention(transformer: Network, name: str, head: int) -> MultiHeadAttention:
    """The attention of that canonical name, which has that head."""
    found = attentions(transformer)
    if name not in found:
        raise ConfigError(f"{name} is no attention of this model; there are {', '.join(found)}")
    if not 0 <= head < found[name].heads:
        raise ConfigError(f"{name} has the heads 0 to {found[name].heads - 1}, and no head {head}")
    return found[name]
