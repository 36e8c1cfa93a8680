"""Validation: a dev or test set is scored as a user would, now and then; and in the end the best weights are kept."""

from dataclasses import dataclass

from rich.console import Console

from zhuyi.checkpoint import Model, load_weights
from zhuyi.config import Metric
from zhuyi.data.corpus import Corpus
from zhuyi.evaluation import Evaluation, evaluate, shown_with
from zhuyi.training.progress import Reporter
from zhuyi.training.state import Checkpoints, Progress, rank
from zhuyi.translator import Translator


@dataclass(frozen=True)
class Lines:
    """A dev or test set, as text: it is scored as a user would."""

    sources: list[str]
    targets: list[str]

    @classmethod
    def read(cls, source: str | None, target: str | None) -> "Lines | None":
        """Those of two files; None where there are none."""
        if source is None or target is None:
            return None
        pairs = list(Corpus(source, target))
        return cls([pair.source for pair in pairs], [pair.target for pair in pairs])


def score_dev(
    translator: Translator, dev: Lines | None, metric: Metric, progress: Progress, reporter: Reporter
) -> None:
    """Score the model as it stands, unless that is done."""
    if dev is None or progress.step in progress.scores:
        return
    result = evaluate(translator, dev.sources, dev.targets, shown_with(metric))
    progress.scores[progress.step] = result.scores[metric].value
    progress.losses[progress.step] = result.loss or 0.0
    progress.waited = 0 if progress.best_steps(metric)[0] == progress.step else progress.waited + 1
    scores = {f"dev_{name}": round(score.value, 4) for name, score in result.scores.items()}
    figures = {"step": progress.step, "seconds": progress.seconds, "dev_loss": progress.losses[progress.step], **scores}
    shown = len(progress.scores) % len(dev.sources)
    reporter.record_validation(figures, (dev.sources[shown], dev.targets[shown], result.hypotheses[shown]))


def choose(
    model: Model,
    checkpoints: Checkpoints,
    translator: Translator,
    dev: Lines | None,
    progress: Progress,
    console: Console,
) -> tuple[str, dict[str, Evaluation]]:
    """Put the weights to be kept into the model: the best checkpoint's, or an average's if that scores better."""
    training = model.config.training
    if dev is None:
        return f"the last step, {progress.step:,}", {}
    whole = {step for step, _ in checkpoints.whole(console)}
    ranked = [step for step in progress.best_steps(training.metric) if step in whole]
    candidates = {f"step {ranked[0]:,}, the best of {len(progress.scores)} validated": ranked[:1]}
    averaged = [step for step in progress.averaged_steps(training) if step in whole]
    if len(averaged) > 1:
        candidates[f"the average of the {training.average_of} {len(averaged)} checkpoints"] = averaged
    found: list[tuple[str, Evaluation]] = []
    for name, steps in candidates.items():
        load_weights(model.transformer, checkpoints.average(steps))
        found.append((name, evaluate(translator, dev.sources, dev.targets, shown_with(training.metric))))
    name, evaluation = min(
        found, key=lambda each: rank(training.metric, each[1].scores[training.metric].value, each[1].loss or 0.0)
    )
    load_weights(model.transformer, checkpoints.average(candidates[name]))
    return name, {"dev": evaluation}
