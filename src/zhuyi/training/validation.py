"""Validation: scores the dev set during a run, and chooses the weights to keep at the end."""

from collections.abc import Mapping

from zhuyi.checkpoint import Model, load_weights
from zhuyi.config import Metric, TrainingConfig
from zhuyi.data.batches import token_counts
from zhuyi.data.sequences import Lengths
from zhuyi.evaluation import Evaluation, evaluate, statistics, too_short_for_bleu
from zhuyi.evaluation.held_out import HeldOut, Lines
from zhuyi.training.checkpoints import Checkpoints
from zhuyi.training.events import Listener, Notice, Validated
from zhuyi.training.int8 import Int8Comparison
from zhuyi.training.run_state import RunState
from zhuyi.training.scoring import native_engine, native_runs
from zhuyi.translator import Translator

MIN_LINES = 50
"""A validation during a run scores at least this many dev lines, if the set has as many."""
MAX_SHARE_OF_BUDGET = 0.05
"""Most tokens, of all beams, that one validation during a run may write, as a share of the tokens that the whole run is
trained on: as many as between two of twenty validations."""
ASSUMED_TOKENS_PER_MINUTE = 200_000
"""The training speed that is assumed for a budget in minutes: that of a slow CPU. It is a constant, so that the number
of lines does not depend on the machine."""


def lines_a_validation(dev: HeldOut, translator: Translator, training: TrainingConfig, corpus_tokens: int) -> int:
    """The number of dev lines that each validation during a run scores, from the data and the budget.

    An untrained model writes up to the length limit, so one validation could take longer than the training of a short
    run. Therefore each writes at most `MAX_SHARE_OF_BUDGET` of the tokens that the run is trained on, or, for labels,
    reads at most as many. The whole set is scored at the end.

    Args:
        dev: the whole dev set.
        translator: of the model; its configuration limits the length of an output.
        training: with the budgets.
        corpus_tokens: source and target tokens of one epoch, EOS counted.
    """
    budgets: list[float] = []
    if training.steps is not None:
        budgets.append(training.steps * training.tokens_per_batch * training.accumulate)
    if training.epochs is not None:
        budgets.append(training.epochs * corpus_tokens)
    if training.minutes is not None:
        budgets.append(training.minutes * ASSUMED_TOKENS_PER_MINUTE)
    lines = int(MAX_SHARE_OF_BUDGET * min(budgets) / dev.tokens(translator))
    return min(max(lines, MIN_LINES), len(dev))


def validated_lines(
    dev: HeldOut | None, translator: Translator, data: Lengths, state: RunState, notify: Listener
) -> HeldOut | None:
    """The dev lines or windows that validations during the run score. A resumed run scores as many as before."""
    if dev is None:
        return None
    training = translator.config.training
    if isinstance(dev, Lines) and training.metric == "bleu" and too_short_for_bleu(dev.targets):
        notify(
            Notice(
                "no dev target has the four tokens that it wants, so the dev loss chooses the best checkpoint: "
                "training.metric=chrf or exact suits short answers.",
                warning="Too short for BLEU",
            )
        )
    if isinstance(dev, Lines) and training.metric == "span_f1":
        statistics("span_f1", dev.targets, dev.targets)  # raises an error now, if the labels do not mark spans
    if state.scores and not state.dev_lines:
        state.dev_lines = len(dev)  # a run of an older version: its scores are of all lines
    if not state.dev_lines:
        tokens = sum(token_counts(data, slice(None)))
        state.dev_lines = lines_a_validation(dev, translator, training, tokens)
    if state.dev_lines < len(dev):
        notify(
            Notice(
                f"Validations score {state.dev_lines:,} of {len(dev):,} dev "
                f"{'lines' if isinstance(dev, Lines) else 'windows'}, for so short a run; the end of the "
                "run scores all of them."
            )
        )
    return dev.evenly(state.dev_lines)


