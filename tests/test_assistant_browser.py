"""The assistant's page in a real browser: all that it offers, at both widths, without errors."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from assistant_page import CHROMIUM, DEMO, Flicker, browser, serving

if CHROMIUM is None:
    pytest.skip("chromium is not installed", allow_module_level=True)
pytest.importorskip("playwright", reason="playwright is not installed")
pytest.importorskip("uvicorn", reason="the extra `assistant` is not installed")

from vljepa_edge.assistant import Assistant
from vljepa_edge.assistant.server.serve import ServerThread
from vljepa_edge.runtime.events import EmbeddingEvent, ShiftEvent
from vljepa_edge.runtime.model import load

pytestmark = pytest.mark.timeout(600)
SLOW_MS = 90_000


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    fake = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with browser(arguments=fake) as opened:
        yield opened


def opened(chromium: Any, address: str, errors: list[str], **options: Any) -> Any:
    """A page whose errors are collected."""
    page = chromium.new_context(viewport={"width": 1280, "height": 900}, **options).new_page()
    page.set_default_timeout(SLOW_MS)
    page.on("console", lambda m: errors.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    return page


def wait_for(condition: Callable[[], object], page: Any) -> None:
    """Lets the page run meanwhile: Playwright's own waiting is for what a page shows."""
    end = time.monotonic() + SLOW_MS / 1000
    while not condition():
        assert time.monotonic() < end, "it didn't come"
        page.wait_for_timeout(50)


def until(page: Any, expression: str) -> None:
    """Playwright's own wait_for_function evaluates text in the page, which its policy forbids."""
    wait_for(lambda: page.evaluate(expression), page)


