"""Compare libraries that find the sentences of a text: quality in four languages, licence, age, size and time.

    pip install sentencex pysbd blingfire syntok sentence-splitter sentence-stream simplemma
    python benchmarks/sentences.py --lines en dev.en --lines zh dev.zh ... [--name sentences]

Two sets of texts whose boundaries are known: TEXTS below, written to be difficult, and five successive lines of each
--lines file, joined as the language does it (lines that do not end with a mark are left out). A boundary is a number
of characters other than white space. `lossless`: the sentences, joined, are the text again, byte for byte. A library
that downloads a model is left out (LEFT_OUT), and one that has no rules for a language is not measured on it. Writes
results/NAME.json.
"""

import argparse
import time
from collections.abc import Callable
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from machine import describe
from stored import save

Sentences = Callable[[str, str], list[str]]
"""Language and text → its sentences."""

TEXTS = {
    "en": [
        "Dr. Smith met Mrs. Jones at 3.15 p.m. on Main St. near the river.|They talked.",
        'He asked, "Why now?" and left.|"Because," she said.|"It is late."',
        "The U.S. economy grew by 2.5 percent, i.e. more than expected.|Why?|Nobody knows!",
        "See Fig. 3 and pp. 4–6 of vol. 2.|J. R. R. Tolkien wrote it, cf. Sec. 1.2.",
        "Write to a.b@example.com or see www.example.com/a.html.|It costs $3.50.|OK?!",
        "Wait... what?|I thought so…|Well, no.",
        "Yahoo! is a company.|It was founded in Jan. 1994 by J. Yang et al. in California.",
        "Use Python 3.11.|Version 2.0.1 is old.|It has e.g. no match statement.",
        "(She left early.)|He stayed until 10 a.m. and slept.|Then he ate.",
        "Apple Inc. was late.|So was Smith & Sons Ltd. in London.",
    ],
    "de": [
        "Dr. Müller kam am 3. Mai um 15.30 Uhr an.|Er war z. B. müde.",
        "Das kostet ca. 2,50 Euro, d. h. wenig.|Warum?|Niemand weiß es!",
        "Am 24. Dezember ist Heiligabend.|Der 1. FC Köln verlor 3:2.",
        "„Kommst du?“, fragte sie.|„Nein.“|Er ging.",
        "Siehe Abb. 3, S. 12 ff. und Bd. 2.|Vgl. auch Kap. 4.",
        "Friedrich II. war König.|Im 18. Jahrhundert lebte er in Potsdam.",
        "Die Fa. Meyer GmbH & Co. KG sitzt in St. Gallen.|Sie hat u. a. drei Werke.",
        "Warte ...|Was war das?|Ach so!",
        "Er schrieb an a.b@example.de und an Prof. Dr. Weiß.|Die Antwort kam am Mo. um acht.",
        "Es gilt Nr. 5 bzw. Abs. 2.|Das ist neu.",
    ],
    "zh": [
        "今天天气很好。|我们去公园吧！|你想去吗？",
        "他问：“你为什么不来？”|她没有回答。",
        "“我不知道。”他说。|“真的吗？！”|大家都笑了……",
        "价格是3.5元，比去年低了2.1%。|网址是www.example.com。|请记住。",
        "张先生（昨天来过。）今天又来了。|他带了一本书《你好！》给我。",
        "等等……我忘了。|算了吧。",
        "第一，要快；第二，要好。|就这样。",
        "Python 3.11很快。|我用它写程序。|你呢？",
    ],
    "ja": [
        "今日はいい天気です。|公園に行きましょう！|どうですか？",
        "「どこへ行くの？」と彼は聞いた。|彼女は黙っていた。",
        "「はい。」と言った。|そして帰った。",
        "価格は3.5ドルです。|高いですか。|いいえ、安いです。",
        "モーニング娘。が歌った。|会場は満員だった。",
        "ちょっと待って……忘れた。|まあいいか。",
        "彼（田中さん。）は来なかった。|残念だ。",
        "Python 3.11は速い。|私も使っている。",
    ],
}
GAPS = {"en": " ", "de": " ", "zh": "", "ja": ""}
ENDS = (*".!?。！？…", *(mark + quote for mark in ".!?。！？…" for quote in '"”“’」'))
JOINED = 5
"""Lines that are joined to one text."""
TIMED = 200_000
"""Characters whose time is taken, about: the first 2,000 of the joined texts of one file, again and again."""


def _sentencex() -> Sentences:
    return import_module("sentencex").segment


def _sentencex_as_english() -> Sentences:
    segment = import_module("sentencex").segment
    return lambda _, text: segment("en", text)


def _pysbd() -> Sentences:
    segmenter = import_module("pysbd").Segmenter
    return lambda language, text: segmenter(language=language, clean=False).segment(text)


def _blingfire() -> Sentences:
    split = import_module("blingfire").text_to_sentences
    return lambda _, text: split(text).split("\n")


def _syntok() -> Sentences:
    segmenter = import_module("syntok.segmenter")

    def sentences(_: str, text: str) -> list[str]:
        found = [sentence for paragraph in segmenter.process(text) for sentence in paragraph]
        return ["".join(token.spacing + token.value for token in sentence) for sentence in found]

    return sentences


def _sentence_splitter() -> Sentences:
    splitter = import_module("sentence_splitter").SentenceSplitter
    return lambda language, text: splitter(language=language).split(text)


def _sentence_stream() -> Sentences:
    stream = import_module("sentence_stream").stream_to_sentences
    return lambda _, text: list(stream([text]))


