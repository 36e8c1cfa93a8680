"""Marian (Junczys-Dowmunt et al. 2018): a `.npz` with its options inside, as of OPUS-MT and the Tatoeba Challenge.

The architecture is the paper's, with these differences (marian-dev, `models/transformer.h`):

    positions    tensor2tensor's wavelengths, all sines first, then all cosines
    start        a vector of zeros: BOS, which no source has, is a row of zeros
    matrices     (in, out), so they are transposed; biases and norms are (1, n)
    operations   after each sublayer, and after embeddings and stacks: d dropout, a add, n or r norm
    output       an embedding's matrix where it is tied, and a bias

Its search is the one that the decoder's options say (`decoder.yml`), with Marian's own defaults where they say nothing.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from zhuyi.config import ModelConfig
from zhuyi.errors import CheckpointError
from zhuyi.hub import licence_of
from zhuyi.interop.families.foreign import Foreign, Text, architecture
from zhuyi.interop.families.marian_options import Options, model_settings, search_settings
from zhuyi.interop.families.weights import Arrays, Weights, rows_of
from zhuyi.interop.reading.files import read_bytes
from zhuyi.interop.reading.tensors import read_npz
from zhuyi.interop.tokenizers import sentencepiece
from zhuyi.interop.tokenizers.vocabulary import MOST_PIECES, Vocabulary, is_language_tag, read_pieces, word_tokenizer
from zhuyi.text.tokenizer import EOS, Tokenizer, Tokenizers

OPTIONS = "special:model.yml"
LARGEST_OPTIONS = 1 << 20
YAML = (".yml", ".yaml", ".json")
"""Suffixes of vocabularies with ids; `.spm` is SentencePiece's, others have a token a line."""

ATTENTION = {"query": "q", "key": "k", "value": "v", "output": "o"}
SUBLAYERS = {
    "mixer": ("{side}_l{layer}_self", "{side}_l{layer}_self_Wo"),
    "cross": ("{side}_l{layer}_context", "{side}_l{layer}_context_Wo"),
    "feed_forward": ("{side}_l{layer}_ffn", "{side}_l{layer}_ffn_ffn"),
}
"""By our names: what begins the names of the maps, and of the norm."""


def recognises(path: Path) -> bool:
    """Whether this is such a file, or a directory with one."""
    return path.suffix == ".npz" if path.is_file() else next(path.glob("*.npz"), None) is not None


def read(path: Path, vocabularies: Sequence[Path] = ()) -> Foreign:
    """The model in a file or directory.

    Args:
        path: `model.npz`, or the directory that it lies in, with vocabularies and the decoder's options.
        vocabularies: of source and target (`.yml`, `.json`, `.spm` or lines of text), or one of both, where they do not
            lie beside the model under the names in the decoder's options.

    Raises:
        CheckpointError: naming the file, and what is missing, damaged or has no counterpart.
    """
    directory = path if path.is_dir() else path.parent
    decoder = _decoder_options(directory, path)
    file = path if path.is_file() else _model_in(path, decoder)
    arrays = read_npz(file)
    if OPTIONS not in arrays:
        raise CheckpointError(f"{file}: has no {OPTIONS}: not a model of Marian")
    written = Options.parse(f"{file}: {OPTIONS}", arrays.pop(OPTIONS).tobytes()[:LARGEST_OPTIONS])
    arrays = {name: array for name, array in arrays.items() if not name.startswith("special:")}
    theirs = Weights(arrays, str(file))
    model = model_settings(written)
    embeddings = _embeddings(written)
    sizes = [theirs.rows(name) for name in embeddings]
    text = _text(directory, decoder, vocabularies, sizes, _is_tied(written, "tied-embeddings-src"))
    decoding, longest = search_settings(decoder)
    model |= {"tie": _tie(written, text), "max_length": longest}
    weights = _weights(theirs, architecture(model, written.where), text, embeddings)
    return Foreign("Marian", model, text, weights, decoding, sines_first=True, licence=licence_of(directory))


def _decoder_options(directory: Path, path: Path) -> Options:
    """What the decoder was configured with: `decoder.yml`, or what training writes beside a model."""
    names = ["decoder.yml", *([f"{path.name}.decoder.yml"] if path.is_file() else ["model.npz.decoder.yml"])]
    for name in names:
        if (directory / name).is_file():
            return Options.parse(str(directory / name), read_bytes(directory / name, LARGEST_OPTIONS))
    return Options(str(directory), {})


