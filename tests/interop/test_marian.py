"""Models of Marian translate as Marian does: its answers for random models were written down (see `marian_models`)."""

import json
import random
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sentencepiece
from interop import marian_models
from interop.marian_models import LINES, SEARCHES, VARIANTS, WORDS, make, parameters, write

import zhuyi
from zhuyi.directory import read_model
from zhuyi.errors import CheckpointError
from zhuyi.interop.importing import import_model
from zhuyi.text.tokenizer import BOS, EOS, UNK

ANSWERS = json.loads((Path(__file__).parents[1] / "fixtures" / "marian.json").read_text())


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["native", "torch"])
@pytest.mark.parametrize("name", VARIANTS)
def test_answers_are_marians(tmp_path: Path, name: str, engine: str) -> None:
    import_model(make(tmp_path / name, **VARIANTS[name]), tmp_path / "model")
    translator = zhuyi.load(tmp_path / "model", engine=engine)
    text = marian_models.lines(LINES[name])
    for (beam, normalize), right in zip(SEARCHES, ANSWERS[name], strict=True):
        decoding = translator.config.decoding.model_copy(update={"beam": beam, "length_penalty": normalize})
        assert [best[0].text for best in translator.hypotheses(text, decoding)] == right


def test_its_parts_are_found(tmp_path: Path) -> None:
    made = make(tmp_path / "opus")
    (made / "LICENSE").write_text("CC-BY 4.0")
    (made / "decoder.yml").write_text(
        "# of OPUS-MT\nrelative-paths: true\nmodels:\n  - ../elsewhere/model.npz\nvocabs:\n  - /data/vocab.yml\n"
        "  - /data/vocab.yml\nbeam-size: 6\nnormalize: 1\nword-penalty: 0\nmax-length-factor: 2\nallow-unk: true\n"
    )
    by_directory = import_model(made, tmp_path / "one")
    by_file = import_model(made / "model.npz", tmp_path / "two")
    assert (by_directory.parameters, by_directory.tokens) == (by_file.parameters, by_file.tokens)
    assert (by_directory.program, by_directory.licence) == ("Marian", "LICENSE")
    zhuyi.save(zhuyi.load(tmp_path / "one", engine="torch"), tmp_path / "three")
    assert {(tmp_path / name / "LICENSE").read_text() for name in ("one", "two", "three")} == {"CC-BY 4.0"}
    assert by_directory.tokens == (WORDS + 2, WORDS + 2)  # PAD and BOS, which Marian has not
    config = zhuyi.load(tmp_path / "one").config
    assert (config.decoding.beam, config.decoding.length_penalty, config.decoding.allow_unknown) == (6, 1.0, True)
    assert (config.decoding.max_ratio, config.decoding.max_extra, config.decoding.stop) == (2.0, 0, "marian")
    assert (config.model.tie, config.model.norm_epsilon, config.text.shared) == ("all", 1e-6, True)
    assert config.text.kind == "whitespace"


def test_the_start_is_a_vector_of_zeros(tmp_path: Path) -> None:
    import_model(make(tmp_path / "one"), tmp_path / "model")
    embedding = read_model(tmp_path / "model").weights["encoder.embedding.weight"]
    assert not embedding[BOS].any()
    assert embedding[EOS].all()


def test_vocabularies_are_given_by_name(tmp_path: Path) -> None:
    made = make(tmp_path / "one", **{"tied-embeddings-all": False})
    (made / "vocab.yml").rename(tmp_path / "words.yml")
    other = "".join(f"v{i}\n" for i in range(2, WORDS))
    (tmp_path / "other.txt").write_text(f"</s>\n<unk>\n{other}")
    with pytest.raises(CheckpointError, match="--vocabulary"):
        import_model(made, tmp_path / "model")
    import_model(made, tmp_path / "model", vocabularies=[tmp_path / "words.yml", tmp_path / "other.txt"])
    tokenizers = zhuyi.load(tmp_path / "model").tokenizers
    [source], [target] = tokenizers.source.encode(["w7 v7"]), tokenizers.target.encode(["w7 v7"])
    assert (source[1], target[0], source[0]) == (UNK, UNK, target[1])
    import_model(made, tmp_path / "model", vocabularies=[tmp_path / "words.yml"])
    assert zhuyi.load(tmp_path / "model").tokenizers.shared


