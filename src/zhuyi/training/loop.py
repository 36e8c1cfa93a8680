"""Training: one visible loop over one small state.

batch → encode, decode → cross entropy → gradient → AdamW, or Muon;   and now and then: validate, save

It is the same loop in one process and in many, where each goes through it in step with the others: see `distributed`.
"""

import copy
import json
import math
import signal
import time
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType

import numpy as np
import torch
from rich.console import Console
from torch import nn

from zhuyi.checkpoint import Model, build_model, save_model
from zhuyi.config import Config, TrainingConfig, changed
from zhuyi.data.batches import Batch, Plan, ahead, collate, padding_share, plan
from zhuyi.data.check import show
from zhuyi.data.prepare import Prepared, prepare, store_of_epoch
from zhuyi.data.store import Store
from zhuyi.errors import TrainingError
from zhuyi.evaluation import Evaluation, evaluate, shown_with, too_short_for_bleu
from zhuyi.model.transformer import Transformer
from zhuyi.text.tokenizer import Tokenizers
from zhuyi.training.card import model_card
from zhuyi.training.distributed import World, gather_weights, joined
from zhuyi.training.optimizers import Optimizer, learning_rate
from zhuyi.training.precision import (
    Pace,
    choose_device,
    deterministic,
    engine,
    fastest_threads,
    keep_memory,
    uses_bf16,
)
from zhuyi.training.progress import Reporter, draw, event_writer
from zhuyi.training.resume import alone_in, claim, same_cut, same_data, same_engine, same_store
from zhuyi.training.state import Checkpoints, Progress
from zhuyi.training.update import IDLE, Objective, find_pieces, gradient, update
from zhuyi.training.validation import Lines, choose, lines_a_validation, score_dev
from zhuyi.translator import Translator

VALIDATIONS = 20
"""How often a run is validated and saved, where `training.save_every` does not say."""
REST = 3
"""Times as long as a validation took, a run of some minutes trains before the next: a short one has fewer."""


@dataclass(frozen=True)
class Result:
    """How a run ended. `directory` holds the model; `chosen` says in words which weights it has.

    Of several processes only rank 0 knows what was chosen and how it scored.
    """

    directory: Path
    steps: int
    seconds: float
    interrupted: bool
    chosen: str
    evaluations: dict[str, Evaluation]


