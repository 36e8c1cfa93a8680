"""CTranslate2 with the weights that `zhuyi export --to ctranslate2` gives it; in an environment without torch."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ctranslate2
from peers.common import Cell, Runner, serve
from tokenizers import Tokenizer

BATCHES = [(32, "examples"), (64, "examples"), (512, "tokens"), (1024, "tokens")]
"""Sizes to choose from. Whole batches are sorted by length, and given to one worker a core."""


class CTranslate2(Runner):
    """`options` has `compute_type` besides."""

    packages = ("ctranslate2", "tokenizers", "numpy")

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__(options)
        self.translator = ctranslate2.Translator(
            options["converted"],
            compute_type=options["compute_type"],
            inter_threads=os.cpu_count(),
            intra_threads=1,
        )
        one = Path(options["model"]) / "tokenizer.json"
        self.source, self.target = (
            Tokenizer.from_file(str(one if one.exists() else one.with_suffix(f".{side}.json")))
            for side in ("source", "target")
        )
        self.pieces = [self.source.id_to_token(number) for number in range(self.source.get_vocab_size())]

    def settings(self, cell: Cell) -> list[dict[str, Any]]:
        if not cell.batch:
            return [{}]
        return [{"max_batch_size": size, "batch_type": kind} for size, kind in BATCHES]

    def encode(self, lines: Sequence[str]) -> list[Any]:
        pieces = self.pieces
        encoded = self.source.encode_batch_fast(list(lines), add_special_tokens=False)
        return [[pieces[number] for number in each.ids] for each in encoded]

    def decode(self, sources: Sequence[Any], cell: Cell, setting: dict[str, Any]) -> list[Any]:
        results = self.translator.translate_batch(
            sources,
            beam_size=cell.beam,
            max_decoding_length=self.limit,
            min_decoding_length=self.limit if self.fixed else 0,
            **setting,
        )
        return [result.hypotheses[0] for result in results]

    def texts(self, outputs: Sequence[Any]) -> list[str]:
        number = self.target.token_to_id
        ids = [[number(token) for token in output] for output in outputs]
        found: list[str] = self.target.decode_batch(ids, skip_special_tokens=False)
        return found


if __name__ == "__main__":
    serve(CTranslate2)
