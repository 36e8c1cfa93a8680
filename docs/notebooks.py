"""Make notebooks of the course: one of each chapter, and `all.ipynb` of the whole course, in each language.

    python docs/notebooks.py OUT

writes OUT/course/*.ipynb and OUT/zh/course/*.ipynb. The documentation site has them beside its pages (conf.py). Blocks
of Python are cells, pictures are inside the file, and the first cell makes what the course needs; where zhuyi is
installed, a notebook works without a network. Only the standard library is needed here.
"""

import base64
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parent
COURSES = {"en": DOCS / "course", "zh": DOCS / "zh/course"}

SETUP = """\
import importlib.util
import subprocess
import sys
from pathlib import Path

if importlib.util.find_spec("zhuyi") is None:
    subprocess.run([sys.executable, "-m", "pip", "install", "zhuyi"], check=True)
if not Path("zhuyi-demo").is_dir():
    subprocess.run([sys.executable, "-m", "zhuyi", "demo"], check=True)
"""
ABOUT_SETUP = {
    "en": "This cell installs zhuyi if it is missing, and trains the course's model if there is none (two minutes).",
    "zh": "这一格在没有安装 zhuyi 时安装它，在还没有模型时训练课程所用的模型（两分钟）。",
}
ABOUT_FIRST = {"en": "The first block of the course:", "zh": "课程的第一段代码："}
MARK = r"[\u3000-\u303f\uff00-\uffef]"  # full-width punctuation
WIDE = r"[\u3000-\u303f\u3400-\u9fff\uff00-\uffef]"
KINDS = {".svg": "image/svg+xml", ".png": "image/png"}
Cell = dict[str, Any]


def chapters(course: Path) -> list[Path]:
    """The pages of a course in their order: its index, and what the index lists."""
    index = course / "index.md"
    (listed,) = re.findall(r"^```\{toctree\}\n:hidden:\n([^`]*)^```$", index.read_text("utf-8"), re.MULTILINE)
    return [index, *(course / f"{name}.md" for name in listed.split())]


def code_blocks(page: Path) -> list[str]:
    """The page's blocks of Python."""
    return [content for kind, content in _parts(page) if kind == "code"]


def notebooks() -> dict[Path, Cell]:
    """All notebooks (nbformat 4.5), by their places below the site's root."""
    made = {}
    for language, course in COURSES.items():
        pages = chapters(course)
        setup = [_markdown(ABOUT_SETUP[language]), _code(SETUP)]
        first = [_markdown(ABOUT_FIRST[language]), _code(code_blocks(pages[0])[0])]
        place = course.relative_to(DOCS)
        for page in pages:
            cells = setup + ([] if page == pages[0] else first) + _cells(page, linked=True)
            made[place / f"{page.stem}.ipynb"] = _notebook(cells)
        made[place / "all.ipynb"] = _notebook(setup + [cell for page in pages for cell in _cells(page, linked=False)])
    return made


def _parts(page: Path) -> Iterator[tuple[str, str]]:
    """The text and the code of a page, in turn."""
    for number, part in enumerate(re.split(r"^```python\n(.*?)^```$", page.read_text("utf-8"), flags=re.M | re.S)):
        yield ("code" if number % 2 else "text"), part


def _cells(page: Path, linked: bool) -> list[Cell]:
    cells = []
    for kind, content in _parts(page):
        if kind == "code":
            cells.append(_code(content))
        elif text := _offline(page, content, linked).strip():
            cells.append(_markdown(text))
    return cells


def _offline(page: Path, text: str, linked: bool) -> str:
    """Text for a notebook: pictures inside it, links to other notebooks (where wanted) and to the web, no others.

    Lines of Chinese are joined, because a browser would put a space between them.
    """

    def picture(found: re.Match[str]) -> str:
        path = page.parent / found[2]
        return f"![{found[1]}](data:{KINDS[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()})"

    def link(found: re.Match[str]) -> str:
        label, address = found.groups()
        if address.startswith("http"):
            return found[0]
        chapter = re.fullmatch(r"([\w-]+)\.md", address)
        return f"[{label}]({chapter[1]}.ipynb)" if chapter and linked else label

    text = re.sub(r"^```\{toctree\}.*?^```$|<!--.*?-->", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(rf"(?<={WIDE})\n(?={WIDE})|(?<={MARK})\n(?=[`\[\w])|(?<=[`\])\w])\n(?={MARK})", "", text)
    text = re.sub(r"(?<!!)\[([^\]]*)\]\(([^)]+)\)", link, text)
    return re.sub(r"!\[([^\]]*)\]\(([^)]+)\)", picture, text)


def _markdown(text: str) -> Cell:
    return {"cell_type": "markdown", "metadata": {}, "source": text}


def _code(code: str) -> Cell:
    return {"cell_type": "code", "metadata": {}, "source": code.rstrip(), "execution_count": None, "outputs": []}


def _notebook(cells: list[Cell]) -> Cell:
    python = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {
        "nbformat": 4,
        "nbformat_minor": 5,
        "metadata": {"kernelspec": python, "language_info": {"name": "python"}},
        "cells": [{"id": f"cell-{number}", **cell} for number, cell in enumerate(cells)],
    }


def write(out: Path) -> None:
    """Write all notebooks below a folder."""
    for place, notebook in notebooks().items():
        (out / place).parent.mkdir(parents=True, exist_ok=True)
        (out / place).write_text(json.dumps(notebook, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
