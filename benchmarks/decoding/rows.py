"""The rows of the table: a model, the systems that are compared on it, and the ratios that zhuyi has to reach."""

from dataclasses import dataclass

from peers.common import TOKENS, Cell

CELLS = {
    "greedy": Cell(beam=1),
    "beam 5": Cell(beam=5),
    "batch 1": Cell(beam=1, batch=False),
    "greedy, text": Cell(beam=1, form="text"),
    "beam 5, text": Cell(beam=5, form="text"),
    "batch 1, text": Cell(beam=1, batch=False, form="text"),
}


@dataclass(frozen=True)
class Row:
    """`model` is a directory under --models; the first system is ours, and the second is what it is compared with."""

    title: str
    model: str
    systems: tuple[str, ...]
    targets: tuple[float, ...] = ()
    """Least ratio of the first two systems, for each of `TOKENS`."""
    cells: tuple[str, ...] = tuple(CELLS)
    test: str = ""
    """The model whose test set is translated, if another one."""
    lines: int = 1000
    """Of the test set."""
    singles: int = 200
    """Of them, in calls of their own."""
    limit: int = 64
    """Most tokens of an output, for every system."""
    fixed: bool = False
    """Every output has as many: random weights."""


INT8 = ("native-int8", "ctranslate2-int8", "native-bf16")
ROWS = {
    "tiny": Row("tiny, int8", "multi30k-tiny", INT8, (3, 3.5, 4)),
    "base": Row(
        "base, int8 (random weights, 14 tokens)",
        "base",
        INT8,
        (1.6, 1.8, 4),
        cells=TOKENS,
        test="multi30k-tiny",
        lines=200,
        singles=20,
        limit=14,
        fixed=True,
    ),
    "dates": Row("`modern`: dates, int8", "demo", INT8, (2.5, 2.5, 4), limit=32),
    "multi30k": Row("`modern`: Multi30k, int8", "multi30k-modern", INT8, (2.5, 2.5, 4)),
    "tatoeba": Row("`modern`: Tatoeba, int8", "tatoeba", INT8, (2.5, 2.5, 4)),
    "float32": Row(
        "tiny, float32", "multi30k-tiny", ("native-float32", "ctranslate2-float32"), (1.8, 1.8, 1.8), cells=TOKENS
    ),
    "avx2": Row(
        "tiny, int8, AVX2",
        "multi30k-tiny",
        ("native-int8-avx2", "ctranslate2-int8-avx2"),
        (1.2, 1.2, 1.2),
        cells=TOKENS,
    ),
    "engines": Row(
        "tiny, engines",
        "multi30k-tiny",
        ("native-float32", "torch", "huggingface"),
        cells=TOKENS,
        lines=300,
        singles=50,
    ),
}
