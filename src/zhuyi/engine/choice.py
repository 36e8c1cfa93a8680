"""The choice of an engine: a table of them, and the rule. Torch is imported only where its engine may be chosen."""

import json
import os
import sys
import warnings
from collections.abc import Callable, Sequence

from zhuyi.config import EngineName
from zhuyi.directory import StoredModel, check_vocabularies
from zhuyi.engine.native import NativeEngine
from zhuyi.engine.packed import PackedModel, unsupported
from zhuyi.engine.protocol import Engine
from zhuyi.errors import ConfigError, ZhuyiWarning

_DRIVERS = (
    ("/proc/driver/nvidia", "/dev/nvidiactl", "/dev/nvmap", "/dev/dxg", "/dev/kfd")  # a Tegra; WSL; AMD
    if sys.platform != "win32"
    else tuple(rf"{os.environ.get('SYSTEMROOT', '')}\System32\{name}.dll" for name in ("nvcuda", "amdhip64"))
)
"""Files that exist where the driver of a GPU is installed."""


def _native(models: Sequence[StoredModel], device: str) -> Engine:
    decoding, packed = models[0].config.decoding, []
    for model in models:
        with model.naming_the_file():
            check_vocabularies(model)
            packed.append(PackedModel(model.weights, model.config.model, decoding.precision))
    return NativeEngine(packed, decoding.workers)


def _torch(models: Sequence[StoredModel], device: str) -> Engine:
    from zhuyi.engine.torch import TorchEngine

    return TorchEngine.of(models, device)


ENGINES: dict[EngineName, Callable[[Sequence[StoredModel], str], Engine]] = {"native": _native, "torch": _torch}
"""From a model, or those of an ensemble, and the name of a device to the engine."""


def engine_of(model: StoredModel, device: str = "auto", others: Sequence[StoredModel] = ()) -> Engine:
    """The engine that the model's `decoding` section asks for.

    "auto" chooses the native engine, or torch's if there is a GPU or the native one cannot run the model. A
    ZhuyiWarning says that torch computes, except where that is expected: on a GPU in float32, for labels, and for a
    model that lacks a part (`model.without`), for which torch's engine has a warning of its own.

    Args:
        model: the model, as read from its directory.
        device: "auto" (the GPU if there is one; for the engine "native", the CPU), "cpu" or "cuda".
        others: further members of an ensemble, in which `model` determines how to search.

    Raises:
        CheckpointError: if the weights are not those of its configuration.
        ConfigError: if there is no such device, if the engine "native" cannot run the model on it, or if the models
            cannot form an ensemble; the message says why.
    """
    decoding, models = model.config.decoding, [model, *others]
    for other in others:
        _check_same_output(model, other)
    if decoding.engine == "torch":
        return ENGINES["torch"](models, device)
    on_gpu = _on_gpu(device) if decoding.engine == "auto" else device not in ("auto", "cpu")
    reason = (
        f"the native engine computes on the CPU, not on {device}"
        if on_gpu
        else next(filter(None, (unsupported(each.config.model, decoding.precision) for each in models)), None)
    )
    if reason is None:
        return ENGINES["native"](models, device)
    if decoding.engine == "native":
        raise ConfigError(f'decoding.engine = "native": {reason}; "auto" takes torch here')
    wanted = decoding.precision
    if wanted != "float32":
        warnings.warn(f"torch computes, in float32 and not in {wanted}: {reason}", ZhuyiWarning, stacklevel=1)
    elif not on_gpu and not model.config.model.without and model.config.model.shape != "encoder":
        warnings.warn(f"torch computes, which is slower than the native engine: {reason}", ZhuyiWarning, stacklevel=1)
    return ENGINES["torch"](models, device)


def _check_same_output(first: StoredModel, other: StoredModel) -> None:
    """Check that two models have the same vocabulary and normal form, and so can form an ensemble.

    Raises:
        ConfigError: if they do not.
    """
    name, of_first, of_other = other.name, first.config, other.config
    if of_first.model.shape != of_other.model.shape or of_first.model.shape == "encoder":
        raise ConfigError(
            f'{name}: model.shape = "{of_other.model.shape}": the models of an ensemble have one shape, '
            f'"encoder-decoder" or "decoder"; that of {first.name} is "{of_first.model.shape}"'
        )
    for each in (first, other):
        if without := each.config.model.without:
            raise ConfigError(
                f"{each.name}: model.without = {json.dumps(without)}: a model that lacks a part is in no ensemble"
            )
    if first.tokenizers.files() != other.tokenizers.files() or of_first.text != of_other.text:
        raise ConfigError(
            f"{name}: its tokenizer or its [text] is not that of {first.name}: train the models of an ensemble on the "
            "same data, with another training.seed each"
        )


def check_device(name: str) -> None:
    """Check that a device exists, before any model is loaded for it; torch is imported only if it is not the CPU.

    Raises:
        ConfigError: if there is no such device.
    """
    if name not in ("auto", "cpu"):
        from zhuyi.engine.torch import device_of

        device_of(name)


def _on_gpu(device: str) -> bool:
    """Whether a device is a GPU; torch is imported only where there may be one."""
    if device != "auto":
        return device != "cpu"
    if not any(map(os.path.exists, _DRIVERS)):
        return False
    from zhuyi.engine.torch import sees_gpu

    return sees_gpu()
