"""Measure the page with the model in it, without a network: how soon it is ready, and how fast it computes.

    python benchmarks/page.py zhuyi-demo

Needs chromium and Playwright. Writes results/page.json:

bytes, gzipped: the size of the page, and of its scripts and its style sheet after gzip.
seconds: for each width of the window, from the start of the navigation until a stage. drawn: the header and the views
    are there, and no answer yet. answered: the first answer is in the page. ready: a frame with it has been painted,
    and then a key was pressed and has opened its dialog. computed: the model in the page has answered by itself; until
    then, pictures and another sentence wait for it.
frames: for each width, milliseconds from frame to frame while the picture of the whole model runs.
milliseconds: what the model in the page needs for a sentence, for one with a beam of 4, for the map of what each head
    does, and for occlusion.
"""

import argparse
import base64
import gzip
import json
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from machine import describe
from stored import save, spread

from zhuyi.directory import checkpoints
from zhuyi.loading import load
from zhuyi.microscope.page import asset, save_page
from zhuyi.microscope.wire import describe_model, embed_all, embedded_weights

OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
LOADS, ROUNDS, SECONDS = 7, 9, 6
"""How often the page is opened, how often each sentence is computed, and how long frames are counted."""
WIDTHS = (1440, 390)

WATCH = """
const once = (name, is, then) => new MutationObserver((_, observer) => {
  if (!is()) return;
  performance.mark(name);
  observer.disconnect();
  then?.();
}).observe(document, { attributes: true, childList: true, subtree: true });
const painted = (then) => requestAnimationFrame(() => {
  const channel = new MessageChannel();
  channel.port1.onmessage = then;
  channel.port2.postMessage(null);
});
once("answered", () => document.querySelector("[data-output]"), () => painted(() => {
  once("ready", () => document.querySelector("dialog[open]"));
  document.body.dispatchEvent(new KeyboardEvent("keydown", { key: "?", bubbles: true }));
}));
"""
"""Mark the stages that the page does not mark itself: `answered` and `ready`."""
MARKS = """() => Object.fromEntries(performance.getEntriesByType("mark").map((mark) => [mark.name, mark.startTime]))"""
WHEN = """name => performance.getEntriesByName(name).length > 0"""
STAGES = ("drawn", "answered", "ready", "computed")

FRAMES = """seconds => new Promise((resolve) => {
  const times = [];
  const next = (time) => {
    times.push(time);
    if (time - times[0] < 1000 * seconds) requestAnimationFrame(next);
    else resolve(times.slice(1).map((time, k) => time - times[k]));
  };
  requestAnimationFrame(next);
})"""

TIMES = """async ([script, embedded, weights, sentences, rounds]) => {
  const worker = new Worker(URL.createObjectURL(new Blob([script], { type: "text/javascript" })));
  const said = () => new Promise((resolve) => { worker.onmessage = ({ data }) => resolve(data); });
  await said();
  const ask = (method, ...given) => {
    worker.postMessage({ number: 0, method, given });
    return said();
  };
  const bytes = Uint8Array.from(atob(weights), (character) => character.charCodeAt(0)).buffer;
  await ask("load", "", embedded, bytes);
  const found = {};
  const timed = async (name, method, ...given) => {
    const from = performance.now();
    const { value } = await ask(method, ...given);
    if (value === undefined) throw Error(name);
    (found[name] ??= []).push(performance.now() - from);
    return value;
  };
  for (let round = 0; round < rounds; round++) {
    for (const text of sentences) {
      const { replay } = await timed("sentence", "look", { text });
      await timed("beam of 4", "look", { text, beam: 4 });
      await timed("heads", "heads", { text }, replay.losses.length >> 1, false);
      await timed("occlusion", "occlusion", { text }, replay.losses.length >> 1, false);
    }
  }
  return found;
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a directory, as zhuyi demo makes it")
    arguments = parser.parse_args()
    from playwright.sync_api import sync_playwright

    translator = load(arguments.model, engine="torch", device="cpu")
    kept = {path.name: partial(load, path) for path in checkpoints(arguments.model)}
    described = describe_model(translator)
    embedded = embed_all(described, translator)[""]
    sentences = [example.text for example in described.examples] or ["mardi 25 mars 1986"]

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        page = Path(folder) / "page.html"
        size = save_page(page, translator, checkpoints=kept)
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=OPTIONS)
        opened: dict[str, Any] = {}
        frames: dict[str, Any] = {}
        for width in WIDTHS:
            marks = []
            for _ in range(LOADS):
                context = chromium.new_context(viewport={"width": width, "height": 900}, offline=True)
                context.add_init_script(WATCH)
                tab = context.new_page()
                tab.goto(page.as_uri())
                for stage in STAGES:
                    tab.wait_for_function(WHEN, arg=stage)
                marks.append(tab.evaluate(MARKS))
                context.close()
            opened[str(width)] = {name: spread([mark[name] / 1000 for mark in marks]) for name in STAGES}
            tab = chromium.new_page(viewport={"width": width, "height": 900})
            tab.goto(page.as_uri())
            tab.wait_for_selector("[data-output]", state="attached")
            frames[str(width)] = spread(tab.evaluate(FRAMES, SECONDS))
            tab.close()
        weights = base64.b64encode(embedded_weights(translator, embedded.model.precision)).decode()
        given = [asset("model.js"), embedded.model_dump(mode="json"), weights, sentences, ROUNDS]
        times = chromium.new_page().evaluate(TIMES, given)
        version = chromium.version
        chromium.close()

    assets = {name: len(gzip.compress(asset(name).encode(), 9)) for name in ("page.js", "model.js", "page.css")}
    result = {
        "machine": describe(1),
        "chromium": version,
        "parameters": described.parameters,
        "precision": embedded.model.precision,
        "checkpoints": len(kept),
        "bytes": size,
        "gzipped": assets,
        "seconds": opened,
        "frames": frames,
        "milliseconds": {name: spread(values) for name, values in times.items()},
    }
    save("page", result)
    print(json.dumps(result, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    main()
