"""Export models with each option of the architecture in each format of `zhuyi export`: the same answers, or a refusal.

    python benchmarks/exports.py

Small models of random weights, of the presets `modern` and `paper` with one option or a few changed, go to every
format. zhuyi and the other program answer the same 20 lines by greedy search; the outputs are compared token by token,
and the log-probabilities of their tokens. What went to transformers is imported again, and answers once more. Writes
results/exports.json.
"""

import argparse
import json
import tempfile
import warnings
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from machine import describe
from stored import save

import zhuyi
from zhuyi.checkpoint import build_model
from zhuyi.config import Config, DecodingConfig, build_config
from zhuyi.errors import ConfigError
from zhuyi.interop.export import FORMATS, made_lines
from zhuyi.interop.importing import import_model
from zhuyi.loading import build_translator
from zhuyi.text.tokenizer import Tokenizers
from zhuyi.translator import Translator

SMALL = {"width": 32, "heads": 4, "encoder_layers": 2, "decoder_layers": 2, "feed_forward": 48, "max_length": 48}
GREEDY = {"beam": 1, "length_penalty": 0.0, "max_repetition": 0, "max_ratio": 0.0, "max_extra": 1_000_000}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "modern": ("modern", {}),
    **{
        f"modern, positions {name}": ("modern", {"positions": name})
        for name in ("sinusoidal", "tensor2tensor", "learned", "alibi", "relative", "none")
    },
    "modern, relative, 2 vocabularies": ("modern", {"positions": "relative", "tie": "output"}),
    "modern, relative, grouped queries, wide heads": (
        "modern",
        {"positions": "relative", "key_value_heads": 2, "head_width": 12},
    ),
    "modern, norm post": ("modern", {"norm": "post"}),
    "modern, 1 + 3 layers": ("modern", {"encoder_layers": 1, "decoder_layers": 3}),
    "modern, convolution": ("modern", {"mixer": "convolution"}),
    "modern, recurrence": ("modern", {"mixer": "recurrence"}),
    "paper": ("paper", {}),
    "paper, 2 vocabularies": ("paper", {"tie": "output"}),
    "paper, nothing tied": ("paper", {"tie": "none"}),
    **{f"paper, activation {name}": ("paper", {"activation": name}) for name in ("gelu", "silu", "swiglu")},
    "paper, no biases": ("paper", {"bias": "none"}),
    "paper, bias of the output": ("paper", {"output_bias": True}),
    "paper, grouped queries": ("paper", {"key_value_heads": 2}),
    "paper, norm pre": ("paper", {"norm": "pre"}),
    "paper, norm pre, learned positions": ("paper", {"norm": "pre", "positions": "learned"}),
    "paper, norm pre, tensor2tensor": ("paper", {"norm": "pre", "positions": "tensor2tensor"}),
    "paper, learned positions and embedding norm": ("paper", {"positions": "learned", "embedding_norm": True}),
    "paper, the same with norm pre": ("paper", {"norm": "pre", "positions": "learned", "embedding_norm": True}),
    "paper, RMSNorm": ("paper", {"norm_kind": "rms"}),
    "paper, ε 1e-3": ("paper", {"norm_epsilon": 1e-3}),
}
"""By name: the preset, and what is changed in it."""


def random_model(preset: str, changes: dict[str, Any]) -> Translator:
    """A model of random weights, whose outputs differ from line to line; its tokens are letters."""
    shared = changes.get("tie", "all") == "all"
    config: Config = build_config(
        {"preset": preset, "text": {"kind": "character", "shared": shared}, "model": {**SMALL, **changes}}
    )
    config = config.model_copy(update={"decoding": DecodingConfig(**GREEDY)})
    torch.manual_seed(1)
    model = build_model(config, Tokenizers.train(config.text, ["abcdefghijklmnop"], ["abcdefghijklmnopq"]))
    with torch.no_grad():
        for parameter in model.transformer.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.25)
    return build_translator(model, "cpu")


def measure(translator: Translator, to: str, work: Path) -> dict[str, Any]:
    """How many outputs are the same in the other program, or why there is none."""
    try:
        exported = zhuyi.export_model(translator, work / "out", to)
    except ConfigError as error:
        return {"refused": str(error)}
    found: dict[str, Any] = {"lines": exported.lines, "same": exported.same, "difference": exported.difference}
    if to == "huggingface":
        found["class"] = json.loads((work / "out" / "config.json").read_text())["architectures"][0]
        import_model(work / "out", work / "home")
        home = zhuyi.load(work / "home", device="cpu", engine="torch")
        lines = made_lines(translator.tokenizers.source)
        answers = [each.hypotheses(lines, DecodingConfig(**GREEDY)) for each in (translator, home)]
        found["home"] = sum(ours[0].text == theirs[0].text for ours, theirs in zip(*answers, strict=True))
    return found


def main() -> None:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    warnings.simplefilter("ignore")
    versions = {name: metadata.version(name) for name in ("ctranslate2", "onnx", "onnxruntime", "transformers")}
    models: dict[str, Any] = {}
    for name, (preset, changes) in VARIANTS.items():
        translator = random_model(preset, changes)
        models[name] = {}
        for to in FORMATS:
            with tempfile.TemporaryDirectory() as work:
                models[name][to] = measure(translator, to, Path(work))
            print(name, to, models[name][to], flush=True)
    print(save("exports", {"machine": {**describe(torch.get_num_threads()), **versions}, "models": models}))


if __name__ == "__main__":
    main()
