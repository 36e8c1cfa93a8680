import math

import pytest
import torch
from torch.testing import assert_close

from zhuyi.config import ModelConfig
from zhuyi.model.positions import POSITIONS, ALiBi, Learned, Relative, Rotary, Sinusoidal, sinusoids

SIZES = ModelConfig(width=16, heads=2, max_length=64)


@pytest.mark.parametrize("width", [2, 5, 16])
def test_sinusoids_are_the_papers_equation(width):
    table = sinusoids(12, width)
    assert table.shape == (12, width)
    for position in range(12):
        for column in range(width):
            angle = position / 10000 ** (2 * (column // 2) / width)
            expected = math.sin(angle) if column % 2 == 0 else math.cos(angle)
            assert table[position, column].item() == pytest.approx(expected, abs=1e-6)


def test_distance_is_a_rotation_of_sinusoids():
    """The paper's reason for them: PE(position + k) is a linear function of PE(position)."""
    table = sinusoids(40, 16)
    near, far = table[:-5], table[5:]
    assert_close((near * far).sum(dim=-1), (near[0] * far[0]).sum().expand(35))


def test_rotary_scores_depend_on_the_distance_only():
    torch.manual_seed(1)
    rotary = Rotary(SIZES)
    query, key = torch.randn(1, 1, 1, 8), torch.randn(1, 1, 1, 8)

    def score(i: int, j: int) -> torch.Tensor:
        return (rotary.rotate(query, i) * rotary.rotate(key, j)).sum()

    assert_close(score(9, 4), score(45, 40))
    assert not torch.isclose(score(9, 4), score(9, 5))
    assert_close(score(7, 7), (query * key).sum())


def test_rotary_keeps_lengths():
    heads = torch.randn(2, 2, 10, 8)
    assert_close(Rotary(SIZES).rotate(heads).norm(dim=-1), heads.norm(dim=-1))


@pytest.mark.parametrize("kind", POSITIONS)
def test_a_later_start_is_a_slice_of_the_whole(kind):
    positions = POSITIONS[kind](SIZES)
    x, heads = torch.randn(2, 12, 16), torch.randn(2, 2, 12, 8)
    assert torch.equal(positions.add(x)[:, 5:9], positions.add(x[:, 5:9], start=5))
    assert torch.equal(positions.rotate(heads)[:, :, 5:9], positions.rotate(heads[:, :, 5:9], start=5))
    whole, slice_ = positions.bias(12, 12), positions.bias(4, 12, start=5)
    assert (whole is None) == (slice_ is None)
    if whole is not None:
        assert torch.equal(whole[:, :, 5:9], slice_)


@pytest.mark.parametrize("kind", POSITIONS)
def test_each_row_may_start_where_it_likes(kind):
    positions = POSITIONS[kind](SIZES)
    x, heads, starts = torch.randn(3, 4, 16), torch.randn(3, 2, 4, 8), [0, 7, 2]
    added, rotated = positions.add(x, torch.tensor(starts)), positions.rotate(heads, torch.tensor(starts))
    bias = positions.bias(4, 9, torch.tensor(starts))
    for row, start in enumerate(starts):
        assert torch.equal(added[row], positions.add(x[row : row + 1], start)[0])
        assert torch.equal(rotated[row], positions.rotate(heads[row : row + 1], start)[0])
        alone = positions.bias(4, 9, start)
        assert (bias is None) == (alone is None)
        if bias is not None:
            assert torch.equal(bias[row], alone[0])


@pytest.mark.parametrize("kind", POSITIONS)
def test_only_tables_are_learned_and_saved(kind):
    positions = POSITIONS[kind](SIZES)
    learned = {"table"} if POSITIONS[kind] in (Learned, Relative) else set()
    assert {name for name, _ in positions.named_parameters()} == learned
    assert set(positions.state_dict()) == learned


@pytest.mark.parametrize("kind", [Sinusoidal, Rotary])
def test_half_precision_stays_half_precision(kind):
    heads = torch.randn(1, 1, 4, 8, dtype=torch.bfloat16)
    assert kind(SIZES).rotate(heads).dtype == torch.bfloat16


def test_alibi_is_the_papers():
    """Press et al. 2022, section 3: of 8 heads, the slopes are 1/2, 1/4, ..., 1/256."""
    bias = ALiBi(ModelConfig(width=16, heads=8)).bias(3, 3)
    assert bias.shape == (1, 8, 3, 3)
    for head in range(8):
        slope = 2.0 ** -(head + 1)
        below = [[0, 0, 0], [-slope, 0, 0], [-2 * slope, -slope, 0]]
        assert bias[0, head].tril().tolist() == below
    assert torch.equal(bias, bias.mT), "to the right as to the left"


@pytest.mark.parametrize("causal", [False, True])
def test_the_buckets_of_distances_are_those_of_t5(causal):
    """Raffel et al. 2020: of 32 buckets, those of a side are for one distance each, then for wider and wider ranges."""
    distances = torch.arange(-300, 301)
    begins = [distance for distance in range(301) if distance < 16] if causal else list(range(8))
    exact = len(begins)
    begins += [math.ceil(exact * (128 / exact) ** (n / exact) - 1e-6) for n in range(exact)]
    for distance, bucket in zip(distances.tolist(), Relative.buckets_of(distances, causal).tolist(), strict=True):
        after = 16 if distance > 0 and not causal else 0
        far = max(-distance, 0) if causal else abs(distance)
        assert bucket == after + max(n for n, begin in enumerate(begins) if begin <= far)
    assert causal or begins[8:] == [8, 12, 16, 23, 32, 46, 64, 91]


def test_relative_positions_learn():
    positions = Relative(ModelConfig(width=16, heads=2), causal=True)
    positions.bias(2, 3, torch.tensor([0, 1])).sum().backward()
    gradient = positions.table.grad
    assert gradient[:, 0].tolist() == gradient[:, 1].tolist() == [8, 3, 1] + [0] * 29
