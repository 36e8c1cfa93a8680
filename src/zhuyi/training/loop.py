"""Training: one visible loop over one small state.

batch → encode, decode → cross entropy → gradient → AdamW;   and now and then: validate, save
"""

import hashlib
import math
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import torch
from rich.console import Console
from torch import nn

from zhuyi.checkpoint import MANIFEST, WEIGHTS, Model, build_model, ensure_writable, load_weights, save_model
from zhuyi.config import Config, Metric, TrainingConfig
from zhuyi.data.batches import Batch, collate, padding_share, plan
from zhuyi.data.check import show
from zhuyi.data.corpus import Corpus
from zhuyi.data.prepare import Prepared, prepare, store_of_epoch
from zhuyi.data.store import Store
from zhuyi.errors import CheckpointError, DataError, TrainingError
from zhuyi.evaluation import Evaluation, evaluate, shown_with
from zhuyi.model.transformer import Transformer
from zhuyi.training.card import model_card
from zhuyi.training.objective import cross_entropy
from zhuyi.training.optimizers import Optimizer, learning_rate
from zhuyi.training.precision import choose_device, fastest_threads, keep_memory, products, uses_bf16
from zhuyi.training.progress import Reporter, draw
from zhuyi.training.state import Checkpoints, Progress, rank
from zhuyi.translator import Translator

VALIDATIONS = 20
"""How often a run is validated and saved, where `training.save_every` does not say."""


@dataclass(frozen=True)
class Result:
    """How a run ended. `directory` holds the model; `chosen` says in words which weights it has."""

    directory: Path
    steps: int
    seconds: float
    interrupted: bool
    chosen: str
    evaluations: dict[str, Evaluation]


@dataclass(frozen=True)
class _Lines:
    """A dev or test set, as text: it is scored as a user would."""

    sources: list[str]
    targets: list[str]


def train(
    config: Config, out: str | Path = "zhuyi-model", resume: bool = False, console: Console | None = None
) -> Result:
    """Train a model as `config` says, and leave it in the directory `out`.

    Args:
        config: the resolved configuration.
        out: gets the model, `checkpoints/`, `metrics.jsonl` and `training.svg`.
        resume: go on from the newest checkpoint in `out`, if there is one, exactly where it stopped.
        console: where to show progress; nothing is shown without.

    Raises:
        ConfigError, DataError: before anything is written, if it cannot begin.
        CheckpointError: when a checkpoint cannot be written; the older ones are whole.
        TrainingError: when the loss is not a number.
    """
    out, console, training = Path(out), console or Console(quiet=True), config.training
    device = choose_device(training)
    bf16 = uses_bf16(training, device)
    keep_memory()

    checkpoints = Checkpoints(out, config)
    _claim(out, checkpoints, resume, console)
    dev = _read_lines(config.data.dev_source, config.data.dev_target)
    test = _read_lines(config.data.test_source, config.data.test_target)
    data = prepare(config, console, checkpoints.tokenizers(config))
    show(data.report, console)

    torch.manual_seed(training.seed)
    model = build_model(config, data.tokenizers)
    model.transformer.to(device)
    optimizer = Optimizer(model.transformer, training)
    progress = checkpoints.restore(model, optimizer, console) or Progress()
    _same_data(progress, data.corpus, dev)
    progress.threads = _set_threads(model.transformer, data.store, training, progress, bf16)
    translator = Translator(model, str(device))
    _announce(console, model, data.store, device, bf16, out, progress)

    began = time.perf_counter() - progress.seconds
    with Reporter(out, console, progress.step, training.tensorboard) as reporter, _interruption() as interrupted:
        updates = _updates(config, data, progress)
        while not interrupted and not _out_of_patience(training, progress):
            used = _share_used(training, progress)
            if used >= 1:
                break
            store, batches, passes = next(updates)
            rate = learning_rate(training, progress.step + 1, used)
            loss, norm = update(model.transformer, optimizer, batches, rate, training, bf16)
            if not math.isfinite(loss + norm):
                saved = checkpoints.newest is not None
                raise TrainingError(_not_a_number(config, store, batches, progress.step + 1, rate, saved))
            progress.step += 1
            progress.batches += len(batches)
            progress.passes = passes
            progress.seconds = time.perf_counter() - began

            share = _share_used(training, progress)
            reporter.update(share, progress.step, loss, sum(batch.tokens for batch in batches))
            if progress.step % training.log_every == 0:
                reporter.record_training(
                    step=progress.step, epoch=passes, seconds=progress.seconds, learning_rate=rate, norm=norm
                )
            if _is_due(training, progress.step, used, share):
                with optimizer.averaged():
                    _validate(translator, dev, training.metric, progress, reporter)
                progress.seconds = time.perf_counter() - began
                checkpoints.save(model, optimizer, progress)
                reporter.restart_clock()

        if not interrupted:
            with optimizer.averaged():
                _validate(translator, dev, training.metric, progress, reporter)
        if progress.step != checkpoints.newest:
            checkpoints.save(model, optimizer, progress)
        if interrupted:
            return Result(out, progress.step, progress.seconds, True, "", {})
        optimizer.exchange()

    if progress.step < 2 * training.warmup:
        console.print(
            f"[yellow]The learning rate was rising for {min(progress.step, training.warmup):,} of {progress.step:,} "
            "steps:[/] a lower training.warmup would suit so short a run.",
            highlight=False,
        )
    if _out_of_patience(training, progress):
        console.print(f"No better dev score in {progress.waited} validations: the run ends early.")
    chosen, evaluations = _choose(model, checkpoints, translator, dev, progress, console)
    if test is not None:
        evaluations["test"] = evaluate(translator, test.sources, test.targets, shown_with(training.metric))
    save_model(model, out, model_card(config, model.transformer, data.store, chosen, evaluations))
    draw(reporter.records, out / "training.svg")
    return Result(out, progress.step, progress.seconds, False, chosen, evaluations)


