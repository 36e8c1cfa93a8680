"""The page to translate in, in a real browser: both languages, the keyboard, a phone, and a look inside."""

from collections.abc import Iterator
from typing import Any

import pytest
from serving import running, service

from zhuyi.loading import load

pytestmark = [pytest.mark.unix, pytest.mark.slow]

KEY = "a key"
LINE = "the dog runs"


@pytest.fixture(scope="module")
def url(en_de: str, de_fr: str) -> Iterator[str]:
    with running(service(en_de, f"b={de_fr}")) as url:
        yield url


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page that complains of nothing: neither of its script nor of what the policy forbids."""
    context = browser.new_context(locale="en-US", viewport={"width": 390, "height": 844})
    page, complaints = context.new_page(), []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    yield page
    context.close()
    assert [each for each in complaints if "401" not in each and "413" not in each] == []


def translated(page: Any) -> str:
    expect = pytest.importorskip("playwright.sync_api").expect
    expect(page.locator("#translation")).not_to_have_value("", timeout=30_000)
    return page.input_value("#translation")


def test_a_text_is_translated_by_keyboard(page: Any, url: str, en_de: str, de_fr: str) -> None:
    german, french = (load(each, device="cpu").translate([LINE])[0] for each in (en_de, de_fr))
    page.goto(url)
    page.wait_for_selector("#model option[value=b]", state="attached")
    assert page.locator("#source").inner_text().split("\n") == ["detect the language", "English", "German"]
    page.select_option("#target", label="German")
    page.select_option("#source", label="English")
    page.fill("#text", LINE)
    page.press("#text", "Control+Enter")
    assert translated(page) == german
    page.select_option("#model", "b")
    assert page.locator("#target").inner_text() == "French"
    page.check("#several")
    page.click("#translate")
    page.wait_for_selector("#alternatives li")
    assert page.input_value("#translation") == french
    assert page.locator("#alternatives li").count() == 2


@pytest.mark.parametrize("most", [1, 2])
def test_no_more_alternatives_are_asked_for_than_there_are(page: Any, en_de: str, most: int) -> None:
    with running(service(en_de, alternatives=most)) as url:
        page.goto(url)
        page.wait_for_selector("#model option", state="attached")
        assert page.locator("#several").is_visible() == (most > 1)
        if most > 1:
            page.check("#several")
        page.fill("#text", LINE)
        page.click("#translate")
        assert translated(page) == load(en_de, device="cpu").translate([LINE])[0]
        assert page.locator("#alternatives li").count() == most - 1


def test_the_page_speaks_chinese_and_fits_a_phone(page: Any, url: str) -> None:
    page.goto(url)
    page.wait_for_selector("#model option[value=b]", state="attached")
    page.click("#other")
    assert page.locator("#translate").inner_text() == "翻译"
    assert page.locator("#target").inner_text().split("\n") == ["德语", "法语"]
    assert page.evaluate("document.documentElement.lang") == "zh-CN"
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.reload()
    assert page.locator("#translate").inner_text() == "翻译"


def test_a_look_inside_opens_the_microscope_on_the_line_at_the_cursor(page: Any, url: str) -> None:
    page.goto(url)
    page.wait_for_selector("#model option[value=b]", state="attached")
    page.select_option("#model", "en-de")
    page.fill("#text", f"a dog\n{LINE}")
    with page.expect_popup() as opened:
        page.click("button[type=submit]")
    microscope = opened.value
    microscope.wait_for_selector("h1")
    assert microscope.input_value(".sentence input >> nth=0") == LINE


def test_no_translation_of_another_text_is_left_beside_one_that_is_refused(page: Any, en_de: str) -> None:
    with running(service(en_de, queue=100)) as url:
        page.goto(url)
        page.check("#several")
        page.fill("#text", LINE)
        page.click("#translate")
        assert translated(page)
        page.fill("#text", "a" * 101)
        page.click("#translate")
        page.wait_for_selector("#status.bad")
        assert "at most 100 characters" in page.locator("#status").inner_text()
        assert (page.input_value("#translation"), page.locator("#alternatives li").count()) == ("", 0)


def test_the_page_asks_for_the_key(page: Any, en_de: str) -> None:
    with running(service(en_de, api_key=KEY)) as url:
        page.goto(url)
        page.fill("#key", KEY)
        page.fill("#text", LINE)
        page.click("#translate")
        assert translated(page) == load(en_de, device="cpu").translate([LINE])[0]
