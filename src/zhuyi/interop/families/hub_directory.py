"""What directories of Hugging Face of all families have: the defaults of generation, and what zhuyi has exported."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from zhuyi.errors import CheckpointError
from zhuyi.interop.families.foreign import Text
from zhuyi.interop.reading.files import read_bytes
from zhuyi.interop.reading.settings import LARGEST_JSON, Settings
from zhuyi.interop.tokenizers.vocabulary import MOST_PIECES, Vocabulary
from zhuyi.text.tokenizer import UNK, Tokenizers

OURS = "zhuyi"
"""The key of config.json under which an exported model has what only zhuyi knows of it."""
TOKENIZER = "zhuyi."
"""What begins the names of zhuyi's own tokenizers in such a directory."""


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
