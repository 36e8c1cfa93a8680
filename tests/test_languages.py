"""One model, several languages: what stands before and after every line, from the data to the page."""

import json
import random
from pathlib import Path

import pytest
import torch
from command_line import TINY, write_pairs
from command_line import zhuyi as run

import zhuyi
from zhuyi.checkpoint import build_model, save_model
from zhuyi.config import TEMPLATE, TextConfig, build_config
from zhuyi.data.prepare import prepare
from zhuyi.errors import ConfigError
from zhuyi.microscope.trace import WhatIf
from zhuyi.text.template import Template, with_languages
from zhuyi.text.tokenizer import EOS, Tokenizer, Tokenizers
from zhuyi.translator import Translator

TAGS = (">>iso<<", ">>us<<")
NLLB = TextConfig(
    vocabulary=320,
    tags=("<eng_Latn>", "<fra_Latn>", "<zho_Hans>", "<zho_Hant>"),
    source_prefix=("<eng_Latn>",),
    target_prefix=("<fra_Latn>",),
)


def dates(path: Path, count: int, seed: int) -> None:
    """Days and months, and both in two forms; a line's tag says which."""
    rng = random.Random(seed)
    days = [(rng.randint(1, 31), rng.randint(1, 12)) for _ in range(count)]
    forms = [rng.choice(TAGS) for _ in days]
    sources = [f"{form} {day}.{month}." for form, (day, month) in zip(forms, days, strict=True)]
    targets = [
        f"{month:02}-{day:02}" if form == ">>iso<<" else f"{month}/{day}"
        for form, (day, month) in zip(forms, days, strict=True)
    ]
    path.with_suffix(".source").write_text("".join(f"{line}\n" for line in sources), encoding="utf-8")
    path.with_suffix(".target").write_text("".join(f"{line}\n" for line in targets), encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pairs, and a model that was trained on them for a few seconds."""
    folder = tmp_path_factory.mktemp("dates")
    dates(folder / "train", 600, 1)
    dates(folder / "dev", 20, 2)
    settings = {
        **{f"data.{side}": str(folder / f"train.{side}") for side in ("source", "target")},
        **{f"data.dev_{side}": str(folder / f"dev.{side}") for side in ("source", "target")},
        **{"text.kind": "character", "text.tags": list(TAGS), "text.source_prefix": [">>iso<<"]},
        **{"model.width": 64, "model.feed_forward": 128, "model.encoder_layers": 1, "model.decoder_layers": 1},
        **{"model.max_length": 16, "model.dropout": 0.0, "decoding.beam": 2},
        **{"training.steps": 150, "training.tokens_per_batch": 600, "training.metric": "exact"},
        **{"training.learning_rate": 0.005, "training.warmup": 20},
    }
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    done = run("train", "--out", folder / "model", *words)
    assert done.code == 0, done.err
    return folder


@pytest.fixture(scope="module")
def model(folder: Path) -> Translator:
    return zhuyi.load(folder / "model", device="cpu", engine="torch")


@pytest.mark.slow
def test_the_tag_decides_the_form(folder: Path, model: Translator) -> None:
    sources = [f"{day}.{month}." for day in (3, 17, 28) for month in (2, 7, 11)]
    iso, us = (model.translate(sources, to=to) for to in ("iso", "us"))
    assert all("-" in each for each in iso)
    assert all("/" in each for each in us)
    assert model.translate(sources) == iso
    assert model.translate([f">>us<<{source}" for source in sources]) == us
    assert model.with_languages("us").translate([f" >>iso<< {source}" for source in sources]) == iso
    typed = "".join(f"{source}\n" for source in sources).encode()
    assert run("translate", folder / "model", "--to", "us", stdin=typed).out.split() == us
    native = zhuyi.load(folder / "model", device="cpu", engine="native").with_languages("us")
    assert [best[0].text for best in native.hypotheses(sources)] == us
    saved = folder / "saved"
    zhuyi.save(model.with_languages("us"), saved)
    assert zhuyi.load(saved, device="cpu").translate(sources) == us


@pytest.mark.slow
def test_scores_are_of_the_tags_of_the_lines_or_of_the_command(folder: Path, tmp_path: Path) -> None:
    tagged = run("evaluate", folder / "model", "--source", folder / "dev.source", "--target", folder / "dev.target")
    assert tagged.code == 0, tagged.err
    lines = [(folder / f"dev.{side}").read_text(encoding="utf-8").splitlines() for side in ("source", "target")]
    pairs = zip(*lines, strict=True)
    us = [(source.removeprefix(">>us<<"), target) for source, target in pairs if source.startswith(">>us<<")]
    for side, lines in zip(("source", "target"), zip(*us, strict=True), strict=True):
        (tmp_path / side).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    files = ("--source", tmp_path / "source", "--target", tmp_path / "target", "--metric", "exact", "--json")
    found = {to: json.loads(run("evaluate", folder / "model", *files, "--to", to).out) for to in ("iso", "us")}
    assert found["us"]["scores"]["exact"]["value"] > found["iso"]["scores"]["exact"]["value"] == 0
    assert found["us"]["loss"] < found["iso"]["loss"]


# What stands around a line


def test_every_line_stands_within_its_template() -> None:
    text = NLLB.model_copy(update={"tags": (*NLLB.tags, ">>fra<<", ">>deu<<")})
    text = text.model_copy(update={"source_prefix": ("<eng_Latn>", ">>fra<<")})
    plain = Tokenizers.train(text, ["a dog", ">>deu<< two"], ["un chien"])
    templated = plain.with_templates_of(text)
    assert templated.shared
    assert templated.files() == plain.files()
    assert not any("deu" in piece for piece in plain.source.pieces(range(len(plain.source))) if piece != ">>deu<<")
    pieces = [templated.source.pieces(tokens) for tokens in templated.source.encode(["a dog", ">>deu<< a dog", ""])]
    own = plain.source.pieces(plain.source.encode(["a dog"])[0])
    assert pieces[0] == ["<eng_Latn>", ">>fra<<", *own]
    assert pieces[1] == [">>deu<<", "<eng_Latn>", *own]
    assert pieces[2] == []
    (target,) = templated.target.encode([">>deu<< a"])
    assert templated.target.pieces(target)[:1] == ["<fra_Latn>"]
    assert templated.target.decode([target, target[1:]]) == [">>deu<< a"] * 2


@pytest.mark.parametrize("kind", ["bpe", "unigram", "character", "whitespace", "bytes"])
def test_no_text_makes_a_tag(kind: str) -> None:
    lines = ["a >>fra<< dog", "<fra> <zh-Hans>", "<fra>", "<a.b>"] * 3
    tags = (">>fra<<", "<fra>", "<zh-Hans>", "<a.b>")
    tokenizer = Tokenizer.train(lines, kind, 400, False, tags=tags)
    made = {tag: tokenizer.find(tag) for tag in tags}
    assert sorted(made.values()) == list(range(len(tokenizer) - 4, len(tokenizer)))
    assert not {*made.values()} & {token for line in tokenizer.encode([*lines, *tags]) for token in line}
    assert tokenizer.decode(tokenizer.encode(lines)) == lines
    assert tokenizer.with_template(Template(tags=tuple(made.values()))).decode(
        [[*made.values(), *tokenizer.encode(["a"])[0]]]
    ) == ["a"]


@pytest.mark.parametrize("tag", ["fra", "__fra__", ">>", "<_>", "<a b>", "<pad>", "<mask>", "<0x41>"])
def test_a_tag_that_a_text_could_have_is_refused(tag: str) -> None:
    with pytest.raises(ConfigError, match=r"text.tags: .* could be text, or another token"):
        Tokenizers.train(TextConfig(tags=(tag,)), ["a"], ["b"])


@pytest.mark.parametrize("key", TEMPLATE)
def test_a_piece_that_the_vocabulary_lacks_is_refused_before_training(key: str, tmp_path: Path) -> None:
    source, target = write_pairs(tmp_path)
    words = [
        "--source",
        source,
        "--target",
        target,
        "--out",
        tmp_path / "out",
        "--set",
        f'text.{key}=[">>ita<<", "</s>"]',
    ]
    done = run("train", *words, "--set", 'text.tags=[">>fra<<"]', "--set", "text.vocabulary=300")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert f"text.{key}: '>>ita<<' is not in the vocabulary of the {key.partition('_')[0]}" in done.err
    assert not (tmp_path / "out" / "manifest.json").exists()


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"text": {"source_prefix": ">>fra<<"}}, "text.source_prefix = '>>fra<<' is not a list of pieces"),
        ({"text": {"tags": ["<a>", "<a>"]}}, "text.tags names <a> twice"),
        ({"text": {"target_prefix": [""]}}, "text.target_prefix has an empty piece"),
        ({"text": {"source_prefix": ["a"]}, "model": {"shape": "encoder"}}, "text.source_prefix is of pairs"),
        ({"text": {"tags": ["<a>"]}, "model": {"shape": "decoder"}, "data": {"text": "any"}}, "text.tags is of pairs"),
        ({"text": {"source_suffix": ["a"]}}, 'text.source_suffix has no "</s>"'),
        ({"text": {"source_suffix": ["</s>"]}, "model": {"shape": "decoder"}}, "text.source_suffix needs an encoder"),
        ({"text": {"source_prefix": ["a"] * 7}, "model": {"max_length": 8}}, "text.source_prefix has too many pieces"),
    ],
)
def test_what_cannot_stand_around_a_line(settings: dict[str, dict[str, object]], named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        build_config(settings)


@pytest.mark.parametrize("piece", ["<pad>", "<unk>", "<s>", "</s>"])
def test_special_tokens_cannot_begin_a_target(piece: str) -> None:
    text = TextConfig(target_prefix=(piece,))
    with pytest.raises(ConfigError, match=f"text.target_prefix: {piece} cannot stand there"):
        Tokenizers.train(text, ["a"], ["b"]).with_templates_of(text)


# Languages by name


@pytest.mark.parametrize(
    ("tags", "language", "found"),
    [
        ((">>fra<<", ">>deu<<"), "fra", (">>fra<<", "▁x")),
        (("__fr__", "__de__"), "de", "__de__"),
        (("fr_XX", "de_DE"), "fr", "fr_XX"),
        (("fr_XX", "de_DE"), "fr_XX", "fr_XX"),
        (("<fra>", "<fra_Latn>"), "fra", "<fra>"),
    ],
)
def test_a_language_is_found_by_its_name(tags: tuple[str, ...], language: str, found: str | tuple[str, ...]) -> None:
    text = with_languages(TextConfig(tags=tags, source_prefix=("▁x",)), language, None)
    assert found in (text.source_prefix, *text.target_prefix)


def test_each_language_takes_the_place_of_its_own() -> None:
    text = with_languages(NLLB, "zho_Hans", "fra")
    assert (text.source_prefix, text.target_prefix) == (("<fra_Latn>",), ("<zho_Hans>",))
    after = NLLB.model_copy(update={"source_prefix": (), "source_suffix": ("</s>", "<eng_Latn>")})
    assert with_languages(after, None, "fra").source_suffix == ("</s>", "<fra_Latn>")
    text = TextConfig(tags=(">>fra<<", ">>deu<<", "<en>"), source_prefix=("<s>", "<en>", ">>deu<<"))
    assert with_languages(text, "fra", None).source_prefix == (">>fra<<", "<s>", "<en>")
    assert with_languages(text, None, "en").source_prefix == text.source_prefix


@pytest.mark.parametrize(
    ("text", "to", "source", "named"),
    [
        (NLLB, "ita", None, "--to ita: is no language of this model: eng_Latn, fra_Latn, zho_Hans, zho_Hant"),
        (NLLB, "zho", None, "--to zho: is more than one language of this model: zho_Hans, zho_Hant"),
        (NLLB, "", None, "--to : is no language"),
        (TextConfig(), "fra", None, "--to fra: this model has no tags for that"),
        (TextConfig(tags=(">>fra<<",)), None, "eng", "--from-language eng: this model has no tags for that"),
        (TextConfig(tags=tuple(f"<l{i}>" for i in range(30))), "x", None, r"l0, .*, l19, \.\.\. \(30 in all\)"),
    ],
)
def test_an_unknown_language_is_one_line(text: TextConfig, to: str | None, source: str | None, named: str) -> None:
    with pytest.raises(ConfigError, match=named) as error:
        with_languages(text, to, source)
    assert "\n" not in str(error.value)


# In use


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with random weights, whose targets begin with their language."""
    config = build_config({**TINY, "text": NLLB.model_dump(exclude_unset=True)})
    tokenizers = Tokenizers.train(config.text, ["a dog runs", "two cats"], ["un chien", "deux chats"])
    torch.manual_seed(1)
    model = build_model(config, tokenizers.with_templates_of(config.text))
    with torch.no_grad():
        for parameter in model.transformer.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.3)
    save_model(model, directory := tmp_path_factory.mktemp("many") / "model")
    return directory


