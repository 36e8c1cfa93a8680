"""The model card: the README.md of a model directory, with its data, size, scores and their signatures."""

from collections.abc import Mapping
from pathlib import Path

from zhuyi.checkpoint import Model
from zhuyi.config import Config, Part, readable
from zhuyi.data.store import Store
from zhuyi.evaluation import Evaluation
from zhuyi.hub import HUB, card_head
from zhuyi.model.broken import symptoms
from zhuyi.text.tokenizer import Tokenizers
from zhuyi.training.int8 import Int8Comparison
from zhuyi.training.run_state import RunState


def model_card(
    model: Model,
    store: Store,
    state: RunState,
    chosen: str,
    evaluations: dict[str, Evaluation],
    int8: Int8Comparison | None,
) -> str:
    """The model card of a run, as Markdown.

    Args:
        model: the model that was trained.
        store: the training data.
        state: of the run, at its end.
        chosen: a description of the weights that are kept.
        evaluations: by the name of the set ("dev", "test").
        int8: the comparison of int8 with float32 on the dev set.
    """
    config, sizes, parameters = model.config, model.config.model, model.transformer.parameter_count()
    metrics = dict.fromkeys(name for evaluation in evaluations.values() for name in evaluation.scores)
    lines = [
        f"{card_head(config, state.licence, metrics)}# A zhuyi model",
        "",
        f"{_what(config)} of {parameters:,} parameters: {_layers(config)}, width {sizes.width}, "
        f"{sizes.heads} heads, feed-forward {sizes.feed_forward}; {_mixers(config)}, positions {sizes.positions}, "
        f"{sizes.norm}-norm ({sizes.norm_kind}), {sizes.activation}.",
        "",
        *_broken(sizes.without),
        f"    {_command(config)}",
        "",
        "## Data",
        "",
        f"- Training: {_training_data(config, store)}.",
        f"- Text: {_tokens(config, model.tokenizers)}, Unicode normalization "
        f"{config.text.normalization}{', lower-cased' if config.text.lowercase else ''}.",
        *_languages(config.data.source_language, config.data.target_language),
        f"- Weights: {chosen}{_start(config.training.start_from)}.",
        "",
        "## Scores",
        "",
    ]
    if not evaluations:
        lines.append("None: the run had neither a dev nor a test set.")
    else:
        lines += ["| set | metric | value | signature |", "|---|---|---|---|"]
    unit = "label" if _has_labels(config) else "token"
    for name, evaluation in evaluations.items():
        lines.append(f"| {name} | loss (nats a {unit}) | {evaluation.loss:.4f} | lines:{evaluation.lines} |")
        for score in evaluation.scores.values():
            lines.append(f"| {name} | {score.name} | {score.value:.2f} | {_cell(score.signature)} |")
    if state.before and "dev" in evaluations:
        lines += ["", f"{gained(state.before, evaluations['dev'])}."]
    if int8 is not None:
        lines += ["", f"{int8}, on the dev set."]
    rest = "in `config.json`, those of its training in `training.json`."
    if sizes.shape == "encoder":
        lines += ["", f"Its settings are {rest}", ""]
    else:
        lines += [
            "",
            f"Decoded with beam {config.decoding.beam}, length penalty {config.decoding.length_penalty:g}. "
            f"How it searches is in `decoding.json`, its other settings {rest}",
            "",
        ]
    return "\n".join(lines)


def gained(before: Mapping[str, float], dev: Evaluation) -> str:
    """A sentence on how fine-tuning has changed the scores on the dev set.

    Args:
        before: the scores of the model that the run began with, by metric.
        dev: the evaluation of the weights that are kept.
    """
    found = [(name, before[name], score.value) for name, score in dev.scores.items() if name in before]
    changes = (
        f"{name} {old:.2f} before the first update, {new:.2f} now ({new - old:+.2f})" for name, old, new in found
    )
    return f"Dev: {', '.join(changes)}"


def _broken(without: tuple[Part, ...]) -> list[str]:
    return [f"It is broken on purpose, to show what a part is for: {symptoms(without)}.", ""] if without else []


def _has_labels(config: Config) -> bool:
    return config.model.shape == "encoder" and config.training.objective != "masked"


def _what(config: Config) -> str:
    if config.model.shape == "encoder-decoder":
        return "An encoder–decoder model"
    if config.model.shape == "decoder":
        return "A decoder model" if config.data.text is None else "A decoder model of running text"
    if not _has_labels(config):
        return "An encoder, pre-trained on masked tokens,"
    return f"An encoder model that gives each {config.model.labels} a label,"


def _layers(config: Config) -> str:
    sizes = config.model
    if sizes.shape == "encoder-decoder":
        return f"{sizes.encoder_layers} + {sizes.decoder_layers} layers"
    count = sizes.encoder_layers if sizes.shape == "encoder" else sizes.decoder_layers
    return f"{count} layer{'s' if count > 1 else ''}"


def _command(config: Config) -> str:
    if config.data.text is None:
        return "zhuyi translate . < in.txt > out.txt"
    return "zhuyi generate ." if config.model.shape == "decoder" else "zhuyi train LABELS.toml --from ."


def _training_data(config: Config, store: Store) -> str:
    data, outcome = config.data, store.outcome
    if data.text is not None:
        return f"{store.text_tokens:,} tokens of `{_file(data.text)}`"
    mixed = "".join(f"; mixed in, {each.weight:g} for each: `{_file(each.source)}`" for each in data.mix)
    return (
        f"{len(store):,} pairs of `{_file(data.source)}` → `{_file(data.target)}` ({outcome.empty:,} empty and "
        f"{outcome.long:,} long pairs of {outcome.pairs:,}; long lines: {data.long_lines}){mixed}"
    )


def _tokens(config: Config, tokenizers: Tokenizers) -> str:
    text, source, target = config.text, len(tokenizers.source), len(tokenizers.target)
    if _has_labels(config) or config.data.text is not None:
        return f"{text.source_kind}, a vocabulary of {source:,} tokens"
    both = f"{text.source_kind} → {text.target_kind}"
    if tokenizers.shared:
        return f"{both}, one vocabulary of {source:,} tokens"
    return f"{both}, vocabularies of {source:,} and {target:,} tokens"


def _cell(signature: str) -> str:
    """A signature in a cell of a Markdown table, which an unescaped `|` would end, even in code."""
    return f"`{signature}`".replace("|", "\\|")


def _languages(source: str | None, target: str | None) -> list[str]:
    return [f"- Languages: {source or 'not said'} → {target or 'not said'}."] if source or target else []


def _start(directory: str | None) -> str:
    return f", of a run that began with those of `{_file(directory)}`" if directory else ""


def _file(spec: str | None) -> str:
    """The name of a file without its folders, since cards are shared; the whole name if it is on the hub."""
    return spec if spec and spec.startswith(HUB) else readable(Path(spec or "").name)


def _mixers(config: Config) -> str:
    encoder, decoder = config.model.encoder_mixer, config.model.decoder_mixer
    if config.model.shape != "encoder-decoder":
        return str(encoder if config.model.shape == "encoder" else decoder)
    return f"{encoder} throughout" if encoder == decoder else f"{encoder} in the encoder, {decoder} in the decoder"
