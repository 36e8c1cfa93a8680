"""Draw the pictures of the course: docs/pictures/course-*.svg, those with words also in Chinese (*.zh.svg).

python docs/pictures/course.py

All of them are drawn from what is written here; nothing is measured.
"""

from collections.abc import Sequence
from pathlib import Path

from svg import BLUES, GREY, INK, PALE, box, svg, text

TEXT = {
    "en": {
        "attention": "self-attention",
        "convolution": "convolution, window of 3",
        "recurrence": "recurrence, forwards",
        "source": "source",
        "target so far": "target so far",
        "encoder": "encoder",
        "decoder": "decoder",
        "self": "self-attention",
        "masked": "masked self-attention",
        "cross": "cross attention",
        "feed": "feed-forward",
        "memory": "memory: keys, values",
        "projection": "projection, softmax",
        "distribution": "distribution over the vocabulary",
        "next": "one token is chosen, and read in the next step",
        "right": "right answer",
        "input": "decoder reads",
        "output": "is asked for",
        "encoder-decoder": "encoder–decoder",
        "decoder only": "decoder (GPT)",
        "encoder only": "encoder (BERT)",
    },
    "zh": {
        "attention": "自注意力",
        "convolution": "卷积，窗口为 3",
        "recurrence": "循环网络，从左到右",
        "source": "原文",
        "target so far": "已写出的词元",
        "encoder": "编码器",
        "decoder": "解码器",
        "self": "自注意力",
        "masked": "掩码自注意力",
        "cross": "交叉注意力",
        "feed": "前馈网络",
        "memory": "编码器的输出：键、值",
        "projection": "投影、softmax",
        "distribution": "词表上的概率分布",
        "next": "选出一个词元，下一步读入",
        "right": "正确答案",
        "input": "解码器读入",
        "output": "要它答出",
        "encoder-decoder": "编码器–解码器",
        "decoder only": "只有解码器（GPT）",
        "encoder only": "只有编码器（BERT）",
    },
}
QUERY, KEY, VALUE = "#9cc3ec", "#b9dfc0", "#f5d3a4"
SUPER, SUB = "⁰¹²³⁴⁵⁶⁷⁸⁹", "₀₁₂₃₄₅₆₇₈₉"
LINE = "#6b7784"


def line(points: Sequence[tuple[float, float]], ink: str = LINE, width: float = 1.2, dashed: bool = False) -> str:
    """A line through points, with an arrow at its end."""
    path = " L ".join(f"{x:g} {y:g}" for x, y in points)
    dash = ' stroke-dasharray="5 4"' if dashed else ""
    (x0, y0), (x, y) = points[-2:]
    length = ((x - x0) ** 2 + (y - y0) ** 2) ** 0.5
    along, across = ((x - x0) / length, (y - y0) / length), ((y0 - y) / length, (x - x0) / length)
    head = " ".join(
        f"{x - 6 * along[0] + side * 3 * across[0]:.1f},{y - 6 * along[1] + side * 3 * across[1]:.1f}"
        for side in (1, -1)
    )
    return (
        f'<path d="M {path}" fill="none" stroke="{ink}" stroke-width="{width:g}"{dash}/>'
        f'<polygon points="{x:g},{y:g} {head}" fill="{ink}"/>'
    )


def labelled(x: float, y: float, width: float, height: float, fill: str, content: object, size: int = 13) -> list[str]:
    """A box around the middle (x, y), with a text in it."""
    return [box(x - width / 2, y - height / 2, width, height, fill), text(x, y + 1, content, size)]


