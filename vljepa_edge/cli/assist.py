"""`vljepa assist`: watches a source and serves a page that shows, alerts, answers and remembers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vljepa_edge.cli.engine import engine_options, placement


@click.command("assist")
@click.argument("source", metavar="VIDEO|FOLDER|CAMERA|URL|browser")
@click.option("-b", "--bundle", help="Bundle folder or image; default: the packaged nano bundle.")
@click.option("-q", "--query", "queries", multiple=True, help="What to ask; may be given again.")
@click.option("-w", "--when", "alerts", multiple=True, help="A standing alert; may be given again.")
@click.option(
    "-m",
    "--memory",
    type=click.Path(path_type=Path),
    help="Remember in this file; else nothing is.",
)
@click.option(
    "--budget",
    type=click.IntRange(1),
    default=256,
    show_default=True,
    help="The memory's size in MB; what is oldest is forgotten.",
)
@click.option(
    "--among",
    type=click.Path(path_type=Path),
    help="A phrase a line of what else may be seen: alerts are told apart from these.",
)
@click.option("--keep-thumbnails", is_flag=True, help="Also keep a small picture per segment.")
@click.option("--fast", is_flag=True, help="A file as fast as it goes, not at its own pace.")
@click.option("--loop", is_flag=True, help="A file or folder again and again.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Another one needs the token.")
@click.option("--port", type=click.IntRange(0, 65535), default=8765, show_default=True)
@click.option("--token", help="Ask for this token; made up where --host is not this machine.")
@click.option("--tls-cert", type=click.Path(path_type=Path), help="Certificate (PEM), for HTTPS.")
@click.option("--tls-key", type=click.Path(path_type=Path), help="Its key (PEM).")
@engine_options
def command(source: str, **options: Any) -> int:
    """Watch a source and open a page on it, on this machine alone unless --host says otherwise.

    SOURCE is a video, a folder of pictures, a camera's number, the address of a network camera
    (rtsp://, http://), or `browser`: the camera of the page itself, a phone's for instance.
    """
    token = options["token"]
    if token is not None and len(token) < 16:
        raise click.UsageError("--token: a token has 16 characters or more")
    if (options["tls_cert"] is None) != (options["tls_key"] is None):
        raise click.UsageError("--tls-cert and --tls-key come together")
    for file in (options["tls_cert"], options["tls_key"]):
        if file is not None and not file.is_file():
            raise click.UsageError(f"{file}: no such file")
    return _assist(source, options)


def _phrases(file: Path) -> list[str]:
    """The lines of a file that hold something."""
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise click.UsageError(f"{file}: {reason}") from error
    phrases = [line.strip() for line in lines if line.strip()]
    if not phrases:
        raise click.UsageError(f"{file}: holds no phrases")
    return phrases


def _assist(source: str, options: dict[str, Any]) -> int:
    from vljepa_edge.assistant import Assistant
    from vljepa_edge.assistant.server.serve import make_server
    from vljepa_edge.runtime.model import load

    among = _phrases(options["among"]) if options["among"] is not None else []
    with load(options["bundle"], threads=options["threads"], **placement(options)) as model:
        assistant = Assistant(
            model,
            source,
            options["memory"],
            queries=list(options["queries"]) or None,
            paced=not options["fast"],
            loop=options["loop"],
            keep_thumbnails=options["keep_thumbnails"],
            budget_bytes=options["budget"] << 20,
            among=among,
        )
        try:
            for text in options["alerts"]:
                assistant.when(text)
            server, access, bound = make_server(
                assistant,
                options["host"],
                options["port"],
                options["token"],
                options["tls_cert"],
                options["tls_key"],
            )
            return _run(assistant, server, access, bound)
        finally:
            assistant.close()


def _run(assistant: Any, server: Any, access: Any, bound: Any) -> int:
    from vljepa_edge.assistant.server.serve import address_of, serve

    kept = "nothing is remembered (--memory FILE)"
    if assistant.memory is not None:
        kept = f"remembered in {assistant.memory.path}, no pictures"
        if assistant.keep_thumbnails:
            kept = f"remembered in {assistant.memory.path}, with small pictures"
    about = assistant.model.description
    click.echo(f"{about.name} {about.precision} watches {assistant.watcher.state.source}; {kept}")
    if not access.loopback and not access.secure:
        click.echo(
            "vljepa: others on this network can reach the page, and may read what goes over it: "
            "the token keeps strangers out, --tls-cert and --tls-key keep it secret",
            err=True,
        )
    click.echo(f"open {address_of(access)}")
    try:
        serve(server, bound, assistant.start)
    except KeyboardInterrupt:
        return 0
    return 0
