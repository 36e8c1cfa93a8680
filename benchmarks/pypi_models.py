"""Trained models that two packages of the Python Package Index carry, against the packages' own code.

    python benchmarks/pypi_models.py --work runs/pypi

`tg2fa-translit` (torch.nn.Transformer: Tajik letters to Persian ones) and `annalog` (the Transformer of Trevett's
tutorial: a molecule's SMILES to one of a similar molecule) are downloaded into --work, at fixed versions and hashes,
without what they depend on, and neither installed nor kept in this repository. `zhuyi.interop.from_state_dict` makes
translators of their state dicts. These answer the lines that the originals answer, by greedy search, with torch and,
saved and loaded again, with the native engine; the logits of torch are compared too, at every position of the answers.

A file of weights is opened with `weights_only=True` alone, and the pickled vocabulary of annalog by an unpickler that
knows no classes. Writes results/pypi-models.json.
"""

import argparse
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import describe
from stored import save
from torch import Tensor

import zhuyi
from zhuyi.directory import read_model
from zhuyi.engine.torch import TorchEngine
from zhuyi.interop import from_state_dict
from zhuyi.text.special import EOS
from zhuyi.translator import Translator

REQUIREMENTS = """
tg2fa-translit==1.0 --hash=sha256:e67991b19b9faf33492a12accb3b91713e83265ca5a7e2b6a0bc81ecfbdcf464
annalog==1.0.6 --hash=sha256:49cf13abf67b5cfed1b8b9071bfebe357964583ea1e22d6ed17a1310deaf54d8
"""

TAJIK = [
    "то ғами фардо нахӯрем",
    "китоб",
    "забони тоҷикӣ",
    "ман ба мактаб меравам",
    "душанбе пойтахти тоҷикистон аст",
    "дӯсти ман",
    "оби равон",
    "хона",
    "шаҳри бузург",
    "рӯзи нав",
    "дарахти себ",
    "ҳаво гарм аст",
    "модарам нон мепазад",
    "имрӯз борон меборад",
    "кӯдакон бозӣ мекунанд",
    "осмони кабуд",
    "муаллим дарс медиҳад",
    "қалам ва дафтар",
    "зиндагӣ зебост",
    "барги сабз",
]

MOLECULES = [
    "CC(=O)Oc1ccccc1C(=O)O",
    "CN1C=NC2=C1C(=O)N(C(=O)N2C)C",
    "CC(C)Cc1ccc(cc1)C(C)C(=O)O",
    "CC(=O)Nc1ccc(O)cc1",
    "CN1CCC[C@H]1c1cccnc1",
    "NCCc1ccc(O)c(O)c1",
    "CNC[C@H](O)c1ccc(O)c(O)c1",
    "NCCc1c[nH]c2ccc(O)cc12",
    "OC(=O)c1ccccc1O",
    "CCN(CC)CC(=O)Nc1c(C)cccc1C",
    "CN1C(=O)CN=C(c2ccccc2)c2cc(Cl)ccc12",
    "CN(C)CCCN1c2ccccc2CCc2ccccc21",
    "COc1ccc2cc(ccc2c1)[C@H](C)C(=O)O",
    "OC(=O)Cc1ccccc1Nc1c(Cl)cccc1Cl",
    "CNCCC(c1ccccc1)Oc1ccc(cc1)C(F)(F)F",
    "Clc1ccccc1CN1CCc2sccc2C1",
    "CC(C)NCC(O)COc1cccc2ccccc12",
    "NC(=O)c1cnccn1",
    "Nc1ccc(cc1)S(=O)(=O)N",
    "C1CCC(CC1)N2CCOCC2",
]