def _simplemma() -> Sentences:
    split = import_module("simplemma").split_sentences
    return lambda _, text: list(split(text))


LIBRARIES: dict[str, tuple[str, Callable[[], Sentences], tuple[str, ...]]] = {
    "sentencex": ("sentencex", _sentencex, ("en", "de", "zh", "ja")),
    "sentencex, as English": ("sentencex", _sentencex_as_english, ("en", "de", "zh", "ja")),
    "pysbd": ("pysbd", _pysbd, ("en", "de", "zh", "ja")),
    "blingfire": ("blingfire", _blingfire, ("en", "de", "zh", "ja")),
    "syntok": ("syntok", _syntok, ("en", "de")),
    "sentence-splitter": ("sentence-splitter", _sentence_splitter, ("en", "de")),
    "sentence-stream": ("sentence-stream", _sentence_stream, ("en", "de", "zh", "ja")),
    "simplemma": ("simplemma", _simplemma, ("en", "de", "zh", "ja")),
}
"""The package, what makes its function, and the languages that it says it has rules for."""

LEFT_OUT = {
    "wtpsplit-lite": "downloads its model when it is used first",
    "minisbd": "downloads a model for each language; AGPL",
    "nltk (Punkt)": "downloads its models; no Chinese, no Japanese",
    "spacy, stanza": "download a model for each language, or split at marks alone",
}
RELEASED = {
    "sentencex": "2026-09",
    "pysbd": "2021-02",
    "blingfire": "2021-09",
    "syntok": "2022-03",
    "sentence-splitter": "2019-01",
    "sentence-stream": "2026-01",
    "simplemma": "2026-08",
}
"""The month of the latest release, as the Python Package Index had it in November 2026."""


def joined(path: Path, language: str, count: int) -> list[list[str]]:
    """Texts of `JOINED` lines each, `count` at most, as their sentences."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8").split("\n")]
    lines = [line for line in lines if line.endswith(ENDS)]
    return [lines[start : start + JOINED] for start in range(0, len(lines) - JOINED + 1, JOINED)][:count]


def boundaries(sentences: list[str]) -> set[int]:
    """Where sentences end, in characters other than white space before it; the end of the text does not count."""
    ends, position = set(), 0
    for sentence in sentences:
        position += len("".join(sentence.split()))
        ends.add(position)
    return ends - {0, position}


def quality(split: Sentences, language: str, texts: list[list[str]]) -> dict[str, Any]:
    """Precision, recall and F1 of boundaries, texts that are entirely right, and whether nothing is lost."""
    right = given = wanted = exact = 0
    lossless = True
    for sentences in texts:
        text = GAPS[language].join(sentences)
        answer = split(language, text)
        lossless &= "".join(answer) == text
        found, true = boundaries(answer), boundaries(sentences)
        right, given, wanted = right + len(found & true), given + len(found), wanted + len(true)
        exact += found == true
    return {
        "texts": len(texts),
        "boundaries": wanted,
        "precision": round(right / max(given, 1), 4),
        "recall": round(right / wanted, 4),
        "f1": round(2 * right / (given + wanted), 4),
        "texts_right": exact,
        "lossless": lossless,
    }


def installed_size(package: str) -> int:
    """Bytes of the files of a package, without what it depends on."""
    files = metadata.files(package) or []
    return sum(Path(file.locate()).stat().st_size for file in files if Path(file.locate()).is_file())


def licence(package: str) -> str:
    """The licence that a package declares, in an expression or in classifiers."""
    about = metadata.metadata(package)
    classifiers = [each.split(" :: ")[-1] for each in about.get_all("Classifier") or [] if "License ::" in each]
    return ", ".join(about.get_all("License-Expression") or classifiers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", nargs=2, action="append", default=[], metavar=("LANGUAGE", "FILE"))
    parser.add_argument("--count", type=int, default=200, help="texts joined of each file")
    parser.add_argument("--name", default="sentences")
    parser.add_argument("--note", default="", help="what a reader of the times has to know")
    arguments = parser.parse_args()

    sets = {
        f"written, {language}": (language, [text.split("|") for text in texts]) for language, texts in TEXTS.items()
    }
    for language, path in arguments.lines:
        sets[f"joined, {language}, {Path(path).name}"] = (language, joined(Path(path), language, arguments.count))
    rows = {}
    for name, (package, make, languages) in LIBRARIES.items():
        split = make()
        row: dict[str, Any] = {
            "version": metadata.version(package),
            "released": RELEASED[package],
            "licence": licence(package),
            "requires": [each for each in metadata.requires(package) or [] if "extra" not in each],
            "megabytes": round(installed_size(package) / 1e6, 1),
            "seconds_per_million_characters": {},
        }
        for title, (language, texts) in sets.items():
            if language in languages:
                row[title] = quality(split, language, texts)
                if title.startswith("joined"):
                    text = GAPS[language].join(sentence for sentences in texts for sentence in sentences)[:2000]
                    start = time.perf_counter()
                    for _ in range(TIMED // len(text)):
                        split(language, text)
                    spent = (time.perf_counter() - start) * 1e6 / (TIMED // len(text) * len(text))
                    row["seconds_per_million_characters"][title] = round(spent, 2)
        rows[name] = row
        print(name, {title: (each["f1"], each["lossless"]) for title, each in row.items() if title in sets}, flush=True)
    result = {
        "machine": describe(threads=None),
        "note": arguments.note,
        "libraries": rows,
        "left_out": LEFT_OUT,
    }
    print(save(arguments.name, result))


if __name__ == "__main__":
    main()
