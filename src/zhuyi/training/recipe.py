"""`zhuyi train`: from a configuration to a model directory.

prepare the data → build the model → restore the newest checkpoint → fit → choose the best weights → save
"""

import copy
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import torch
from torch import nn

from zhuyi.checkpoint import Model, build_model, save_model
from zhuyi.config import Config, TrainingConfig, changed
from zhuyi.data.batches import padding_share, plan
from zhuyi.data.limits import limits_of_model
from zhuyi.data.prepare import Prepared, examples, open_dev_text, prepare
from zhuyi.data.sequences import Numbered, Sequences
from zhuyi.data.store import Store
from zhuyi.errors import TrainingError
from zhuyi.evaluation import Evaluation
from zhuyi.evaluation.held_out import HeldOut, Lines, RunningText
from zhuyi.model.broken import training_without
from zhuyi.model.transformer import Network
from zhuyi.text.tokenizer import Tokenizers
from zhuyi.training.card import model_card
from zhuyi.training.checkpoints import Checkpoints
from zhuyi.training.distributed import World, gather_weights, joined
from zhuyi.training.epochs import EpochStores
from zhuyi.training.events import Checked, Event, Finished, Listener, Notice, Saved, Started
from zhuyi.training.freeze import freeze
from zhuyi.training.int8 import Int8Comparison
from zhuyi.training.lock import alone_in
from zhuyi.training.loop import DivergenceError, fit
from zhuyi.training.memory import MemoryWatch, warm_up
from zhuyi.training.metrics import MetricsFile, Recorder, TensorBoard, draw, event_writer
from zhuyi.training.objective import Objective, TeacherForcing, aim
from zhuyi.training.optimizers import Optimizer
from zhuyi.training.precision import choose_device, fingerprint, process_state, uses_bf16
from zhuyi.training.resume import check_data, claim, record_machine
from zhuyi.training.run_state import RUN_ADVICE, RunState
from zhuyi.training.scoring import ScoringEngine
from zhuyi.training.stopping import interruption, out_of_patience
from zhuyi.training.threads import PaceWatch, set_threads, try_threads
from zhuyi.training.validation import choose, compare_int8, score_beginning, score_dev, validated_lines
from zhuyi.training.warm_start import WarmStart, load_what_fits, warm_start
from zhuyi.translator import Translator


@dataclass(frozen=True)
class Result:
    """The result of a run. In a run of several processes, only rank 0 has `chosen`, `evaluations` and `int8`."""

    directory: Path
    """Of the model."""
    steps: int
    """Updates made, including those of earlier processes."""
    seconds: float
    """Duration of the run, including earlier processes."""
    interrupted: bool
    """Whether Ctrl-C or SIGTERM ended the run, so that there is a checkpoint but no model yet."""
    chosen: str
    """A description of the weights that are kept."""
    evaluations: dict[str, Evaluation]
    """By the name of the set: "dev", "test"."""
    int8: Int8Comparison | None = None
    """Comparison of int8 with float32 on the dev set; None without a dev set, or if int8 cannot be computed."""
    before: Mapping[str, float] = field(default_factory=dict)
    """Scores on the dev set of the model that the run started from, by metric; empty if there is none."""


def train(
    config: Config, out: str | Path = "zhuyi-model", resume: bool = False, listeners: Sequence[Listener] = ()
) -> Result:
    """Train a model with a configuration, and write it into the directory `out`.

    Random state, number of threads and determinism of torch are restored at the end.

    Args:
        config: the resolved configuration.
        out: the directory for the model, `checkpoints/`, `metrics.jsonl` and `training.svg`.
        resume: whether to continue from the newest checkpoint in `out`, if there is one.
        listeners: called with each event of the run (`zhuyi.training.events`).

    Returns:
        The result of the run.

    Raises:
        ConfigError, DataError: if the run cannot begin; nothing has been written.
        CheckpointError: if a checkpoint cannot be written; older ones remain.
        TrainingError: if the loss is not a number, or if another process of the run is lost.
    """
    out = Path(out)
    config = _without_parts(config)
    with joined(choose_device(config.training)) as world:
        notify = _to_all(listeners)
        with process_state(world.device, config.training.deterministic), alone_in(out, world, notify):
            return _train(config, out, resume, notify, world)