@dataclass(frozen=True)
class Original:
    """A trained model in its own code."""

    package: str
    file: str
    """The state dict, within the package."""
    state: dict[str, Tensor]
    tokens: tuple[list[str], list[str]]
    """Of source and target, by id; padding, BOS and EOS too."""
    joined: str
    """What stands between the tokens of a line."""
    imported: dict[str, Any]
    """The other arguments of `from_state_dict`."""
    logits: Callable[[list[int], list[int]], Tensor]
    """Those of the next tokens (position, vocabulary), from the ids of a source and of the beginning of a target."""
    lines: list[list[str]]
    """Sources to be answered, as tokens."""
    longest: int
    """The largest number of tokens of an answer."""


def download(work: Path) -> dict[str, Path]:
    """Fetch and unpack both wheels; gives the folder of each package."""
    folder = work / "wheels"
    folder.mkdir(parents=True, exist_ok=True)
    requirements = work / "requirements.txt"
    requirements.write_text(REQUIREMENTS, encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
    subprocess.run([*pip, "--require-hashes", "--requirement", requirements, "--dest", folder], check=True)
    found = {}
    for wheel in folder.glob("*.whl"):
        name = wheel.name.partition("-")[0]
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(work / name)
        found[name] = work / name / name
    return found


def tg2fa(package: Path) -> Original:
    """`nn.Transformer` between embeddings and a linear map, as in PyTorch's tutorial on translation."""
    sys.path.insert(0, str(package.parent))
    # The two packages are fetched when this runs, so that the type checker does not have them.
    from tg2fa_translit import decode  # type: ignore[import-not-found]
    from tg2fa_translit.transformer import transformer  # type: ignore[import-not-found]

    def logits(source: list[int], target: list[int]) -> Tensor:
        x, y = (np.array(ids).reshape(-1, 1) for ids in (source, target))
        memory = transformer.encode(x, np.zeros((len(source), len(source)), bool))
        causal = (np.triu(np.ones((len(target), len(target)))) == 0).transpose(1, 0)
        found: Tensor = transformer.generator(transformer.decode(y, memory, causal))[0]
        return found

    file = "model_2.9.zip"
    lines = [*TAJIK, *(f"{first} {then}" for first in TAJIK[:10] for then in TAJIK[10:])]
    return Original(
        "tg2fa-translit 1.0",
        file,
        torch.load(package / file, map_location="cpu", weights_only=True)["model_state_dict"],
        (list(decode.tg_voc), list(decode.fa_voc.values())),
        "",
        {"heads": 8, "kind": "character"},
        logits,
        [list(line) for line in lines],
        longest=120,
    )


class NoClasses(pickle.Unpickler):
    """Opens what consists of dicts, lists, strings and numbers alone."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        raise pickle.UnpicklingError(f"{module_name}.{global_name}: no class is allowed")


def annalog(package: Path) -> Original:
    """Encoder and decoder of Trevett's tutorial."""
    sys.path.insert(0, str(package))  # the package itself would import what it depends on
    # Fetched when this runs, as above.
    from model_files.seq2seq_attention import Decoder, Encoder, Seq2Seq  # type: ignore[import-not-found]
    from model_files.vocabulary import SMILESTokenizer  # type: ignore[import-not-found]

    file, device = "ckpt_and_vocab/Lev_extended.pt", torch.device("cpu")
    with (package / "ckpt_and_vocab/stereo_experiment_vocab_ttf.pkl").open("rb") as vocabulary:
        tokens = NoClasses(vocabulary).load()["itos"]
    state = torch.load(package / file, map_location="cpu", weights_only=True)
    sizes = (256, 3, 8, 512, 0.1, device, 102)  # as in its model_handler.py
    model = Seq2Seq(Encoder(len(tokens), *sizes), Decoder(len(tokens), *sizes), *[tokens.index("<pad>")] * 2, device)
    model.load_state_dict(state)
    model.eval()
    draw = torch.Generator().manual_seed(0)
    lengths = torch.randint(5, 40, (40,), generator=draw).tolist()
    drawn = [torch.randint(4, len(tokens), (length,), generator=draw).tolist() for length in lengths]
    return Original(
        "annalog 1.0.6",
        file,
        state,
        (tokens, tokens),
        " ",
        {"heads": 8, "bos": "<sos>"},
        lambda source, target: model(torch.tensor([source]), torch.tensor([target]))[0][0],
        [*map(SMILESTokenizer().tokenize, MOLECULES), *([tokens[i] for i in line] for line in drawn)],
        longest=90,
    )


def greedy(original: Original, source: list[int], bos: int, eos: int) -> list[int]:
    """The original's most probable token at every step, without BOS and EOS."""
    target = [bos]
    while len(target) <= original.longest:
        token = int(original.logits(source, target)[-1].argmax())
        if token == eos:
            break
        target.append(token)
    return target[1:]


def compare(original: Original, work: Path) -> dict[str, Any]:
    """Both programs' answers, and the largest difference of their logits."""
    translator = from_state_dict(
        original.state,
        source_tokens=original.tokens[0],
        target_tokens=original.tokens[1],
        source_begins=True,
        **original.imported,
    )
    bos, eos = original.imported.get("bos", "<bos>"), "<eos>"
    ids = [{token: i for i, token in enumerate(tokens)} for tokens in original.tokens]
    sources = [[ids[0][token] for token in (bos, *line, eos)] for line in original.lines]
    theirs = [greedy(original, source, ids[1][bos], ids[1][eos]) for source in sources]
    lines = [original.joined.join(line) for line in original.lines]
    decoding = translator.config.decoding.model_copy(
        update={"beam": 1, "max_ratio": 0.0, "max_extra": original.longest}
    )
    zhuyi.save(translator, work / original.package)
    engines = {"torch": translator, "native": zhuyi.load(work / original.package, engine="native")}
    ours = {name: [best[0].text for best in each.hypotheses(lines, decoding)] for name, each in engines.items()}
    answers = [original.joined.join(original.tokens[1][token] for token in line) for line in theirs]
    pairs = [
        logits(translator, original, line, source, [ids[1][bos], *target])
        for line, source, target in zip(lines, sources, theirs, strict=True)
    ]
    return {
        "file": original.file,
        "parameters": sum(weight.size for weight in read_model(work / original.package).weights.values()),
        "lines": len(lines),
        "same": {
            name: sum(one == other for one, other in zip(found, answers, strict=True)) for name, found in ours.items()
        },
        "tokens": sum(len(line) + 1 for line in theirs),
        "unfinished": sum(len(line) == original.longest for line in theirs),
        "largest_logit": max(float(right.abs().max()) for right, _ in pairs),
        "largest_logit_difference": max(float((right - mine).abs().max()) for right, mine in pairs),
        "example": {"source": lines[0], "answer": ours["torch"][0]},
    }


def logits(
    translator: Translator, original: Original, line: str, source: list[int], target: list[int]
) -> tuple[Tensor, Tensor]:
    """The original's logits and the translator's at the positions of an answer, which begins with BOS."""
    assert isinstance(translator.engine, TorchEngine)
    tokens, bos = original.tokens[1], original.imported.get("bos", "<bos>")
    first = [tokens.index(each) for each in ("<pad>", "<unk>", bos, "<eos>")]  # zhuyi's order
    order = [*first, *(i for i in range(len(tokens)) if i not in first)]
    x = torch.tensor([[*translator.tokenizers.source.encode([line])[0], EOS]])
    y = torch.tensor([[order.index(token) for token in target]])
    mine = translator.engine.transformer(x, torch.ones_like(x, dtype=torch.bool), y)[0]
    return original.logits(source, target)[:, order], mine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    work = parser.parse_args().work
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"  # in the originals' own code too
    torch.set_num_threads(1)
    packages = download(work)
    with torch.inference_mode():
        models = {}
        for original in (tg2fa(packages["tg2fa_translit"]), annalog(packages["annalog"])):
            models[original.package] = found = compare(original, work)
            print(f"{original.package}: of {found['lines']} answers the same: {found['same']}")
    print(save("pypi-models", {"machine": describe(threads=1), "numpy": np.__version__, "models": models}))


if __name__ == "__main__":
    main()
