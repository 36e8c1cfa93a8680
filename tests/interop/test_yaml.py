"""Options of Marian are read as it reads them, and what is no such YAML is refused by its line."""

import pytest

from zhuyi.interop.reading.yaml import options

TEXT = r"""
---
# a comment
type: transformer
version: v1.12.0 65bf82f 2023-02-20 12:00:00 +0000   # with colons
transformer-preprocess: ""
transformer-postprocess: 'dan'
quoted: "a # \u00e9 \" b"  # c
nothing:
null-too: ~
dim-vocabs:
  - 32000
  - 32000
vocabs:
- "a b.spm"
- c.spm
flow: [1, 'two', three]
empty: []
"""


def test_every_form_of_an_option() -> None:
    assert options(TEXT) == {
        "type": "transformer",
        "version": "v1.12.0 65bf82f 2023-02-20 12:00:00 +0000",
        "transformer-preprocess": "",
        "transformer-postprocess": "dan",
        "quoted": 'a # é " b',
        "nothing": "",
        "null-too": "",
        "dim-vocabs": ["32000", "32000"],
        "vocabs": ["a b.spm", "c.spm"],
        "flow": ["1", "two", "three"],
        "empty": [],
    }


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a", 1),
        ("a: 1\nb: &x 1", 2),
        ("a: *x", 1),
        ("a: {b: 1}", 1),
        ("a: [b, [c]]", 1),
        ("a: |\n  b", 1),
        ("a: !!python/object:os.system", 1),
        ('a: "b', 1),
        ('a: "b" c', 1),
        (r'a: "\q"', 1),
        ("a: 1\n  - 2", 2),
        ("- 1", 1),
        ("a: 1\nb: 1\na: 2", 3),
        ("a:\n  b: 1", 2),
        ("a:\n" + "- 1\n" * 2000, 1002),
        ("a: [" + "1," * 2000 + "1]", 1),
    ],
)
def test_anything_else_is_refused(text: str, line: int) -> None:
    with pytest.raises(ValueError, match=rf"^line {line}\b"):
        options(text)