def test_what_is_tied_need_not_have_one_vocabulary(tmp_path: Path) -> None:
    made = make(tmp_path / "one")
    (made / "other.yml").write_text((made / "vocab.yml").read_text().replace("w", "v"))
    import_model(made, tmp_path / "model", vocabularies=[made / "vocab.yml", made / "other.yml"])
    translator = zhuyi.load(tmp_path / "model")
    assert translator.config.model.tie == "output"
    import_model(made, tmp_path / "same", vocabularies=[made / "vocab.yml"])
    text = marian_models.lines(5)
    assert translator.translate(text) == [
        line.replace("w", "v") for line in zhuyi.load(tmp_path / "same").translate(text)
    ]


def trained(path: Path, size: int) -> sentencepiece.SentencePieceProcessor:
    """As Marian trains one."""
    text = [" ".join(random.Random(i).choices(["bana", "nab", "anba", "naba", "ban"], k=8)) for i in range(50)]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(text),
        model_prefix=str(path.with_suffix("")),
        vocab_size=size,
        hard_vocab_limit=False,
        bos_id=-1,
        eos_id=0,
        unk_id=1,
        minloglevel=2,
    )
    path.with_suffix(".model").rename(path)
    return sentencepiece.SentencePieceProcessor(str(path))


@pytest.mark.parametrize("looked_up", [False, True])
def test_sentencepiece_beside_the_model(tmp_path: Path, looked_up: bool) -> None:
    made = tmp_path / "one"
    made.mkdir()
    pieces = trained(made / "vocab.spm", 20)
    rows = [pieces.id_to_piece(i) for i in range(len(pieces))]
    if looked_up:  # OPUS-MT: a list for both sides, a model for each
        rows = ["</s>", "<unk>", ">>fra<<", *rows[:1:-1]]
        (made / "opus.vocab.yml").write_text("".join(f'"{piece}": {i}\n' for i, piece in enumerate(rows)))
        (made / "vocab.spm").rename(made / "source.spm")
        (made / "target.spm").write_bytes((made / "source.spm").read_bytes())
    arrays = parameters()
    for name in ("Wemb", "decoder_ff_logit_out_b"):
        arrays[name] = arrays[name].reshape(WORDS, -1)[: len(rows)].reshape(*([-1, 32] if name == "Wemb" else [1, -1]))
    write(made, arrays)
    (made / "vocab.yml").unlink()
    import_model(made, tmp_path / "model")
    translator = zhuyi.load(tmp_path / "model")
    assert translator.config.text.kind == "unigram"
    line = "banana naba >>fra<<"
    [ids] = translator.tokenizers.source.encode([line])
    right = [UNK if piece not in rows else piece for piece in pieces.encode(line, out_type=str)]
    assert [UNK if i == UNK else translator.tokenizers.source.pieces([i])[0] for i in ids] == right
    embedding = read_model(tmp_path / "model").weights["encoder.embedding.weight"]
    row = rows.index(pieces.id_to_piece(2))
    ours = translator.tokenizers.source.names.index(rows[row])
    assert sorted(embedding[ours]) == sorted(arrays["Wemb"][row])


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"type": "s2s"}, "type = 's2s'"),
        ({"type": "multi-transformer"}, "type = 'multi-transformer'"),
        ({"dim-vocabs": [9, 9, 9]}, "dim-vocabs"),
        ({"transformer-decoder-autoreg": "rnn"}, "transformer-decoder-autoreg = 'rnn'"),
        ({"transformer-decoder-autoreg": "average-attention"}, "transformer-decoder-autoreg"),
        ({"transformer-tied-layers": [1, 1]}, "transformer-tied-layers = '1 1'"),
        ({"transformer-ffn-activation": "gelu"}, "transformer-ffn-activation = 'gelu'"),
        ({"transformer-ffn-depth": 3}, "transformer-ffn-depth = '3'"),
        ({"transformer-decoder-dim-ffn": 7}, "transformer-decoder-dim-ffn = '7'"),
        ({"transformer-no-projection": True}, "transformer-no-projection"),
        ({"transformer-preprocess": "n"}, "transformer-preprocess = 'n'"),
        ({"transformer-postprocess": "dhn"}, "transformer-postprocess = 'dhn'"),
        ({"transformer-postprocess": "dn"}, "transformer-postprocess = 'dn'"),
        ({"transformer-postprocess-emb": "r"}, "transformer-postprocess-emb = 'r'"),
        ({"transformer-postprocess-top": "an"}, "transformer-postprocess-top = 'an'"),
        ({"transformer-train-positions": True}, "transformer-train-positions"),
        ({"right-left": True}, "right-left"),
        ({"lemma-dim-emb": 8}, "lemma-dim-emb = '8'"),
        ({"tied-embeddings": "[maybe]"}, "tied-embeddings"),
        ({"dim-emb": 31}, "width"),
        ({"dim-emb": "1e9"}, "dim-emb"),
        ({"dim-emb": 64}, "weights are not those .* has shape"),
        ({"dim-emb": 31, "transformer-heads": 1}, "model.width = 31 is odd"),
        ({"transformer-heads": 0}, "heads"),
        ({"enc-depth": 900}, "encoder_l3_self_Wq is missing"),
        ({"dec-depth": 1}, "decoder_l2_self_Wq has no counterpart"),
        ({"dim-vocabs": "{a: b}"}, "line 2"),
    ],
)
def test_what_zhuyi_has_not_is_named(tmp_path: Path, settings: dict[str, Any], what: str) -> None:
    made = write(tmp_path / "one", parameters(), **settings)
    with pytest.raises(CheckpointError, match=what) as caught:
        import_model(made, tmp_path / "model")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("decoder.yml", "models: [a.npz, b.npz]\n", "models"),
        ("decoder.yml", "models: [a.npz]\n", "a.npz: no such file"),
        ("decoder.yml", "models: [../..]\n", "no such file"),
        ("decoder.yml", "vocabs: [a.yml]\n", "a.yml: no such vocabulary"),
        ("decoder.yml", "vocabs: [a.yml, b.yml, c.yml]\n", "3 vocabularies"),
        ("decoder.yml", "word-penalty: 0.5\n", "word-penalty = '0.5'"),
        ("decoder.yml", "beam-size: -1\n", "beam-size = '-1'"),
        ("decoder.yml", "normalize: nan\n", "normalize = 'nan'"),
        ("decoder.yml", "a: &x [*x]\n", "line 1"),
        ("decoder.yml", "a: [" + "[" * 100_000 + "]", "line 1"),
        ("vocab.yml", "<unk>: 1\nw2: 2\na: 0\n", "has no </s>"),
        ("vocab.yml", "</s>: 0\na: 1\n", "has no <unk>"),
    ],
)
def test_what_lies_beside_it_is_checked(tmp_path: Path, name: str, text: str, what: str) -> None:
    made = make(tmp_path / "one")
    (made / name).write_text(text)
    with pytest.raises(CheckpointError, match=what) as caught:
        import_model(made, tmp_path / "model")
    assert "\n" not in str(caught.value)