_Update = tuple[Store, list[np.ndarray], list[Batch], float]
"""A store, its pairs batch by batch, this rank's batches of them, and passes over the corpus after it."""


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
        TrainingError: when the loss is not a number, or another process of the run is lost.
    """
    out, console = Path(out), console or Console(quiet=True)
    with (
        joined(choose_device(config.training)) as world,
        deterministic(config.training.deterministic),
        alone_in(out, world, console),
    ):
        return _train(config, out, resume, console, world)


def _train(config: Config, out: Path, resume: bool, console: Console, world: World) -> Result:
    training, device = config.training, world.device
    bf16 = bool(world.told(uses_bf16(training, device)))
    keep_memory()

    checkpoints = Checkpoints(out, config, world)
    dev = test = tokenizers = None
    with world.united():
        if world.is_main:
            claim(out, checkpoints, resume, console)
            if training.tensorboard:
                event_writer()  # now, and not after the corpus was tokenised
            dev = Lines.read(config.data.dev_source, config.data.dev_target)
            test = Lines.read(config.data.test_source, config.data.test_target)
            config, tokenizers = checkpoints.begun(config, console)
    data = _prepare(config, tokenizers, checkpoints.epoch, console, world)
    config = data.config

    torch.manual_seed(training.seed)
    model = build_model(config, data.tokenizers)
    objective = Objective(_trained(model.transformer, training, world), training.label_smoothing, bf16)
    trained, parallel = objective.transformer, world.parallel(objective, training.shard)
    world.seed(training.seed)
    optimizer = Optimizer(trained, training, bf16)
    progress = checkpoints.restore(trained, optimizer, console) or Progress()
    with world.united():
        if world.is_main:
            same_data(progress, data.corpus, dev)
    same_engine(progress, engine(device, bf16, world.size), console)
    progress.threads = _set_threads(objective, data.store, training, progress, world)
    may_try_threads = training.threads is None and world.device.type == "cpu" and world.size == 1
    pace = Pace()
    _warm_up(parallel, data.store, training, progress, world, console)
    translator = Translator(model, str(next(model.transformer.parameters()).device))
    _announce(console, model, data.store, bf16, out, progress, world)
    validated = _validated(dev, translator, data.store, progress, console)

    began, rested = time.perf_counter() - progress.seconds, 0.0
    with world.united():
        records = Reporter(out, console, progress.step, training.tensorboard) if world.is_main else nullcontext()
    updates = _updates(config, data, progress, checkpoints, world, console)
    with records as reporter, closing(updates), _interruption(console) as interrupted:

        def validate() -> None:
            with optimizer.averaged(), world.united():
                gather_weights(trained, model.transformer, world)
                if reporter is not None:
                    score_dev(translator, validated, training.metric, progress, reporter)

        while not world.any(bool(interrupted) or _out_of_patience(training, progress)):
            used = _share_used(training, progress)
            if used >= 1:
                break
            store, pairs, batches, passes = next(updates)
            rate = learning_rate(training, progress.step + 1, used)
            pieces, start = progress.pieces, time.perf_counter()
            loss, norm = update(parallel, optimizer, batches, rate, training.clip, progress, world)
            seconds = time.perf_counter() - start
            if progress.pieces != pieces:
                _tell_pieces(progress, console)
            if not math.isfinite(loss + norm):
                saved = checkpoints.newest is not None
                with world.united():
                    raise TrainingError(_not_a_number(config, store, pairs, progress.step + 1, rate, saved))
            progress.step += 1
            progress.batches += len(pairs)
            progress.passes = passes
            progress.seconds = world.told(time.perf_counter() - began)

            tokens = _tokens(store, pairs)
            if may_try_threads and pace.collapsed(tokens, seconds):
                threads, progress.threads = progress.threads, _try_threads(objective, store, training)
                _say_threads(console, progress.step, threads, progress.threads)
            share = _share_used(training, progress)
            due = _is_due(training, progress, used, share, rested)
            if reporter is not None:
                reporter.update(share, progress.step, loss, tokens)
            if due or progress.step % training.log_every == 0:  # at a checkpoint too: what follows is the same resumed
                with world.united():
                    if reporter is not None:
                        reporter.record_training(
                            step=progress.step, epoch=passes, seconds=progress.seconds, learning_rate=rate, norm=norm
                        )
            if due:
                before = progress.seconds
                validate()
                progress.seconds = world.told(time.perf_counter() - began)
                rested = progress.seconds + REST * (progress.seconds - before)
                checkpoints.save(model, trained, optimizer, progress)
                if reporter is not None:
                    reporter.restart_clock()

        if not world.any(bool(interrupted)):
            validate()
        if progress.step != checkpoints.newest:
            checkpoints.save(model, trained, optimizer, progress)
        if world.any(bool(interrupted)):
            return Result(out, progress.step, progress.seconds, True, "", {})
        optimizer.exchange()
        gather_weights(trained, model.transformer, world)

    chosen: str = ""
    evaluations: dict[str, Evaluation] = {}
    with world.united():
        if reporter is not None:
            chosen, evaluations = _finish(model, dev, test, translator, checkpoints, progress, console)
            save_model(model, out, model_card(config, model.transformer, data.store, chosen, evaluations))
            draw(reporter.records, out / "training.svg")
    return Result(out, progress.step, progress.seconds, False, chosen, evaluations)


def _finish(
    model: Model,
    dev: Lines | None,
    test: Lines | None,
    translator: Translator,
    checkpoints: Checkpoints,
    progress: Progress,
    console: Console,
) -> tuple[str, dict[str, Evaluation]]:
    """Put the weights to be kept into the model, and score them."""
    training = model.config.training
    if progress.step < 2 * training.warmup:
        console.print(
            f"[yellow]The learning rate was rising for {min(progress.step, training.warmup):,} of {progress.step:,} "
            "steps:[/] a lower training.warmup would suit so short a run.",
            highlight=False,
        )
    if _out_of_patience(training, progress):
        console.print(f"No better dev score in {progress.waited} validations: the run ends early.")
    chosen, evaluations = choose(model, checkpoints, translator, dev, progress, console)
    if test is not None:
        evaluations["test"] = evaluate(translator, test.sources, test.targets, shown_with(training.metric))
    return chosen, evaluations


def _prepare(config: Config, tokenizers: Tokenizers | None, epoch: int, console: Console, world: World) -> Prepared:
    """The training data, with the vocabularies and limits of rank 0; it makes the store, and the others open it."""
    data, found = None, ""
    with world.united():
        if world.is_main:
            data = prepare(config, console, tokenizers, epoch)
            show(data.report, console)
            found = json.dumps([data.tokenizers.files(), data.config.decoding.model_dump()])
    found, epoch = world.told_text(found), int(world.told(epoch))
    files, decoding = json.loads(found)
    config = config.model_copy(update={"decoding": changed(config.decoding, decoding)})
    with world.united():
        return data or prepare(config, None, Tokenizers.from_files(files), epoch)


def _updates(
    config: Config, data: Prepared, progress: Progress, checkpoints: Checkpoints, world: World, console: Console
) -> Generator[_Update, None, None]:
    """The updates, for ever, from where `progress` stands."""
    training, opened = config.training, progress.epoch

    def collated(store: Store, epoch: Plan) -> Iterator[_Update]:
        for first in range(progress.batches, len(epoch), training.accumulate):
            pairs = epoch[first : first + training.accumulate]
            batches = [collate(store, rows) if len(rows) else IDLE for rows in world.share(pairs)]
            if world.device.type == "cuda":
                batches = [batch.pinned() for batch in batches]
            yield store, pairs, batches, progress.epoch + (first + len(pairs)) / len(epoch)

    while True:
        store = data.store
        if config.text.bpe_dropout:
            if progress.epoch != opened:
                other = partial(store_of_epoch, config, data.corpus, data.tokenizers, progress.epoch, checkpoints.epoch)
                store = world.main_first(other)
            same_cut(progress, store, console)
        same_store(store, world)
        yield from ahead(collated(store, plan(store, training.tokens_per_batch, training.seed, progress.epoch)))
        progress.epoch, progress.batches = progress.epoch + 1, 0


def _validated(
    dev: Lines | None, translator: Translator, store: Store, progress: Progress, console: Console
) -> Lines | None:
    """The dev lines that validations during the run look at: as many as before, where it is resumed."""
    if dev is None:
        return None
    if translator.config.training.metric == "bleu" and too_short_for_bleu(dev.targets):
        console.print(
            "[yellow]No dev target has the four tokens that BLEU wants[/], so the dev loss chooses the best "
            "checkpoint: training.metric=chrf or exact suits short answers.",
            highlight=False,
        )
    if progress.scores and not progress.dev_lines:
        progress.dev_lines = len(dev)  # a run of an older version: its scores are of all lines
    if not progress.dev_lines:
        tokens = int(store.source_lengths.sum(dtype=np.int64) + store.target_lengths.sum(dtype=np.int64))
        progress.dev_lines = lines_a_validation(dev, translator, translator.config.training, tokens + 2 * len(store))
    if progress.dev_lines < len(dev):
        console.print(
            f"Validations score {progress.dev_lines:,} of {len(dev):,} dev lines, for so short a run; "
            "the end of the run scores all of them.",
            highlight=False,
        )
    return dev.evenly(progress.dev_lines)


def _trained(transformer: Transformer, training: TrainingConfig, world: World) -> Transformer:
    """The transformer to be trained: the model's own, or one to be sharded, beside which rank 0 keeps the model's."""
    if world.size == 1 or not training.shard:
        return transformer.to(world.device)
    sharded = copy.deepcopy(transformer).to(world.device)
    if world.is_main:
        transformer.to(world.device)
    return sharded


def _warm_up(
    objective: nn.Module, store: Store, training: TrainingConfig, progress: Progress, world: World, console: Console
) -> None:
    """What is done before the first update, and leaves no trace in it.

    DDP puts gradients into buckets in the order in which they come in its first backward pass. On three ranks or more
    sums depend on that order, to the last bit: it must not matter whether that pass is a new run's or a resumed one's.

    On a GPU the batch that needs the most memory is tried: what will not fit is found out now, and not after hours.
    """
    gpu = world.device.type == "cuda"
    with torch.random.fork_rng([world.device] if gpu else []):
        if world.size > 1:
            gradient(objective, [IDLE], 1.0)
        if gpu:
            find_pieces(objective, store, training, progress, world)
    objective.zero_grad()
    if progress.pieces > 1:
        _tell_pieces(progress, console)


def _tell_pieces(progress: Progress, console: Console) -> None:
    console.print(
        f"[yellow]Out of memory:[/] from step {progress.step + 1:,} a batch is cut into {progress.pieces} pieces, "
        "whose gradients are added up: the same update, in more passes.",
        highlight=False,
    )


def _tokens(store: Store, update: list[np.ndarray]) -> int:
    """Source and target tokens of an update, EOS counted, padding not."""
    pairs = np.concatenate(update)
    return int(store.source_lengths[pairs].sum() + store.target_lengths[pairs].sum()) + 2 * len(pairs)


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


def _set_threads(objective: nn.Module, store: Store, training: TrainingConfig, progress: Progress, world: World) -> int:
    """CPU threads as set, as in the run that is resumed (sums depend on them, to the last bit), or as is fastest.

    Of several processes each has as many as torchrun gave it.
    """
    threads = training.threads or progress.threads
    if threads:
        torch.set_num_threads(threads)
        return threads
    if world.device.type != "cpu" or world.size > 1:
        return torch.get_num_threads()
    return _try_threads(objective, store, training)


def _try_threads(objective: nn.Module, store: Store, training: TrainingConfig) -> int:
    """Set the number of threads with which a batch is fastest now. Leaves no other trace."""
    batch = collate(store, plan(store, training.tokens_per_batch, training.seed, epoch=0)[0])
    with torch.random.fork_rng([]):
        threads = fastest_threads(lambda: gradient(objective, [batch], batch.target_tokens))
    objective.zero_grad()
    return threads


def _say_threads(console: Console, step: int, before: int, now: int) -> None:
    what = f"from {before} CPU threads to {now}" if before != now else f"{now} CPU threads are still the fastest"
    console.print(
        f"[yellow]Less than half as fast since step {step:,}:[/] another program may have taken a core; {what}.",
        highlight=False,
    )


def _out_of_patience(training: TrainingConfig, progress: Progress) -> bool:
    return training.patience is not None and progress.waited >= training.patience


def _is_due(training: TrainingConfig, progress: Progress, before: float, after: float, rested: float) -> bool:
    """Whether to validate and save after this step, which took the used share of the budget from before to after."""
    if training.save_every is not None:
        return progress.step % training.save_every == 0
    if training.minutes is not None and progress.seconds < rested:
        return False
    return int(after * VALIDATIONS) > int(before * VALIDATIONS)


def _announce(
    console: Console, model: Model, store: Store, bf16: bool, out: Path, progress: Progress, world: World
) -> None:
    training = model.config.training
    first = plan(store, training.tokens_per_batch, training.seed, epoch=0)
    console.print(
        f"{model.transformer.parameter_count():,} parameters on {world.device} in {'bf16' if bf16 else 'float32'}, "
        f"{f'{world.size} processes, ' if world.size > 1 else ''}CPU threads: {torch.get_num_threads()}\n"
        f"batches an epoch: {len(first):,}, padding: {100 * padding_share(store, first):.1f} % → {out}",
        highlight=False,
        soft_wrap=True,
    )
    if progress.step:
        console.print(f"Going on from step {progress.step:,}, epoch {progress.epoch + 1}.", highlight=False)


def _not_a_number(config: Config, store: Store, update: list[np.ndarray], step: int, rate: float, saved: bool) -> str:
    training = config.training
    lines = sorted(store.line(pair) for pairs in update for pair in pairs)
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
def _interruption(console: Console) -> Iterator[list[int]]:
    """A list that is empty until Ctrl-C (or SIGTERM): the loop then ends after its step. A second one ends at once."""
    received: list[int] = []

    def note(number: int, _: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)
        console.print(
            "\nStopping after this step (and its validation, if it has one), and saving. "
            "Press Ctrl-C again to stop at once, without what came after the last checkpoint."
        )

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
