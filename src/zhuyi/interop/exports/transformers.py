"""zhuyi → transformers: a directory that `AutoModelForSeq2SeqLM` and `AutoTokenizer` of Hugging Face open.

Its class is one of the library's own, so that no code comes with the model:

    MarianMT, Pegasus    sinusoids, after the norm of 2017 or with pre-norm
    Blenderbot           pre-norm, a table of positions
    BART, mBART          a norm after the embeddings, a table of positions; post-norm, pre-norm
    T5                   pre-norm and RMSNorm without biases; relative positions, or none

`transformers_class` chooses it, and `transformers_weights` writes the model in its terms.

Ids of the target are ours, so an output begins with BOS and ends with EOS. What no output has is listed in
generation_config.json (`suppress_tokens`), and the probabilities of the others sum to 1 (`renormalize_logits`), as in
zhuyi. `config.json` has a key "zhuyi" with what `zhuyi import` needs to know of the text.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.numpy import save_file
from torch.nn.utils.rnn import pad_sequence

from zhuyi.checkpoint import Model
from zhuyi.config import DecodingConfig
from zhuyi.engine.protocol import Tokens
from zhuyi.errors import ConfigError
from zhuyi.interop.exports.joint_tokenizer import JointTokenizer, joint_tokenizer
from zhuyi.interop.exports.libraries import library
from zhuyi.interop.exports.transformers_class import class_of
from zhuyi.interop.exports.transformers_weights import as_bart, as_t5
from zhuyi.interop.families.hub_directory import OURS, TOKENIZER
from zhuyi.model.transformer import Transformer
from zhuyi.text.tokenizer import BOS, EOS, PAD, SPECIALS, UNK, Tokenizers
from zhuyi.version import __version__

PRECISIONS = ("float32",)
FILES = frozenset(
    {
        *("model.safetensors", "config.json", "generation_config.json", "README.md"),
        *("tokenizer.json", "tokenizer_config.json"),
        *(TOKENIZER + name for name in ("tokenizer.json", "tokenizer.source.json", "tokenizer.target.json")),
    }
)
"""The names of all files that a directory may hold."""
BATCH = 32
"""Sentences that are decoded side by side."""
IDS = {"bos_token_id": BOS, "pad_token_id": PAD, "eos_token_id": EOS, "decoder_start_token_id": BOS}
"""Of the tokens that `generate` needs."""
EARLY_STOPPING = {"bound": "never", "huggingface": False, "huggingface-early": True, "marian": True}
"""By `decoding.stop`: the same rule, or the nearest."""


class HuggingFaceDirectory:
    """A directory that `write` wrote, run by `transformers` on the CPU.

    Args:
        directory: what `write` wrote.
        tokenizers: of the model.
    """

    def __init__(self, directory: Path, tokenizers: Tokenizers) -> None:
        transformers = library("transformers", "huggingface")
        with _quiet(transformers):
            self._model = transformers.AutoModelForSeq2SeqLM.from_pretrained(directory).eval()
        defaults = self._model.generation_config
        self._first = int(self._model.config.zhuyi["first"])
        self._suppressed = [i for i in defaults.suppress_tokens if i != UNK]
        self._greedy = transformers.GenerationConfig(
            **{key: getattr(defaults, key) for key in (*IDS, "forced_bos_token_id")},
            num_beams=1,
            do_sample=False,
            suppress_tokens=self._suppressed,
        )

    def decode(self, sources: Sequence[Tokens], limit: int) -> list[list[int]]:
        """The output of greedy search for each source, without EOS; at most `limit` tokens, EOS counted."""
        self._greedy.max_new_tokens = limit
        self._model.generation_config = self._greedy  # what it leaves out would be taken from there
        answers: list[list[int]] = []
        for start in range(0, len(sources), BATCH):
            found = self._model.generate(**self._inputs(sources[start : start + BATCH])).tolist()
            answers += [answer[1 : answer.index(EOS) if EOS in answer else None] for answer in found]
        return answers

    def log_probabilities(self, sources: Sequence[Tokens], targets: Sequence[Tokens]) -> list[list[float]]:
        """The log-probability of each token of each target, and of EOS after them."""
        rows: list[list[float]] = []
        for start in range(0, len(sources), BATCH):
            some = targets[start : start + BATCH]
            begun = pad_sequence([torch.tensor([BOS, *target]) for target in some], batch_first=True)
            with torch.inference_mode():
                logits = self._model(**self._inputs(sources[start : start + BATCH]), decoder_input_ids=begun).logits
                logits[:, :, self._suppressed] = -torch.inf
                log_probs = logits.log_softmax(dim=-1)
            rows += [log_probs[row, range(len(target) + 1), [*target, EOS]].tolist() for row, target in enumerate(some)]
        return rows

    def _inputs(self, sources: Sequence[Tokens]) -> dict[str, torch.Tensor]:
        lines = [torch.tensor([*(self._first + token for token in source), self._first + EOS]) for source in sources]
        ids = pad_sequence(lines, batch_first=True)
        return {"input_ids": ids, "attention_mask": (ids != PAD).long()}


def write(model: Model, directory: Path, precision: str) -> None:
    """Write a model into an empty directory.

    Args:
        model: with its weights, on any device.
        directory: is there, and empty.
        precision: "float32".

    Raises:
        ConfigError: naming the key, if no class of the library computes this model.
        MissingExtra: if `transformers` is not installed.
    """
    library("transformers", "huggingface")  # will be needed
    transformer = cast(Transformer, model.transformer)
    name = class_of(transformer.config)
    _ensure_template(model.tokenizers)
    encoder, decoder = transformer.encoder.embedding.weight, transformer.decoder.embedding.weight
    together = model.tokenizers.shared and (encoder is decoder or torch.equal(encoder, decoder))
    tokenizer = joint_tokenizer(model.tokenizers, together)
    written = as_t5(transformer, tokenizer) if name == "t5" else as_bart(transformer, tokenizer, name)
    settings = {
        "config.json": {"model_type": name, **written.config, **_config(model, tokenizer)},
        "generation_config.json": _generation(model, tokenizer),
        "tokenizer.json": tokenizer.content,
        "tokenizer_config.json": _tokenizer_config(transformer.config.max_length),
    }
    files = {
        **{file: json.dumps(content, ensure_ascii=False, indent=2) + "\n" for file, content in settings.items()},
        **{TOKENIZER + file: content for file, content in model.tokenizers.files().items()},
        "README.md": CARD,
    }
    for file, content in files.items():
        (directory / file).write_text(content, "utf-8", newline="\n")
    weights = {key: np.ascontiguousarray(array) for key, array in written.weights.items()}
    save_file(weights, directory / "model.safetensors", {"format": "pt"})


def _config(model: Model, tokenizer: JointTokenizer) -> dict[str, Any]:
    """What config.json says of every model: its tokens, and what `zhuyi import` needs to know of the text."""
    data = model.config.data
    ours = {
        "version": __version__,
        "first": tokenizer.first,
        "text": model.config.text.model_dump(mode="json"),
        "languages": [data.source_language, data.target_language],
    }
    size = tokenizer.target + len(tokenizer.others)
    return {**IDS, "is_encoder_decoder": True, "vocab_size": size, "dtype": "float32", OURS: ours}


def _tokenizer_config(max_length: int) -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",  # which transformers 4 and 5 both have
        "model_max_length": max_length,
        **dict(zip(("pad_token", "unk_token", "bos_token", "eos_token"), SPECIALS, strict=True)),
        "split_special_tokens": True,  # a text that has "</s>" in it has no token of this name
        "clean_up_tokenization_spaces": False,
        "model_input_names": ["input_ids", "attention_mask"],
    }


def _ensure_template(tokenizers: Tokenizers) -> None:
    source, target = tokenizers.templates
    if source.suffix:
        raise ConfigError("text.source_suffix: zhuyi ends every source with EOS in transformers; use zhuyi itself")
    if len(target.prefix) > 1 or not {*target.prefix} <= {*target.tags}:
        raise ConfigError(
            f"text.target_prefix has {len(target.prefix)} pieces: transformers begins an output with one tag at most; "
            "use --to ctranslate2"
        )


def _generation(model: Model, tokenizer: JointTokenizer) -> dict[str, Any]:
    """The defaults of generation that are nearest to how the model searches."""
    decoding, longest = model.config.decoding, model.config.model.max_length
    suppressed = [*tokenizer.never_written, *([] if decoding.allow_unknown else [UNK])]
    prefix = model.tokenizers.target.template.prefix
    return {
        **IDS,
        "max_new_tokens": int(decoding.limits(np.array([longest]), longest)[0]),
        **_strategy(decoding),
        "min_length": decoding.min_length,
        "no_repeat_ngram_size": decoding.no_repeat_ngram,
        "forced_bos_token_id": prefix[0] if prefix else None,
        "forced_eos_token_id": EOS if decoding.end_at_limit else None,
        "suppress_tokens": suppressed,
        "renormalize_logits": True,
    }


def _strategy(decoding: DecodingConfig) -> dict[str, Any]:
    if decoding.strategy == "sampling":
        drawn = {"temperature": decoding.temperature, "top_k": decoding.top_k, "top_p": decoding.top_p}
        return {"do_sample": True, **drawn}
    if decoding.beam == 1:
        return {"num_beams": 1}
    stop = EARLY_STOPPING[decoding.stop]
    return {"num_beams": decoding.beam, "length_penalty": decoding.length_penalty, "early_stopping": stop}


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Within, the library shows neither progress nor warnings."""
    logging = transformers.utils.logging
    verbosity, bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bar:
            logging.enable_progress_bar()


CARD = """# A zhuyi model for transformers

Written by `zhuyi export`. It needs `pip install transformers torch`, 4.57 or 5:

```python
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

directory = "."  # this one
model, tokenizer = AutoModelForSeq2SeqLM.from_pretrained(directory), AutoTokenizer.from_pretrained(directory)


def translate(lines, **options):
    tokens = tokenizer(lines, return_tensors="pt", padding=True, truncation=True)
    return tokenizer.batch_decode(model.generate(**tokens, **options), skip_special_tokens=True)


print(translate(["A line of text."]))
```

- With `num_beams=1`, it writes what `zhuyi translate --beam 1` writes. With larger beams, the two agree where the model
  searches by the rules of transformers (`decoding.penalty = "power"`, `decoding.stop = "huggingface"`) and forbids no
  tokens (`decoding.min_length`, `no_repeat_ngram`, `allow_unknown`), whose probability transformers shares out.
- zhuyi also ends an output at `decoding.max_ratio` · source + `decoding.max_extra` tokens, and where it repeats itself
  (`decoding.max_repetition`). transformers ends it at `max_new_tokens` only.
- The tokenizer reads sources and writes targets. Where these have two vocabularies, it cannot read targets.
"""
