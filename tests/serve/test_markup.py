"""Texts in HTML: what is translated of them, and that nothing else changes."""

from html import escape, unescape
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving import post, service

from zhuyi.loading import load
from zhuyi.serve.markup import Markup

FRAGMENTS = ["<", ">", "/", "!", "--", "-->", "=", '"', "'", "&", "&amp;", ";", " ", "\n", "a", "<b>", "</b>", "é", "1"]
FRAGMENTS += ["<!--", "<code>", "</code>", "<p translate=no>", "</p>", "<br>", "<p>", "\0", "\xa0", "\u2028", "👍"]


class Tags(HTMLParser):
    """The tags and comments of a text in HTML, and its text, as Python's own parser reads them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[object] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, attrs))

    def handle_endtag(self, tag: str) -> None:
        self.found.append(tag)

    def handle_comment(self, data: str) -> None:
        self.found.append(("comment", data))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize(
    ("html", "texts", "joined"),
    [
        ("a dog", ["a dog"], "A DOG"),
        ("<p>A dog &amp; a\n  cat.</p>\n", ["A dog & a cat."], "<p>A DOG &amp; A CAT.</p>\n"),
        ("  The <b>red</b> house<br/>2024 ", ["The", "red", "house"], "  THE <b>RED</b> HOUSE<br/>2024 "),
        ("&lt;script&gt; x &#233;", ["<script> x é"], "&lt;SCRIPT&gt; X É"),
        ("a < b, 1 > 0", ["a < b, 1 > 0"], "A &lt; B, 1 &gt; 0"),
        ('<A HREF="x>y" title=it\'s>go</A >', ["go"], '<A HREF="x>y" title=it\'s>GO</A >'),
        ("<!-- a > b --><!-->x<!--->y<!DOCTYPE html>", ["x", "y"], "<!-- a > b --><!-->X<!--->Y<!DOCTYPE html>"),
        ("<script>if (a < b) f('</b>')</script>x", ["x"], "<script>if (a < b) f('</b>')</script>X"),
        ("<pre>a\nb</pre><CODE>c</Code>d<code-block>e", ["d", "e"], "<pre>a\nb</pre><CODE>c</Code>D<code-block>E"),
        (
            "<p translate='no'>a<p>b</p>c</p>d<img translate=no>e",
            ["d", "e"],
            "<p translate='no'>a<p>b</p>c</p>D<img translate=no>E",
        ),
        ("<p>a<style>b", ["a"], "<p>A<style>b"),
        ("<p>a<!-- b", ["a"], "<p>A<!-- b"),
        ("<p>a<i class='b", ["a"], "<p>A<i class='b"),
        ("\xa0a\xa0", ["\xa0a\xa0"], "\xa0A\xa0"),
        ("<p> 1.5 — 👍 </p>", [], "<p> 1.5 — 👍 </p>"),
        ("", [], ""),
    ],
)
def test_text_is_translated_and_markup_stays(html: str, texts: list[str], joined: str) -> None:
    markup = Markup(html)
    assert markup.texts == texts
    assert markup.join([text.upper() for text in texts]) == joined


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=30).map("".join))
def test_whatever_the_markup_nothing_but_text_changes(html: str) -> None:
    markup = Markup(html)
    again = Markup(markup.join(markup.texts))
    assert again.texts == markup.texts
    others = ["x"] * len(markup.texts)
    assert again.join(others) == markup.join(others)


@given(
    st.recursive(
        st.text(st.characters(codec="utf-8", exclude_characters="\r")).map(escape),
        lambda inner: st.tuples(st.sampled_from(["p", "b", "div", "x-y"]), st.lists(inner, max_size=3)).map(
            lambda made: f"<{made[0]} title='&quot;>'>{''.join(made[1])}</{made[0]}><!-- <b> --><br>"
        ),
    )
)
def test_a_translation_has_the_tags_of_the_text_whatever_it_says(html: str) -> None:
    markup, hostile = Markup(html), "<b title=x>&amp;</p><!--"
    before, after = Tags(html), Tags(markup.join([hostile] * len(markup.texts)))
    assert after.found == before.found
    assert after.text.count(hostile) == len(markup.texts)


@pytest.mark.parametrize(
    "part", ["<!--", "<a ", "<a b='", "<", "</", "<!", "<?", "<code>", "</code ", "<b translate=no>", "= ", "&", "<b>x"]
)
def test_hostile_markup_takes_linear_time(part: str) -> None:
    """With quadratic time it would take hours."""
    html = part * (1_000_000 // len(part))
    markup = Markup(html)
    assert unescape(markup.join(markup.texts)) == unescape(html)


def test_libretranslate_and_its_alternatives_in_html(en_de: str) -> None:
    alone = load(en_de, device="cpu")
    texts = ["the dog runs", "a dog runs two"]
    first, second = ([each.text for each in found] for found in alone.hypotheses(texts, alone.decoding(n_best=3)))
    html = "<p class=a>the dog\n runs</p> <b>a dog runs two</b>"
    asked = {"source": "en", "target": "de", "format": "html", "alternatives": 2}
    answer = post(service(en_de), "/translate", json={"q": [html, "<hr>"], **asked}).json()
    ranks = max(len(first), len(second))
    assert ranks > 1
    best, *others = [
        f"<p class=a>{first[min(rank, len(first) - 1)]}</p> <b>{second[min(rank, len(second) - 1)]}</b>"
        for rank in range(ranks)
    ]
    assert answer == {"translatedText": [best, "<hr>"], "alternatives": [others, []]}
