"""Draw how the native engine decodes: the pictures in docs/engine.md, and in Chinese those in docs/zh/engine.md.

python docs/pictures/engine.py

`engine-slots.svg`: what a worker decodes at each step, in batches and in slots. `engine-places.svg`: where the keys and
values of the prefixes of a beam are. Both are examples that are worked out here; nothing is measured.
"""

from pathlib import Path

from svg import BLUES, GREY, INK, PALE, box, svg, text

LENGTHS = (9, 4, 6, 3, 3, 8, 5, 4, 6, 3, 7, 4)
"""Steps of some sentences, in the order in which they wait."""
SLOTS = 4
BEAM = 3
TREE = (
    (("BOS", None),),
    (("Ein", 0), ("Der", 0), ("Eine", 0)),
    (("Hund", 0), ("kleiner", 0), ("Hund", 1)),
    (("rennt", 0), ("läuft", 0), ("Hund", 1)),
)
"""Of each step, the tokens of its rows, and the rows of the step before that they continue."""

TEXT = {
    "en": {
        "batches": "Batches of 4: the next batch begins when the longest sentence is done",
        "slots": "4 slots: the next sentence begins when any sentence is done",
        "idle": "empty",
        "steps": "{} steps",
        "slot": "slot {}",
        "step": "step {}",
        "prefixes": "live prefixes, and their places",
        "dropped": "dropped",
    },
    "zh": {
        "batches": "分批，每批 4 句：最长的一句写完，下一批才开始",
        "slots": "4 个槽位：有一句写完，下一句马上接上",
        "idle": "空着",
        "steps": "共 {} 步",
        "slot": "槽位 {}",
        "step": "第 {} 步",
        "prefixes": "存活的前缀和它们的位置表",
        "dropped": "已淘汰",
    },
}


def in_batches() -> tuple[list[tuple[int, int, int]], int]:
    """(slot, first step, sentence) of each sentence, and the steps of all."""
    placed, begun = [], 0
    for first in range(0, len(LENGTHS), SLOTS):
        batch = range(first, min(first + SLOTS, len(LENGTHS)))
        placed += [(sentence - first, begun, sentence) for sentence in batch]
        begun += max(LENGTHS[sentence] for sentence in batch)
    return placed, begun


def in_slots() -> tuple[list[tuple[int, int, int]], int]:
    """The same, where a sentence takes the slot that is free first."""
    placed, free = [], [0] * SLOTS
    for sentence, length in enumerate(LENGTHS):
        slot = free.index(min(free))
        placed.append((slot, free[slot], sentence))
        free[slot] += length
    return placed, max(free)


def draw_slots(words: dict[str, str]) -> str:
    """Slots over steps, for batches and for slots."""
    left, cell, row = 64, 24, 26
    longest = max(in_batches()[1], in_slots()[1])
    parts: list[str] = []
    top = 8
    for name, (placed, steps) in (("batches", in_batches()), ("slots", in_slots())):
        parts += [text(left, top + 10, words[name], 13, "start")]
        top += 28
        for slot in range(SLOTS):
            y = top + slot * row
            parts += [text(left - 8, y + row / 2, words["slot"].format(slot), 11, "end", GREY)]
            parts += [box(left, y + 2, steps * cell, row - 4, PALE)]
            taken = [(begun, begun + LENGTHS[sentence], sentence) for at, begun, sentence in placed if at == slot]
            following = [*(begun for begun, _, _ in taken[1:]), steps]
            for (begun, end, sentence), next_one in zip(taken, following, strict=True):
                parts += [box(left + begun * cell, y + 2, (end - begun) * cell, row - 4, BLUES[sentence % 4])]
                parts += [text(left + (begun + end) / 2 * cell, y + row / 2, sentence + 1)]
                if next_one - end > 1:
                    parts += [text(left + (end + next_one) / 2 * cell, y + row / 2, words["idle"], 11, ink=GREY)]
        parts += [text(left + steps * cell + 8, top + SLOTS * row / 2, words["steps"].format(steps), 12, "start")]
        top += SLOTS * row + 18
    return svg(left + longest * cell + 84, top - 6, parts)


def draw_places(words: dict[str, str]) -> str:
    """The places of a beam's prefixes, step by step, and the lists of integers."""
    left, top, cell, row, gap, high = 16, 34, 76, 56, 40, 34

    def at(step: int, number: int) -> tuple[float, float]:
        return left + step * (cell + gap), top + number * row

    live = [places_of(len(TREE) - 1, number) for number in range(BEAM)]
    used = {place for places in live for place in places}
    parts: list[str] = []
    for step, tokens in enumerate(TREE):
        parts += [text(at(step, 0)[0] + cell / 2, 14, words["step"].format(step), 11, ink=GREY)]
        for number, (token, parent) in enumerate(tokens):
            x, y = at(step, number)
            place = step * BEAM + number
            alive = place in used
            if parent is not None:
                from_x, from_y = at(step - 1, parent)
                parts += [
                    f'<path d="M {from_x + cell} {from_y + high / 2} L {x} {y + high / 2}" fill="none" '
                    f'stroke="{"#1f5fa8" if alive else GREY}" stroke-width="{1.8 if alive else 0.8}"/>'
                ]
            parts += [box(x, y, cell, high, BLUES[1] if alive else PALE)]
            parts += [text(x + cell / 2, y + 11, token, 12, ink=INK if alive else GREY)]
            parts += [text(x + cell / 2, y + 25, place if alive else f"{place} · {words['dropped']}", 10, ink=GREY)]
    x = at(len(TREE), 0)[0]
    parts += [text(x, 14, words["prefixes"], 11, "start", GREY)]
    for number, places in enumerate(live):
        parts += [text(x, at(0, number)[1] + high / 2, "[" + ", ".join(map(str, places)) + "]", 13, "start")]
    return svg(x + 190, top + BEAM * row - 10, parts)


def places_of(step: int, number: int) -> list[int]:
    """The places of a prefix: of its last row, and of those that it continues."""
    parent = TREE[step][number][1]
    before = places_of(step - 1, parent) if parent is not None else []
    return [*before, step * BEAM + number]


def pictures() -> dict[Path, str]:
    """All pictures, by their files."""
    found = {}
    for language, words in TEXT.items():
        ending = "" if language == "en" else f".{language}"
        for name, draw in (("slots", draw_slots), ("places", draw_places)):
            found[Path(__file__).with_name(f"engine-{name}{ending}.svg")] = draw(words)
    return found


if __name__ == "__main__":
    for path, picture in pictures().items():
        path.write_text(picture, encoding="utf-8")
