"""The parts in a loop of one's own: with another loss, other data, another optimizer or schedule."""

import copy
import random
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from zhuyi.config import TrainingConfig
from zhuyi.data import Batch, InMemory, collate, plan
from zhuyi.model import ModelConfig, Transformer
from zhuyi.training import DivergenceError, Event, Optimizer, RunState, TeacherForcing, Updated, fit

VOCABULARY = 12


def corpus(pairs: int = 40) -> InMemory:
    """Copies of short random sequences."""
    rng = random.Random(1)
    lines = [[rng.randrange(4, VOCABULARY) for _ in range(rng.randint(1, 6))] for _ in range(pairs)]
    return InMemory(lines, lines)


def small(**settings: Any) -> Transformer:
    torch.manual_seed(1)
    sizes = {"width": 16, "heads": 2, "encoder_layers": 1, "decoder_layers": 1, "feed_forward": 32, "dropout": 0.0}
    return Transformer(ModelConfig(**{**sizes, **settings}), VOCABULARY)


def training(**settings: Any) -> TrainingConfig:
    values = {"steps": 30, "tokens_per_batch": 120, "warmup": 0, "learning_rate": 0.01, "precision": "float32"}
    return TrainingConfig(**{**values, **settings})


def losses_of(model: nn.Module, data: Any, config: TrainingConfig, **options: Any) -> list[float]:
    losses: list[float] = []

    def listen(event: Event) -> None:
        assert isinstance(event, Updated)
        losses.append(event.loss)

    fit(model, data, config, listeners=[listen], **options)
    return losses


@pytest.mark.slow
def test_fit_learns_and_reports_each_update() -> None:
    losses = losses_of(small(), corpus(), training(steps=60, learning_rate=0.02))
    assert len(losses) == 60
    assert losses[-1] < losses[0] / 2


@pytest.mark.slow
def test_batches_in_the_order_of_the_plan_make_the_same_run() -> None:
    """One's own iterator in the place of the corpus: what it gives is all that matters."""
    data, config = corpus(), training(steps=12)

    class Batches:
        epoch = -1

        def __iter__(self) -> Iterator[Batch]:
            self.epoch += 1
            return (collate(data, pairs) for pairs in plan(data, config.tokens_per_batch, config.seed, self.epoch))

    assert losses_of(small(), Batches(), config) == losses_of(small(), data, config)


