"""zhuyi: an engine and a precision of `zhuyi.load`."""

import os
from collections.abc import Sequence
from typing import Any

from peers.common import Cell, Runner, serve

import zhuyi
from zhuyi.config import DecodingConfig


class Zhuyi(Runner):
    """`options` has `engine` and `precision` besides."""

    packages = ("zhuyi", "tokenizers", "numpy")

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__(options)
        if options["engine"] == "torch":
            import torch

            torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        self.translator = zhuyi.load(
            options["model"], device="cpu", engine=options["engine"], precision=options["precision"]
        )

    def decoding(self, cell: Cell) -> DecodingConfig:
        """One limit for every line, as peers have it."""
        return self.translator.decoding(beam=cell.beam, n_best=1, max_ratio=0.0, max_extra=self.limit)

    def encode(self, lines: Sequence[str]) -> list[Any]:
        return self.translator.tokenizers.source.encode(lines)

    def decode(self, sources: Sequence[Any], cell: Cell, setting: dict[str, Any]) -> list[Any]:
        return [best[0].tokens for best in self.translator.engine.decode(sources, self.decoding(cell))]

    def translate(self, lines: Sequence[str], cell: Cell, setting: dict[str, Any]) -> list[str]:
        return [best[0].text for best in self.translator.hypotheses(lines, self.decoding(cell))]


if __name__ == "__main__":
    serve(Zhuyi)
