"""zhuyi → ONNX: two graphs, which onnxruntime computes in Python, in a browser, in C#, Java and others.

    encoder.onnx    source, source_mask → memory_keys, memory_values
    decoder.onnx    tokens, past_keys, past_values, memory_keys, memory_values, source_mask → log_probs, keys, values

The second is one step: the log-probabilities after one more token in each row, and keys and values that are the past of
the next step. Their names, types and shapes are those of `INPUTS` and `OUTPUTS` in `onnx_graph`; `onnx_transformer`
has their operations.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from zhuyi.checkpoint import Model
from zhuyi.engine.protocol import Tokens
from zhuyi.errors import ConfigError
from zhuyi.interop.exports import onnx_transformer
from zhuyi.interop.exports.joint_tokenizer import joint_tokenizer
from zhuyi.interop.exports.libraries import library
from zhuyi.interop.exports.onnx_graph import INPUTS, OUTPUTS
from zhuyi.model.transformer import Transformer
from zhuyi.text.tokenizer import BOS, EOS, PAD, SPECIALS, Tokenizer, Tokenizers
from zhuyi.version import __version__

PRECISIONS = ("float32", "int8")
GRAPHS = ("encoder.onnx", "decoder.onnx")
FILES = frozenset(
    {*GRAPHS, *(f"{name}.data" for name in GRAPHS), "config.json", "README.md"}
    | {f"tokenizer.{side}.json" for side in ("source", "target")}
)
"""The names of all files that a directory may hold."""
BATCH = 32
"""Sentences that are decoded side by side."""


class OnnxDirectory:
    """A directory that `write` wrote, run by onnxruntime on the CPU.

    Args:
        directory: what `write` wrote.
        tokenizers: of the model.
    """

    def __init__(self, directory: Path, tokenizers: Tokenizers) -> None:
        runtime = library("onnxruntime", "onnx")
        options = runtime.SessionOptions()
        options.log_severity_level = 3  # errors
        self._encoder, self._decoder = (
            runtime.InferenceSession(directory / name, options, providers=["CPUExecutionProvider"]) for name in GRAPHS
        )
        self._given = tokenizers.target.template.prefix

    def decode(self, sources: Sequence[Tokens], limit: int) -> list[list[int]]:
        """The output of greedy search for each source, without EOS; at most `limit` tokens, EOS counted."""

        def most_probable(step: int, log_probs: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
            forced = step < len(self._given)
            return np.full(len(log_probs), self._given[step]) if forced else log_probs.argmax(axis=-1)

        answers: list[list[int]] = []
        for start in range(0, len(sources), BATCH):
            chosen = self._steps(sources[start : start + BATCH], limit, most_probable)
            tokens = [[*line] for line in np.stack([step for step, _ in chosen], axis=1).tolist()]
            answers += [line[: line.index(EOS) if EOS in line else None] for line in tokens]
        return answers

    def log_probabilities(self, sources: Sequence[Tokens], targets: Sequence[Tokens]) -> list[list[float]]:
        """The log-probability of each token of each target, and of EOS after them."""
        rows: list[list[float]] = []
        for start in range(0, len(sources), BATCH):
            some = [[*target, EOS] for target in targets[start : start + BATCH]]
            longest = max(map(len, some))
            table = np.array([line + [EOS] * (longest - len(line)) for line in some])

            def given(step: int, _: npt.NDArray[np.float32], columns: Any = table.T) -> npt.NDArray[np.int64]:
                return np.asarray(columns[step])

            found = self._steps(sources[start : start + BATCH], longest, given)
            each = np.stack([log_probs[range(len(some)), token] for token, log_probs in found], axis=1)
            rows += [line[: len(target)].tolist() for line, target in zip(each, some, strict=True)]
        return rows

    def _steps(
        self,
        sources: Sequence[Tokens],
        limit: int,
        choose: Callable[[int, npt.NDArray[np.float32]], npt.NDArray[np.int64]],
    ) -> list[tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]]:
        """At each step the chosen tokens and the log-probabilities, until all rows have had EOS or `limit` is there."""
        longest = max(map(len, sources)) + 1
        source = np.array([[*line, EOS] + [PAD] * (longest - len(line) - 1) for line in sources])
        mask = source != PAD
        memory = dict(
            zip(OUTPUTS["encoder"], self._encoder.run(None, {"source": source, "source_mask": mask}), strict=True)
        )
        past = {f"past_{name}": memory[f"memory_{name}"][:, :, :, :0] for name in ("keys", "values")}
        tokens, ended = np.full(len(sources), BOS), np.zeros(len(sources), bool)
        found: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]] = []
        while len(found) < limit and not ended.all():
            log_probs, *state = self._decoder.run(None, {"tokens": tokens, "source_mask": mask, **memory, **past})
            past = dict(zip(past, state, strict=True))
            tokens = choose(len(found), log_probs)
            ended |= tokens == EOS
            found.append((tokens, log_probs))
        return found


def write(model: Model, directory: Path, precision: str) -> None:
    """Write a model into an empty directory.

    Args:
        model: with its weights, on any device.
        directory: is there, and empty.
        precision: "float32", or "int8", in which onnxruntime quantises matrices.

    Raises:
        ConfigError: naming the key, if a mixer is none that is written here.
        MissingExtra: if `onnx` or `onnxruntime` is not installed.
    """
    library("onnxruntime", "onnx")  # will be needed
    transformer, tokenizers = cast(Transformer, model.transformer), model.tokenizers
    config = transformer.config
    for key in ("encoder_mixer", "decoder_mixer"):
        if (mixer := getattr(config, key)) != "attention":
            raise ConfigError(f'model.{key} = "{mixer}": of the mixers, zhuyi writes only attention in ONNX; use zhuyi')
    if tokenizers.source.template.suffix:
        raise ConfigError("text.source_suffix: zhuyi ends every source with EOS in ONNX; use zhuyi itself")
    source, target = _tokenizer(tokenizers.source, reads=True), _tokenizer(tokenizers.target, reads=False)
    unknown = len(source["model"]["vocab"]) - len(tokenizers.source)
    graphs = onnx_transformer.encoder(transformer, unknown), onnx_transformer.decoder(transformer)
    for name, graph in zip(GRAPHS, graphs, strict=True):
        graph.save(directory / name, precision)
    settings = {
        "zhuyi": __version__,
        "max_length": config.max_length,
        "pad": PAD,
        "bos": BOS,
        "eos": EOS,
        "source_prefix": tokenizers.source.template.prefix,
        "target_prefix": tokenizers.target.template.prefix,
    }
    files = {"config.json": settings, "tokenizer.source.json": source, "tokenizer.target.json": target}
    for file, content in files.items():
        (directory / file).write_text(json.dumps(content, ensure_ascii=False) + "\n", "utf-8", newline="\n")
    (directory / "README.md").write_text(_card(), "utf-8", newline="\n")


def _tokenizer(side: Tokenizer, reads: bool) -> dict[str, Any]:
    """A tokenizer that puts its template around a line.

    The tokens that it looks for in a text are the tags with which a line may begin (`reads`), and those that it leaves
    out of a text are the tags.
    """
    content = joint_tokenizer(Tokenizers(side, side), together=True).content
    tags = [token for token in content["added_tokens"] if token["id"] >= len(SPECIALS)]
    content["added_tokens"] = [token for token in tags if token["special"] != reads]
    return content


def _card() -> str:
    """The README.md of a directory."""
    rows = [
        f"| `{graph}.onnx` | {kind} | `{name}` | {type_.lower()} | {', '.join(dimensions)} |"
        for graph in INPUTS
        for kind, table in (("input", INPUTS), ("output", OUTPUTS))
        for name, (type_, dimensions) in table[graph].items()
    ]
    return CARD.format(table="\n".join(rows))


CARD = """# A zhuyi model in ONNX

