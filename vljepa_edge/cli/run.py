"""`vljepa run`: watches a source and prints a caption each time that its meaning shifts."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from vljepa_edge.cli.engine import engine_options, placement


@click.command("run")
@click.argument("source", metavar="VIDEO|FOLDER|CAMERA")
@click.option("-q", "--query", "queries", multiple=True, help="What to ask; may be given again.")
@click.option("-b", "--bundle", help="Bundle folder or image; default: the packaged nano bundle.")
@click.option("--json", "as_json", is_flag=True, help="One event a line as JSON on stdout.")
@click.option("--realtime", is_flag=True, help="Pace by timestamps and drop what comes too late.")
@click.option("--timeline", type=click.Path(path_type=Path), help="What is true, to print beside.")
@click.option(
    "--plot", type=click.Path(path_type=Path), help="Draw gate, captions and truth (PNG)."
)
@click.option("--embeddings", is_flag=True, help="Also tell every window's embedding and score.")
@click.option("--trace", type=click.Path(path_type=Path), help="Write spans for Chrome/Perfetto.")
@click.option("--stats", type=click.Path(path_type=Path), help="Write counters and times as JSON.")
@click.option(
    "--text",
    type=click.Choice(["decoder", "phrases", "none"]),
    help="Where text comes from; default: the bundle's decoder, else its phrases.",
)
@click.option(
    "--decode-when",
    type=click.Choice(["onset", "close", "both", "never"]),
    help="Decode when a segment begins, when it closes, or both.",
)
@click.option("--stride", type=click.IntRange(1), help="Sampled frames between two windows.")
@click.option(
    "--fps", type=click.FloatRange(0, 1000, min_open=True), help="Sampling rate, frames a second."
)
@click.option("--max-frames", type=click.IntRange(1), help="Stop after this many frames.")
@engine_options
def command(source: str, bundle: str | None, queries: tuple[str, ...], **options: Any) -> int:
    """Watch a video, a folder of pictures or a camera (its number, such as 0).

    A folder may hold timestamps.txt with a line "<nanoseconds> <file>" per picture. Files are
    replayed: every window is processed, as fast as it goes. Cameras, and files with --realtime, are
    watched in real time.
    """
    from vljepa_edge.cli.truth import read_timeline

    timeline = read_timeline(options["timeline"]) if options["timeline"] else []
    for target in ("plot", "trace", "stats"):
        if options[target] is not None and not options[target].parent.is_dir():
            raise click.UsageError(
                f"{options[target]}: there is no folder {options[target].parent}"
            )
    return _watch(source, bundle, list(queries), timeline, options)


def _watch(
    place: str, bundle: str | None, queries: list[str], timeline: list[Any], options: dict[str, Any]
) -> int:
    from vljepa_edge.cli.console import Output
    from vljepa_edge.cli.failure import report
    from vljepa_edge.cli.report import Report
    from vljepa_edge.cli.summary import summary
    from vljepa_edge.runtime.bundle import Bundle, default_bundle
    from vljepa_edge.runtime.errors import VljepaError
    from vljepa_edge.runtime.model import load
    from vljepa_edge.runtime.options import StreamOptions
    from vljepa_edge.runtime.sources import open_source

    path = Path(bundle) if bundle else default_bundle()
    with Bundle(path) as index:
        components = [name for name in index.components if name != "y_encoder"]
    model = load(path, threads=options["threads"], components=components, **placement(options))
    rate = options["fps"] or model.description.fps
    stream_options = StreamOptions(
        realtime=options["realtime"],
        text=options["text"],
        stride=options["stride"] or 0,
        fps=options["fps"] or 0.0,
        decode_when=options["decode_when"],
        emit_embeddings=options["embeddings"] or options["plot"] is not None,
        trace_capacity=100_000 if options["trace"] else 0,
    )
    stream = model.stream(
        open_source(place, rate),
        queries or None,
        stream_options,
        max_frames=options["max_frames"],
    )
    told = Report(stream.session.queries, timeline, options["as_json"], options["embeddings"])
    code = 0
    about = model.description
    total = stream.source.frame_count
    with stream, Output(place, total, quiet=options["as_json"]) as output, _stopping(stream):
        output.say(
            f"{about.name} {about.precision} on {about.backend}, watching {stream.source.name}"
        )
        for line in told.header():
            output.say(line)
        try:
            for event in stream:
                output.advance_to(stream.frames_read)
                for line in told.lines(event):
                    output.result(line)
        except VljepaError as error:
            code = report(error)  # below what was found before it
        stats = stream.stats()
        trace = stream.session.trace() if options["trace"] else ""
    for line in summary(stats, len(told.queries)):
        click.echo(line, err=options["as_json"])
    if options["trace"]:
        options["trace"].write_text(trace, encoding="utf-8")
    if options["stats"]:
        options["stats"].write_text(stats.to_json() + "\n", encoding="utf-8")
    if options["plot"]:
        from vljepa_edge.cli.plot import draw_timeline

        draw_timeline(options["plot"], told.history, timeline, stats)
        click.echo(f"timeline: {options['plot']}", err=options["as_json"])
    for problem in stream.problems:
        click.echo(f"vljepa: {problem}", err=True)
        code = code or 2
    return code


@contextmanager
def _stopping(stream: Any) -> Iterator[None]:
    """The first Ctrl-C ends the source politely; the second one interrupts."""

    def stop(number: int, frame: object) -> None:
        signal.signal(signal.SIGINT, previous)
        stream.stop()

    previous = signal.signal(signal.SIGINT, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
