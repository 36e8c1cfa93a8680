"""The documentation site: guides in Markdown, and the API reference from docstrings. See CONTRIBUTING.md."""

import importlib
import json
import pkgutil
import re
import sys
from contextlib import suppress
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin

import nbformat
from docutils import nodes
from pydantic import BaseModel
from sphinx.application import Sphinx
from sphinx.ext.napoleon import GoogleDocstring
from sphinx.search.en import SearchEnglish

import zhuyi
from zhuyi.config import Config

sys.path.insert(0, str(Path(__file__).parent))
import notebooks

project = "zhuyi"
author = "the zhuyi contributors"
release = zhuyi.__version__
html_title = "zhuyi 注意"
html_theme = "furo"
html_copy_source = False
html_search_language = "bigrams"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
nitpicky = True
nitpick_ignore_regex = [
    ("py:class", r"Tensor|npt?\..*"),  # as jaxtyping prints it; imported for type checkers alone
    ("py:class", r"dict\[(int|str)"),  # a field whose default is `<factory>`, which Sphinx cannot parse
]
myst_heading_anchors = 3
highlight_language = "text"  # of blocks that name no language: commands and their output
default_role = "code"  # docstrings write `name` for code
autodoc_default_options = {"members": True, "exclude-members": "model_config"}
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False  # those of torch are not ours
autodoc_preserve_defaults = True

PACKAGES = (
    "zhuyi",
    "zhuyi.model",
    "zhuyi.data",
    "zhuyi.decoding",
    "zhuyi.training",
    "zhuyi.interop",
    "zhuyi.serve",
    "zhuyi.errors",
)
"""The documented packages, each with a page in api/; the first that lists an object in `__all__` is its home."""


def public_names() -> dict[int, str]:
    """The documented name of every public object, by its identity."""
    names: dict[int, str] = {}
    for package in map(importlib.import_module, PACKAGES):
        for name in getattr(package, "__all__", ()):
            names.setdefault(id(getattr(package, name)), f"{package.__name__}.{name}")
    return names


def link_type(app: Sphinx, environment: Any, node: Any, content: Any) -> Any:
    """Link a type in a signature, or an error under Raises, to its documentation; if it has none, leave it as text.

    A name that does not exist stays unresolved, which is a warning and fails a strict build.
    """
    target = node["reftarget"]
    for name in (target, f"zhuyi.errors.{target}"):
        with suppress(ImportError, AttributeError, ValueError):
            documented = public_names().get(id(pkgutil.resolve_name(name)))
            break
    else:
        return None
    if documented is None:
        return content
    python = environment.get_domain("py")
    return python.resolve_xref(environment, node["refdoc"], app.builder, "obj", documented, node, content)


