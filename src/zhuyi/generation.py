"""Generation: a model of running text continues a prompt, token by token.

Each token is drawn from the model's distribution (`decoding/sampling.py`), and text is given out as soon as its
characters are whole. The model sees at most `model.max_length` − 1 tokens: where these are full, it goes on from their
later half.
"""

from collections.abc import Iterator

from zhuyi.config import DecodingConfig
from zhuyi.errors import ConfigError
from zhuyi.translator import Translator

CUT_CHARACTER = "\ufffd"
"""What the first bytes of a character become that is not whole yet."""


def generate(
    model: Translator,
    prompt: str = "",
    *,
    tokens: int = 256,
    temperature: float | None = None,
    top_k: int | None = None,
    top_p: float | None = None,
    seed: int | None = None,
) -> Iterator[str]:
    """Continue a text. What is yielded, end to end, is the continuation without the prompt.

    The same arguments give the same text from any engine, but for draws that rounding decides.

    Args:
        model: of running text, as a run with `data.text` makes it.
        prompt: the text so far. Of a long one, the model sees the end.
        tokens: how many are drawn, unless EOS ends the text before; a model of running text has never seen EOS.
        temperature: overrides `decoding.temperature` of the model's configuration.
        top_k: overrides `decoding.top_k`.
        top_p: overrides `decoding.top_p`.
        seed: overrides `decoding.seed`.

    Raises:
        ConfigError: if the model is none of running text, or a setting cannot be.
    """
    if not model.config.continues:
        other = "fills in masked tokens" if model.config.data.text else "was trained on pairs: use zhuyi translate"
        raise ConfigError(
            f"a language model (data.text, in the decoder shape) continues text; {model.name or 'this model'} {other}"
        )
    if temperature == 0:
        raise ConfigError("temperature = 0: top_k = 1 (--top-k 1) takes the most probable token each time")
    shaped = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "seed": seed}
    return _continued(model, prompt, tokens, model.decoding(strategy="sampling", n_best=1, **shaped))


def _continued(model: Translator, prompt: str, tokens: int, decoding: DecodingConfig) -> Iterator[str]:
    tokenizer, longest = model.tokenizers.target, model.config.model.max_length - 1
    (text,) = tokenizer.encode([prompt])
    begun: list[int] = []  # tokens whose characters are not whole yet
    moved = 0
    while tokens > 0:
        if len(text) >= longest:
            text, moved = text[len(text) - longest // 2 :], moved + 1
        drawn = 0
        for token in model.engine.stream(text, decoding, moved):
            text, drawn = [*text, token], drawn + 1
            begun.append(token)
            (part,) = tokenizer.decode([begun])
            if not part.endswith(CUT_CHARACTER):
                yield part
                begun = []
            if drawn == tokens:
                break
        tokens -= drawn
        if len(text) < longest:  # EOS
            break
    if begun:
        yield tokenizer.decode([begun])[0]