def _updates(config: Config, data: Prepared, progress: Progress) -> Iterator[tuple[Store, list[Batch], float]]:
    """The batches of each update, for ever, from where `progress` stands; and the passes over the data after it."""
    training = config.training
    while True:
        store = data.store
        if config.text.bpe_dropout and progress.epoch > 0:
            store = store_of_epoch(config, data.corpus, data.tokenizers, progress.epoch)
        epoch = plan(store, training.tokens_per_batch, training.seed, progress.epoch)
        while progress.batches < len(epoch):
            end = min(progress.batches + training.accumulate, len(epoch))
            group = epoch[progress.batches : end]
            yield store, [collate(store, pairs) for pairs in group], progress.epoch + end / len(epoch)
        progress.epoch, progress.batches = progress.epoch + 1, 0


def update(
    model: Transformer,
    optimizer: Optimizer,
    batches: list[Batch],
    rate: float,
    training: TrainingConfig,
    bf16: bool,
) -> tuple[float, float]:
    """One step of the optimiser. Gives the plain loss per target token, and the norm of the gradient."""
    loss = gradient(model, batches, training.label_smoothing, bf16)
    norm = nn.utils.clip_grad_norm_(model.parameters(), training.clip or math.inf).item()
    if math.isfinite(loss + norm):
        optimizer.step(rate)
    optimizer.zero_grad()
    return loss, norm


def gradient(model: Transformer, batches: list[Batch], smoothing: float, bf16: bool) -> float:
    """Forward and backward: adds the gradient of the smoothed loss, and gives the plain loss per target token.

    The loss is the mean over the tokens of all the batches, however they are split.
    """
    device = next(model.parameters()).device
    target_tokens = sum(batch.target_tokens for batch in batches)
    total = 0.0
    model.train()
    for batch in batches:
        batch = batch.to(device)
        with products(bf16, device):
            memory = model.encode(batch.source, batch.source_mask)
            hidden = model.decode(batch.target_in, memory, batch.source_mask)
        hidden = hidden.to(torch.bfloat16) if bf16 else hidden
        smoothed, plain = cross_entropy(hidden, model.projection.weight, batch.target_out, smoothing)
        (smoothed / target_tokens).backward()  # type: ignore[no-untyped-call]  # torch's own
        total += plain.item()
    return total / target_tokens


def _share_used(training: TrainingConfig, progress: Progress) -> float:
    """Share of the budget that is used; 1 or more when the first of steps, epochs and minutes is spent."""
    shares = [0.0]
    if training.steps is not None:
        shares.append(progress.step / training.steps)
    if training.epochs is not None:
        shares.append(progress.passes / training.epochs)
    if training.minutes is not None:
        shares.append(progress.seconds / 60 / training.minutes)
    return max(shares)


def _set_threads(model: Transformer, store: Store, training: TrainingConfig, progress: Progress, bf16: bool) -> int:
    """CPU threads as set, as in the run that is resumed (sums depend on them, to the last bit), or as is fastest."""
    threads = training.threads or progress.threads
    if threads:
        torch.set_num_threads(threads)
        return threads
    if next(model.parameters()).device.type != "cpu":
        return torch.get_num_threads()
    batch = collate(store, plan(store, training.tokens_per_batch, training.seed, epoch=0)[0])
    chance = torch.get_rng_state()
    threads = fastest_threads(lambda: gradient(model, [batch], training.label_smoothing, bf16))
    model.zero_grad()
    torch.set_rng_state(chance)
    return threads


