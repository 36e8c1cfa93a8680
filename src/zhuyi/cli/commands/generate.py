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
    "[dim]# More probable words, more of them, and reproducible by the seed.[/]\n"
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
            help="Text to continue; - reads it from standard input.",
        ),
    ] = "",
    tokens: Annotated[int, typer.Option(min=1, metavar="N", help="Number of tokens to generate.")] = 256,
    temperature: Annotated[
        float | None,
        typer.Option(metavar="X", show_default=False, help="Below 1 favours probable tokens, above 1 rare ones."),
    ] = None,
    top_k: Annotated[
        int | None, typer.Option(metavar="N", show_default=False, help="Sample only from the N most probable tokens.")
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(
            metavar="P", show_default=False, help="Sample only from the fewest tokens whose probabilities sum to P."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", show_default=False, help="Seed of the sampling.")] = None,
    device: Device = "auto",
    engine: Engine = None,
    precision: Precision = None,
) -> None:
    """Continue a text with a language model, which was trained on running text (data.text).

    Prints the prompt, and after it each token as it is sampled. Options that are not given are those of the model's own
    configuration (decoding.temperature, ...). --top-k 1 always takes the most probable token. The model sees at most
    model.max_length tokens: of a longer text, the end.
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
