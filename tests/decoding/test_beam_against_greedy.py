"""No beam answers worse than greedy search: on models that are trained here, for tasks where one did.

EOS is among the best candidates at every step where the vocabulary is small and labels are smoothed. A search that ends
after so many finished hypotheses then answers with a short and improbable one. benchmarks/beams.py does the same with
real data and longer training.
"""

import random
from collections.abc import Callable

import pytest

from zhuyi.config import build_config
from zhuyi.loading import load
from zhuyi.training.recipe import train
from zhuyi.translator import Translator

Pairs = list[tuple[str, str]]


def smiles() -> Pairs:
    """`key 1` … `key 40`, each to a SMILES string of 40 characters."""
    pick = random.Random(1)
    atoms = ["C", "c", "N", "O", "(=O)", "[C@H]", "S", "n1", "(Cl)", "=", "1", "F"]
    return [(f"key {number}", "".join(pick.choices(atoms, k=40))[:40]) for number in range(1, 41)]


def pronunciation() -> Pairs:
    """Words of a regular spelling, to their phones: a letter is a phone, but for pairs of letters that are one."""
    pick = random.Random(2)
    letters = "abgdevztiklmnopzrsuqcx"
    words = ["".join(pick.choices(letters, k=pick.randint(2, 9))) for _ in range(150)]
    return [(word, " ".join(word.replace("ts", "C").replace("dz", "J").replace("ch", "X"))) for word in words]


SETTINGS = {
    smiles: {"text": {"kind": "unigram"}, "training": {"steps": 150}},
    pronunciation: {
        "text": {"source_kind": "character", "target_kind": "whitespace"},
        "training": {"steps": 150, "label_smoothing": 0.2},
    },
}


@pytest.fixture(scope="module", params=[smiles, pronunciation], ids=lambda task: task.__name__)
def trained(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Translator, Pairs]:
    task: Callable[[], Pairs] = request.param
    folder, pairs = tmp_path_factory.mktemp(task.__name__), task()
    for side in (0, 1):
        text = "".join(pair[side] + "\n" for pair in pairs)
        (folder / f"side{side}").write_text(text, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZHUYI_CACHE", str(folder / "cache"))
        config = build_config(
            {
                "data": {"source": str(folder / "side0"), "target": str(folder / "side1")},
                "text": SETTINGS[task]["text"],
                "model": {
                    "width": 32,
                    "heads": 2,
                    "encoder_layers": 1,
                    "decoder_layers": 1,
                    "feed_forward": 64,
                    "dropout": 0.0,
                },
                "training": {
                    "learning_rate": 0.01,
                    "warmup": 20,
                    "tokens_per_batch": 4096,
                    "average": 1,
                    "save_every": 1000,
                    "ema": 0.9,
                    "threads": 1,
                    **SETTINGS[task]["training"],
                },
            }
        )
        train(config, folder / "model")
    return load(folder / "model", device="cpu"), pairs


@pytest.mark.slow
@pytest.mark.parametrize("beam", [2, 3, 5, 8])
def test_a_beam_scores_no_lower_than_greedy_search(trained: tuple[Translator, Pairs], beam: int) -> None:
    translator, pairs = trained
    sources = [source for source, _ in pairs]
    greedy, wide = (translator.hypotheses(sources, translator.decoding(beam=each)) for each in (1, beam))
    finished = [(one[0], other[0]) for one, other in zip(greedy, wide, strict=True) if one[0].finished]
    assert len(finished) > 0.9 * len(pairs), "the model has learnt to end"
    lower = sum(other.score < one.score - 1e-4 for one, other in finished)
    assert lower == 0
    exact = [
        sum(each[0].text == target for each, (_, target) in zip(found, pairs, strict=True)) for found in (greedy, wide)
    ]
    assert exact[1] >= exact[0]
