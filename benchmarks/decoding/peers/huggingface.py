"""`generate` of Hugging Face transformers: Marian's class with the sizes of the model and random weights.

Random weights write no EOS, so every output has a fixed number of tokens, which `systems.py` says: this is a measure of
speed only. A model of the same sizes with other norms or activations is as fast as Marian's, near enough.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peers.common import Cell, Runner, serve
from tokenizers import Tokenizer
from transformers import MarianConfig, MarianMTModel

PAD, EOS = 0, 3


class HuggingFace(Runner):
    """`options` has `tokens` besides: the length of every output, EOS counted."""

    packages = ("transformers", "torch", "tokenizers")

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__(options)
        torch.manual_seed(1)
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        directory, self.length = Path(options["model"]), options["tokens"]
        sizes = json.loads((directory / "config.json").read_text(encoding="utf-8"))["model"]
        self.tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        config = MarianConfig(
            vocab_size=self.tokenizer.get_vocab_size(),
            d_model=sizes["width"],
            encoder_layers=sizes["encoder_layers"],
            decoder_layers=sizes["decoder_layers"],
            encoder_attention_heads=sizes["heads"],
            decoder_attention_heads=sizes["heads"],
            encoder_ffn_dim=sizes["feed_forward"],
            decoder_ffn_dim=sizes["feed_forward"],
            activation_function="relu",
            max_position_embeddings=sizes["max_length"],
            pad_token_id=PAD,
            eos_token_id=EOS,
            forced_eos_token_id=None,
            decoder_start_token_id=PAD,
        )
        self.model = MarianMTModel(config).eval()

    def settings(self, cell: Cell) -> list[dict[str, Any]]:
        return [{"size": size} for size in (32, 64)] if cell.batch else [{"size": 1}]

    def encode(self, lines: Sequence[str]) -> list[Any]:
        return [[*each.ids, EOS] for each in self.tokenizer.encode_batch_fast(list(lines), add_special_tokens=False)]

    def decode(self, sources: Sequence[Any], cell: Cell, setting: dict[str, Any]) -> list[Any]:
        size = setting["size"]
        order = sorted(range(len(sources)), key=lambda number: len(sources[number]))
        outputs: list[Any] = [None] * len(sources)
        for first in range(0, len(order), size):
            numbers = order[first : first + size]
            rows = [torch.tensor(sources[number]) for number in numbers]
            ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PAD)
            with torch.inference_mode():
                found = self.model.generate(
                    ids,
                    attention_mask=(ids != PAD).long(),
                    num_beams=cell.beam,
                    do_sample=False,
                    min_new_tokens=self.length,
                    max_new_tokens=self.length,
                )
            for number, row in zip(numbers, found[:, 1:-1].tolist(), strict=True):
                outputs[number] = row  # the last step stands for that of EOS
        return outputs

    def texts(self, outputs: Sequence[Any]) -> list[str]:
        found: list[str] = self.tokenizer.decode_batch(outputs, skip_special_tokens=True)
        return found


if __name__ == "__main__":
    serve(HuggingFace)