Written by `zhuyi export`. It needs `pip install onnxruntime tokenizers`, and no torch:

```python
import json

import numpy as np
import onnxruntime
from tokenizers import Tokenizer

directory = "."  # this one
with open(f"{{directory}}/config.json", encoding="utf-8") as file:
    settings = json.load(file)
source, target = (Tokenizer.from_file(f"{{directory}}/tokenizer.{{side}}.json") for side in ("source", "target"))
encoder, decoder = (onnxruntime.InferenceSession(f"{{directory}}/{{name}}.onnx") for name in ("encoder", "decoder"))


def translate(line):
    tokens = source.encode(line).ids  # after the source's prefix, and before EOS
    if len(tokens) == len(settings["source_prefix"]) + 1:
        return ""
    tokens = [*tokens[:-1][: settings["max_length"] - 1], settings["eos"]]
    mask = np.ones((1, len(tokens)), bool)
    keys, values = encoder.run(None, {{"source": np.array([tokens], np.int64), "source_mask": mask}})
    memory = {{"memory_keys": keys, "memory_values": values, "source_mask": mask}}
    keys, values = keys[:, :, :, :0], values[:, :, :, :0]
    token, output, given = settings["bos"], [], settings["target_prefix"]
    for step in range(settings["max_length"]):
        inputs = {{"tokens": np.array([token], np.int64), "past_keys": keys, "past_values": values, **memory}}
        log_probs, keys, values = decoder.run(None, inputs)
        token = given[step] if step < len(given) else int(log_probs[0].argmax())
        if token == settings["eos"]:
            break
        output.append(token)
    return target.decode(output[len(given) :])


print(translate("A line of text."))
```

| graph | | name | type | dimensions |
|---|---|---|---|---|
{table}

A mask is true where there is no padding. `tokens` are the last ones of each row, BOS at first. `past_keys` and
`past_values` have no positions at first, and then are `keys` and `values` of the step before.

- PAD and BOS have the probability 0, as in zhuyi. A source ends in EOS.
- This is greedy search: it writes what `zhuyi translate --beam 1` writes. For a beam, make each of its prefixes a row,
  and let `past_keys` and `past_values` follow the rows (axis 1).
- zhuyi also ends an output at `decoding.max_ratio` · source + `decoding.max_extra` tokens, and where it repeats itself
  (`decoding.max_repetition`). If the model has a least length (`decoding.min_length`), zhuyi does not end it before.
"""