def _train(config: Config, out: Path, resume: bool, notify: Listener, world: World) -> Result:
    checkpoints = Checkpoints(out, config, world)
    begun = world.on_main(lambda: _begin(config, out, resume, checkpoints, notify))
    dev: HeldOut | None
    config, tokenizers, dev, test = begun or (config, None, None, None)
    data, warm = _prepare(config, tokenizers, checkpoints.epoch, notify, world)
    config, training = data.config, data.config.training
    if data.dev is not None and (dev_text := open_dev_text(config)) is not None:
        dev = RunningText.of(config, data.tokenizers, dev_text, data.dev)
    first = examples(config, data.store, data.tokenizers, epoch=0, mixed=data.mixed)
    parts = _build(data, warm, notify, world)
    state = _restore(parts, checkpoints, data, first, dev, notify, world)
    if warm is not None:
        state.licence = warm.licence
    translator = Translator(config, parts.model.tokenizers, ScoringEngine(parts.model, state, notify))
    validated, notify_all = None, notify

    def validate(state: RunState) -> None:
        gather_weights(parts.trained, parts.model.transformer, world)
        if state.step == 0 and training.start_from is not None:
            world.on_main(lambda: score_beginning(translator, dev, training.metric, state, notify_all))
        else:
            world.on_main(lambda: score_dev(translator, validated, training.metric, state, notify_all))

    def save(state: RunState) -> None:
        if state.step != checkpoints.newest:
            began = time.perf_counter()
            checkpoints.save(parts.model, parts.trained, parts.optimizer, state)
            seconds = state.seconds + time.perf_counter() - began
            emit(Saved(state.step, seconds, checkpoints.path(state.step)))

    def emit(event: Event) -> None:
        with world.all_or_none():
            notify_all(event)

    with ExitStack() as at_the_end, interruption(notify) as interrupted:
        recorders = world.on_main(lambda: _recorders(out, training, state.step, at_the_end)) or []
        watchers: list[Listener] = [MemoryWatch(state.micro_batches, notify)]
        if training.threads is None and world.device.type == "cpu" and world.size == 1:
            watchers.append(PaceWatch(partial(try_threads, parts.objective, first, training), state, notify))
        notify_all = _to_all([*recorders, notify])
        emit(_started(out, parts, first, state, world))
        validated = validated_lines(dev, translator, first, state, notify)
        stores = EpochStores(data, state, lambda: checkpoints.epoch, world, notify)
        try:
            fit(
                parts.trained,
                stores,
                training,
                objective=parts.objective,
                optimizer=parts.optimizer,
                state=state,
                validate=validate,
                save=save,
                stop=lambda: bool(interrupted),
                listeners=[*watchers, notify_all],
                world=world,
            )
        except DivergenceError as error:
            with world.all_or_none():
                raise TrainingError(
                    _advice(error, config, stores.examples, len(data.store), checkpoints.newest is not None)
                ) from error
        stopped = world.any(bool(interrupted))
    end = _End("", {}, None)
    if not stopped:
        parts.optimizer.exchange()
        gather_weights(parts.trained, parts.model.transformer, world)
        finish = partial(_finish, parts.model, translator, dev, test, data.store, out, checkpoints, state, notify)
        end = world.on_main(finish) or end
    emit(Finished(state.step, state.seconds, stopped, end.chosen, end.evaluations, end.int8, state.before))
    return Result(out, state.step, state.seconds, stopped, end.chosen, end.evaluations, end.int8, state.before)


@dataclass(frozen=True)
class _Parts:
    """The objects of a run that training changes."""

    model: Model
    """Is validated and saved."""
    trained: Network
    """Is changed by the optimizer: the transformer of `model`, or a sharded copy."""
    objective: nn.Module
    optimizer: Optimizer
    bf16: bool
    """Whether matrix products are computed in bf16."""


@dataclass(frozen=True)
class _End:
    """What is computed at the end of a run: see `Result`."""

    chosen: str
    evaluations: dict[str, Evaluation]
    int8: Int8Comparison | None