def read_docstring(app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Read docstrings as they are written here: Google's sections (Args, Raises), and indented paragraphs as code."""
    if what in ("attribute", "property", "data"):
        return  # they have no sections, and a colon in their first line is only a colon
    marked: list[str] = []
    for line in lines:
        if line.startswith("    ") and marked[-1:] == [""] and not marked[-2].startswith(" "):
            marked += ["::", ""]
        marked.append(line)
    lines[:] = GoogleDocstring(marked, what=what, name=name, obj=value, options=options).lines()


def hide_settings(app: Sphinx, what: str, name: str, value: Any, *signature: Any) -> tuple[str, str] | None:
    """Leave the settings out of the signatures of sections: configuration.md lists them, with their meaning."""
    return ("(**settings)", "") if isinstance(value, type) and issubclass(value, BaseModel) else None


def values_of(annotation: Any) -> str:
    """What a setting may be: the words that it may have, or its type."""
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{json.dumps(word)}`" for word in get_args(annotation))
    if get_origin(annotation) is tuple:
        return f"a list of {values_of(get_args(annotation)[0])}"
    if get_origin(annotation) is Annotated:
        return values_of(get_args(annotation)[0])
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"tables of {', '.join(f'`{key}`' for key in annotation.model_fields)}"
    parts = [part for part in get_args(annotation) if part is not NoneType]
    return ", ".join(map(values_of, parts)) if parts else str(annotation.__name__)


def fill_in_settings(app: Sphinx, document: str, source: list[str]) -> None:
    """Put every setting, its type, default and meaning in the place of the marker, from the schema."""
    lines = []
    for section, whole in Config.model_fields.items():
        settings = getattr(whole.annotation, "model_fields", None)
        lines += ["", f"## `[{section}]`" if settings else f"## `{section}`", ""]
        lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
        for key, field in (settings or {section: whole}).items():
            default = "" if field.default is None else f"`{json.dumps(field.default)}`"
            meaning = (field.description or "").replace("|", "\\|").replace("*", "\\*")
            lines.append(f"| `{key}` | {values_of(field.annotation)} | {default} | {meaning} |")
    source[0] = source[0].replace("<!-- every setting -->", "\n".join(lines))


def join_lines(app: Sphinx, tree: nodes.document) -> None:
    """Join the lines of Chinese paragraphs, between which a browser would put a space.

    A line break is a node of its own; what stands beside it may be in a link or in code.
    """
    wide, mark = notebooks.WIDE, notebooks.MARK
    texts = list(tree.findall(nodes.Text))
    for before, text, after in zip(texts, texts[1:], texts[2:], strict=False):
        if text == "\n" and re.search(rf"{wide}\n{wide}|{mark}\n|\n{mark}", before[-1:] + text + after[:1]):
            siblings = text.parent.children
            siblings[:] = [each for each in siblings if each is not text]  # `remove` would take the first line break


HAN = r"[\u3400-\u9fff]"


class Bigrams(SearchEnglish):
    """English words, and Chinese text as overlapping pairs of characters, which needs no dictionary."""

    lang = "bigrams"
    js_splitter_code = """
        function splitQuery(query) {
            const runs = query.match(/[\\u3400-\\u9fff]+|[\\p{Letter}\\p{Number}_]+/gu) || [];
            return runs.flatMap((run) => /^[\\u3400-\\u9fff]{3,}$/.test(run)
                ? Array.from({length: run.length - 1}, (_, i) => run.slice(i, i + 2)) : [run]);
        }
    """

    def split(self, input: str) -> list[str]:
        """The words and pairs of characters of a text."""
        words = re.findall(rf"(?:(?!{HAN})\w)+", input)
        return words + re.findall(rf"(?={HAN})(?=({HAN}{HAN}?))", input)


def set_language(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """Name the language of a page, for fonts and for screen readers."""
    context["language"] = "zh-CN" if page.startswith("zh/") else "en"


NOTEBOOK = {
    "course/": ("This chapter as a notebook", "The whole course as one notebook"),
    "zh/course/": ("把本章下载为笔记本（.ipynb）", "把整门课下载为一个笔记本（.ipynb）"),
}
"""What the links to notebooks say, by the folder."""


def link_notebook(app: Sphinx, document: str, source: list[str]) -> None:
    """Put a link to its notebook under the title of each chapter of the course."""
    folder, _, name = document.rpartition("/")
    if f"{folder}/" not in NOTEBOOK:
        return
    chapter, whole = NOTEBOOK[f"{folder}/"]
    links = [f'<a href="{name}.ipynb" download>{chapter}</a>']
    if name == "index":
        links.append(f'<a href="all.ipynb" download>{whole}</a>')
    title, _, rest = source[0].partition("\n")
    source[0] = f"{title}\n\n<p>{' · '.join(links)}</p>\n{rest}"


def write_notebooks(app: Sphinx, exception: Exception | None) -> None:
    """Write the notebooks of the course beside its pages; an invalid one fails the build."""
    if exception is None and app.builder.format == "html":
        for notebook in notebooks.notebooks().values():
            nbformat.validate(notebook)
        notebooks.write(Path(app.outdir))


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.add_search_language(Bigrams)
    app.connect("autodoc-process-docstring", read_docstring)
    app.connect("autodoc-process-signature", hide_settings)
    app.connect("missing-reference", link_type)
    app.connect("source-read", fill_in_settings)
    app.connect("source-read", link_notebook)
    app.connect("doctree-read", join_lines)
    app.connect("html-page-context", set_language)
    app.connect("build-finished", write_notebooks)