def test_both_engines_begin_with_the_language_and_leave_it_out_of_the_text(many: Path) -> None:
    lines = ["a dog", "", "two cats run"]
    native, exact = (zhuyi.load(many, device="cpu", engine=engine) for engine in ("native", "torch"))
    for to in (None, "eng", "zho_Hant"):
        ours, theirs = (each.with_languages(to).hypotheses(lines) for each in (native, exact))
        assert [best[0].text for best in ours] == [best[0].text for best in theirs]
        assert [best[0].pieces for best in ours] == [best[0].pieces for best in theirs]
        tag = exact.with_languages(to).config.text.target_prefix[0]
        assert [best[0].pieces[:1] for best in theirs] == [[tag], [], [tag]]
        assert not any("Latn" in best[0].text for best in theirs)
    assert native.loss(lines, lines) == pytest.approx(exact.loss(lines, lines), abs=1e-4)
    assert exact.loss(["a"], ["b"]) != exact.with_languages("eng").loss(["a"], ["b"])
    assert exact.translate(lines, to="eng", from_language="fra") == exact.with_languages("eng", "fra").translate(lines)
    done = run("translate", many, "--to", "ita", stdin=b"a\n")
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)


def test_a_trace_has_the_language_on_both_sides(many: Path) -> None:
    translator = zhuyi.load(many, device="cpu", engine="torch")
    trace = zhuyi.look(translator, "a dog", target="un chien")
    english, french, chinese = (
        translator.tokenizers.target.find(f"<{each}>") for each in ("eng_Latn", "fra_Latn", "zho_Hans")
    )
    assert trace.given == 1
    assert (trace.source[0], trace.source[-1]) == (english, EOS)
    assert trace.replay.target_out[0] == trace.reference.target_out[0] == french
    assert trace.difference < 1e-4
    assert trace.output == translator.translate(["a dog"])[0]
    assert float(trace.reference.losses.mean()) == pytest.approx(translator.loss(["a dog"], ["un chien"]), abs=1e-5)
    other = zhuyi.look(translator, "a dog", what_if=WhatIf(prefix=(chinese,)))
    assert other.replay.target_out[0] == chinese
    assert other.output == translator.translate(["a dog"], to="zho_Hans")[0]


def test_the_data_of_a_run_stand_within_their_templates(tmp_path: Path) -> None:
    source, target = write_pairs(tmp_path)
    settings = {"text": NLLB.model_dump(exclude_unset=True), "data": {"source": str(source), "target": str(target)}}
    prepared = prepare(
        build_config({**settings, "model": {"max_length": 8}, "data": {**settings["data"], "long_lines": "truncate"}})
    )
    plain = prepare(build_config({**settings, "text": {"vocabulary": 320, "tags": list(NLLB.tags)}}))
    first, last = prepared.tokenizers.source.find("<eng_Latn>"), prepared.tokenizers.target.find("<fra_Latn>")
    for pair in range(len(plain.store)):
        assert prepared.store.source(pair).tolist() == [first, *plain.store.source(pair)][:7]
        assert prepared.store.target(pair).tolist() == [last, *plain.store.target(pair)][:7]