def _model_in(directory: Path, decoder: Options) -> Path:
    """The one model in a directory."""
    named = [_beside(directory, name) for name in decoder.several("models")]
    if len(named) > 1:
        raise decoder.unsupported("models")
    found = named or sorted(directory.glob("*.npz"))
    if len(found) > 1 and directory / "model.npz" in found:
        found = [directory / "model.npz"]
    if len(found) != 1:
        several = f"several models ({', '.join(each.name for each in found[:5])}): name the file of one"
        raise CheckpointError(f"{directory}: {several if found else 'no model of Marian (.npz)'}")
    if not found[0].is_file():
        raise CheckpointError(f"{found[0]}: no such file, which {decoder.where} names")
    return found[0]


def _beside(directory: Path, name: str) -> Path:
    """The file of this name in the directory, wherever it lay when the model was trained."""
    return directory / (name.replace("\\", "/").rsplit("/", 1)[-1] or ".")


def _is_tied(written: Options, key: str) -> bool:
    """Whether the embeddings of both sides, or of the target and the output, are one."""
    return written.flag(key) or written.flag("tied-embeddings-all")


def _embeddings(written: Options) -> tuple[str, str]:
    """The names of the embeddings of source and target."""
    return ("Wemb", "Wemb") if _is_tied(written, "tied-embeddings-src") else ("encoder_Wemb", "decoder_Wemb")


def _text(directory: Path, decoder: Options, vocabularies: Sequence[Path], sizes: Sequence[int], shared: bool) -> Text:
    files = _vocabulary_files(directory, decoder, vocabularies)
    engines = [directory / f"{side}.spm" for side in ("source", "target")]
    sides = [
        _side(file, size, engine if engine.is_file() else None)
        for file, size, engine in zip(files, sizes, engines, strict=True)
    ]
    if files[0] == files[1] and sides[0][2] == sides[1][2] and not any(engine.is_file() for engine in engines):
        sides[1] = sides[0]
    (one, source, of_source), (other, target, of_target) = sides
    tokenizers = Tokenizers(one, other)
    kinds = {"source_kind": of_source["kind"], "target_kind": of_target["kind"]}
    is_shared = shared and tokenizers.shared and of_source["kind"] == of_target["kind"]
    return Text(tokenizers, source, target, {**of_source, **kinds, "shared": is_shared})


def _vocabulary_files(directory: Path, decoder: Options, given: Sequence[Path]) -> tuple[Path, Path]:
    found = list(given) or [_beside(directory, name) for name in decoder.several("vocabs")]
    if not found:
        found = [file for file in sorted(directory.glob("*vocab*")) if file.suffix in (*YAML, ".spm")]
        if len(found) != 1:
            raise CheckpointError(f"{directory}: does not say which its vocabularies are: name them by --vocabulary")
    if len(found) > 2:
        raise CheckpointError(
            f"{directory}: {len(found)} vocabularies: name one of the source and one of the target, or one of both"
        )
    if factors := next((file for file in found if file.suffix == ".fsv"), None):
        raise CheckpointError(f"{factors}: factors have no counterpart in zhuyi")
    if missing := next((file for file in found if not file.is_file()), None):
        raise CheckpointError(f"{missing}: no such vocabulary: name the files by --vocabulary")
    return found[0], found[-1]


def _side(file: Path, rows: int, engine: Path | None) -> tuple[Tokenizer, Vocabulary, dict[str, Any]]:
    """The tokenizer, the vocabulary and the settings of one side, whose matrix has so many rows."""
    if rows > MOST_PIECES:
        raise CheckpointError(f"{file}: {rows:,} tokens are too many: at most {MOST_PIECES:,} can be")
    if file.suffix == ".spm":
        model = sentencepiece.read(file)
        if len(model.pieces) != rows:
            raise CheckpointError(f"{file}: has {len(model.pieces):,} pieces, but the model has {rows:,} rows")
        ends = {"eos": model.names["eos"]}  # what begins an output is no token in Marian
        vocabulary = replace(model, names=ends).vocabulary
        if vocabulary.rows[EOS] is None:
            raise CheckpointError(f"{file}: has no </s>")
        return sentencepiece.tokenizer(model, vocabulary), vocabulary, dict(sentencepiece.settings(model))
    pieces = read_pieces(file)[:rows]
    pieces += [None] * (rows - len(pieces))
    eos, unk = (_required(file, pieces, *each) for each in (("</s>", 0, "eos"), ("<unk>", 1, "UNK")))
    if engine is None:
        vocabulary = Vocabulary.of(file, pieces, unk=unk, eos=eos)
        return word_tokenizer(vocabulary), vocabulary, {"kind": "whitespace", "normalization": "none"}
    model = sentencepiece.read(engine)
    tags = [row for row, piece in enumerate(pieces) if is_language_tag(piece)]
    vocabulary = Vocabulary.of(file, pieces, unk=unk, eos=eos, special=tags)
    settings = {**sentencepiece.settings(model), "tags": [pieces[row] for row in tags]}
    return sentencepiece.tokenizer(model, vocabulary), vocabulary, settings


