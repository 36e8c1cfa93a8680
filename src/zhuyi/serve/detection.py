"""Detection of the language of a text by py3langid (Lui & Baldwin 2012), for 140 languages."""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from zhuyi.serve import languages

MAX_CHARACTERS = 2000
"""Only the beginning of a text is read: more does not change the result."""


class Detected(NamedTuple):
    """A language, and the probability that the text is in it."""

    language: str
    confidence: float


NOT_SOUGHT = Detected("", 0.0)
"""For a text whose language is neither stated nor needed."""


def detect(text: str, among: Sequence[str] = ()) -> list[Detected]:
    """The possible languages of a text, most probable first.

    Args:
        text: of any length.
        among: the languages to choose from, by any of their names; empty: all that can be detected.
    """
    found = _identifier().rank(text[:MAX_CHARACTERS])
    ranked = [Detected(languages.parse(label).language, confidence) for label, confidence in found]
    if not among:
        return ranked
    of_code = {languages.parse(tag).language: tag for tag in reversed(among)}
    possible = [Detected(of_code[each.language], each.confidence) for each in ranked if each.language in of_code]
    if not possible:
        return [Detected(among[0], 0.0)]
    total = sum(each.confidence for each in possible) or 1.0
    return [Detected(each.language, each.confidence / total) for each in possible]


@cache
def _identifier() -> LanguageIdentifier:
    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
