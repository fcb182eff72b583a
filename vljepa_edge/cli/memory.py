"""`vljepa memory`: shows, searches, exports and erases what an assistant remembers."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from vljepa_edge.assistant.memory import Memory, Recollection

_FILE = click.argument("file", type=click.Path(path_type=Path), metavar="MEMORY")


@click.group("memory", context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """What an assistant remembers: show it, search it, export it, erase it."""


@command.command("show")
@_FILE
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def show(file: Path, as_json: bool) -> int:
    """Tell what is stored: how much, from when, of what."""
    with _opened(file) as memory:
        summary = memory.summary()
    if as_json:
        click.echo(json.dumps(asdict(summary), ensure_ascii=False))
        return 0
    click.echo(
        f"{summary.path}: {summary.segments} segments, {summary.thumbnails} pictures, "
        f"{summary.file_bytes / 1e6:.1f} MB"
    )
    if summary.first_ns is not None and summary.last_ns is not None:
        click.echo(f"  from {_clock(summary.first_ns)} to {_clock(summary.last_ns)}")
    click.echo("  a segment is its times, its text, the query, the source's name, and a vector")
    for title, counts in (
        ("source", summary.sources),
        ("query", summary.queries),
        ("bundle", summary.bundles),
    ):
        for name, count in counts.items():
            click.echo(f"  {title} {name}: {count}")
    return 0


@command.command("search")
@_FILE
@click.argument("text")
@click.option("-b", "--bundle", help="The bundle that it was made with; default: nano.")
@click.option("-k", "k", type=click.IntRange(1, 1000), default=5, show_default=True)
@click.option("--since", help="Such as 2h, 7d, yesterday, or 2026-11-22T08:00.")
@click.option("--until", help="The same.")
@click.option("--json", "as_json", is_flag=True, help="One finding a line as JSON.")
def search(
    file: Path,
    text: str,
    bundle: str | None,
    k: int,
    since: str | None,
    until: str | None,
    as_json: bool,
) -> int:
    """Find when something like TEXT was seen."""
    from vljepa_edge.assistant.assistant import recall
    from vljepa_edge.runtime.model import load

    span = (_moment(since, "--since"), _moment(until, "--until"))
    with _opened(file) as memory, load(bundle, components=["y_encoder"]) as model:
        found = recall(model, memory, text, k=k, since=span[0], until=span[1])
        sha256 = model.description.bundle_sha256
        others = sum(
            count for name, count in memory.summary().bundles.items() if sha256 not in name
        )
    for one in found:
        click.echo(json.dumps(asdict(one), ensure_ascii=False) if as_json else _line(one))
    if others:
        click.echo(
            f"vljepa: {others} segments were made with another bundle and were not searched; "
            "name it with --bundle",
            err=True,
        )
    return 0


@command.command("export")
@_FILE
@click.option("--day", default="today", show_default=True, help="today, yesterday or 2026-11-22.")
@click.option(
    "--format", "form", type=click.Choice(["srt", "json", "md"]), default="md", show_default=True
)
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Write here; default: stdout.")
def export(file: Path, day: str, form: Any, out: Path | None) -> int:
    """Write a day as subtitles, JSON or Markdown."""
    from vljepa_edge.assistant.diary import day_span, write_diary

    span = day_span(_day(day))
    with _opened(file) as memory:
        diary = write_diary(memory.segments(*span), form)
    if out is None:
        click.echo(diary, nl=False)
    else:
        out.write_text(diary, encoding="utf-8")
    return 0


@command.command("erase")
@_FILE
@click.option("--yes", is_flag=True, help="Don't ask.")
def erase(file: Path, yes: bool) -> int:
    """Delete a memory, with everything in it."""
    from vljepa_edge.assistant.memory import erase as erase_memory

    if not yes:
        with _opened(file) as memory:
            segments = memory.summary().segments
        click.confirm(f"Delete {file} with its {segments} segments?", abort=True)
    for deleted in erase_memory(file):
        click.echo(f"deleted {deleted}")
    return 0


def _opened(file: Path) -> Memory:
    from vljepa_edge.assistant.memory import Memory

    return Memory(file, read_only=True)


def _line(found: Recollection) -> str:
    return f"{found.score:.3f}  {_clock(found.start_ns)}  {found.text or '(no text)'}"


def _clock(at_ns: int) -> str:
    return f"{datetime.fromtimestamp(at_ns / 1e9):%Y-%m-%d %H:%M:%S}"


def _day(text: str) -> date:
    named = {"today": 0, "yesterday": 1}
    if text in named:
        return date.today() - timedelta(days=named[text])
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise click.UsageError(f"--day {text!r} is not today, yesterday or 2026-11-22") from error


def _moment(text: str | None, option: str) -> datetime | timedelta | None:
    if text is None:
        return None
    ago = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if ago:
        unit = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}[ago[2]]
        return timedelta(**{unit: int(ago[1])})
    if text in ("today", "yesterday"):
        return datetime.combine(_day(text), datetime.min.time())
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise click.UsageError(
            f"{option} {text!r} is not such as 2h, 7d, yesterday or 2026-11-22T08:00"
        ) from error
