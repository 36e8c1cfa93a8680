"""Draw running.webp: the picture of the whole model, running. It stands at the top of the READMEs.

    python docs/pictures/running.py MODEL "25/03/86"

Needs chromium, Playwright and Pillow.
"""

import io
import shutil
import sys
import threading
from pathlib import Path
from urllib.parse import urlencode

from PIL import Image
from playwright.sync_api import sync_playwright

import zhuyi
from zhuyi.microscope.server import Microscope

PATH = Path(__file__).parent / "running.webp"
WIDTH, HEIGHT = 1180, 860
TO = 900
"""Pixels that the picture is wide in the end."""
PER_SECOND = 8
SPEED = 1.6
"""Of the picture's own time."""
LAST_MS = 2500
"""How long its end is shown."""
MAX_BYTES = 2_000_000


def main() -> None:
    """Draw it: one screenshot for each moment."""
    model, line = sys.argv[1:]
    options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    frames: list[Image.Image] = []
    with Microscope(zhuyi.load(model, device="cpu")) as server, sync_playwright() as started:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        chromium = started.chromium.launch(executable_path=shutil.which("chromium"), args=options)
        tab = chromium.new_page(viewport={"width": WIDTH, "height": HEIGHT}, reduced_motion="reduce")
        tab.goto(f"{server.url}#{urlencode({'text': line, 'lang': 'en', 'view': 'whole'})}")
        tab.wait_for_selector("[data-output]", state="attached")
        tab.wait_for_timeout(3000)  # until all values are there
        # The picture alone, over the whole width of the window.
        tab.evaluate("document.querySelector('.map').style.display = 'none'")
        tab.wait_for_timeout(500)
        slider, picture = tab.locator(".whole input[type=range]"), tab.locator(".whole .picture")
        end = float(slider.get_attribute("max") or 0)
        for number in range(int(end / SPEED * PER_SECOND) + 1):
            slider.fill(f"{min(end, number * SPEED / PER_SECOND):.2f}")
            shot = Image.open(io.BytesIO(picture.screenshot())).convert("RGB")
            frames.append(shot.resize((TO, TO * shot.height // shot.width), Image.Resampling.LANCZOS))
        chromium.close()
        server.shutdown()
    durations = [1000 // PER_SECOND] * (len(frames) - 1) + [LAST_MS]
    frames[0].save(
        PATH,
        save_all=True,
        append_images=frames[1:],
        duration=durations,
        loop=0,
        quality=75,
        method=4,
        minimize_size=True,
    )
    size = PATH.stat().st_size
    assert size <= MAX_BYTES, f"{PATH} has {size} bytes: take a shorter line, or fewer frames"
    print(PATH, size, len(frames))


if __name__ == "__main__":
    main()
