"""Which engine computes: a table of them, and the rule by which one is chosen. Torch is loaded only where it does."""

import os
import sys
import warnings
from collections.abc import Callable

from zhuyi.config import EngineName
from zhuyi.directory import StoredModel, check_vocabularies
from zhuyi.engine.native import NativeEngine, unsupported
from zhuyi.engine.protocol import Engine
from zhuyi.errors import ConfigError, ZhuyiWarning

_DRIVERS = (
    ("/proc/driver/nvidia", "/dev/nvidiactl", "/dev/nvmap", "/dev/dxg", "/dev/kfd")  # a Tegra; WSL; AMD
    if sys.platform != "win32"
    else tuple(rf"{os.environ.get('SYSTEMROOT', '')}\System32\{name}.dll" for name in ("nvcuda", "amdhip64"))
)
"""What the driver of a GPU leaves on a machine."""


def _native(model: StoredModel, device: str) -> Engine:
    config, decoding = model.config.model, model.config.decoding
    with model.naming_the_file():
        check_vocabularies(model)
        return NativeEngine(model.weights, config, decoding.precision, decoding.workers)


def _torch(model: StoredModel, device: str) -> Engine:
    from zhuyi.engine.torch import TorchEngine

    return TorchEngine.of(model, device)


ENGINES: dict[EngineName, Callable[[StoredModel, str], Engine]] = {"native": _native, "torch": _torch}
"""From a model and the name of a device to the engine."""


def engine_of(model: StoredModel, device: str = "auto") -> Engine:
    """The engine that the model's `decoding` section asks for.

    "auto" is the native engine; but torch's where there is a GPU, and where the native one cannot run the model. A
    ZhuyiWarning says so, unless a GPU computes in float32, which is what it was asked for, or the model is broken on
    purpose, which is what torch's engine then says.

    Args:
        model: that has been read.
        device: "auto" (the GPU if there is one; for the engine "native", the CPU), "cpu" or "cuda".

    Raises:
        CheckpointError: if the weights are not those of its configuration.
        ConfigError: if there is no such device, or if the engine "native" cannot run the model on it.
    """
    decoding = model.config.decoding
    if decoding.engine == "torch":
        return ENGINES["torch"](model, device)
    on_gpu = _on_gpu(device) if decoding.engine == "auto" else device not in ("auto", "cpu")
    reason = (
        f"the native engine computes on the CPU, not on {device}"
        if on_gpu
        else unsupported(model.config.model, decoding.precision)
    )
    if reason is None:
        return ENGINES["native"](model, device)
    if decoding.engine == "native":
        raise ConfigError(f'decoding.engine = "native": {reason}; "auto" takes torch here')
    wanted = decoding.precision
    if wanted != "float32":
        warnings.warn(f"torch computes, in float32 and not in {wanted}: {reason}", ZhuyiWarning, stacklevel=1)
    elif not on_gpu and not model.config.model.without and model.config.model.shape != "encoder":
        warnings.warn(f"torch computes, which is slower than the native engine: {reason}", ZhuyiWarning, stacklevel=1)
    return ENGINES["torch"](model, device)


def check_device(name: str) -> None:
    """See that a device is there, before any model is loaded for it; torch is asked only where it is not the CPU.

    Raises:
        ConfigError: if there is no such device.
    """
    if name not in ("auto", "cpu"):
        from zhuyi.engine.torch import device_of

        device_of(name)


def _on_gpu(device: str) -> bool:
    """Whether a device is none of the CPU's; torch is asked only where there may be a GPU."""
    if device != "auto":
        return device != "cpu"
    if not any(map(os.path.exists, _DRIVERS)):
        return False
    from zhuyi.engine.torch import sees_gpu

    return sees_gpu()
