"""zhuyi → transformers: a directory that `AutoModelForSeq2SeqLM` and `AutoTokenizer` of Hugging Face open.

Its class is one of the library's own, so that no code comes with the model:

    MarianMT, Pegasus    sinusoids, after the norm of 2017 or with pre-norm
    Blenderbot           pre-norm, a table of positions
    BART, mBART          a norm after the embeddings, a table of positions; post-norm, pre-norm
    T5                   pre-norm and RMSNorm without biases; relative positions, or none

The tables of names are those by which `huggingface` and `t5` import, read in the other direction. What is only written
in another way there is written so: a bias that a model has not is zero, each head has its own copy of the keys and
values of its group, and the embeddings of two vocabularies stand one below the other in one matrix.

Ids of the target are ours, so an output begins with BOS and ends with EOS. What no output has is listed in
generation_config.json (`suppress_tokens`), and the probabilities of the others sum to 1 (`renormalize_logits`), as in
zhuyi. `config.json` has a key "zhuyi" with what `zhuyi import` needs to know of the text.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from safetensors.numpy import save_file
from torch.nn.utils.rnn import pad_sequence

from zhuyi.checkpoint import Model
from zhuyi.config import DecodingConfig, ModelConfig
from zhuyi.engine.protocol import Tokens
from zhuyi.errors import ConfigError
from zhuyi.interop import huggingface, t5
from zhuyi.interop.foreign import halves_together, permuted
from zhuyi.interop.hub_directory import OURS, TOKENIZER
from zhuyi.interop.joint_tokenizer import JointTokenizer, joint_tokenizer
from zhuyi.interop.libraries import library
from zhuyi.model.blocks import ACTIVATIONS
from zhuyi.model.positions import Positions, Relative
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
ADDED = ("sinusoidal", "tensor2tensor", "learned", "none")
"""Positions that are a table, which is added to the embeddings."""
EARLY_STOPPING = {"bound": "never", "huggingface": False, "huggingface-early": True, "marian": True}
"""By `decoding.stop`: the same rule, or the nearest."""
Arrays = dict[str, npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Written:
    """A model in the terms of one of the library's classes."""

    config: dict[str, Any]
    weights: Arrays


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
            **{key: getattr(defaults, key) for key in (*_IDS, "forced_bos_token_id")},
            **{"num_beams": 1, "do_sample": False, "suppress_tokens": self._suppressed},
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
    name = _class_of(transformer.config)
    _ensure_template(model.tokenizers)
    encoder, decoder = transformer.encoder.embedding.weight, transformer.decoder.embedding.weight
    together = model.tokenizers.shared and (encoder is decoder or torch.equal(encoder, decoder))
    tokenizer = joint_tokenizer(model.tokenizers, together)
    written = (_t5 if name == "t5" else _bart)(transformer, tokenizer, name)
    longest, text, data = transformer.config.max_length, model.config.text, model.config.data
    ours = {
        "version": __version__,
        "first": tokenizer.first,
        "text": text.model_dump(mode="json"),
        "languages": [data.source_language, data.target_language],
    }
    ends = {"bos_token_id": BOS, "pad_token_id": PAD, "eos_token_id": EOS, "decoder_start_token_id": BOS}
    files = {
        "config.json": {
            **{"model_type": name, **written.config, **ends, "is_encoder_decoder": True, OURS: ours},
            **{"vocab_size": tokenizer.target + len(tokenizer.others), "dtype": "float32"},
        },
        "generation_config.json": {**ends, **_generation(model, tokenizer)},
        "tokenizer.json": tokenizer.content,
        "tokenizer_config.json": {
            # A class that transformers 4 and 5 both have.
            **{"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": longest},
            **dict(zip(("pad_token", "unk_token", "bos_token", "eos_token"), SPECIALS, strict=True)),
            # A text that has "</s>" in it has no token of this name.
            **{"split_special_tokens": True, "clean_up_tokenization_spaces": False},
            "model_input_names": ["input_ids", "attention_mask"],
        },
    }
    for file, content in files.items():
        (directory / file).write_text(json.dumps(content, ensure_ascii=False, indent=2) + "\n", "utf-8", newline="\n")
    for file, text_of in model.tokenizers.files().items():
        (directory / (TOKENIZER + file)).write_text(text_of, "utf-8", newline="\n")
    save_file(
        {key: np.ascontiguousarray(array) for key, array in written.weights.items()},
        directory / "model.safetensors",
        {"format": "pt"},
    )
    (directory / "README.md").write_text(_card(model), "utf-8", newline="\n")


_IDS = ("bos_token_id", "pad_token_id", "eos_token_id", "decoder_start_token_id")


def _class_of(config: ModelConfig) -> str:
    """The `model_type` that computes a model.

    Raises:
        ConfigError: if there is none, naming the first key that keeps the nearest one from it.
    """
    found = {name: _differences(config, name, accepted) for name, accepted in ACCEPTED.items()}
    name, differences = min(found.items(), key=lambda item: len(item[1]))
    if differences:
        raise ConfigError(f"{differences[0]}; use --to onnx or ctranslate2")
    return name


