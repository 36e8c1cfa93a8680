"""Names of languages, as requests, configurations and the tags of models write them.

`eng`, `en-Latn`, `EN` and `eng_Latn` are English, and `zh-TW` is `zho_Hant`: CLDR, which is part of `babel`, has the
codes of a language in ISO 639, and the script that it is usually written in.
"""

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import NamedTuple

from babel import Locale
from babel.core import get_global, parse_locale

ANY_REGION = "XX"
"""The region in mBART's tags that means none."""

LONGEST_TAG = 64
"""Characters of a tag; no language has so long a one (RFC 5646, section 4.4.1, counts 35)."""

USUAL = {"no": "nb"}
"""Macrolanguages that CLDR distinguishes from the language that they usually mean: Norwegian is Bokmål."""


class Language(NamedTuple):
    """The language and script of a tag, which are the same for equivalent tags, and its region if it has one."""

    language: str
    script: str
    region: str


def parse(tag: str) -> Language:
    """What a tag means (BCP 47, ISO 639-1, -2 or -3). One that CLDR does not know is a language of that name."""
    return _parse(tag) if len(tag) <= LONGEST_TAG else Language(tag, "", "")


@lru_cache(4096)  # of tags that requests name: long ones would fill the memory
def _parse(tag: str) -> Language:
    try:
        language, region, script = parse_locale(tag.replace("-", "_"))[:3]
    except ValueError:
        return Language(tag, "", "")
    language, _, implied = parse_locale(get_global("language_aliases").get(language, language))[:3]  # sh: sr_Latn
    language, script = USUAL.get(language, language), script or implied
    if script is None:
        likely = get_global("likely_subtags")
        full = likely.get(f"{language}_{region}") or likely.get(language)
        script = parse_locale(full)[2] if full else ""
    return Language(language, script or "", region if region and region != ANY_REGION else "")


def code(tag: str) -> str:
    """The short form of a tag, as clients use it: `en` for `eng_Latn`, `zh-Hant` for `zho_Hant`."""
    language, script, region = parse(tag)
    usual = parse(f"{language}-{region}" if region else language).script
    return "-".join(part for part in (language, script if script != usual else "", region) if part)


def name(tag: str) -> str:
    """The English name of a language, or the tag if it has none."""
    known = Locale("en")
    language, script, region = parse(tag)
    usual = parse(language).script
    details = [known.scripts.get(script) if script != usual else None, known.territories.get(region)]
    if language not in known.languages:
        return tag
    return " ".join([known.languages[language], *(f"({detail})" for detail in details if detail)])


def named(name: str) -> str | None:
    """The tag of the language with this English name, such as `zh_Hans` for Simplified Chinese; None without one."""
    return _tags_of_names().get(name.casefold())


def is_known(tag: str) -> bool:
    """Whether the language of a tag has a name in CLDR."""
    return parse(tag).language in Locale("en").languages


def find(wanted: str, offered: Sequence[str]) -> str | None:
    """The offered tag that is equivalent to the wanted one, preferably of the same region; None without one."""
    language = parse(wanted)
    same = _in_groups(tuple(offered)).get(language[:2], [])
    return next((tag for tag in same if parse(tag) == language), next(iter(same), None))


@lru_cache(256)
def _in_groups(tags: tuple[str, ...]) -> dict[tuple[str, str], list[str]]:
    """Tags by language and script."""
    groups: dict[tuple[str, str], list[str]] = {}
    for tag in tags:
        groups.setdefault(parse(tag)[:2], []).append(tag)
    return groups


@cache
def _tags_of_names() -> dict[str, str]:
    return {name.casefold(): tag for tag, name in Locale("en").languages.items()}
