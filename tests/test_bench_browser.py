"""The HTML report in a real browser: no error in its console, no sideways scrolling on a phone."""

from __future__ import annotations

import re
import shutil
import subprocess
from html import escape
from pathlib import Path

import pytest
from test_bench_report import results_of
from vljepa_edge.bench.report import html

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")


def chromium(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    assert CHROMIUM is not None
    return subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
            "--enable-logging=stderr", *map(str, arguments),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )  # fmt: skip


def test_report_fits_phone_and_desktop(tmp_path: Path) -> None:
    """Both widths in one start: frames of 390 and 1280 pixels tell their contents' width."""
    page = html.render(results_of(10.0))
    frames = "".join(
        f'<iframe width="{width}" height="900" style="border:0" srcdoc="{escape(page)}"></iframe>'
        for width in (390, 1280)
    )
    measure = (
        "window.onload=()=>{document.title=[...document.querySelectorAll('iframe')].map(f=>{"
        "const d=f.contentDocument;const s=d.querySelector('svg');"
        "return d.documentElement.scrollWidth+','+s.getBoundingClientRect().width.toFixed(0)})"
        ".join(';')}"
    )
    wrapper = tmp_path / "wrapper.html"
    wrapper.write_text(
        f"<!doctype html><title>-</title><body>{frames}<script>{measure}</script></body>"
    )
    told = chromium("--window-size=1700,1000", "--dump-dom", f"file://{wrapper}")
    assert told.returncode == 0, told.stderr
    assert "CONSOLE" not in told.stderr
    title = re.search(r"<title>(.*?)</title>", told.stdout)
    assert title is not None
    (phone, phone_plot), (desktop, desktop_plot) = (
        map(int, part.split(",")) for part in title[1].split(";")
    )
    assert phone <= 390 and desktop <= 1280
    # Plots are drawn 380 units wide: neither shrunk to nothing nor blown up.
    assert phone_plot > 300 and 300 < desktop_plot < 640