def draw_attention(words: dict[str, str]) -> str:
    """From the vectors a to b of position 1."""
    number, gap, left = 4, 150, 84
    rows = {"a": 338, "qkv": 270, "alpha": 200, "softmax": 152, "prime": 106, "times": 62, "b": 22}
    columns = [left + gap * n for n in range(number)]
    parts: list[str] = []
    first, last = columns[0], columns[-1]
    middle = (first + last) / 2 + 24
    parts += [box(first - 30, rows["softmax"] - 12, last - first + 60, 24, PALE)]
    parts += [text(first + gap / 2, rows["softmax"] + 1, "softmax", 12)]
    for n, x in enumerate(columns):
        above = SUPER[n + 1]
        below = f"{SUB[1]},{SUB[n + 1]}"
        value = x + 48
        parts += [
            line([(x, rows["a"] - 15), (x, rows["qkv"] + 15)]),
            line([(x, rows["a"] - 15), (value, rows["qkv"] + 15)]),
        ]
        parts += [line([(x, rows["qkv"] - 15), (x, rows["alpha"] + 14)])]
        parts += [line([(x, rows["alpha"] - 14), (x, rows["softmax"] + 13)])]
        parts += [line([(x, rows["softmax"] - 13), (x, rows["prime"] + 14)])]
        parts += [line([(x, rows["prime"] - 14), (value - 10, rows["times"] + 3)])]
        parts += [line([(value, rows["qkv"] - 15), (value, rows["times"] + 11)], GREY)]
        parts += [line([(value, rows["times"] - 10), (middle + (value - middle) * 0.12, rows["b"] + 15)])]
        parts += labelled(x, rows["a"], 44, 28, PALE, f"a{above}")
        parts += labelled(x, rows["qkv"], 40, 28, KEY, f"k{above}")
        parts += labelled(value, rows["qkv"], 40, 28, VALUE, f"v{above}")
        parts += labelled(x, rows["alpha"], 52, 26, "white", f"α{below}")
        parts += labelled(x, rows["prime"], 56, 26, BLUES[1], f"α′{below}")
        parts += [f'<circle cx="{value:g}" cy="{rows["times"]:g}" r="10" fill="white" stroke="{GREY}"/>']
        parts += [text(value, rows["times"] + 1, "×", 13)]
    query = first - 50
    parts += [line([(first, rows["a"] - 15), (query, rows["qkv"] + 15)])]
    for x in columns:
        parts += [
            line([(query, rows["qkv"] - 15), (query, rows["alpha"] + 34), (x - 14, rows["alpha"] + 14)], "#4a86c5")
        ]
    parts += labelled(query, rows["qkv"], 40, 28, QUERY, f"q{SUPER[1]}")
    parts += labelled(middle, rows["b"], 120, 28, PALE, f"b{SUPER[1]} = Σ α′{SUB[1]},ⱼ vʲ")
    return svg(last + 90, 362, parts)


def grid(x: float, y: float, rows: int, columns: int, fill: str, marked: Sequence[tuple[int, int]] = ()) -> list[str]:
    """A matrix of squares; those of `marked` are in a stronger colour."""
    size = 15
    return [
        f'<rect x="{x + c * size:g}" y="{y + r * size:g}" width="{size}" height="{size}" '
        f'fill="{fill}" fill-opacity="{1 if (r, c) in marked else 0.4}" stroke="{GREY}" stroke-width="0.6"/>'
        for r in range(rows)
        for c in range(columns)
    ]


def draw_matrices(words: dict[str, str]) -> str:
    """The five products."""
    size, n, d, width = 15, 4, 3, 5
    row = [(1, c) for c in range(width)]
    column = [(r, 1) for r in range(width)]
    parts: list[str] = []

    def matrix(
        x: float, y: float, rows: int, columns: int, fill: str, name: str, marked: Sequence[tuple[int, int]] = ()
    ) -> None:
        parts.extend(grid(x, y, rows, columns, fill, marked))
        parts.append(text(x + columns * size / 2, y - 11, name, 13))

    for number, (name, weight, fill) in enumerate((("Q", "W_q", QUERY), ("K", "W_k", KEY), ("V", "W_v", VALUE))):
        x = 20 + number * 240
        matrix(x, 36, n, width, "#c5ccd4", "A", row)
        matrix(x + 92, 28, width, d, fill, weight)
        parts.append(text(x + 156, 66, "=", 15))
        matrix(x + 172, 36, n, d, fill, name, row[:d])
    y = 160
    matrix(20, y, n, d, QUERY, "Q", row[:d])
    matrix(82, y + 8, d, n, KEY, "Kᵀ", column[:d])
    parts.append(text(170, y + 30, "/ √d", 14))
    parts.append(line([(196, y + 30), (292, y + 30)]))
    parts.append(text(242, y + 18, "softmax", 12))
    matrix(306, y, n, n, BLUES[2], "A′", row[:n])
    matrix(400, y, n, d, VALUE, "V", [(r, c) for r in range(n) for c in range(d)])
    parts.append(text(464, y + 30, "=", 15))
    matrix(482, y, n, d, "#c5ccd4", "B", row[:d])
    return svg(740, 240, parts)


