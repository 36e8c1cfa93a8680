"""Translation of HTML: the markup is kept as it is, and the text between two tags is translated.

Each piece of text is translated by itself, even if a sentence continues after a tag, as the place of the tag in the
translation is not known. White space within a piece becomes one space, as in HTML. Attributes are not translated, nor
is the content of `<code>`, `<pre>`, `<script>`, `<style>`, `<textarea>` and elements with `translate="no"`.

HTML is split into tokens (https://html.spec.whatwg.org/#tokenization) and no tree is built, since a parser would change
the markup. Markup without an end extends to the end of the text, so that the time is linear, unlike `html.parser`'s.
"""

import asyncio
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from html import escape, unescape
from itertools import islice

from zhuyi.serve.query import Answer, Query
from zhuyi.serve.service import Service, joined

VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
"""Elements without an end tag."""

SPACES = " \t\n\f\r"
"""White space in HTML, which does not include the no-break space."""

_MARKUP = re.compile(
    r"""<!--(?:-?>|.*?(?:-->|\Z))
    |<(?P<kept>code|pre|script|style|textarea)(?=[\s/>]).*?(?:</(?P=kept)\s*>|\Z)
    |<(?:(?P<end>/?)(?P<name>[a-z][^\s/>]*)|[/!?])(?:=\s*(?:"[^"]*(?:"|\Z)|'[^']*(?:'|\Z))|[^>])*+(?:>|\Z)""",
    re.IGNORECASE | re.DOTALL | re.VERBOSE,
)
"""A comment, an element that is not translated, a tag, or a declaration."""
_UNTRANSLATED = re.compile(r"""\stranslate\s*=\s*["']?no\b""", re.IGNORECASE)
_SPACES = re.compile(f"[{SPACES}]+")


class Markup:
    """A text in HTML whose pieces of text can be replaced."""

    def __init__(self, html: str) -> None:
        self._parts: list[str] = []  # the HTML, in order
        self._places: list[int] = []  # of those that are translated
        self.texts: list[str] = []
        """The pieces of text that contain letters, with character references resolved."""
        for part, is_text in _tokens(html):
            text = _SPACES.sub(" ", unescape(part)).strip(" ") if is_text else ""
            if not any(map(str.isalpha, text)):
                self._parts.append(part)
                continue
            before, within, after = part.partition(part.strip(SPACES))
            self._places.append(len(self._parts) + 1)
            self._parts += [before, within, after]
            self.texts.append(text)

    def join(self, translations: Sequence[str]) -> str:
        """The HTML with its pieces of text replaced by their translations.

        Raises:
            ValueError: if there is not one translation for each text.
        """
        parts = list(self._parts)
        for place, translation in zip(self._places, translations, strict=True):
            parts[place] = escape(translation, quote=False)
        return "".join(parts)


async def translate_html(service: Service, query: Query) -> list[Answer]:
    """As `service.translate`, for texts in HTML; the answers have no alignments.

    Raises:
        Refusal: as `service.translate`, where each piece of text counts as a text.
    """
    given = await asyncio.to_thread(lambda: [Markup(html) for html in query.texts])  # a large page takes a while
    answers = await service.translate(replace(query, texts=[text for markup in given for text in markup.texts]))
    following = iter(answers)
    found = []
    for markup in given:
        pieces = [*islice(following, len(markup.texts))]
        whole = joined(markup.join, [[each, *each.alternatives] for each in pieces])
        found.append(replace(whole, source=pieces[0].source) if pieces else whole)
    return found


def _tokens(html: str) -> Iterator[tuple[str, bool]]:
    """The parts of a text in HTML, and for each whether it is text to be translated."""
    start, kept, depth = 0, "", 0  # the name of an element with translate="no", and how many of that name are open
    for token in _MARKUP.finditer(html):
        yield html[start : token.start()], not depth
        yield token[0], False
        start, name = token.end(), (token["name"] or "").lower()
        if depth:
            depth += (name == kept) * (-1 if token["end"] else 1)
        elif name and name not in VOID and not token["end"] and _UNTRANSLATED.search(token[0]):
            kept, depth = name, 1
    yield html[start:], not depth