def _out_of_patience(training: TrainingConfig, progress: Progress) -> bool:
    return training.patience is not None and progress.waited >= training.patience


def _is_due(training: TrainingConfig, step: int, before: float, after: float) -> bool:
    """Whether to validate and save after this step, which took the used share of the budget from before to after."""
    if training.save_every is not None:
        return step % training.save_every == 0
    return int(after * VALIDATIONS) > int(before * VALIDATIONS)


def _validate(
    translator: Translator, dev: _Lines | None, metric: Metric, progress: Progress, reporter: Reporter
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


def _choose(
    model: Model,
    checkpoints: Checkpoints,
    translator: Translator,
    dev: _Lines | None,
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


def _read_lines(source: str | None, target: str | None) -> _Lines | None:
    if source is None or target is None:
        return None
    pairs = list(Corpus(source, target))
    return _Lines([pair.source for pair in pairs], [pair.target for pair in pairs])


def _announce(
    console: Console, model: Model, store: Store, device: torch.device, bf16: bool, out: Path, progress: Progress
) -> None:
    training = model.config.training
    first = plan(store, training.tokens_per_batch, training.seed, epoch=0)
    console.print(
        f"{model.transformer.parameter_count():,} parameters on {device} in {'bf16' if bf16 else 'float32'}, "
        f"CPU threads: {torch.get_num_threads()}\n"
        f"batches an epoch: {len(first):,}, padding: {100 * padding_share(store, first):.1f} % → {out}",
        highlight=False,
        soft_wrap=True,
    )
    if progress.step:
        console.print(f"Going on from step {progress.step:,}, epoch {progress.epoch + 1}.", highlight=False)


def _claim(out: Path, checkpoints: Checkpoints, resume: bool, console: Console) -> None:
    """Make sure that `out` can be written, and that nothing in it is lost: another run, a model, a user's own files."""
    elsewhere = "choose another place with --out"
    if checkpoints.steps():
        if not resume:
            raise CheckpointError(f"{out} holds a run already: go on with --resume, or {elsewhere}")
    elif (out / MANIFEST).exists():
        raise CheckpointError(f"{out} holds a model, and no checkpoint to go on from: {elsewhere}")
    else:
        for name in (WEIGHTS, "config.json", "README.md"):
            if (out / name).exists():
                raise CheckpointError(f"{out / name} exists and is not a run's: {elsewhere}")
        if resume:
            console.print(f"Nothing to resume in {out}: a new run begins.", highlight=False)
    ensure_writable(out)


def _same_data(progress: Progress, corpus: Corpus, dev: _Lines | None) -> None:
    """A run goes on with the data that it began with, wherever the files are now."""
    digest = hashlib.sha256(f"{corpus.fingerprint()}{dev}".encode()).hexdigest()
    if progress.step and progress.data != digest:
        raise DataError(
            f"{corpus.source}, {corpus.target} or the dev set have changed since the run to be resumed: put the old "
            "ones back, or start another run with another --out"
        )
    progress.data = digest


def _not_a_number(config: Config, store: Store, batches: list[Batch], step: int, rate: float, saved: bool) -> str:
    training = config.training
    lines = sorted(int(store.lines[pair]) for batch in batches for pair in batch.pairs)
    some = ", ".join(map(str, lines[:10])) + (", ..." if len(lines) > 10 else "")
    advice = ["half the training.learning_rate", "a longer training.warmup"]
    advice += [] if training.clip else ["training.clip = 1"]
    advice += [] if training.precision == "float32" else ['training.precision = "float32"']
    return (
        f"step {step}: the loss is not a number (learning rate {rate:.2g}; batch of lines {some} of "
        f"{config.data.source}); try {', or '.join(advice)}"
        + ("; with --resume it goes on from the last checkpoint" if saved else "")
    )


@contextmanager
def _interruption() -> Iterator[list[int]]:
    """A list that is empty until Ctrl-C (or SIGTERM): the loop then ends after its step. A second one ends at once."""
    received: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    signals = (signal.SIGINT, signal.SIGTERM)
    try:
        before = [signal.signal(number, note) for number in signals]
    except ValueError:  # not the main thread: a notebook's or a server's; nothing to catch there
        yield received
        return
    try:
        yield received
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)