def _begin(
    config: Config, out: Path, resume: bool, checkpoints: Checkpoints, notify: Listener
) -> tuple[Config, Tokenizers | None, Lines | None, Lines | None]:
    """Check that the run can begin.

    Returns:
        The configuration; the tokenizers of a resumed run, or None; the dev set and the test set, if there are any.
    """
    claim(out, checkpoints, resume, notify)
    if config.training.tensorboard:
        event_writer()  # now, rather than after the corpus has been tokenised
    dev = Lines.read(config.data.dev_source, config.data.dev_target)
    test = Lines.read(config.data.test_source, config.data.test_target)
    return *checkpoints.settings_of_run(config, notify), dev, test


def _prepare(
    config: Config, tokenizers: Tokenizers | None, epoch: int, notify: Listener, world: World
) -> tuple[Prepared, WarmStart | None]:
    """The training data; and, for a new run with `training.start_from`, the model that it starts from.

    All ranks get the vocabularies and settings of rank 0, which builds the store; the others open it.
    """
    warm, goes_on = None, world.broadcast(tokenizers is not None)
    if config.training.start_from is not None and not goes_on:
        with world.all_or_none():
            warm = warm_start(config, config.training.start_from)
        config, tokenizers = _without_parts(warm.config), warm.tokenizers
    data = world.on_main(lambda: prepare(config, tokenizers, epoch, notify))
    are_unset = config.decoding.max_ratio is None and config.decoding.max_extra is None
    if data is not None and warm is not None and are_unset:
        pairs = examples(data.config, data.store, data.tokenizers, 0, data.mixed)
        decoding = limits_of_model(warm.limits, data.config.decoding, pairs, data.config.model.max_length)
        data = replace(data, config=data.config.model_copy(update={"decoding": decoding}))
    with world.all_or_none():
        if data is not None:
            notify(Checked(data.report))
    sections = {"text", "model", "decoding"}  # which depend on the data or on another model
    chosen = json.dumps(
        [data.tokenizers.files(), data.config.model_dump(include=sections)] if data is not None else None
    )
    files, settings = json.loads(world.broadcast_text(chosen))
    epoch = int(world.broadcast(epoch))
    config = config.model_copy(update={name: changed(getattr(config, name), settings[name]) for name in settings})
    with world.all_or_none():
        return data or prepare(config, Tokenizers.from_files(files), epoch), warm


def _without_parts(config: Config) -> Config:
    """`config` without the training settings that `model.without` removes."""
    return config.model_copy(update={"training": training_without(config.model.without, config.training)})


def _build(data: Prepared, warm: WarmStart | None, notify: Listener, world: World) -> _Parts:
    """A model with new weights, or with those of `warm`, and its objective and optimizer."""
    training = data.config.training
    torch.manual_seed(training.seed)
    model = build_model(data.config, data.tokenizers)
    if warm is not None:
        _load_warm(model.transformer, warm, data.config.training, notify)
    with world.all_or_none():
        freeze(model.transformer, training.freeze)
    trained = _trained(model.transformer, training, world)
    bf16 = bool(world.broadcast(uses_bf16(training, world.device)))
    objective = world.parallel(Objective(trained, TeacherForcing(training.label_smoothing, bf16)), training.shard)
    world.seed(training.seed)
    return _Parts(model, trained, objective, Optimizer(trained, training, bf16), bf16)


def _restore(
    parts: _Parts,
    checkpoints: Checkpoints,
    data: Prepared,
    first: Sequences,
    dev: HeldOut | None,
    notify: Listener,
    world: World,
) -> RunState:
    """Restore the newest checkpoint, if there is one, and return the run state.

    The number of threads and of micro-batches are chosen with the examples of the first epoch.
    """
    training = data.config.training
    state = checkpoints.restore(parts.trained, parts.optimizer, notify) or RunState()
    world.on_main(lambda: check_data(state, data, dev))
    record_machine(state, fingerprint(world.device, parts.bf16, world.size), notify)
    state.aim = aim(training.label_smoothing, parts.model.transformer.projection.out_features)
    state.threads = set_threads(parts.objective, first, training, state, world)
    warm_up(parts.objective, first, training, state, world, notify)
    return state