def test_a_generator_of_batches_ends_the_run_with_its_last_batch() -> None:
    data = corpus()
    batches = (collate(data, pairs) for pairs in plan(data, 120, seed=1, epoch=0))
    state = fit(small(), batches, training(steps=1000, accumulate=2))
    planned = len(plan(data, 120, seed=1, epoch=0))
    assert state.step == -(-planned // 2)
    assert state.batches == planned


@pytest.mark.slow
def test_a_run_goes_on_from_its_state() -> None:
    data, config = corpus(), training(steps=20, schedule="constant", ema=0.0)
    whole, parts = small(), small()
    fit(whole, data, config)
    optimizer, state = Optimizer(parts, config), RunState()
    fit(parts, data, config, optimizer=optimizer, state=state, stop=lambda: state.step == 7)
    assert state.step == 7
    fit(parts, data, config, optimizer=optimizer, state=state)
    assert state.step == 20
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(("save_every", "due"), [(4, [4, 8, 10]), (5, [5, 10])])
def test_validate_and_save_are_called_when_they_are_due(save_every: int, due: list[int]) -> None:
    calls: list[tuple[str, int]] = []
    fit(
        small(),
        corpus(),
        training(steps=10, save_every=save_every),
        validate=lambda state: calls.append(("validate", state.step)),
        save=lambda state: calls.append(("save", state.step)),
    )
    assert calls == [(call, step) for step in due for call in ("validate", "save")]


class Penalised:
    """Cross entropy, and the squared norm of its gradient by the embedded source: double backpropagation."""

    def __init__(self, weight: float, reference: bool = False) -> None:
        self.weight, self.reference = weight, reference
        self.penalties: list[float] = []

    def __call__(self, model: nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        smoothed, plain = TeacherForcing(0.1)(model, batch)
        weight = model.get_submodule("encoder").embedding.weight
        (gradient,) = torch.autograd.grad(smoothed / batch.target_tokens, weight, create_graph=True)
        penalty = gradient.square().sum()
        self.penalties.append(penalty.item())
        return smoothed + self.weight * batch.target_tokens * penalty, plain


@pytest.mark.slow
def test_a_gradient_penalty_makes_the_gradient_smaller() -> None:
    free, penalised = Penalised(0.0), Penalised(1.0)
    losses_of(small(), corpus(), training(ema=0.0), loss=free)
    losses_of(small(), corpus(), training(ema=0.0), loss=penalised)
    assert sum(penalised.penalties[10:]) < 0.8 * sum(free.penalties[10:])


@pytest.mark.parametrize("settings", [{}, {"norm": "post", "norm_kind": "layer", "positions": "sinusoidal"}])
def test_the_gradient_of_a_gradient_penalty_is_right(settings: dict[str, Any]) -> None:
    """In float64, against finite differences in a random direction."""
    model, data = small(**settings).double(), corpus(6)
    batch = collate(data, plan(data, 1000, seed=1, epoch=0)[0])
    objective = Penalised(1.0)

    def value() -> torch.Tensor:
        return objective(model, batch)[0]

    value().backward()
    parameters = list(model.parameters())
    directions = [torch.randn_like(parameter) for parameter in parameters]
    slope = sum((p.grad * d).sum().item() for p, d in zip(parameters, directions, strict=True) if p.grad is not None)

    def moved(step: float) -> float:
        with torch.no_grad():
            for parameter, direction in zip(parameters, directions, strict=True):
                parameter.add_(direction, alpha=step)
        found = value().item()
        with torch.no_grad():
            for parameter, direction in zip(parameters, directions, strict=True):
                parameter.sub_(direction, alpha=step)
        return found

    assert slope == pytest.approx((moved(1e-6) - moved(-1e-6)) / 2e-6, rel=1e-5)


@pytest.mark.parametrize("name", ["muon", "adamw"])
def test_a_schedule_of_torchs_moves_all_groups(name: str) -> None:
    model, data = small(), corpus()
    optimizer = Optimizer(model, training(optimizer=name))
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.5)
    rates = []
    for pairs in list(plan(data, 120, seed=1, epoch=0))[:3]:
        batch = collate(data, pairs)
        logits = model(batch.source, batch.source_mask, batch.target_in)
        F.cross_entropy(logits.flatten(0, 1), batch.target_out.flatten(), ignore_index=0).backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        rates.append({group["lr"] for group in optimizer.param_groups})
    assert rates == [{0.005}, {0.0025}, {0.00125}]


@pytest.mark.parametrize("name", ["muon", "adamw"])
def test_the_state_of_an_optimizer_can_be_saved_and_loaded(name: str) -> None:
    """As torch does it: a copy of model and optimizer takes the same next step."""
    config = training(optimizer=name, ema=0.9)
    model, data = small(), corpus()
    optimizer = Optimizer(model, config)
    batches = [collate(data, pairs) for pairs in plan(data, 120, seed=1, epoch=0)]

    def step(model: Transformer, optimizer: Optimizer, batch: Batch) -> None:
        TeacherForcing()(model, batch)[0].backward()
        optimizer.step()
        optimizer.zero_grad()

    step(model, optimizer, batches[0])
    twin = small()
    twin.load_state_dict(model.state_dict())
    other = Optimizer(twin, config)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    for batch in batches[1:3]:
        step(model, optimizer, batch)
        step(twin, other, batch)
    for one, same in zip(model.parameters(), twin.parameters(), strict=True):
        assert torch.equal(one, same)


@pytest.mark.slow
def test_an_optimizer_of_torchs_and_a_closure() -> None:
    model = small()
    losses = losses_of(
        model, corpus(), training(learning_rate=0.5), optimizer=torch.optim.SGD(model.parameters(), lr=0.1)
    )
    assert losses[-1] < losses[0] - 0.1
    model, batch = small(), collate(corpus(), plan(corpus(), 120, seed=1, epoch=0)[0])
    optimizer = Optimizer(model, training())

    def closure() -> float:
        optimizer.zero_grad()
        loss = TeacherForcing()(model, batch)[0] / batch.target_tokens
        loss.backward()
        return loss.item()

    first = optimizer.step(closure)
    for _ in range(20):
        last = optimizer.step(closure)
    assert last < first


def test_a_loss_that_is_not_a_number_names_its_pairs_and_changes_nothing() -> None:
    model = small()
    before = [parameter.detach().clone() for parameter in model.parameters()]

    def broken(model: nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        smoothed, plain = TeacherForcing()(model, batch)
        return smoothed * torch.nan, plain

    with pytest.raises(DivergenceError, match="step 1: the loss is not a number") as caught:
        fit(model, corpus(), training(), loss=broken)
    assert len(caught.value.pairs) > 0
    for one, other in zip(before, model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_average_is_validated_saved_and_left_in_the_model() -> None:
    model, seen = small(dropout=0.1), []

    def look(_: RunState) -> None:
        assert not model.training
        seen.append(model.projection.weight.detach().clone())

    raw: list[torch.Tensor] = []
    fit(
        model,
        corpus(),
        training(steps=6, save_every=3, ema=0.5),
        validate=look,
        save=look,
        listeners=[lambda event: raw.append(model.projection.weight.detach().clone())],
    )
    assert len(seen) == 4
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], raw[2])
    assert torch.equal(seen[-1], model.projection.weight)
    assert not torch.equal(raw[-1], model.projection.weight)


@pytest.mark.parametrize("one_pass", [False, True])
def test_an_epoch_of_batches_is_an_epoch(one_pass: bool) -> None:
    data = corpus()
    batches = [collate(data, pairs) for pairs in plan(data, 60, seed=1, epoch=0)]
    rates: list[float] = []
    coming = iter(batches) if one_pass else batches
    config = training(steps=None, epochs=1.0, schedule="linear")
    state = fit(small(), coming, config, listeners=[lambda event: rates.append(event.learning_rate)])  # type: ignore[union-attr]
    assert (state.step, state.passes) == (len(batches), 1.0)
    assert one_pass or rates == sorted(rates, reverse=True)
    assert one_pass or rates[-1] < rates[0]


@pytest.mark.slow
def test_a_loss_that_is_a_module() -> None:
    class Module(nn.Module):
        def forward(self, model: nn.Module, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
            return TeacherForcing()(model, batch)

    assert losses_of(small(), corpus(), training(steps=5), loss=Module()) == losses_of(
        small(), corpus(), training(steps=5, label_smoothing=0.0)
    )


@pytest.mark.slow
def test_only_the_matrices_of_the_blocks_are_trained() -> None:
    """The rest is frozen, so AdamW has nothing to do and nothing to count."""
    model = small()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(".blocks." in name and parameter.dim() > 1)
    losses = losses_of(model, corpus(), training(steps=40))
    assert losses[-1] < losses[0]
    Optimizer(model, training()).step()  # without a gradient: nothing


def test_an_optimizer_can_be_copied() -> None:
    model, data = small(), corpus()
    batch = collate(data, plan(data, 120, seed=1, epoch=0)[0])
    optimizer = Optimizer(model, training(ema=0.9))
    pair = copy.deepcopy({"model": model, "optimizer": optimizer})
    for each, its in ((model, optimizer), (pair["model"], pair["optimizer"])):
        for _ in range(3):
            TeacherForcing()(each, batch)[0].backward()
            its.step()
            its.zero_grad()
    for one, same in zip(model.parameters(), pair["model"].parameters(), strict=True):
        assert torch.equal(one, same)