def draw_mask(words: dict[str, str]) -> str:
    """The causal mask over the tokens of a date."""
    tokens = ("BOS", "1", "9", "8", "6", "-")
    size, left, top = 36, 96, 58
    parts = [text(left + size * len(tokens) / 2, 14, "kʲ", 14), text(16, top + size * len(tokens) / 2, "qⁱ", 14)]
    for i, query in enumerate(tokens):
        parts += [text(left - 10, top + (i + 0.5) * size, query, 13, "end")]
        parts += [text(left + (i + 0.5) * size, top - 14, query, 13)]
        for j in range(len(tokens)):
            parts += labelled(
                left + (j + 0.5) * size, top + (i + 0.5) * size, size - 3, size - 3,
                BLUES[1] if j <= i else PALE, "" if j <= i else "−∞", 12,
            )  # fmt: skip
    return svg(left + size * len(tokens) + 20, top + size * len(tokens) + 12, parts)


def draw_reach(words: dict[str, str]) -> str:
    """Which inputs reach output 4 in one layer."""
    number, gap, panel, left = 7, 32, 262, 26
    bottom, top, marked = 148, 62, 3
    parts: list[str] = []
    for side, kind in enumerate(("attention", "convolution", "recurrence")):
        xs = [left + side * panel + n * gap for n in range(number)]
        parts += [text((xs[0] + xs[-1]) / 2, 18, words[kind], 13)]
        seen = {"attention": range(number), "convolution": range(2, 5), "recurrence": range(4)}[kind]
        if kind == "recurrence":
            parts += [line([(xs[n], bottom - 12), (xs[n], top + 12)]) for n in seen]
            parts += [line([(xs[n] + 12, top), (xs[n + 1] - 12, top)], INK, 1.6) for n in range(number - 1)]
        else:
            parts += [line([(xs[n], bottom - 12), (xs[marked] + (n - marked) * 2, top + 12)]) for n in seen]
        for n, x in enumerate(xs):
            parts += labelled(x, bottom, 23, 23, BLUES[0] if n in seen else PALE, f"a{SUPER[n + 1]}", 11)
            parts += labelled(x, top, 23, 23, BLUES[0] if n == marked else PALE, f"b{SUPER[n + 1]}", 11)
    return svg(left + 2 * panel + (number - 1) * gap + 26, 172, parts)


def draw_flow(words: dict[str, str]) -> str:
    """Encoder and decoder, and the loop of decoding."""
    encoder, decoder, width = 150, 470, 200
    parts: list[str] = []
    parts += [box(encoder - 118, 118, 236, 118, "#fafbfc"), box(decoder - 118, 76, 236, 160, "#fafbfc")]
    parts += [
        text(encoder - 110, 106, words["encoder"] + " × N", 13, "start"),
        text(decoder - 110, 64, words["decoder"] + " × N", 13, "start"),
    ]
    for x, names in ((encoder, ("self", "feed")), (decoder, ("masked", "cross", "feed"))):
        for level, name in enumerate(names):
            y = 212 - level * 56
            if level:
                parts += [line([(x, y + 56 - 16), (x, y + 16)])]
            fill = VALUE if name == "cross" else PALE if name == "feed" else BLUES[1]
            parts += labelled(x, y, width, 30, fill, words[name])
    parts += labelled(encoder, 276, width, 28, "white", words["source"])
    parts += labelled(decoder, 276, width, 28, "white", words["target so far"])
    parts += [line([(encoder, 262), (encoder, 228)]), line([(decoder, 262), (decoder, 228)])]
    parts += [line([(encoder, 140), (encoder, 86), (310, 86), (310, 156), (decoder - width / 2, 156)], "#c07f2a", 1.6)]
    parts += [text(encoder + 8, 74, words["memory"], 11, "start", "#8a5a1c")]
    parts += labelled(decoder, 44, width, 26, BLUES[0], words["projection"], 12)
    parts += [line([(decoder, 84), (decoder, 58)])]
    parts += [text(decoder, 14, words["distribution"], 12), line([(decoder, 31), (decoder, 22)])]
    loop = [(decoder + 106, 14), (decoder + 150, 14), (decoder + 150, 276), (decoder + width / 2, 276)]
    parts += [line(loop, "#4a86c5", 1.4, dashed=True)]
    parts += [text(decoder + 145, 304, words["next"], 11, "end", "#2f6299")]
    return svg(650, 318, parts)