def _differences(config: ModelConfig, name: str, accepted: Mapping[str, tuple[Any, ...]]) -> list[str]:
    """What a class computes otherwise than a model, in words."""
    program = PROGRAMS[name]
    found = [
        f"model.{key} = {json.dumps(value)}: {program}, the nearest class of transformers, has only "
        f"{', '.join(each if isinstance(each, str) else json.dumps(each) for each in values)}"
        for key, values in accepted.items()
        if (value := getattr(config, key)) not in values
    ]
    if name != "t5" and config.heads * config.head_width != config.width:
        found.append(f"model.head_width = {config.head_width}: {program} of transformers has width / heads alone")
    if config.positions == "sinusoidal" and config.width % 2:
        found.append(f"model.width = {config.width}: {program} of transformers has sinusoids of an even width alone")
    if name == "t5" and config.decoder_layers > config.encoder_layers:  # 5.24 makes a cache for as many layers
        found.append(
            f"model.decoder_layers = {config.decoder_layers}: {program} of transformers has at most as many as layers "
            f"of the encoder, {config.encoder_layers}"
        )
    return found


def _accepted(family: huggingface.Family) -> dict[str, tuple[Any, ...]]:
    """The values of each option that has others, of which a family of BART's relatives can compute a model."""
    return {
        "encoder_mixer": ("attention",),
        "decoder_mixer": ("attention",),
        "positions": ADDED if family.has_table else (family.positions,),
        "activation": tuple(dict.fromkeys(huggingface.ACTIVATIONS.values())),
        "norm": (family.norm,),
        "norm_kind": ("layer",),
        "norm_epsilon": (1e-5,),
        "final_norm": (family.norm == "pre",),
        "embedding_norm": (family.embedding_norm,),
    }


ACCEPTED: dict[str, dict[str, tuple[Any, ...]]] = {
    **{
        name: _accepted(family)
        for name, family in huggingface.FAMILIES.items()
        if family.positions == "sinusoidal" or family.has_table
    },
    "t5": {
        "encoder_mixer": ("attention",),
        "decoder_mixer": ("attention",),
        "positions": ("relative", "none"),
        "activation": tuple(t5.ACTIVATIONS.values()),
        "bias": ("none",),
        "output_bias": (False,),
        "norm": ("pre",),
        "norm_kind": ("rms",),
        "final_norm": (True,),
        "embedding_norm": (False,),
    },
}
"""By `model_type`: the values that its class can compute, of each option that has others."""
PROGRAMS = {**{name: family.program for name, family in huggingface.FAMILIES.items()}, **t5.PROGRAMS}


def _ensure_template(tokenizers: Tokenizers) -> None:
    source, target = tokenizers.templates
    if source.suffix:
        raise ConfigError("text.source_suffix: zhuyi ends every source with EOS in transformers; use zhuyi itself")
    if len(target.prefix) > 1 or not {*target.prefix} <= {*target.tags}:
        raise ConfigError(
            f"text.target_prefix has {len(target.prefix)} pieces: transformers begins an output with one tag at most; "
            "use --to ctranslate2"
        )


def _bart(transformer: Transformer, tokenizer: JointTokenizer, name: str) -> Written:
    """A model as BART and its relatives have it."""
    config, family = transformer.config, huggingface.FAMILIES[name]
    ours = _arrays(transformer)
    table = _table(transformer.encoder.positions, config), _table(transformer.decoder.positions, config)
    embedding, projection = _matrices(transformer, tokenizer)
    order = halves_together(config.width).argsort() if family.positions == "sinusoidal" else np.arange(config.width)
    ours = {key: permuted(key, array, order) for key, array in ours.items()}
    weights = {"model.shared.weight": embedding[:, order]}
    for our, their in huggingface.NAMES.ours_to_theirs(config).items():
        weights[f"{their}.weight"] = ours[f"{our}.weight"]
        weights[f"{their}.bias"] = ours.get(f"{our}.bias", np.zeros(len(ours[f"{our}.weight"]), np.float32))
    for side, rows in zip(("encoder", "decoder"), table, strict=True):
        unused = np.zeros((family.first_position, config.width), np.float32)
        weights[f"model.{side}.embed_positions.weight"] = np.concatenate([unused, rows[:, order]])
    if projection is not None:
        weights |= dict.fromkeys(huggingface.EMBEDDINGS, embedding[:, order])  # nothing is tied
        weights["lm_head.weight"] = projection[:, order]
    bias = ours.get("projection.bias", np.zeros(tokenizer.target, np.float32))
    weights["final_logits_bias"] = np.pad(bias, (0, len(embedding) - len(bias)))[None]
    activations = {ours: theirs for theirs, ours in huggingface.ACTIVATIONS.items()}
    settings = {
        **{"architectures": [family.architecture], "d_model": config.width},
        **{"encoder_layers": config.encoder_layers, "decoder_layers": config.decoder_layers},
        **{f"{side}_attention_heads": config.heads for side in ("encoder", "decoder")},
        **{f"{side}_ffn_dim": config.feed_forward for side in ("encoder", "decoder")},
        **{f"{side}_layerdrop": 0.0 for side in ("encoder", "decoder")},
        **{"activation_function": activations[config.activation], "dropout": config.dropout},
        **{"attention_dropout": config.attention_dropout, "activation_dropout": config.feed_forward_dropout},
        **{"scale_embedding": config.embedding_scale, "max_position_embeddings": config.max_length},
        **{"tie_word_embeddings": projection is None, "share_encoder_decoder_embeddings": True},
        **{"decoder_vocab_size": len(embedding), "forced_eos_token_id": None},
    }
    return Written(settings, weights)


