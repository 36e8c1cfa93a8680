"""The command `generate`: a model of running text continues a prompt."""

from typing import Annotated

import typer

import zhuyi
from zhuyi.cli.app import USE, command
from zhuyi.cli.messages import warn
from zhuyi.cli.options import Device, Engine, ModelDirectory, Precision, as_text
from zhuyi.cli.streams import standard_input, write_stdout


@command(
    USE,
    'zhuyi generate shakespeare "ROMEO:"',
    "[dim]# Safer words, and more of them; the same seed gives the same text.[/]\n"
    'zhuyi generate shakespeare "ROMEO:" --temperature 0.8 \\\n'
    "    --top-p 0.9 --tokens 1000 --seed 7",
)
def generate(
    model: ModelDirectory,
    prompt: Annotated[
        str,
        typer.Argument(
            parser=as_text,
            metavar="PROMPT",
            show_default=False,
            help="The text so far; -: from standard input.",
        ),
    ] = "",
    tokens: Annotated[int, typer.Option(min=1, metavar="N", help="How many are drawn.")] = 256,
    temperature: Annotated[
        float | None,
        typer.Option(metavar="X", show_default=False, help="Below 1, probable tokens gain; above, rare ones do."),
    ] = None,
    top_k: Annotated[
        int | None, typer.Option(metavar="N", show_default=False, help="Draw from the N most probable tokens only.")
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(
            metavar="P", show_default=False, help="Draw from the fewest tokens whose probabilities sum to P only."
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="N", show_default=False, help="Of the draws; another one, another text.")
    ] = None,
    device: Device = "auto",
    engine: Engine = None,
    precision: Precision = None,
) -> None:
    """Continue a text with a language model, which was trained on running text (data.text).

    The prompt is printed, and after it each token as it is drawn from the model's distribution. What is not given here
    is as the model's own configuration says (decoding.temperature, ..., where decoding.strategy is sampling).
    --top-k 1 takes the most probable token each time. The model sees as many tokens as model.max_length says: of a
    longer text, it sees the end.
    """
    from zhuyi.text.tokenizer import UNK

    if prompt == "-":
        prompt = "\n".join(line for lines in standard_input() for line in lines)
    loaded = zhuyi.load(model, device=device, engine=engine, precision=precision)
    parts = zhuyi.generate(loaded, prompt, tokens=tokens, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
    (tokens_of_prompt,) = loaded.tokenizers.target.encode([prompt])
    if unknown := tokens_of_prompt.count(UNK):
        warn(f"{unknown} of the prompt's {len(tokens_of_prompt)} tokens are not in the model's vocabulary")
    write_stdout(prompt)
    for part in parts:
        write_stdout(part)
    write_stdout("\n")