def draw_shift(words: dict[str, str]) -> str:
    """The decoder's input and what it is asked for."""
    right = ("1", "9", "8", "6", "EOS")
    given = ("BOS", *right[:-1])
    left, gap = 170, 82
    parts: list[str] = [
        text(left - 50, 30, words["output"], 12, "end"),
        text(left - 50, 102, words["input"], 12, "end"),
    ]
    for n, (wanted, read) in enumerate(zip(right, given, strict=True)):
        x = left + n * gap
        parts += [line([(x, 88), (x, 44)])]
        if n + 1 < len(right):
            parts += [line([(x + 14, 43), (x + gap - 18, 88)], "#4a86c5", 1.2, dashed=True)]
        parts += labelled(x, 30, 54, 28, BLUES[1] if wanted != "EOS" else VALUE, wanted)
        parts += labelled(x, 102, 54, 28, BLUES[1] if read != "BOS" else VALUE, read)
    return svg(left + gap * len(right) - 20, 128, parts)


def draw_shapes(words: dict[str, str]) -> str:
    """Which positions see which, in the three shapes."""
    source, target, size, top = 4, 4, 24, 62
    both = [f"S{SUB[n + 1]}" for n in range(source)] + [f"T{SUB[n + 1]}" for n in range(target)]
    parts: list[str] = []

    def fill(kind: str, i: int, j: int) -> str:
        if kind == "encoder only" or (kind == "decoder only" and j <= i):
            return BLUES[1]
        if kind == "encoder-decoder":
            if i < source:
                return BLUES[1] if j < source else PALE
            return VALUE if j < source else BLUES[1] if j <= i else PALE
        return PALE

    for side, kind in enumerate(("encoder-decoder", "decoder only", "encoder only")):
        left = 44 + side * 252
        names = both if kind != "encoder only" else [f"S{SUB[n + 1]}" for n in range(8)]
        parts += [text(left + size * 4, 16, words[kind], 13)]
        for i, query in enumerate(names):
            parts += [text(left - 6, top + (i + 0.5) * size, query, 11, "end")]
            parts += [text(left + (i + 0.5) * size, top - 12, query, 11)]
            parts += [
                box(left + j * size + 1, top + i * size + 1, size - 2, size - 2, fill(kind, i, j)) for j in range(8)
            ]
    parts += [box(44, top + 8 * size + 14, 14, 14, VALUE), text(66, top + 8 * size + 21, words["cross"], 11, "start")]
    parts += [
        box(190, top + 8 * size + 14, 14, 14, BLUES[1]),
        text(212, top + 8 * size + 21, words["self"], 11, "start"),
    ]
    return svg(44 + 2 * 252 + 8 * size + 16, top + 8 * size + 40, parts)


WORDLESS = {"attention": draw_attention, "matrices": draw_matrices, "mask": draw_mask}
WORDED = {"reach": draw_reach, "flow": draw_flow, "shift": draw_shift, "shapes": draw_shapes}


def pictures() -> dict[Path, str]:
    """All pictures, by their files."""
    here = Path(__file__)
    found = {here.with_name(f"course-{name}.svg"): draw(TEXT["en"]) for name, draw in WORDLESS.items()}
    for language, words in TEXT.items():
        ending = "" if language == "en" else f".{language}"
        found |= {here.with_name(f"course-{name}{ending}.svg"): draw(words) for name, draw in WORDED.items()}
    return found


if __name__ == "__main__":
    for path, picture in pictures().items():
        path.write_text(picture, encoding="utf-8")
