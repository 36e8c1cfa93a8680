"""Validation: a dev or test set is scored as a user would, now and then; and in the end the best weights are kept."""

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
"""A validation during a run looks at this many dev lines or more, if there are so many."""
MAX_SHARE_OF_BUDGET = 0.05
"""Most tokens that one validation during a run may write, of all beams, as a share of the tokens that the whole run is
trained on: those between two of twenty validations."""
ASSUMED_TOKENS_PER_MINUTE = 200_000
"""Trained on, of a budget in minutes: a slow CPU's, so that the lines do not depend on how fast the machine is."""


def lines_a_validation(dev: HeldOut, translator: Translator, training: TrainingConfig, corpus_tokens: int) -> int:
    """How many dev lines each validation during a run looks at: fixed by data and budget, not by a clock.

    An untrained model writes to the length limit, and could spend the budget of a short run on one validation: each
    writes at most `MAX_SHARE_OF_BUDGET` of the tokens that the run is trained on, or, for labels, reads no more. The
    whole set is scored at the end.

    Args:
        dev: the whole dev set.
        translator: of the model; its configuration says how long an output may be.
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
    """The dev lines or windows that validations during the run score: as many as before, where it is resumed."""
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
        statistics("span_f1", dev.targets, dev.targets)  # of labels that mark no spans it says so now
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
    """Score the model as it stands, unless that is done."""
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
    """Score the model that a run begins with, before the first update: on all dev lines, so that one sees at the end
    what was gained or lost; and on those of a validation, which its scores are compared with."""
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
    """Put the weights to be kept into the model: the best checkpoint's, or an average's if that scores better.

    They are compared on the lines that validations looked at; the scores of those that are kept are of all dev lines.
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
    """What int8 would change on the dev set; None without one, and where the native engine cannot run the model.

    Of running text it is None too: nothing is translated.

    Args:
        model: with the weights that are kept.
        dev: all lines of the dev set.
        evaluations: of these weights in float32, by the name of the set.
    """
    if not isinstance(dev, Lines) or not native_runs(model, "int8"):
        return None
    metric, float32 = model.config.training.metric, evaluations["dev"]
    translator = Translator(model.config, model.tokenizers, native_engine(model, "int8"))
    int8 = evaluate(translator, dev.sources, dev.targets, [metric])
    same = sum(one == other for one, other in zip(int8.hypotheses, float32.hypotheses, strict=True)) / len(dev)
    return Int8Comparison(metric, int8.scores[metric].value, float32.scores[metric].value, same)
