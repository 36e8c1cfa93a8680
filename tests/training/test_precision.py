import pytest
import torch

from zhuyi.config import TrainingConfig
from zhuyi.errors import ConfigError
from zhuyi.training.precision import choose_device, keep_memory, products, uses_bf16

CPU = torch.device("cpu")


@pytest.mark.parametrize(("asked", "given"), [("bf16", True), ("float32", False)])
@pytest.mark.parametrize("hardware", [{}, {"avx512_bf16": True}])
def test_what_is_asked_for_is_done(
    monkeypatch: pytest.MonkeyPatch, asked: str, given: bool, hardware: dict[str, bool]
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: hardware)
    assert uses_bf16(TrainingConfig(precision=asked), CPU) is given  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("hardware", "given"),
    [({}, False), ({"avx512_bf16": False}, False), ({"avx512_bf16": True}, True), ({"amx_bf16": True}, True)],
)
def test_auto_goes_by_the_hardware(monkeypatch: pytest.MonkeyPatch, hardware: dict[str, bool], given: bool) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: hardware)
    assert uses_bf16(TrainingConfig(precision="auto"), CPU) is given


def test_products_are_bf16_and_sums_are_not() -> None:
    x = torch.randn(3, 4)
    with products(True, CPU):
        assert (x @ x.T).dtype == torch.bfloat16
        assert x.softmax(-1).dtype == torch.float32
    with products(False, CPU):
        assert (x @ x.T).dtype == torch.float32


def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device(TrainingConfig(device="auto")) == CPU
    assert choose_device(TrainingConfig(device="cpu")) == CPU
    with pytest.raises(ConfigError, match=r"training\.device") as caught:
        choose_device(TrainingConfig(device="cuda"))
    assert "\n" not in str(caught.value)


def test_a_gpu_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device(TrainingConfig(device="auto")).type == "cuda"
    assert choose_device(TrainingConfig(device="cuda")).type == "cuda"
    assert choose_device(TrainingConfig(device="cpu")) == CPU


def test_keeping_memory_changes_no_result() -> None:
    before = torch.arange(1000.0).cumsum(0)
    keep_memory()
    keep_memory()
    assert torch.arange(1000.0).cumsum(0).equal(before)
