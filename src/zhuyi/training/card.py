"""The model card: a README.md in the model directory that says what data, what size, what score, which signature."""

from pathlib import Path

from zhuyi.config import Config, Part, readable
from zhuyi.data.store import Store
from zhuyi.evaluation import Evaluation
from zhuyi.model.broken import symptoms
from zhuyi.model.transformer import Network
from zhuyi.training.int8 import Int8Comparison


def model_card(
    config: Config,
    model: Network,
    store: Store,
    chosen: str,
    evaluations: dict[str, Evaluation],
    int8: Int8Comparison | None = None,
) -> str:
    """Markdown, written at the end of a run.

    Args:
        chosen: which weights these are, in words.
        evaluations: by the name of the set ("dev", "test").
        int8: what int8 changes on the dev set.
    """
    sizes = config.model
    lines = [
        "# A zhuyi model",
        "",
        f"An encoder–decoder model of {model.parameter_count():,} parameters: {sizes.encoder_layers} + "
        f"{sizes.decoder_layers} layers, width {sizes.width}, {sizes.heads} heads, feed-forward {sizes.feed_forward}; "
        f"{_mixers(config)}, positions {sizes.positions}, {sizes.norm}-norm ({sizes.norm_kind}), {sizes.activation}.",
        "",
        *_broken(sizes.without),
        "    zhuyi translate . < in.txt > out.txt",
        "",
        "## Data",
        "",
        f"- Training: {len(store):,} pairs of `{_file(config.data.source)}` → `{_file(config.data.target)}` "
        f"({store.outcome.empty:,} empty and {store.outcome.long:,} long pairs of "
        f"{store.outcome.pairs:,}; long lines: {config.data.long_lines}).",
        f"- Text: {config.text.source_kind} → {config.text.target_kind}, "
        f"{'one shared vocabulary' if config.text.shared else 'a vocabulary a side'} of at most "
        f"{config.text.vocabulary:,} tokens, Unicode normalization {config.text.normalization}"
        f"{', lower-cased' if config.text.lowercase else ''}.",
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
    for name, evaluation in evaluations.items():
        lines.append(f"| {name} | loss (nats a token) | {evaluation.loss:.4f} | lines:{evaluation.lines} |")
        for score in evaluation.scores.values():
            lines.append(f"| {name} | {score.name} | {score.value:.2f} | {_cell(score.signature)} |")
    if int8 is not None:
        lines += ["", f"{int8}, on the dev set."]
    lines += [
        "",
        f"Decoded with beam {config.decoding.beam}, length penalty {config.decoding.length_penalty:g}. "
        "How it searches is in `decoding.json`, its other "
        "settings in `config.json`, those of its training in `training.json`.",
        "",
    ]
    return "\n".join(lines)


def _broken(without: tuple[Part, ...]) -> list[str]:
    return [f"It is broken on purpose, to show what a part is for: {symptoms(without)}.", ""] if without else []


def _cell(signature: str) -> str:
    """A `|` ends a cell of a Markdown table, in code too."""
    return f"`{signature}`".replace("|", "\\|")


def _languages(source: str | None, target: str | None) -> list[str]:
    return [f"- Languages: {source or 'not said'} → {target or 'not said'}."] if source or target else []


def _start(directory: str | None) -> str:
    return f", of a run that began with those of `{_file(directory)}`" if directory else ""


def _file(spec: str | None) -> str:
    """The file without its folders: a card is made to be shared."""
    return readable(Path(spec or "").name)


def _mixers(config: Config) -> str:
    encoder, decoder = config.model.encoder_mixer, config.model.decoder_mixer
    return f"{encoder} throughout" if encoder == decoder else f"{encoder} in the encoder, {decoder} in the decoder"
