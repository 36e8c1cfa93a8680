"""Measure what looking costs: a trace, its page in a browser, files of several lengths, and taps without recording.

    python benchmarks/microscope.py --name cpu2 --threads 2

The model has 6 + 6 layers of width 512 with 8 heads, a vocabulary of 10,000 tokens, and random weights: its values
are meaningless, but as many as those of a trained model. Needs chromium and Playwright. Writes
results/microscope-NAME.json, from which report.py generates docs/microscope.md.
"""

import argparse
import ast
import gzip
import importlib.util
import json
import random
import shutil
import sys
import tempfile
import threading
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from machine import describe
from stored import save, spread

from zhuyi.checkpoint import Model, build_model
from zhuyi.config import build_config
from zhuyi.loading import build_translator
from zhuyi.microscope.page import Look, asset, look
from zhuyi.microscope.server import Microscope
from zhuyi.microscope.trace import WhatIf
from zhuyi.model.transformer import Transformer
from zhuyi.text.tokenizer import EOS, Tokenizers
from zhuyi.translator import Translator

SETTINGS: dict[str, Any] = {
    "text": {"kind": "whitespace", "vocabulary": 10_000},
    "model": {"width": 512, "heads": 8, "encoder_layers": 6, "decoder_layers": 6, "feed_forward": 2048},
    "decoding": {"beam": 4},
}
LENGTHS = (30, 60, 256)
"""Tokens of a side, EOS counted; 256 are the most that the microscope takes."""


def model_of_words() -> Model:
    """A model of random weights, whose tokens are words."""
    config = build_config(SETTINGS)
    words = [f"w{k}" for k in range(10_000)]
    torch.manual_seed(1)
    model = build_model(config, Tokenizers.train(config.text, words, words))
    model.transformer.eval()
    return model


def traced(translator: Translator, length: int) -> Look:
    """A trace of this many words with an output of the same number of tokens, whatever the random weights prefer."""
    words = " ".join(f"w{random.Random(k).randrange(9_000)}" for k in range(length - 1))
    (tokens,) = translator.tokenizers.target.encode([words])
    return look(translator, words, what_if=WhatIf(prefix=(*tokens, EOS)))


def timed(times: int, job: Callable[[], Any]) -> dict[str, float]:
    """The seconds of so many runs of a job."""
    found = []
    for _ in range(times):
        start = time.perf_counter()
        job()
        found.append(time.perf_counter() - start)
    return spread(found)


# --- the silent tap ---------------------------------------------------------------------------------------------------


class _WithoutTaps(ast.NodeTransformer):
    """tap("weights", weights) → weights;  tap.within("self") → tap;  tap.recording → False;  zhuyi.model → untapped."""

    def visit_Call(self, node: ast.Call) -> ast.AST:  # ast's own name
        self.generic_visit(node)
        if isinstance(node.func, ast.Name) and node.func.id == "tap":
            return node.args[1]
        if isinstance(node.func, ast.Attribute) and node.func.attr == "within":
            return node.func.value
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:  # ast's own name
        self.generic_visit(node)
        return ast.Constant(False) if node.attr == "recording" else node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:  # ast's own name
        if node.module and (module := node.module.removeprefix("zhuyi.model.")) in TAPPED:
            node.module = f"untapped_{module}"
        return node


TAPPED = ("attention", "mixers", "blocks", "stack", "transformer")
"""In the order in which they import each other."""


def without_taps(model: Model) -> Transformer:
    """The same model with the same weights, from a copy of its code in which no tap is called."""
    for name in TAPPED:
        spec = importlib.util.find_spec(f"zhuyi.model.{name}")
        assert spec is not None
        assert spec.origin is not None
        tree = ast.fix_missing_locations(_WithoutTaps().visit(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))))
        assert "tap(" not in ast.unparse(tree)
        module = types.ModuleType(f"untapped_{name}")
        sys.modules[module.__name__] = module
        exec(compile(tree, spec.origin, "exec"), module.__dict__)
    copy = sys.modules["untapped_transformer"].Transformer(model.config.model, len(model.tokenizers.source), None)
    copy.load_state_dict(model.transformer.state_dict())
    copy.eval()
    return copy


def tap_cost(model: Model, rounds: int) -> dict[str, Any]:
    """The time of a forward pass with silent taps divided by that of one without taps, measured in turn."""
    tapped, untapped = model.transformer, without_taps(model)
    source = torch.randint(4, len(model.tokenizers.source), (1, 8))
    mask = torch.ones_like(source, dtype=torch.bool)
    with torch.inference_mode():
        first, second = tapped(source, mask, source), untapped(source, mask, source)
        assert torch.equal(first, second)
        ratios = []
        for _ in range(rounds):
            one, other = (timed(20, lambda which=which: which(source, mask, source)) for which in (tapped, untapped))
            ratios.append(one["median"] / other["median"])
    return {"tokens": "8 + 8", "rounds": rounds, **spread(ratios)}


