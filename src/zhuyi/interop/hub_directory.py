"""What all directories of Hugging Face have: settings in JSON, the model's family, and the defaults of generation."""

import json
import reprlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from zhuyi.errors import CheckpointError
from zhuyi.interop.foreign import Text
from zhuyi.interop.reading import read_bytes
from zhuyi.interop.vocabulary import MOST_PIECES, Vocabulary
from zhuyi.text.tokenizer import UNK, Tokenizers

LARGEST_JSON = 1 << 26
OURS = "zhuyi"
"""The key of config.json under which an exported model has what only zhuyi knows of it."""
TOKENIZER = "zhuyi."
"""What begins the names of zhuyi's own tokenizers in such a directory."""


class Settings:
    """A JSON file of settings, each checked where it is asked for.

    Args:
        directory: of the model.
        name: of the file.
        optional: whether it need not be there; it has no settings then.

    Raises:
        CheckpointError: here if it is no JSON object, and from the methods if a value is of another type.
    """

    def __init__(self, directory: Path, name: str, optional: bool = False) -> None:
        self.path = directory / name
        self._values: dict[str, Any] = {}
        if optional and not self.path.exists():
            return
        try:
            found = json.loads(read_bytes(self.path, LARGEST_JSON))
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"{self.path}: not JSON") from error
        if not isinstance(found, dict):
            raise CheckpointError(f"{self.path}: not a JSON object")
        self._values = found

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a key, whatever it is; `default` where it is missing or null."""
        value = self._values.get(key)
        return default if value is None else value

    def number(self, key: str, default: int | None = None) -> int:
        """The value of a key that is a whole number, not negative."""
        value = self.get(key, default)
        if type(value) is not int or not 0 <= value < 2**31:
            raise CheckpointError(f"{self.path}: {key} = {reprlib.repr(value)} is not a whole number of 0 or more")
        return value

    def real(self, key: str, default: float) -> float:
        """The value of a key that is a number."""
        value = self.get(key, default)
        if type(value) not in (int, float) or not abs(value) < 1e300:
            raise CheckpointError(f"{self.path}: {key} = {reprlib.repr(value)} is not a number")
        return float(value)

    def text(self, key: str) -> str:
        """The value of a key that is a string."""
        value = self.get(key)
        if not isinstance(value, str):
            raise CheckpointError(f"{self.path}: {key} = {reprlib.repr(value)} is not a string")
        return value

    def name(self, key: str) -> str | None:
        """The value of a key that is a string; None where it is missing."""
        return None if self.get(key) is None else self.text(key)

    def entries(self, key: str) -> list[Any]:
        """The value of a key that is a list; empty where it is missing."""
        value = self.get(key, [])
        if not isinstance(value, list):
            raise CheckpointError(f"{self.path}: {key} is not a list")
        return value

    def table(self, key: str) -> dict[str, Any]:
        """The value of a key that is an object; empty where it is missing."""
        value = self.get(key, {})
        if not isinstance(value, dict):
            raise CheckpointError(f"{self.path}: {key} is not an object")
        return value

    def unsupported(self, key: str) -> CheckpointError:
        """That zhuyi has nothing like the value of a key."""
        return CheckpointError(f"{self.path}: {key} = {reprlib.repr(self.get(key))} has no counterpart in zhuyi")


def model_type(path: Path) -> str | None:
    """The family of the model in a directory; None if it is no directory of Hugging Face."""
    if not (path / "config.json").is_file():
        return None
    found = Settings(path, "config.json").get("model_type")
    return found if isinstance(found, str) else None


def generation_settings(path: Path, config: Settings) -> Callable[[str], Settings]:
    """Which file has a default of generation: generation_config.json or, in older directories, config.json."""
    generation = Settings(path, "generation_config.json", optional=True)
    return lambda key: config if generation.get(key) is None else generation


def generation_defaults(path: Path, config: Settings) -> dict[str, Any]:
    """The defaults of generation as our section [decoding].

    Where there is no limit of an output, `transformers` ends it after 20 tokens; here the model's own limit holds.
    """
    of = generation_settings(path, config)
    early = of("early_stopping").get("early_stopping")
    longest = config.number("max_position_embeddings", 1024)
    longest = min(of("max_length").number("max_length", longest), longest)
    shortest = of("min_length").number("min_length", 0)
    if of("min_new_tokens").get("min_new_tokens") is not None:  # which does not count the token that begins an output
        shortest = of("min_new_tokens").number("min_new_tokens") + 1
    return {
        "beam": of("num_beams").number("num_beams", 1),
        "penalty": "power",
        "length_penalty": of("length_penalty").real("length_penalty", 1.0),
        "stop": "huggingface-early" if early is True else "bound" if early == "never" else "huggingface",
        "end_at_limit": of("forced_eos_token_id").get("forced_eos_token_id") is not None,
        "no_repeat_ngram": of("no_repeat_ngram_size").number("no_repeat_ngram_size", 0),
        "allow_unknown": not (config.table(OURS) and UNK in of("suppress_tokens").entries("suppress_tokens")),
        "max_repetition": 0,
        "max_ratio": 0.0,
        "max_extra": max(of("max_new_tokens").number("max_new_tokens", longest - 1), 1),
        "min_length": shortest,
    }


def exported_text(path: Path, config: Settings) -> Text | None:
    """The text of a model that `zhuyi export` wrote; None where another program wrote it."""
    ours = config.table(OURS)
    if not ours:
        return None
    files = {file.name.removeprefix(TOKENIZER): file for file in path.glob(f"{TOKENIZER}tokenizer*.json")}
    tokenizers = Tokenizers.load({name: read_bytes(file, LARGEST_JSON) for name, file in files.items()}, path)
    first, settings, languages = ours.get("first"), ours.get("text"), ours.get("languages")
    if type(first) is not int or not 0 <= first < MOST_PIECES or not isinstance(settings, dict):
        raise CheckpointError(f"{config.path}: {OURS} is not what zhuyi export writes")
    source, target = (
        Vocabulary(config.path, side.names, list(range(start, start + len(side))), [])
        for side, start in ((tokenizers.source, first), (tokenizers.target, 0))
    )
    both = languages if isinstance(languages, list) and len(languages) == 2 else (None, None)
    return Text(tokenizers, source, target, settings, (both[0], both[1]))


def ensure_none(vocabularies: Sequence[Path], path: Path) -> None:
    """See that no files of vocabularies are named for a directory, which has its own.

    Raises:
        CheckpointError: otherwise.
    """
    if vocabularies:
        raise CheckpointError(f"{path}: a model of Hugging Face has its own vocabulary: leave --vocabulary out")
