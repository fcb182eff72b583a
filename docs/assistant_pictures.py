"""Makes the pictures of assistant.md: `python docs/assistant_pictures.py`, a minute and a half.

Needs Debian's chromium and the extra `dev`. The page is opened at desk and phone width on the
committed clip, used a little, and photographed.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright
from vljepa_edge.assistant import Assistant
from vljepa_edge.assistant.server.serve import ServerThread

HERE = Path(__file__).resolve().parent
CLIP = "examples/clips/demo.mp4"  # below the repository: the page shows the name as it was given


def main() -> None:
    """Write assistant-desk.png and assistant-phone.png."""
    os.chdir(HERE.parent)
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    with (
        tempfile.TemporaryDirectory() as folder,
        Assistant(None, CLIP, Path(folder) / "m", paced=True, loop=True, keep_thumbnails=True) as a,
        ServerThread(a) as server,
        sync_playwright() as playwright,
    ):
        a.when("a strawberry moves up")
        a.start()
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=arguments
        )
        for name, width, height, scheme in (
            ("desk", 1280, 900, "light"),
            ("phone", 390, 844, "dark"),
        ):
            page = chromium.new_context(
                viewport={"width": width, "height": height}, color_scheme=scheme
            ).new_page()
            page.set_default_timeout(120_000)
            page.goto(server.address)
            page.wait_for_selector("#timeline li:nth-child(5)")
            page.fill("#question", "Which object is it?")
            page.fill("#choices", "a strawberry, a dog, a car")
            page.click("#ask button")
            page.wait_for_selector("#answer ol")
            page.fill("#recall-text", "a parrot")
            page.click("#recall button")
            page.wait_for_selector("#found li")
            page.wait_for_timeout(1500)
            page.screenshot(path=HERE / f"assistant-{name}.png", full_page=True)
            print(HERE / f"assistant-{name}.png")
        chromium.close()


if __name__ == "__main__":
    main()