def header(shape: str, kind: str = "<f4") -> bytes:
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (header("(1000000000, 512)") + b"1234", "not as many numbers"),
        (header("(-1,)") + b"1234", "not an array of numbers"),
        (header("(1,)", "|O") + b"1234", "not an array of numbers"),
        (header("(1,)", "<U1") + b"1234", "not an array of numbers"),
        (header("(" + "9" * 4000 + ",)") + b"1234", "not an array of numbers"),
        (header("(1,)") + b"123", "not as many numbers"),
        (b"", "not an array of numbers"),
        (header("()") + b"\0" * 4, "Wemb is missing"),
    ],
)
def test_an_array_that_lies(tmp_path: Path, data: bytes, what: str) -> None:
    made = make(tmp_path / "one")
    with zipfile.ZipFile(made / "model.npz") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(made / "model.npz", "w") as archive:
        for name, content in {**members, "Wemb.npy": data}.items():
            archive.writestr(name, content)
    with pytest.raises(CheckpointError, match=what):
        import_model(made, tmp_path / "model")


def test_a_zip_bomb(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("Wemb.npy", header("(8000000,)") + bytes(32_000_000))
    with pytest.raises(CheckpointError, match="more than weights can be packed"):
        import_model(path, tmp_path / "model")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("Wemb.npy", header("(1,)") + bytes(4))
    with pytest.raises(CheckpointError, match="packed in a way"):
        import_model(path, tmp_path / "model")
    path.write_bytes(b"PK")
    with pytest.raises(CheckpointError, match="not readable"):
        import_model(path, tmp_path / "model")
    np.savez(path, Wemb=np.zeros(3))
    with pytest.raises(CheckpointError, match="not a model of Marian"):
        import_model(path, tmp_path / "model")


def test_packed_archives_are_read(tmp_path: Path) -> None:
    made = make(tmp_path / "one")
    with np.load(made / "model.npz") as arrays:
        np.savez_compressed(made / "model.npz", **{name: np.asfortranarray(arrays[name]) for name in arrays.files})
    import_model(made, tmp_path / "model")
    import_model(make(tmp_path / "two"), tmp_path / "same")
    text = marian_models.lines(5)
    assert zhuyi.load(tmp_path / "model").translate(text) == zhuyi.load(tmp_path / "same").translate(text)
