"""`vljepa export`: a checkpoint as a bundle, a bundle as engines of one device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from vljepa_edge.export.export_bundle import ExportedBundle
    from vljepa_edge.export.origin import Origin

_FOLDER = click.Path(path_type=Path)


@click.command("export")
@click.argument("checkpoint", type=_FOLDER, required=False)
@click.option("-o", "--output", type=_FOLDER, required=True, help="The bundle.")
@click.option(
    "-q", "--query", "queries", multiple=True, help="Compile this query; may be repeated."
)
@click.option(
    "--phrases",
    "phrase_files",
    type=_FOLDER,
    multiple=True,
    help="Phrase bank: a text file with one phrase a line, named as the file. May be repeated.",
)
@click.option("--preset", type=click.Choice(["nano", "paper"]), help="With --random-weights.")
@click.option("--random-weights", is_flag=True, help="No checkpoint: for mechanics and timing.")
@click.option("--x-encoder", type=_FOLDER, help="Hub folder or .pt file of a V-JEPA 2.")
@click.option("--predictor", type=_FOLDER, help="Hub folder of a Llama-shaped model.")
@click.option("--y-encoder", type=_FOLDER, help="Hub folder of EmbeddingGemma.")
@click.option("--y-decoder", type=_FOLDER, help="Hub folder of a small LM with tied embeddings.")
@click.option("--dense-heads", is_flag=True, help="Keep EmbeddingGemma's own linear heads.")
@click.option(
    "--predictor-layers",
    type=click.IntRange(1),
    help="How many of that model's last layers make the Predictor. Default: 8.",
)
@click.option("--frames", type=click.IntRange(1, 512), help="Of a window. Default: 16.")
@click.option("--seed", type=int, default=0, help="Of weights that no checkpoint has.")
@click.option(
    "--tokenizer",
    "tokenizers",
    multiple=True,
    metavar="[ROLE=]FILE",
    help="A tokenizer.json, for all or for query, y_encoder or y_decoder. May be repeated.",
)
@click.option(
    "--template",
    "templates",
    multiple=True,
    metavar="ROLE=TEXT",
    help="What texts are put in, at {text}. May be repeated.",
)
@click.option(
    "--weights",
    type=click.Choice(["fp32", "fp16", "bf16"]),
    default="fp32",
    help="How weights are stored; they are computed with in float32.",
)
@click.option(
    "--query-table/--no-query-table",
    default=None,
    help="Whether the query embedding table goes along; default: where it is small.",
)
@click.option(
    "--engine",
    type=click.Choice(["ort", "openvino", "tensorrt", "tensorrt-onnx"]),
    help="CHECKPOINT is a bundle: make engines of this kind for this device in -o; tensorrt-onnx: "
    "float16 ONNX for trtexec, opset 23 with --attention.",
)
@click.option(
    "--capability",
    metavar="SM",
    help="TensorRT for a device that is not here (SM86, SM89, ...), by tensorrt-rtx.",
)
@click.option("--attention", is_flag=True, help="TensorRT 10.15 and later: its Attention operator.")
@click.option(
    "--pool-plugin",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="LIBRARY",
    help="TensorRT: leave the Predictor's pooling to the plug-in in libvljepa_tensorrt.so.",
)
@click.option("--overwrite", is_flag=True, help="Replace the bundle if it exists.")
@click.pass_context
def command(
    context: click.Context,
    /,
    checkpoint: Path | None,
    output: Path,
    queries: tuple[str, ...],
    phrase_files: tuple[Path, ...],
    tokenizers: tuple[str, ...],
    templates: tuple[str, ...],
    weights: str,
    query_table: bool | None,
    engine: str | None,
    capability: str | None,
    attention: bool,
    pool_plugin: Path | None,
    overwrite: bool,
    **_: object,
) -> None:
    """Turn a CHECKPOINT into a bundle: ONNX components, queries, golden vectors, index.

    CHECKPOINT is a folder of `vljepa train`, or open-vljepa's best.pt with --x-encoder. Without
    one, hub folders are put together, or --preset with --random-weights. Large models are exported
    one component at a time, and an interrupted export goes on where it stopped.

    Needs the extra "export": pip install 'vljepa-edge[export]'.
    """
    from vljepa_edge.cli.console import Output

    if engine is not None:
        _engines(checkpoint, output, engine, capability, attention, pool_plugin)
        return
    if capability or attention or pool_plugin:
        raise click.UsageError(_OF_TENSORRT)
    banks = {file.stem: _phrases(file) for file in phrase_files}
    roles = _by_role(tokenizers, "--tokenizer")
    source = _source(checkpoint, context.params)
    from vljepa_edge.export.export_bundle import export_bundle

    with Output("export", None) as out:

        def progress(what: str, done: int, total: int) -> None:
            out.say(what)
            out.advance_to(done, total)

        exported = export_bundle(
            source,
            output,
            tokenizer=_tokenizers(roles),
            templates=_by_role(templates, "--template"),
            query_texts=queries,
            phrase_banks=banks,
            query_table=query_table,
            storage=weights,  # type: ignore[arg-type]
            overwrite=overwrite,
            progress=progress,
        )
    _tell(exported)
    click.echo(f"{output}: sha256 {exported.sha256}; check it with `vljepa doctor {output}`")


_OF_TENSORRT = (
    "--capability, --attention and --pool-plugin go with --engine tensorrt, of these --attention "
    "with tensorrt-onnx too"
)


def _engines(
    bundle: Path | None,
    output: Path,
    name: str,
    capability: str | None,
    attention: bool,
    pool_plugin: Path | None,
) -> None:
    """Engines of a bundle in a folder of their own."""
    if bundle is None or not (bundle / "bundle.json").is_file():
        raise click.UsageError(f"--engine makes engines of a bundle, and {bundle} is none")
    alone = (capability or pool_plugin) and name != "tensorrt"
    if alone or (attention and not name.startswith("tensorrt")):
        raise click.UsageError(_OF_TENSORRT)
    from vljepa_edge.cli.console import Output
    from vljepa_edge.export.engines import open_builder
    from vljepa_edge.export.engines.builder import build_engines

    timings = output.absolute().parent / "tensorrt-timings.cache"
    builder = open_builder(
        name,
        capability=capability,
        attention=attention,
        timing_cache=timings,
        pool_plugin=pool_plugin,
    )
    with Output("engines", None) as out:

        def progress(what: str, done: int, total: int) -> None:
            out.say(what)
            out.advance_to(done, total)

        record = build_engines(bundle, output, builder, progress=progress)
    click.echo(f"{output}: {len(record.files)} engines for {record.device} by {record.version}")


def _source(checkpoint: Path | None, chosen: dict[str, object]) -> Path | Origin:
    """What the command names: a folder of ours, or the origin of each component."""
    folders = {
        part: path
        for part in ("x_encoder", "predictor", "y_encoder", "y_decoder")
        if isinstance(path := chosen[part], Path)
    }
    preset, frames, seed = chosen["preset"], chosen["frames"], chosen["seed"]
    assert isinstance(seed, int)
    whole = checkpoint is not None
    if [whole, bool(chosen["random_weights"]), bool(folders) and not whole].count(True) != 1:
        raise click.UsageError(
            "name one of: a CHECKPOINT, hub folders (--x-encoder, --predictor, --y-encoder), "
            "or --preset with --random-weights"
        )
    if bool(preset) != bool(chosen["random_weights"]):
        raise click.UsageError("--preset and --random-weights go together")
    if chosen["predictor_layers"] and (whole or preset):
        raise click.UsageError("--predictor-layers goes with --predictor")
    if checkpoint is not None:
        if frames is not None:
            raise click.UsageError("--frames: a checkpoint says itself how many it takes")
        return _checkpoint(checkpoint, folders)
    from vljepa_edge.export import origin

    if preset:
        from vljepa_edge.model.config import nano, paper

        if preset == "nano" and frames is not None:
            raise click.UsageError("--frames goes with the preset paper")
        count = frames if isinstance(frames, int) else 16
        _even(count)
        return origin.random_weights(paper(count) if preset == "paper" else nano(), seed)
    count = frames if isinstance(frames, int) else 16
    _even(count)
    layers = chosen["predictor_layers"]
    return origin.hub_folders(
        folders,
        count,
        seed,
        bool(chosen["dense_heads"]),
        layers if isinstance(layers, int) else 8,
    )


def _even(frames: int) -> None:
    if frames % 2:
        raise click.UsageError(f"--frames {frames} is odd; a tubelet has 2 frames")


def _checkpoint(path: Path, folders: dict[str, Path]) -> Path | Origin:
    if extra := sorted(set(folders) - {"x_encoder"}):
        raise click.UsageError(f"--{extra[0].replace('_', '-')} does not go with a CHECKPOINT")
    if path.suffix not in (".pt", ".pth", ".bin"):
        if folders:
            raise click.UsageError(f"--x-encoder goes with a best.pt, and {path} is a folder")
        return path
    from vljepa_edge.export.origin import open_vljepa_checkpoint

    return open_vljepa_checkpoint(path, folders.get("x_encoder"))


def _by_role(values: tuple[str, ...], option: str) -> dict[str, str]:
    """ROLE=VALUE, or a lone VALUE under the role ""."""
    found = {}
    for value in values:
        role, equals, rest = value.partition("=")
        if option == "--template" and not equals:
            raise click.UsageError(f"{option} {value!r}: expected ROLE=TEXT")
        found[role if equals else ""] = rest if equals else value
    return found


def _tokenizers(roles: dict[str, str]) -> Path | dict[str, Path] | None:
    if not roles:
        return None
    common = roles.pop("", None)
    if common is None:
        return {role: Path(path) for role, path in roles.items()}
    every = dict.fromkeys(("query", "y_encoder", "y_decoder"), common) | roles
    return {role: Path(path) for role, path in every.items()}


def _tell(exported: ExportedBundle) -> None:
    """Per component: nodes, size, and what making it took."""
    click.echo(f"{'component':<18}{'nodes':>7}{'MB':>9}{'seconds':>9}{'peak MB':>9}")
    for part in exported.parts.values():
        for name, one in part.components.items():
            size = one.bytes + sum(file.bytes for file in one.external_data)
            click.echo(
                f"{name:<18}{part.nodes[name]:>7}{size / 1e6:>9.1f}{part.seconds:>9.1f}"
                f"{part.peak_bytes / 1e6:>9.0f}"
            )


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
