"""Write the graph of imports into docs/architecture.md: of each part of zhuyi, the parts that it imports directly.

python docs/pictures/imports.py
"""

import re
from graphlib import TopologicalSorter
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "architecture.md"
STUB = ROOT / "src" / "zhuyi" / "__init__.pyi"
BLOCK = re.compile(r"(<!-- imports -->\n).*?(<!-- /imports -->)", re.DOTALL)


def imports() -> dict[str, set[str]]:
    """Each module or package just below `zhuyi`, and its siblings that it imports anywhere, directly.

    `zhuyi` itself is among them: its public names, which its stub lists and which it imports late.
    """
    graph = grimp.build_graph("zhuyi", cache_dir=None)
    found: dict[str, set[str]] = {"zhuyi": set(re.findall(r"^from \.(\w+)", STUB.read_text(encoding="utf-8"), re.M))}
    for module in graph.modules - {"zhuyi"}:
        imported = {_part(each) for each in graph.find_modules_directly_imported_by(module)}
        found.setdefault(_part(module), set()).update(imported - {_part(module)})
    return found


def _part(module: str) -> str:
    return module.split(".")[1] if "." in module else module


def drawn(found: dict[str, set[str]]) -> str:
    """The graph as text: a part stands below all that it imports.

    Raises:
        graphlib.CycleError: if it has a circle.
    """
    order = list(TopologicalSorter({part: sorted(found[part]) for part in sorted(found)}).static_order())
    width = max(map(len, found))
    rows = {part: " ".join(each for each in order if each in found[part]) or "–" for part in order}
    return "".join(f"    {part:{width}}  {imported}\n" for part, imported in rows.items())


def page(text: str) -> str:
    """The document with its graph renewed."""
    return BLOCK.sub(lambda block: block[1] + drawn(imports()) + block[2], text)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