def _t5(transformer: Transformer, tokenizer: JointTokenizer, name: str) -> Written:
    """A model as T5 has it: see `t5`."""
    config, ours = transformer.config, _arrays(transformer)
    embedding, projection = _matrices(transformer, tokenizer)
    root = np.float32(math.sqrt(config.width))
    divides = projection is None and config.embedding_scale
    weights = {"shared.weight": embedding * root if config.embedding_scale else embedding}
    if not divides:
        weights["lm_head.weight"] = embedding if projection is None else projection
    gated = ACTIVATIONS[config.activation].gated
    for our, their in t5.NAMES.ours_to_theirs(config).items():
        if our.endswith(".inner") and gated:
            weights[f"{their}_0.weight"] = ours[our.replace("inner", "gate") + ".weight"]
            their += "_1"
        scale = np.float32(config.head_width**-0.5 if our.endswith(".query") else 1)
        weights[f"{their}.weight"] = ours[f"{our}.weight"] * scale
    for side, stack in transformer.stacks().items():
        is_relative = isinstance(stack.positions, Relative)
        table = (
            _array(cast(torch.Tensor, stack.positions.table))
            if is_relative
            else np.zeros((Relative.BUCKETS, config.heads), np.float32)
        )
        weights[f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight"] = table
    activations = {ours: theirs for theirs, ours in t5.ACTIVATIONS.items()}
    settings = {
        **{"architectures": ["T5ForConditionalGeneration"], "d_model": config.width, "d_kv": config.head_width},
        **{"d_ff": config.feed_forward, "num_heads": config.heads, "num_layers": config.encoder_layers},
        **{"num_decoder_layers": config.decoder_layers, "feed_forward_proj": activations[config.activation]},
        **{"dropout_rate": config.dropout, "layer_norm_epsilon": config.norm_epsilon},
        **{"relative_attention_num_buckets": Relative.BUCKETS, "relative_attention_max_distance": Relative.FARTHEST},
        **{"n_positions": config.max_length, "tie_word_embeddings": divides},
    }
    return Written(settings, weights)


def _matrices(
    transformer: Transformer, tokenizer: JointTokenizer
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32] | None]:
    """The embedding of all ids, and the projection where it is another matrix; no output has the source's own ids."""
    source, target = _array(transformer.encoder.embedding.weight), _array(transformer.decoder.embedding.weight)
    embedding = np.concatenate([target, source[tokenizer.others]])
    if transformer.projection.weight is transformer.decoder.embedding.weight:
        return embedding, None
    return embedding, np.pad(_array(transformer.projection.weight), ((0, len(tokenizer.others)), (0, 0)))


def _arrays(transformer: Transformer) -> Arrays:
    """Our weights by name; each head has keys and values of its own."""
    config = transformer.config
    arrays = {name: _array(parameter) for name, parameter in transformer.named_parameters()}
    for name, array in arrays.items():
        if name.rsplit(".", 2)[-2] in ("key", "value"):
            groups = array.reshape(config.groups, config.head_width, *array.shape[1:])
            arrays[name] = groups.repeat(config.heads // config.groups, axis=0).reshape(-1, *array.shape[1:])
    return arrays


def _table(positions: Positions, config: ModelConfig) -> npt.NDArray[np.float32]:
    """What is added at each position; nothing, without positions."""
    if type(positions) is Positions:
        return np.zeros((config.max_length, config.width), np.float32)
    return _array(cast(torch.Tensor, positions.table))


def _array(tensor: torch.Tensor) -> npt.NDArray[np.float32]:
    return tensor.detach().float().cpu().numpy()


def _generation(model: Model, tokenizer: JointTokenizer) -> dict[str, Any]:
    """The defaults of generation that are nearest to how the model searches."""
    decoding, longest = model.config.decoding, model.config.model.max_length
    suppressed = [*tokenizer.never_written, *([] if decoding.allow_unknown else [UNK])]
    prefix = model.tokenizers.target.template.prefix
    return {
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


def _card(model: Model) -> str:
    """The README.md of a directory."""
    return CARD


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
