"""`vljepa export`: a checkpoint as a bundle."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("export")
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The bundle.")
@click.option(
    "-q", "--query", "queries", multiple=True, help="Compile this query; may be repeated."
)
@click.option(
    "--phrases",
    "phrase_files",
    type=click.Path(path_type=Path),
    multiple=True,
    help="Phrase bank: a text file with one phrase a line, named as the file. May be repeated.",
)
@click.option("--overwrite", is_flag=True, help="Replace the bundle if it exists.")
def command(
    checkpoint: Path,
    output: Path,
    queries: tuple[str, ...],
    phrase_files: tuple[Path, ...],
    overwrite: bool,
) -> None:
    """Turn a CHECKPOINT folder into a bundle: ONNX components, queries, golden vectors, index.

    Needs the extra "export": pip install 'vljepa-edge[export]'.
    """
    from vljepa_edge.cli.console import Output

    banks = {file.stem: _phrases(file) for file in phrase_files}
    from vljepa_edge.export.export_bundle import export_bundle

    with Output("export", None) as out:

        def progress(what: str, done: int, total: int) -> None:
            out.say(what)
            out.advance_to(done, total)

        exported = export_bundle(
            checkpoint,
            output,
            query_texts=queries,
            phrase_banks=banks,
            overwrite=overwrite,
            progress=progress,
        )
    click.echo(f"{output}: sha256 {exported.sha256}; check it with `vljepa doctor {output}`")


def _phrases(file: Path) -> list[str]:
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise click.UsageError(f"{file}: {reason}") from error
    phrases = [line.strip() for line in lines if line.strip()]
    if not phrases:
        raise click.UsageError(f"{file}: holds no phrases")
    return phrases
