"""LibreTranslate's own server, with a model that `zhuyi export --to ctranslate2` has written.

    PYTHON libretranslate_server.py DIRECTORY --work DIR --port 8002 --beam 4

PYTHON is that of an environment with libretranslate and tokenizers, whose versions conflict with those of zhuyi.
LibreTranslate keeps its files in --work. Two parts of it are replaced, because they would download what they need: the
tokenizer is that of the model, and a text counts as one sentence, which is less work than to look for several. All else
is its default.
"""

import argparse
import json
import os
import sys
from pathlib import Path

PAIRS = (("en", "de"), ("de", "en"))
"""Languages of its packages: with fewer than two packages, it would look for others on the network."""


class Tokens:
    """The model's tokenizer with the methods of `argostranslate.tokenizer.Tokenizer`."""

    def __init__(self, directory: Path) -> None:
        from tokenizers import Tokenizer

        one = directory / "tokenizer.json"
        self._source, self._target = (
            Tokenizer.from_file(str(one if one.exists() else one.with_suffix(f".{side}.json")))
            for side in ("source", "target")
        )

    def encode(self, sentence: str) -> list[str]:
        return self._source.encode(sentence, add_special_tokens=False).tokens

    def decode(self, tokens: list[str]) -> str:
        return self._target.decoder.decode(tokens)


def install(directory: Path, packages: Path) -> None:
    """Make a package of the model for each pair of languages."""
    for source, target in PAIRS:
        package = packages / f"{source}_{target}"
        package.mkdir(parents=True, exist_ok=True)
        model = package / "model"
        model.unlink(missing_ok=True)
        model.symlink_to(directory.resolve())
        languages = {"from_code": source, "from_name": source, "to_code": target, "to_name": target}
        (package / "metadata.json").write_text(json.dumps(languages), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--compute-type", default="float32")
    parser.add_argument("--beam", type=int, default=4)
    arguments = parser.parse_args()
    work, tokens = arguments.work.resolve(), Tokens(arguments.directory)
    install(arguments.directory, work / "packages")
    os.environ |= {
        **dict.fromkeys(("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME"), str(work)),
        "ARGOS_PACKAGES_DIR": str(work / "packages"),
        "ARGOS_COMPUTE_TYPE": arguments.compute_type,
        "ARGOS_BEAM_SIZE": str(arguments.beam),
    }
    os.chdir(work)  # its database lies in the working directory
    sys.argv = ["libretranslate", "--host", "127.0.0.1", "--port", str(arguments.port)]

    from argostranslate.package import Package  # they read the environment
    from argostranslate.sbd import MiniSBDSentencizer
    from libretranslate.main import main as serve

    Package.tokenizer = tokens
    MiniSBDSentencizer.split_sentences = lambda _, text: [text]
    serve()


if __name__ == "__main__":
    main()
