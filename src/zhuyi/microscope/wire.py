"""What goes from a trace to its page: a small JSON (`schema.py`), and tensors by name, little-endian.

Printed numbers come from float32 (`floats`). For pictures of attention weights there is one byte a number (`roots`):
255·√p, because a linear byte turns four of ten weights that are not zero to zero. No byte is ever printed as a number.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict

import numpy as np
import torch
from torch import Tensor

from zhuyi.decoding.hypothesis import Candidate
from zhuyi.microscope import schema
from zhuyi.microscope.run import curves, examples
from zhuyi.microscope.trace import Replay, Trace, WhatIf, transformer_of
from zhuyi.text.tokenizer import EOS
from zhuyi.translator import Translator
from zhuyi.version import __version__

MAX_LISTED = 20
"""Tokens of a distribution that are listed; the others are summed up."""
TEMPERATURES = [tenths / 10 for tenths in range(2, 31, 2)]
"""Those of the slider: what a file needs for them takes less space than all logits."""
MAX_FLOAT32_PARAMETERS = 2_000_000
"""A page computes with float32 up to this size, which takes 5.3 bytes a parameter in a file, and with float16 above."""
MAX_FLOAT16_PARAMETERS = 20_000_000
"""A page does not compute with more, which would be a file of more than 55 MB, and slow."""
PARAMETERS = "parameters."
"""Before the name of a learned tensor; a value of the trace goes by its canonical name."""


def describe_model(
    translator: Translator, checkpoints: Sequence[str] = (), beside: Translator | None = None
) -> schema.Model:
    """What the page knows before there is a sentence.

    Args:
        translator: of the model.
        checkpoints: of its training, which are there to be looked at too.
        beside: of another model that the page shows.
    """
    config, origin = translator.config, translator.origin
    return schema.Model(
        zhuyi=__version__,
        name=translator.name,
        config=schema.Architecture(**config.model.model_dump()),
        decoding=translator.decoding(),
        smoothing=config.training.label_smoothing,
        parameters=transformer_of(translator).parameter_count(),
        precision="float32",
        temperatures=TEMPERATURES,
        checkpoints=list(checkpoints),
        examples=examples(origin.directory) if origin else [],
        curves=curves(origin.directory) if origin else None,
        beside=describe_model(beside) if beside is not None else None,
    )


def embed_all(
    described: schema.Model, translator: Translator, beside: Translator | None = None
) -> dict[str, schema.Embedded]:
    """The model, as "", and the one beside it, for a page that computes by itself; none, if one is too large."""
    models = {"": (described, translator)}
    if beside is not None and described.beside is not None:
        models[schema.BESIDE] = described.beside, beside
    if any(each.parameters > MAX_FLOAT16_PARAMETERS for each, _ in models.values()):
        return {}
    return {name: _embed(*each) for name, each in models.items()}


def _embed(described: schema.Model, translator: Translator) -> schema.Embedded:
    """All of a model but its weights."""
    precision: schema.Precision = "float32" if described.parameters <= MAX_FLOAT32_PARAMETERS else "float16"
    return schema.Embedded(
        model=described.model_copy(update={"precision": precision}),
        continues=translator.config.continues,
        tokenizers=list(translator.tokenizers.files().values()),
        templates=[schema.Template(**asdict(template)) for template in translator.tokenizers.templates],
        shapes={name: list(each.shape) for name, each in transformer_of(translator).named_parameters()},
    )


def embedded_weights(translator: Translator, precision: schema.Precision) -> bytes:
    """The weights of that model, one after another, little-endian."""
    number = "<f4" if precision == "float32" else "<f2"
    weights = transformer_of(translator).parameters()
    return b"".join(each.detach().float().cpu().numpy().astype(number).tobytes() for each in weights)


def describe_trace(trace: Trace) -> schema.Trace:
    """All of a trace but its tensors."""
    target = trace.translator.tokenizers.target
    return schema.Trace(
        text=trace.text,
        source=_tokens(trace.source, trace.source_pieces),
        normalised=trace.translator.tokenizers.source.normalise(trace.text),
        output=trace.output,
        hypotheses=[
            schema.Hypothesis(text=target.decode([each.tokens])[0], score=_finite(each.score), finished=each.finished)
            for each in trace.hypotheses
        ],
        candidates=[_candidate(trace, each) for each in trace.candidates],
        decoding=trace.decoding,
        difference=_finite(trace.difference),
        given=trace.given,
        what_if=describe_what_if(trace.what_if),
        replay=_replay(trace, trace.replay),
        reference=_replay(trace, trace.reference) if trace.reference is not None else None,
        shapes={name: list(each.shape) for name, each in tensors(trace).items()},
    )


def describe_what_if(what_if: WhatIf) -> schema.WhatIf:
    """What was changed while looking."""
    return schema.WhatIf(
        heads_off=sorted(what_if.heads_off),
        positions_off=what_if.positions_off,
        mask_lifted=what_if.mask_lifted,
        prefix=list(what_if.prefix),
    )


def tensors(trace: Trace) -> dict[str, Tensor]:
    """Every tensor that the page may ask for, by name: this is the list of what is allowed."""
    learned = {f"{PARAMETERS}{key}": each.detach() for key, each in transformer_of(trace.translator).named_parameters()}
    return {**learned, **trace.replay.values}


def floats(tensor: Tensor) -> bytes:
    """Little-endian float32 in the order of the last dimension; True is 1."""
    return tensor.detach().float().cpu().contiguous().numpy().astype("<f4").tobytes()


def roots(probabilities: Tensor) -> bytes:
    """One byte a probability, 255·√p rounded: for pictures only."""
    scaled = probabilities.detach().float().cpu().clamp(0, 1).sqrt() * 255
    return scaled.round().to(torch.uint8).contiguous().numpy().astype(np.uint8).tobytes()


def characters(pieces: list[str]) -> list[tuple[int, int, str]]:
    """Runs of byte pieces that are one character: (first, end, character). `<0xE2>` alone says nothing to anyone."""
    found: list[tuple[int, int, str]] = []
    start = 0
    while start < len(pieces):
        end = next((end for end in range(start + 1, start + 5) if _character(pieces[start:end])), None)
        if end is not None:
            found.append((start, end, _character(pieces[start:end])))
        start = end or start + 1
    return found


def _character(pieces: list[str]) -> str:
    """What these byte pieces spell, if it is one whole character, or nothing."""
    values = [_byte(piece) for piece in pieces]
    try:
        spelt = bytes(value for value in values if value is not None).decode()
    except UnicodeDecodeError:
        return ""
    return spelt if len(spelt) == 1 and None not in values else ""


def _byte(piece: str) -> int | None:
    return int(piece[3:5], 16) if len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">") else None


def _tokens(ids: list[int], pieces: list[str]) -> schema.Tokens:
    return schema.Tokens(ids=ids, pieces=pieces, characters=characters(pieces))


def _candidate(trace: Trace, each: Candidate) -> schema.Candidate:
    (piece,) = trace.pieces([each.token])
    return schema.Candidate(**vars(each), piece=piece)


def _replay(trace: Trace, replay: Replay) -> schema.Replay:
    log_probs = replay.log_probs
    best, tokens = log_probs.topk(min(MAX_LISTED, log_probs.shape[1]))
    allowed = replay.values["logits"].log_softmax(dim=1).gather(1, tokens[:, :1]) - best[:, :1]
    tempered = [_tempered(log_probs, temperature) for temperature in TEMPERATURES]
    steps = [
        schema.Step(
            top=[
                schema.Choice(id=token, piece=trace.pieces([token])[0], log_prob=log_prob)
                for token, log_prob in zip(tokens[step].tolist(), best[step].tolist(), strict=True)
                if log_prob > -math.inf  # the others are never written
            ],
            allowed=float(allowed[step]),
            tempered=[(float(log_sum[step]), float(entropy[step])) for log_sum, entropy in tempered],
            eos=_finite(float(log_probs[step, EOS])),
        )
        for step in range(len(replay.target_out))
    ]
    return schema.Replay(
        target_in=_tokens(replay.target_in, trace.pieces(replay.target_in)),
        target_out=_tokens(replay.target_out, trace.pieces(replay.target_out)),
        decoder_in=_tokens(replay.decoder_in, trace.pieces(replay.decoder_in)),
        steps=steps,
        losses=replay.losses.tolist(),
        smoothed=replay.smoothed_losses(trace.translator.config.training.label_smoothing).tolist(),
        ranks=replay.ranks,
    )


def _tempered(log_probs: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """log Σ p^(1/T), which makes each log p / T a log-probability again, and the entropy in nats, at each position."""
    cooled = log_probs / temperature
    log_sum = cooled.logsumexp(dim=1)
    cooled -= log_sum[:, None]
    return log_sum, torch.special.entr(cooled.exp()).sum(dim=1)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