def test_a_session_on_the_page(chromium: Any, nano_bundle: Path, tmp_path: Path) -> None:
    windows: list[EmbeddingEvent] = []
    shifts: list[ShiftEvent] = []
    errors: list[str] = []
    model = load(nano_bundle)
    assistant = Assistant(model, DEMO, tmp_path / "m", paced=True, loop=True, keep_thumbnails=True)

    def take(told: object) -> None:
        if isinstance(told, EmbeddingEvent):
            windows.append(told)
        elif isinstance(told, ShiftEvent):
            shifts.append(told)

    assistant.subscribe(take)
    with serving(assistant) as server:
        page = opened(chromium, server.address, errors)
        page.wait_for_selector("#state[data-state=watching]")

        # captions arrive, the picture moves
        page.wait_for_selector("#timeline li")
        caption = page.inner_text("#timeline li:last-child span:nth-child(2)")
        until(page, "document.getElementById('picture').dataset.at !== undefined")
        assert caption and page.inner_text("#now") != "Nothing was said yet."

        # every field has a label, and the keyboard reaches the first of them
        unnamed = page.evaluate(
            "[...document.querySelectorAll('input, select')].filter(f => !f.labels.length).length"
        )
        assert unnamed == 0
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"

        # the threshold, dragged down on the chart and up by the keyboard, changes the decode rate
        def rate(count: int) -> float:
            first, before = len(windows) + 1, len(shifts)
            wait_for(lambda: len(windows) >= first + count, page)
            return (len(shifts) - before) / (len(windows) - first)

        chart = page.locator("#chart").bounding_box()
        middle = chart["x"] + chart["width"] / 2
        page.mouse.move(middle, chart["y"] + chart["height"] * 0.5)
        page.mouse.down()
        page.mouse.move(middle, chart["y"] + chart["height"] * 0.99, steps=5)
        page.mouse.up()
        bundle = model.gate.ward_threshold
        wait_for(lambda: assistant.gate.ward_threshold < bundle / 3, page)
        low = rate(8)
        page.focus("#threshold")
        page.keyboard.press("End")
        wait_for(lambda: assistant.gate.ward_threshold > 7 * bundle, page)
        wait_for(lambda: windows[-1].threshold > bundle, page)
        high = rate(8)
        assert low > high, (low, high)
        page.click("#threshold-reset")
        wait_for(lambda: assistant.gate.ward_threshold == pytest.approx(bundle, rel=1e-3), page)

        # an alert, with a threshold that half of what was seen passes, fires
        text = "a red apple falls"
        seen = np.stack([window.embedding for window in windows[-40:]])
        threshold = float(np.median(seen @ model.embed_text([text])[0]))
        page.fill("#alert-text", text)
        page.fill("#alert-threshold", f"{threshold:.4f}")
        page.click("#alert button")
        page.wait_for_selector("#timeline li.fired")
        assert text in page.inner_text("#alerts") and "fired" in page.inner_text("#alerts")
        page.click("#alerts button")
        page.wait_for_selector("#alerts li", state="detached")

        # a question, with choices and without
        page.fill("#question", "What is it?")
        page.fill("#choices", "an apple, a car")
        page.click("#ask button")
        page.wait_for_selector("#answer ol")
        assert page.inner_text("#answer p") in ("an apple", "a car")
        page.fill("#choices", "")
        page.click("#ask button")
        page.wait_for_selector("#answer p:only-child")

        # memory: search, and jump there
        page.fill("#recall-text", caption)
        page.select_option("#recall-since", "600")
        page.click("#recall button")
        page.wait_for_selector("#found li")
        until(page, "document.querySelector('#found img').naturalWidth > 0")
        page.click("#found button >> nth=0")
        page.wait_for_selector("#around-list li.marked")
        assert page.evaluate("document.activeElement.id") == "around-title"

        # a refusal is told where it was asked, and a query comes and goes
        page.fill("#query-text", assistant.queries[0])
        page.click("#query button")
        until(page, "document.getElementById('query-state').textContent.includes('asked already')")
        page.fill("#query-text", "What moves?")
        page.click("#query button")
        page.wait_for_selector("#queries li:nth-child(2)")
        page.click("#queries li:nth-child(2) button")
        page.wait_for_selector("#queries li:nth-child(2)", state="detached")

        for width, height in ((390, 844), (1280, 900)):
            page.set_viewport_size({"width": width, "height": height})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert not errors, errors


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_the_page_is_for_everybody(
    chromium: Any, tiny_bundle: Path, tmp_path: Path, scheme: str, width: int
) -> None:
    """axe finds nothing to say, and the keyboard reaches everything with a ring around it."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    errors: list[str] = []
    model = load(tiny_bundle, threads=1)
    with serving(Assistant(model, lambda: Flicker(), tmp_path / "m", paced=True)) as server:
        # axe comes as a script of its own, which the page's policy would keep out.
        page = opened(chromium, server.address, errors, color_scheme=scheme, bypass_csp=True)
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_selector("#timeline li")
        page.fill("#alert-text", "a red apple falls")
        page.click("#alert button")
        page.wait_for_selector("#alerts li")
        page.fill("#recall-text", "a red apple")
        for _ in range(60):  # a fast page may ask before anything is remembered
            page.click("#recall button")
            page.wait_for_timeout(1000)
            if page.query_selector("#found li"):
                break
        page.wait_for_selector("#found li", timeout=1000)
        found = axe.Axe().run(page)
        assert found.violations_count == 0, found.generate_report()
        page.evaluate("document.activeElement.blur()")
        reached = {}
        for _ in range(60):
            page.keyboard.press("Tab")
            at, ring = page.evaluate(
                "[document.activeElement.id || document.activeElement.getAttribute('aria-label'),"
                " getComputedStyle(document.activeElement).outlineStyle]"
            )
            reached[at] = ring
        wanted = {
            "threshold", "threshold-reset", "timeline", "question", "choices", "alert-text",
            "recall-text", "recall-since", "query-text", "losses",
            "Remove the alert a red apple falls",
        }  # fmt: skip
        assert wanted <= reached.keys()
        assert {reached[name] for name in wanted} == {"solid"}


def test_the_page_outlives_its_server(chromium: Any, tiny_bundle: Path, tmp_path: Path) -> None:
    errors: list[str] = []
    with Assistant(load(tiny_bundle, threads=1), lambda: Flicker(), paced=True) as assistant:
        assistant.start()
        with ServerThread(assistant) as server:
            port = server.access.port
            page = opened(chromium, server.address, errors)
            page.wait_for_selector("#timeline li")
            assert "start with --memory" in page.inner_text("#memory-state")
            # A page that shuts down says so to nobody: it just is gone.
            other = opened(chromium, server.address, errors)
            other.close()
        page.wait_for_selector("#state[data-state=offline]")
        with ServerThread(assistant, port=port):
            page.wait_for_selector("#state[data-state=watching]")
            page.wait_for_selector("#timeline li")
    assert all("WebSocket" in error for error in errors), errors  # the browser's own, while offline


def test_a_full_disk_is_shown(chromium: Any, tiny_bundle: Path, tmp_path: Path) -> None:
    errors: list[str] = []
    model = load(tiny_bundle, threads=1)
    with (
        # With a picture in it, every row wants a page of the file.
        Assistant(
            model, lambda: Flicker(), tmp_path / "m", paced=True, keep_thumbnails=True
        ) as assistant,
        ServerThread(assistant) as server,
    ):
        assistant.start()
        page = opened(chromium, server.address, errors)
        page.wait_for_selector("#timeline li")
        assert page.is_hidden("#problem")
        connection = assistant.memory._connection  # type: ignore[union-attr]
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        page.wait_for_selector("#problem:not([hidden])")
        assert "nothing is being remembered" in page.inner_text("#problem")
        before = page.evaluate("document.getElementById('picture').dataset.at")
        until(page, f"document.getElementById('picture').dataset.at > {before} + 1")
        connection.execute("PRAGMA max_page_count = 1000000")
        page.wait_for_selector("#problem", state="hidden")
    assert not errors, errors


def test_the_browsers_own_camera(chromium: Any, tiny_bundle: Path) -> None:
    errors: list[str] = []
    assistant = Assistant(load(tiny_bundle, threads=1), "browser")
    with serving(assistant) as server:
        page = opened(chromium, server.address, errors, permissions=["camera"], color_scheme="dark")
        page.click("#camera-button")
        page.wait_for_selector("#timeline li")
        assert "is being watched" in page.inner_text("#camera-state")
        newest = assistant.watcher.tap.newest
        assert newest is not None and newest.pixels.shape == (480, 480, 3)
        page.click("#camera-button")
        until(page, "document.getElementById('camera-button').textContent.startsWith('Use')")
    assert not errors, errors
