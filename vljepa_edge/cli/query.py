"""`vljepa query`: compiled queries of a bundle."""

from __future__ import annotations

from pathlib import Path

import click


@click.group("query")
def command() -> None:
    """Compile queries into a bundle, so that the device needs no tokenizer."""


@command.command("add")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("texts", nargs=-1, required=True)
@click.option(
    "--checkpoint",
    type=click.Path(path_type=Path),
    help="Where the embedding table is, for bundles that carry none: a checkpoint folder, the "
    "hub folder of the Predictor's Llama, or open-vljepa's best.pt.",
)
def add(bundle: Path, texts: tuple[str, ...], checkpoint: Path | None) -> None:
    """Add one or more TEXTS to a bundle folder."""
    from vljepa_edge.export.queries import add_queries

    added = add_queries(bundle, list(texts), checkpoint=checkpoint)
    for text in texts:
        click.echo(f"{text}: {'added' if text in added else 'was there already'}")


@command.command("phrases")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option("--int8", is_flag=True, help="A quarter of the bytes, searched in half the time.")
def phrases(bundle: Path, name: str, file: Path, int8: bool) -> None:
    """Embed the lines of FILE as phrase bank NAME of a bundle folder, or in that bank's place.

    `vljepa run --text phrases` names shifts by a bundle's first bank, without a Y-Decoder.
    """
    from vljepa_edge.cli.console import Output
    from vljepa_edge.export.phrases import add_phrases

    lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines()]
    texts = [line for line in lines if line]
    if not texts:
        raise click.UsageError(f"{file} holds no phrases")
    with Output("phrases", len(texts)) as out:
        count = add_phrases(
            bundle, name, texts, lambda what, done, total: out.advance_to(done), int8=int8
        )
    click.echo(f"{name}: {count} phrases{', INT8' if int8 else ''}")


@command.command("list")
@click.argument("bundle", required=False)
def list_queries(bundle: str | None) -> None:
    """List a bundle's queries; the first is the default of `vljepa run`."""
    from vljepa_edge.runtime.bundle import Bundle, default_bundle

    with Bundle(bundle or default_bundle()) as opened:
        for query in opened.manifest().get("queries", []):
            click.echo(f"{query['tokens']:>4} tokens  {query['text']}")