def score_dev(translator: Translator, dev: HeldOut | None, metric: Metric, state: RunState, notify: Listener) -> None:
    """Score the current weights on the dev set, unless they have been scored, and record the scores in `state`."""
    if dev is None or state.step in state.scores:
        return
    result = dev.evaluate(translator, metric)
    state.scores[state.step] = result.scores[metric].value
    state.losses[state.step] = result.loss or 0.0
    state.waited = 0 if state.best_steps(metric)[0] == state.step else state.waited + 1
    sample = dev.sample(translator, result, len(state.scores) % len(dev))
    scores = {str(name): score.value for name, score in result.scores.items()}
    notify(Validated(state.step, state.seconds, state.losses[state.step], scores, sample))


def score_beginning(
    translator: Translator, dev: HeldOut | None, metric: Metric, state: RunState, notify: Listener
) -> None:
    """Score the model that a run starts from, before the first update, and record the scores in `state`.

    It is scored on all dev lines, to report at the end how the scores have changed; and on the lines of a validation,
    to be compared with later validations.
    """
    if dev is None or state.before:
        return
    whole = dev.evaluate(translator, metric)
    state.before = {str(name): score.value for name, score in whole.scores.items()}
    part = whole if state.dev_lines == len(dev) else dev.evenly(state.dev_lines).evaluate(translator, metric)
    state.scores[0], state.losses[0] = part.scores[metric].value, part.loss or 0.0
    notify(Validated(0, state.seconds, whole.loss or 0.0, state.before, dev.sample(translator, whole, 0)))


def choose(
    model: Model,
    checkpoints: Checkpoints,
    translator: Translator,
    dev: HeldOut | None,
    state: RunState,
    notify: Listener,
) -> tuple[str, dict[str, Evaluation]]:
    """Load the best weights into the model: those of the best checkpoint, or an average if that scores better.

    These are compared on the lines of the validations. The evaluation of the chosen weights is on all dev lines.

    Returns:
        A description of the chosen weights, and their evaluation by the name of the set; without a dev set, the last
        weights and no evaluation.
    """
    training = model.config.training
    if dev is None:
        return f"the last step, {state.step:,}", {}
    whole = {step for step, _ in checkpoints.readable(notify)}
    ranked = [step for step in state.best_steps(training.metric) if step in whole]
    best = f"step {ranked[0]:,}" if ranked[0] or not state.before else "what the run began with"
    candidates = {f"{best}, the best of {len(state.scores)} validated": ranked[:1]}
    averaged = [step for step in state.averaged_steps(training) if step in whole]
    if len(averaged) > 1:
        candidates[f"the average of the {training.average_of} {len(averaged)} checkpoints"] = averaged
    validated = dev.evenly(state.dev_lines)
    found: list[tuple[str, Evaluation]] = []
    for name, steps in candidates.items():
        load_weights(model.transformer, checkpoints.average(steps))
        found.append((name, validated.evaluate(translator, training.metric)))
    name, evaluation = min(
        found, key=lambda each: state.rank(training.metric, each[1].scores[training.metric].value, each[1].loss or 0.0)
    )
    load_weights(model.transformer, checkpoints.average(candidates[name]))
    if len(validated) < len(dev):
        evaluation = dev.evaluate(translator, training.metric)
    return name, {"dev": evaluation}


def compare_int8(model: Model, dev: HeldOut | None, evaluations: Mapping[str, Evaluation]) -> Int8Comparison | None:
    """Compare int8 with float32 on the dev set.

    Args:
        model: has the weights that are kept.
        dev: the whole dev set.
        evaluations: of these weights in float32, by the name of the set.

    Returns:
        The comparison; None without dev lines, as for running text, or if the native engine cannot compute the model.
    """
    if not isinstance(dev, Lines) or not native_runs(model, "int8"):
        return None
    metric, float32 = model.config.training.metric, evaluations["dev"]
    translator = Translator(model.config, model.tokenizers, native_engine(model, "int8"))
    int8 = evaluate(translator, dev.sources, dev.targets, [metric])
    same = sum(one == other for one, other in zip(int8.hypotheses, float32.hypotheses, strict=True)) / len(dev)
    return Int8Comparison(metric, int8.scores[metric].value, float32.scores[metric].value, same)