def _required(file: Path, pieces: Sequence[str | None], name: str, row: int, older: str) -> int:
    """The row of a token that each vocabulary has; in YAML of Nematus it has another name, or none."""
    if file.suffix in YAML and row < len(pieces) and pieces[row] in (None, older):
        return row
    if name not in pieces:
        raise CheckpointError(f"{file}: has no {name}")
    return pieces.index(name)


def _weights(theirs: Weights, config: ModelConfig, text: Text, embeddings: tuple[str, str]) -> Arrays:
    """All weights of a model, by our names."""
    ours = {**_maps_and_norms(theirs, config), **_matrices(theirs, config, text, embeddings)}
    if config.output_bias:
        ours["projection.bias"] = rows_of(theirs.take("decoder_ff_logit_out_b").flatten(), text.target)
    theirs.ensure_all_taken()
    return ours


def _tie(written: Options, text: Text) -> str:
    """What is one matrix. Without one vocabulary, a matrix that Marian has once for both sides stands twice."""
    if not _is_tied(written, "tied-embeddings"):
        return "none"
    return "all" if text.settings["shared"] else "output"


def _matrices(theirs: Weights, config: ModelConfig, text: Text, embeddings: tuple[str, str]) -> Arrays:
    """Embeddings, and the projection where it is no embedding."""
    source, target = (theirs.take(name) for name in embeddings)
    ours = {"encoder.embedding.weight": rows_of(source, text.source)}
    if not config.ties_embeddings:
        ours["decoder.embedding.weight"] = rows_of(target, text.target)
    if not config.ties_output:
        is_transposed = theirs.has("decoder_ff_logit_out_W")  # by older versions
        name = "decoder_ff_logit_out_W" if is_transposed else "decoder_ff_logit_out_Wt"
        matrix = theirs.take(name)
        ours["projection.weight"] = rows_of(matrix.T if is_transposed else matrix, text.target)
    return ours


def _maps_and_norms(theirs: Weights, config: ModelConfig) -> Arrays:
    ours: Arrays = {}
    for our, (matrix, bias) in names(config).items():
        ours[f"{our}.weight"] = theirs.take(matrix).T if not our.endswith("norm") else theirs.take(matrix).flatten()
        if bias is not None:
            ours[f"{our}.bias"] = theirs.take(bias).flatten()
    return ours


def names(config: ModelConfig) -> dict[str, tuple[str, str | None]]:
    """The names of a model's maps and norms: ours, without `.weight` and `.bias` → Marian's of weight and bias."""

    def norm(prefix: str, suffix: str = "") -> tuple[str, str | None]:
        kind = "ln" if config.norm_kind == "layer" else "rms"
        return f"{prefix}_{kind}_scale{suffix}", f"{prefix}_ln_bias{suffix}" if kind == "ln" else None

    found: dict[str, tuple[str, str | None]] = {}
    for side, layers in (("encoder", config.encoder_layers), ("decoder", config.decoder_layers)):
        for layer in range(layers):
            block = f"{side}.blocks.{layer}"
            for part, (maps, norms) in SUBLAYERS.items():
                if part == "cross" and side == "encoder":
                    continue
                prefix = maps.format(side=side, layer=layer + 1)
                inner = ATTENTION if part != "feed_forward" else {"inner": "1", "outer": "2"}
                found |= {f"{block}.{part}.{our}": (f"{prefix}_W{x}", f"{prefix}_b{x}") for our, x in inner.items()}
                found[f"{block}.{part}_residual.norm"] = norm(norms.format(side=side, layer=layer + 1))
        if config.embedding_norm:
            found[f"{side}.embedding_norm"] = norm(f"{side}_emb", "_pre")
        if config.final_norm:
            found[f"{side}.norm"] = norm(f"{side}_top")
    return found
