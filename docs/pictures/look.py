"""Draw look-*.png: the microscope's page of a model.

    python docs/pictures/look.py MODEL "A dog runs across the green grass."

Needs chromium and Playwright.
"""

import shutil
import sys
import threading
from pathlib import Path
from urllib.parse import urlencode

from playwright.sync_api import sync_playwright

import zhuyi
from zhuyi.microscope.server import Microscope

HERE = Path(__file__).parent
VIEWS = {
    "look-cross": ({"view": "cross", "lang": "en"}, 800),
    "look-query": ({"view": "query", "lang": "zh", "layer": "1", "head": "2", "i": "1"}, 900),
    "look-beam": ({"view": "beam", "lang": "en"}, 800),
}
"""By the name of the picture, what is selected, and the height of the window."""


def main() -> None:
    """Draw them all."""
    model, line = sys.argv[1:]
    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with Microscope(zhuyi.load(model, device="cpu")) as server, sync_playwright() as started:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        chromium = started.chromium.launch(executable_path=shutil.which("chromium"), args=options)
        for name, (selected, height) in VIEWS.items():
            tab = chromium.new_page(viewport={"width": 1120, "height": height})
            tab.goto(f"{server.url}#{urlencode({'text': line, **selected})}")
            tab.wait_for_selector("[data-output]", state="attached")
            if selected["view"] == "beam":
                tab.hover(".node.finished")  # the path to the end of a hypothesis
            tab.wait_for_timeout(500)
            (tab if selected["view"] == "cross" else tab.locator("article")).screenshot(path=HERE / f"{name}.png")
            print(HERE / f"{name}.png")
        chromium.close()
        server.shutdown()


if __name__ == "__main__":
    main()
