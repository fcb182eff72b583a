"""`vljepa pack`: a bundle folder as one image file."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("pack")
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The image.")
@click.option("--firmware", is_flag=True, help="Leave out what only tools on a computer read.")
@click.option("--overwrite", is_flag=True, help="Replace the image if it exists.")
def command(bundle: Path, output: Path, firmware: bool, overwrite: bool) -> None:
    """Pack a bundle folder into one file that firmware maps or flashes."""
    from vljepa_edge.export.pack import pack

    digest = pack(bundle, output, tools=not firmware, overwrite=overwrite)
    click.echo(f"{output}: {output.stat().st_size / 1e6:.2f} MB, sha256 {digest}")
