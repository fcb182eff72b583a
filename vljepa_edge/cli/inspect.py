"""`vljepa inspect`: what a bundle or image holds."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import click


@click.command("inspect")
@click.argument("bundle", required=False)
@click.option("--json", "as_json", is_flag=True, help="Everything as one JSON object.")
@click.option("--verify", is_flag=True, help="Also compare every section's SHA-256.")
def command(bundle: str | None, as_json: bool, verify: bool) -> None:
    """Show what a bundle folder or image holds (default: the packaged nano bundle)."""
    from vljepa_edge.runtime.bundle import Bundle, default_bundle

    path = Path(bundle) if bundle else default_bundle()
    with Bundle(path, verify_hashes=verify) as opened:
        sections = opened.sections
        manifest = opened.manifest()
    found = {
        "path": str(path),
        "bytes": sum(section.size for section in sections),
        "manifest": manifest,
        "sections": [dataclasses.asdict(section) for section in sections],
    }
    if as_json:
        click.echo(json.dumps(found, ensure_ascii=False))
        return
    for line in _lines(found, verify):
        click.echo(line)


def _lines(found: dict[str, Any], verified: bool) -> list[str]:
    manifest = found["manifest"]
    lines = [f"{found['path']}: {_size(found['bytes'])}" + (", hashes match" if verified else "")]
    if manifest:
        lines += _manifest_lines(manifest)
    lines += ["", f"{'section':<18}{'name':<34}{'where':<26}{'size':>10}  sha256"]
    for section in found["sections"]:
        where = section["file"] or "inside"
        name = section["name"] if len(section["name"]) <= 32 else section["name"][:31] + "…"
        size, digest = _size(section["size"]), section["sha256"][:12]
        lines.append(f"{section['kind']:<18}{name:<34}{where:<26}{size:>10}  {digest}")
    return lines


def _manifest_lines(manifest: dict[str, Any]) -> list[str]:
    """The facts that people ask for first."""
    window, gate, model = (manifest.get(key, {}) for key in ("window", "gate", "model"))
    lines = [
        f"model       {manifest.get('name')} {manifest.get('precision')}, "
        f"schema {manifest.get('schema_version')}",
        f"window      {window.get('frames')} frames of {window.get('width')}x"
        f"{window.get('height')} at {window.get('fps', 0):g} a second, one every "
        f"{window.get('stride')} frames",
        f"embedding   {model.get('embedding_width')} wide, "
        f"{model.get('visual_tokens')} visual tokens, pooling {model.get('pooling')}",
        "gate        " + ", ".join(f"{name} {value}" for name, value in gate.items()),
    ]
    for query in manifest.get("queries", []):
        lines.append(f"query       {query.get('text')!r} ({query.get('tokens')} tokens)")
    for bank in manifest.get("phrase_banks", []):
        lines.append(f"phrases     {bank.get('name')}: {bank.get('phrases')}")
    origin = manifest.get("provenance", {})
    if origin:
        licences = ", ".join(origin.get("licences", [])) or "none told"
        lines.append(f"from        {origin.get('checkpoint')}; licences: {licences}")
        if world := origin.get("card", {}).get("world"):
            lines.append(f"trained on  sprite world, version {world}")
    return lines


def _size(count: int) -> str:
    if count < 10_000:
        return f"{count} B"
    return f"{count / 1e6:.2f} MB"