def _load_warm(transformer: Network, warm: WarmStart, training: TrainingConfig, notify: Listener) -> None:
    fresh = load_what_fits(transformer, warm.weights)
    but = f", except {', '.join(fresh)}, which do not fit" if fresh else ""
    if warm.new_labels:
        but = f"; the labels and {', '.join(fresh)} are new"
    notify(Notice(f"Beginning with the weights of {training.start_from}{but}."))
    notify(
        Notice(
            f"Fine-tuning: training.optimizer = {training.optimizer}, learning_rate = {training.learning_rate:.3g}, "
            f"warmup = {training.warmup}; the model itself was trained at {warm.rate:.3g}."
        )
    )


def _trained(transformer: Network, training: TrainingConfig, world: World) -> Network:
    """The transformer to be trained: the model's own or, if it will be sharded, a copy; rank 0 then keeps both."""
    if world.size == 1 or not training.shard:
        return transformer.to(world.device)
    sharded = copy.deepcopy(transformer).to(world.device)
    if world.is_main:
        transformer.to(world.device)
    return sharded


def _recorders(out: Path, training: TrainingConfig, step: int, at_the_end: ExitStack) -> list[Listener]:
    """The listeners that write records: to `metrics.jsonl` and, with `training.tensorboard`, to TensorBoard."""
    recorders: list[Listener] = [Recorder(training.log_every, MetricsFile(out, step).append)]
    if training.tensorboard:
        board = at_the_end.enter_context(closing(TensorBoard(out, step)))
        recorders.append(Recorder(training.log_every, board.add))
    return recorders


def _to_all(listeners: Sequence[Listener]) -> Listener:
    def notify(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return notify


def _started(out: Path, parts: _Parts, data: Sequences, state: RunState, world: World) -> Started:
    training = parts.model.config.training
    first = plan(data, training.tokens_per_batch, training.seed, epoch=0)
    return Started(
        directory=out,
        step=state.step,
        epoch=state.epoch,
        seconds=state.seconds,
        parameters=parts.model.transformer.parameter_count(),
        device=str(world.device),
        bf16=parts.bf16,
        processes=world.size,
        threads=torch.get_num_threads(),
        batches=len(first),
        padding=padding_share(data, first),
    )


def _finish(
    model: Model,
    translator: Translator,
    dev: HeldOut | None,
    test: HeldOut | None,
    store: Store,
    out: Path,
    checkpoints: Checkpoints,
    state: RunState,
    notify: Listener,
) -> _End:
    """Choose the weights to keep, score them, and write the model directory."""
    training = model.config.training
    if state.step < 2 * training.warmup:
        rising = f"The learning rate was rising for {min(state.step, training.warmup):,} of {state.step:,} steps"
        notify(Notice("a lower training.warmup would suit so short a run.", warning=rising))
    if out_of_patience(training, state):
        notify(Notice(f"No better dev score in {state.waited} validations: the run ends early."))
    model.transformer.eval()
    chosen, evaluations = choose(model, checkpoints, translator, dev, state, notify)
    if test is not None:
        evaluations["test"] = test.evaluate(translator, training.metric)
    int8 = compare_int8(model, dev, evaluations)
    card = model_card(model, store, state, chosen, evaluations, int8)
    save_model(model, out, card, RUN_ADVICE)
    draw(out)
    return _End(chosen, evaluations, int8)


def _advice(error: DivergenceError, config: Config, data: Numbered, size: int, saved: bool) -> str:
    """The error message for a loss that is not a number, with advice. `size` is the number of pairs without `mix`."""
    training, pairs = config.training, error.pairs
    if config.data.mix:  # pairs of other corpora come after these, and have other line numbers
        pairs = pairs[pairs < size]
    lines = sorted(data.line(int(pair)) for pair in pairs)
    some = ", ".join(map(str, lines[:10])) + (", ..." if len(lines) > 10 else "")
    batch = f"lines {some} of {config.data.text or config.data.source}" if lines else "pairs of data.mix"
    advice = ["half the training.learning_rate", "a longer training.warmup"]
    advice += [] if training.clip else ["training.clip = 1"]
    advice += [] if training.precision == "float32" else ['training.precision = "float32"']
    return (
        f"step {error.step}: the loss is not a number (learning rate {error.rate:.2g}; batch of "
        f"{batch}); try {', or '.join(advice)}" + ("; --resume continues from the last checkpoint" if saved else "")
    )
