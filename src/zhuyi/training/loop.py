"""The training loop.

    batch → encode, decode → cross entropy → gradient → AdamW, or Muon;   at intervals: validate, save

`fit` does not use files or a terminal; it reports to listeners (`events`). The same loop runs in one process or in
several, in lockstep (`distributed`). `recipe.train` is the whole run around it.
"""

import math
import time
from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext
from typing import cast

import numpy as np
import torch
from torch import nn

from zhuyi.config import TrainingConfig
from zhuyi.errors import TrainingError
from zhuyi.model.transformer import Network
from zhuyi.training.distributed import ALONE, World
from zhuyi.training.epochs import Data, updates
from zhuyi.training.events import Listener, Updated
from zhuyi.training.objective import Loss, Objective, TeacherForcing
from zhuyi.training.optimizers import Optimizer, learning_rate
from zhuyi.training.precision import uses_bf16
from zhuyi.training.run_state import RunState
from zhuyi.training.stopping import TRAIN_TO_VALIDATION_RATIO, is_due, out_of_patience, share_used
from zhuyi.training.update import update


class DivergenceError(TrainingError):
    """The loss or the gradient of an update is not a number. The weights are those before the update."""

    def __init__(self, step: int, rate: float, pairs: np.ndarray) -> None:
        super().__init__(f"step {step}: the loss is not a number (learning rate {rate:.2g})")
        self.step, self.rate = step, rate
        self.pairs = pairs
        """The numbers, in the corpus, of the pairs of the update."""


def fit(
    model: nn.Module,
    data: Data,
    training: TrainingConfig,
    *,
    loss: Loss | None = None,
    objective: nn.Module | None = None,
    optimizer: torch.optim.Optimizer | None = None,
    state: RunState | None = None,
    validate: Callable[[RunState], None] = lambda state: None,
    save: Callable[[RunState], None] = lambda state: None,
    stop: Callable[[], bool] = lambda: False,
    listeners: Sequence[Listener] = (),
    world: World = ALONE,
) -> RunState:
    """Train `model` until a budget of `training` is used up.

    Args:
        model: a `Transformer` of any shape, or any module that `loss` can train.
        data: tokenised pairs, which are shuffled and batched as `training` specifies; or a function from an epoch to
            its pairs; or batches, which are iterated over once per epoch (so an iterator lasts for one epoch).
        training: budgets, patience, batches, accumulation, order of the data, learning rate and schedule, clipping, how
            often to validate, and the settings of the default loss and optimizer. Other settings are used by `train`.
        loss: `loss(model, batch)` returns two sums over the target tokens of a batch: the loss that is minimised, and
            the one that is reported. The default is cross entropy with `training.label_smoothing`. A loss that
            differentiates twice, such as a gradient penalty, needs `kernels.use("explicit")` around it, since fused
            attention has no second derivative.
        objective: in several processes, the result of `World.parallel` on an `Objective`, which includes the loss.
        optimizer: of the parameters of `model`; its learning rate is set here. The default is `Optimizer`, with which
            the model has the averaged weights at the end unless `training.ema` is 0.
        state: the position of the run, which is updated in place. The default is a new run.
        validate: called when a validation is due; at the end; and before the first update if `training.start_from` is
            set or `training.keep_at` contains 0. The model is then in evaluation mode and, with an `Optimizer`, has
            the averaged weights. It sets `state.waited`, on which `training.patience` depends.
        save: called after each `validate`, in the same mode, and at the end, even if `stop` ended the run.
        stop: called before each update; returns whether to end the run.
        listeners: called with an `Updated` after each update.
        world: the processes that make each update together.

    Returns:
        `state`, at the end of the run.

    Raises:
        DivergenceError: if the loss is not a number.
        TrainingError: if the GPU does not have enough memory.
    """
    bf16, given = uses_bf16(training, next(model.parameters()).device), optimizer
    objective = objective or Objective(model, loss or TeacherForcing(training.label_smoothing, bf16))
    optimizer = given or Optimizer(model, training, bf16)
    state = state or RunState()
    without = model.config.without if isinstance(model, Network) else ()
    began, not_before, saved = time.perf_counter() - state.seconds, 0.0, -1

    def clock() -> float:
        return world.broadcast(time.perf_counter() - began)

    def call(function: Callable[[RunState], None]) -> None:
        model.eval()  # until the next update
        with optimizer.averaged() if isinstance(optimizer, Optimizer) else nullcontext():
            function(state)

    def check() -> None:
        nonlocal not_before, saved
        before, saved = state.seconds, state.step
        call(validate)
        state.seconds = clock()
        not_before = state.seconds + TRAIN_TO_VALIDATION_RATIO * (state.seconds - before)
        call(save)

    if state.step == 0 and (0 in training.keep_at or training.start_from is not None):
        check()
    with closing(updates(data, training, state, world)) as coming:
        while not world.any(stop() or out_of_patience(training, state)):
            used = share_used(training, state)
            if used >= 1 or (next_update := next(coming, None)) is None:
                break
            rate = learning_rate(training, state.step + 1, used)
            for group in optimizer.param_groups:
                group["lr"] = rate
            start = time.perf_counter()
            batches = [batch.without(without) for batch in next_update.batches]
            plain, norm = update(objective, optimizer, batches, training.clip, state, world)
            seconds = time.perf_counter() - start
            if not math.isfinite(plain + norm):
                raise DivergenceError(state.step + 1, rate, next_update.pairs)
            state.step += 1
            state.epoch, state.batches, state.passes = next_update.epoch, next_update.done, next_update.passes
            state.seconds = clock()
            share = share_used(training, state)
            event = Updated(
                step=state.step,
                loss=plain,
                norm=norm,
                learning_rate=rate,
                source_tokens=next_update.source_tokens,
                target_tokens=next_update.target_tokens,
                positions=sum(batch.positions for batch in next_update.batches),
                passes=state.passes,
                seconds=state.seconds,
                update_seconds=seconds,
                micro_batches=state.micro_batches,
                share=share,
            )
            with world.all_or_none():
                for listener in listeners:
                    listener(event)
            if is_due(training, state, used, share, not_before):
                check()
    if state.step != saved:
        if not world.any(stop()):
            call(validate)
        call(save)
    state.seconds = clock()
    if given is None:
        cast(Optimizer, optimizer).exchange()
    return state
