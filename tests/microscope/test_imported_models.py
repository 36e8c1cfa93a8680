"""Imported models are looked at like any other: what is shown is what they compute, in Python and in the page."""

from typing import Any

import pytest
from foreign_models import FAMILIES, imported, lines_of
from test_page_model import FLOAT32, PageModel, same, same_tokens

from zhuyi.loading import with_torch
from zhuyi.microscope.page import look
from zhuyi.translator import Translator

pytestmark = [pytest.mark.slow]


@pytest.fixture(scope="module", params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def translator(family: str, tmp_path_factory: pytest.TempPathFactory) -> Translator:
    return imported(family, tmp_path_factory.mktemp("model"))


def test_the_trace_is_of_the_translators_own_run(family: str, translator: Translator) -> None:
    """The native engine's, where it computes the model."""
    lines = lines_of(family)
    answers = translator.hypotheses(lines)
    assert len({tuple(answer[0].token_logprobs) for answer in answers}) == len(lines)
    for line, answer in zip(lines, answers, strict=True):
        trace = look(translator, line)
        assert trace.output == answer[0].text
        for shown, found in zip(trace.hypotheses, answer, strict=True):
            assert trace.pieces(shown.tokens) == found.pieces
            assert shown.score == pytest.approx(found.score, abs=1e-4)
            assert shown.token_logprobs == pytest.approx(found.token_logprobs, abs=1e-4)
        assert trace.difference < 1e-4


@pytest.mark.unix
def test_the_page_computes_the_same(browser: Any, family: str, translator: Translator) -> None:
    page, translator = PageModel(browser.new_page()), with_torch(translator)
    page.load(translator)
    lines = lines_of(family)
    for line, reference in zip(lines, reversed(lines), strict=True):
        same(*page.look(text=line, target=reference), look(translator, line, target=reference), FLOAT32)
    for tokenizer in {translator.tokenizers.source, translator.tokenizers.target}:
        same_tokens(page, tokenizer, [*lines, "naïve ﬁ 猫 <unk> </s>"])
