"""The template of a line: language tags, the words of a task, or special tokens around its pieces.

    source    text.source_prefix, the line's pieces     and EOS, which `ended` adds, or text.source_suffix
    target    text.target_prefix, the line's pieces     and BOS and EOS

A tag (`text.tags`) is a piece that does not occur in text. A tag of the form `>>NAME<<` stands before the source and
names the language of the target (Johnson et al. 2017, section 3, in the spelling of OPUS-MT); a source line may begin
with a tag of its own. Any other tag, such as `__NAME__` or `NAME_Latn`, stands on the side whose language it names
(M2M-100, Fan et al. 2021; NLLB; mBART, Liu et al. 2020): before the line or, in the first mBART, after the EOS of the
source.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from zhuyi.config import TextConfig, changed
from zhuyi.errors import ConfigError
from zhuyi.text.special import EOS

MAX_NAMED = 20
"""Most languages that an error message lists."""

_OF_LINE = re.compile(" *(>>[^<>]+<<)")


@dataclass(frozen=True)
class Template:
    """What stands around the pieces of each line of one side, as ids."""

    prefix: tuple[int, ...] = ()
    """Before the pieces of each line."""
    tags: tuple[int, ...] = ()
    """All tags of this side, which do not occur in text."""
    own: Mapping[str, int] = field(default_factory=dict)
    """The tags with which a line itself may begin, by name."""
    suffix: tuple[int, ...] = ()
    """After the pieces of each line, including EOS; empty if only EOS follows them."""

    def split(self, line: str) -> tuple[tuple[int, ...], str]:
        """The ids before a line, and its text without the tag with which it may begin."""
        found = _OF_LINE.match(line) if self.own else None
        if found is None or found[1] not in self.own:
            return self.prefix, line
        others = (id for id in self.prefix if id not in self.own.values())
        return (self.own[found[1]], *others), line[found.end() :]


def ended(source: Iterable[int]) -> list[int]:
    """The tokens of a source with EOS, which is added unless a suffix contains it."""
    tokens = [*source]
    return tokens if EOS in tokens else [*tokens, EOS]


def with_languages(text: TextConfig, to: str | None, from_language: str | None) -> TextConfig:
    """`text` with the tags of these languages in place of its own.

    Args:
        text: its `tags` determine which languages the model has.
        to: the language of the target. A tag `>>NAME<<` is put first in `source_prefix`, another one into
            `target_prefix`.
        from_language: the language of the source. Its tag is put into `source_suffix` if there is a tag, and otherwise
            into `source_prefix`.

    Raises:
        ConfigError: if the model does not have the language, naming those that it has.
    """
    if to is not None:
        tag = _find(to, text.tags, "--to")
        if is_of_target(tag):
            others = (piece for piece in text.source_prefix if not (piece in text.tags and is_of_target(piece)))
            text = changed(text, {"source_prefix": (tag, *others)})
        else:
            text = changed(text, {"target_prefix": _replaced(text.target_prefix, tag, text.tags)})
    if from_language is not None:
        of_side = tuple(tag for tag in text.tags if not is_of_target(tag))
        tag = _find(from_language, of_side, "--from-language")
        key = "source_suffix" if {*text.source_suffix} & {*of_side} else "source_prefix"
        text = changed(text, {key: _replaced(getattr(text, key), tag, of_side)})
    return text


def is_of_target(tag: str) -> bool:
    """Whether a tag stands before the source and names the language of the target."""
    return tag.startswith(">>")


def _replaced(prefix: tuple[str, ...], tag: str, tags: tuple[str, ...]) -> tuple[str, ...]:
    """`prefix` with `tag` in place of its first tag, or at its beginning if it has none."""
    places = [place for place, piece in enumerate(prefix) if piece in tags and not is_of_target(piece)]
    return (*prefix[: places[0]], tag, *prefix[places[0] + 1 :]) if places else (tag, *prefix)


def _find(language: str, tags: tuple[str, ...], option: str) -> str:
    """The tag of a language: LANG itself, `>>LANG<<`, `__LANG__` or `<LANG>`, or the only `LANG_...`."""
    found = [tag for tag in tags if language in (tag, _name(tag))]
    found = found or [tag for tag in tags if _name(tag).startswith(f"{language}_")]
    if language and len(found) == 1:
        return found[0]
    if not tags:
        raise ConfigError(f"{option} {language}: this model has no tags for that (text.tags): leave it out")
    several = bool(language and found)
    problem = "is more than one language of this model" if several else "is no language of this model"
    raise ConfigError(f"{option} {language}: {problem}: {listed(found if several else tags)}")


def listed(tags: Sequence[str]) -> str:
    """The names of the languages of tags, at most `MAX_NAMED` of them."""
    shown = ", ".join(_name(tag) for tag in tags[:MAX_NAMED])
    return shown + (f", ... ({len(tags):,} in all)" if len(tags) > MAX_NAMED else "")


def _name(tag: str) -> str:
    return tag.strip("<>_")
