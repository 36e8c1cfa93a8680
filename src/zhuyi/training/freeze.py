"""Parts of a network that a run does not change (`training.freeze`): they have no gradient and no optimiser state."""

from collections.abc import Iterable

from zhuyi.errors import ConfigError
from zhuyi.model.transformer import Network

EMBEDDINGS = "embeddings"
"""The name of all embeddings of tokens together."""


def freeze(network: Network, names: Iterable[str]) -> None:
    """Freeze the modules and weights with these names, such as `encoder`, `decoder.blocks.0` or `embeddings`.

    A tied matrix has several names, and is frozen if one of them is given.

    Raises:
        ConfigError: if the network has no part with one of the names, or if no weight is left to be trained.
    """
    weights = dict(network.named_parameters(remove_duplicate=False))
    for name in names:
        found = [each for each in weights if _is_of(each, name)]
        if not found:
            there = ", ".join(dict.fromkeys([*network.stacks(), EMBEDDINGS, *map(_part, weights)]))
            raise ConfigError(f"training.freeze = {name!r}: the model has no such part; there are {there}")
        for each in found:
            weights[each].requires_grad_(False)
    if not any(weight.requires_grad for weight in weights.values()):
        raise ConfigError("training.freeze leaves nothing to be learned: leave out one of its names")


def _is_of(weight: str, name: str) -> bool:
    if name == EMBEDDINGS:
        return ".embedding." in weight
    return f"{weight}.".startswith(f"{name}.")


def _part(weight: str) -> str:
    """The part that a weight belongs to, as error messages name it: a block, or a module outside of the blocks."""
    parts = weight.split(".")
    return ".".join(parts[:3] if "blocks" in parts else parts[:-1])