# --- the page ---------------------------------------------------------------------------------------------------------

HOVER = """async () => {
    const canvas = document.querySelector('.cells canvas'), box = canvas.getBoundingClientRect();
    const before = performance.getEntriesByType('resource').length, found = [];
    for (let k = 0; k < 200; k++) {
        const x = box.left + box.width * ((k * 37) % 101) / 101, y = box.top + box.height * ((k * 53) % 97) / 97;
        const start = performance.now();
        canvas.dispatchEvent(new MouseEvent('mousemove', {clientX: x, clientY: y, bubbles: true}));
        await Promise.resolve();
        document.body.getBoundingClientRect();
        found.push(performance.now() - start);
        await new Promise(requestAnimationFrame);
    }
    found.sort((a, b) => a - b);
    const fetched = performance.getEntriesByType('resource').length - before;
    return {p95: found[190] / 1000, fetched};
}"""
"""The 95th percentile of the seconds of handler, rendering and layout, of 200 movements of the mouse; and how many
requests they make.
"""
PICTURE = """() => new Promise(done => {
    const look = () => {
        const canvas = document.querySelector('.cells canvas');
        if (canvas && canvas.getContext('2d').getImageData(0, 0, 1, 1).data[3]) {
            const all = performance.getEntriesByType('resource');
            const answer = all.filter(each => each.name.endsWith('api/look')).at(-1);
            done((performance.now() - answer.responseEnd) / 1000);
        } else requestAnimationFrame(look);
    };
    look();
})"""
"""Seconds from the answer of the server until the first picture is painted."""


@contextmanager
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=shutil.which("chromium"), args=options)
        yield chromium
        chromium.close()


def served(chromium: Any, translator: Translator, times: int) -> dict[str, Any]:
    """The times of a page that `Microscope` serves."""
    words = " ".join(f"w{k}" for k in range(29))
    ready, picture = [], []
    with Microscope(translator) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for _ in range(times):
            tab = chromium.new_page(viewport={"width": 1280, "height": 900})
            tab.goto(server.url)
            tab.wait_for_selector("form input")
            ready.append(tab.evaluate("performance.getEntriesByName('drawn')[0].startTime") / 1000)
            tab.click(".views button:has-text('Cross attention')")
            tab.fill("form input", words)
            tab.click("form button")
            picture.append(tab.evaluate(PICTURE))
            hover = tab.evaluate(HOVER)
            tab.close()
        server.shutdown()
    return {"ready": spread(ready), "first_picture": spread(picture), "hover": hover}


def as_file(chromium: Any, trace: Look, folder: Path, full: bool) -> dict[str, Any]:
    """The size and the times of a trace that is saved as a page, with all tensors or with those that fit."""
    path = folder / "look.html"
    trace.save(path, frozen=True, full=full)
    tab = chromium.new_page(viewport={"width": 1280, "height": 900})
    tab.goto(f"{path.as_uri()}#view=heads&stack=decoder&kind=cross")
    tab.wait_for_selector(".cells canvas")
    ready = tab.evaluate("performance.getEntriesByName('drawn')[0].startTime") / 1000
    hover = tab.evaluate(HOVER)
    tab.close()
    return {"bytes": path.stat().st_size, "full": full, "ready": ready, "hover": hover}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--times", type=int, default=7)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    model = model_of_words()
    translator = build_translator(model, "cpu")
    page = (asset("page.js") + asset("page.css")).encode()
    result: dict[str, Any] = {
        "machine": describe(arguments.threads),
        "parameters": model.transformer.parameter_count(),
        "assets": {"bytes": len(page), "gzip": len(gzip.compress(page))},
        "tap": tap_cost(model, 15),
        "lengths": [],
    }
    with browser() as chromium, tempfile.TemporaryDirectory() as folder:
        result["browser"] = f"Chromium {chromium.version}"
        result["served"] = served(chromium, translator, arguments.times)
        for length in LENGTHS:
            trace = traced(translator, length)
            assert (len(trace.source), len(trace.replay.target_out)) == (length, length)
            result["lengths"].append(
                {
                    "tokens": length,
                    "trace": timed(arguments.times, lambda length=length: traced(translator, length)),
                    "files": [as_file(chromium, trace, Path(folder), full) for full in (False, True)],
                }
            )
            print(json.dumps(result["lengths"][-1]), flush=True)
    print(save(f"microscope-{arguments.name}", result))


if __name__ == "__main__":
    main()
