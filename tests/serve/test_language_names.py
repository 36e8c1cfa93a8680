"""Names of languages that mean the same, and the form that clients know them by."""

import tracemalloc

import pytest

from zhuyi.serve import languages


@pytest.mark.parametrize(
    ("tag", "code", "name"),
    [
        ("en", "en", "English"),
        ("EN", "en", "English"),
        ("eng_Latn", "en", "English"),
        ("en_XX", "en", "English"),
        ("ger", "de", "German"),
        ("zho_Hans", "zh", "Chinese"),
        ("zh-Hant", "zh-Hant", "Chinese (Traditional)"),
        ("PT-BR", "pt-BR", "Portuguese (Brazil)"),
        ("nob_Latn", "nb", "Norwegian Bokmål"),
        ("hbs", "sr-Latn", "Serbian (Latin)"),
        ("phones", "phones", "phones"),
    ],
)
def test_a_tag_has_a_code_and_a_name(tag: str, code: str, name: str) -> None:
    assert (languages.code(tag), languages.name(tag)) == (code, name)
    assert languages.code(code) == code


@pytest.mark.parametrize(
    ("wanted", "offered", "found"),
    [
        ("en", ["deu_Latn", "eng_Latn"], "eng_Latn"),
        ("zh-TW", ["zho_Hans", "zho_Hant"], "zho_Hant"),
        ("zh-CN", ["zho_Hant", "zho_Hans"], "zho_Hans"),
        ("pt-BR", ["pt-PT", "pt-BR"], "pt-BR"),
        ("pt", ["pt-BR"], "pt-BR"),
        ("en-GB", ["en"], "en"),
        ("no", ["nn", "nb"], "nb"),
        ("phones", ["letters", "phones"], "phones"),
        ("fr", ["en", "de"], None),
        ("", ["en"], None),
    ],
)
def test_a_language_is_found_by_any_of_its_names(wanted: str, offered: list[str], found: str | None) -> None:
    assert languages.find(wanted, offered) == found


def test_the_languages_that_requests_name_do_not_fill_the_memory() -> None:
    tracemalloc.start()
    try:
        for number in range(30):
            assert languages.find(f"{number}{'x' * 1_000_000}", ["en"]) is None
        assert tracemalloc.get_traced_memory()[0] < 5_000_000
    finally:
        tracemalloc.stop()
