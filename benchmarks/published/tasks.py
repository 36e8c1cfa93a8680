"""What has published results: where its corpus comes from, how it is scored, and the figures."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from published import corpora


@dataclass(frozen=True)
class Task:
    """A corpus with published scores of its test sets."""

    title: tuple[str, str]
    """In English and Chinese."""
    config: str
    """The file of settings, beside this one."""
    origin: str
    """The folder of the origin's files, in the folder that holds all of them."""
    make: Callable[[Path, Path], None]
    """From the origin's folder to one with a file for each part and side."""
    metric: str
    published: Mapping[str, float]
    """Of a single model, by test set."""
    of: tuple[str, str]
    """Whose scores they are, in English and Chinese."""
    options: tuple[str, ...] = ()
    """Further ones of `zhuyi evaluate`."""


def g2p(language: tuple[str, str], code: str, published: float) -> Task:
    return Task(
        title=(f"SIGMORPHON 2021 G2P, {language[0]}", f"SIGMORPHON 2021 字音转换，{language[1]}"),
        config="g2p.toml",
        origin="sigmorphon2021_g2p/medium",
        make=corpora.g2p(code),
        metric="wer",
        published={"test": published},
        of=(
            "one fairseq Transformer, 4 + 4 layers, width 256, 7.4 M parameters",
            "一个 fairseq 的 Transformer，4 + 4 层，宽 256，740 万参数",
        ),
    )


TASKS = {
    "multi30k": Task(
        title=("Multi30k En→De", "Multi30k 英→德"),
        config="multi30k.toml",
        origin="multi30k/wu2021_bpe_en-de",
        make=corpora.multi30k,
        metric="bleu",
        published={"test.2016": 41.02, "test.2017": 33.36},
        of=(
            "Wu et al. 2021, Transformer-Tiny, 4 + 4 layers, width 128",
            "Wu 等 2021，Transformer-Tiny，4 + 4 层，宽 128",
        ),
        options=("--bleu-tokenizer", "none"),
    ),
    "g2p-hun": g2p(("Hungarian", "匈牙利语"), "hun", 1.9),
    "g2p-vie": g2p(("Vietnamese", "越南语"), "vie_hanoi", 6.0),
    "g2p-jpn": g2p(("Japanese", "日语"), "jpn_hira", 8.5),
    "g2p-fre": g2p(("French", "法语"), "fre", 10.2),
    "g2p-geo": g2p(("Georgian", "格鲁吉亚语"), "geo", 0.1),
    "g2p-dut": g2p(("Dutch", "荷兰语"), "dut", 16.9),
    "cmudict": Task(
        title=("CMUdict, words carved from its training part", "CMUdict，从训练部分划出的词"),
        config="cmudict.toml",
        origin="cmudict_g2p",
        make=corpora.cmudict,
        metric="wer",
        published={"test": 20.6},
        of=(
            "a Transformer of 3 layers, width 256, on another test set of as many words",
            "一个 3 层、宽 256 的 Transformer，用的是另一个大小相同的测试集",
        ),
    ),
}
