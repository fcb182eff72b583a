"""The interface of engine makers, and the folder that their engines are kept in.

Engines belong to one device, one version of the maker and one bundle: the folder's `engine.json`
names all three, and engines whose key is another one are made anew.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

from ...runtime.bundle import Bundle, Section
from ..bundle import INDEX, check_folder
from ..errors import ExportError
from ..full_disk import full_disk_told
from ..index_writer import sha256_file
from ..manifest import Manifest

RECORD = "engine.json"
KEY = "engines.key"  # the same for the C core, which reads no JSON (runtime/backends/engine_key.h)
# Axis -> least, usual and largest size.
Ranges = Mapping[str, tuple[int, int, int]]
Progress = Callable[[str, int, int], None]
MOST_QUERIES = 16


class EngineBuilder(Protocol):
    """Makes one component's engine. Opening one raises ExportError where its library is missing."""

    name: str
    suffix: str

    def version(self) -> str:
        """The library's version."""

    def device(self) -> str:
        """What the engines run on."""

    def settings(self) -> Mapping[str, str]:
        """Whatever else makes engines differ."""

    def build(self, onnx: Path, ranges: Ranges, output: Path) -> None:
        """Writes the engine of an ONNX file. ExportError where it cannot be made."""


@dataclass(frozen=True)
class EngineRecord:
    """What lies in a folder of engines."""

    key: str
    builder: str
    version: str
    device: str
    settings: dict[str, str]
    bundle_sha256: str
    files: dict[str, str]  # component -> file
    sha256: dict[str, str]  # file -> digest


def engine_key(builder: EngineBuilder, bundle_sha256: str) -> str:
    """Engines of the same key are the same engines."""
    facts = [builder.name, builder.version(), builder.device(), bundle_sha256]
    facts += [f"{name}={value}" for name, value in sorted(builder.settings().items())]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


def build_engines(
    bundle: Path,
    output: Path,
    builder: EngineBuilder,
    *,
    progress: Progress | None = None,
) -> EngineRecord:
    """Makes an engine of each component; what is there with the same key is left as it is.

    The folder appears whole or not at all.
    """
    manifest = check_folder(bundle)
    with Bundle(bundle) as opened:
        sources = {name: sources_digest(opened.sections, name) for name in manifest.components}
    digest = sha256_file(bundle / INDEX)
    key = engine_key(builder, digest)
    ready = read_engines(output)
    if ready is not None and ready.key == key:
        return ready
    if output.exists() and ready is None and any(output.iterdir()):
        raise ExportError(f"{output} exists and holds no engines", "choose another output")
    output.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(
        tempfile.mkdtemp(prefix=f".{output.name}.", suffix=".partial", dir=output.parent)
    )
    try:
        with full_disk_told(output):
            files = {}
            for i, (name, component) in enumerate(manifest.components.items()):
                if progress is not None:
                    progress(f"building {name} for {builder.name}", i, len(manifest.components))
                path = staging / f"{name}{builder.suffix}"
                builder.build(bundle / component.file, axis_ranges(manifest, name), path)
                files[name] = path.name
            (staging / KEY).write_text(core_key(builder, files, sources), "utf-8")
            record = EngineRecord(
                key=key,
                builder=builder.name,
                version=builder.version(),
                device=builder.device(),
                settings=dict(builder.settings()),
                bundle_sha256=digest,
                files=files,
                sha256={path.name: sha256_file(path) for path in sorted(staging.iterdir())},
            )
            (staging / RECORD).write_text(json.dumps(asdict(record), indent=2) + "\n", "utf-8")
            staging.chmod(0o755)
            shutil.rmtree(output, ignore_errors=True)
            staging.rename(output)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return record


def sources_digest(sections: Iterable[Section], component: str) -> str:
    """SHA-256 over the digests of a component's ONNX and of its weights, in the index's order."""
    digest = hashlib.sha256()
    ordered = sorted(sections, key=lambda section: section.kind != "engine")  # stable
    for section in ordered:
        own = section.kind == "engine" and section.name == component
        data = section.kind == "engine_data" and section.name.startswith(f"{component}.onnx")
        if own or data:
            digest.update(bytes.fromhex(section.sha256))
    return digest.hexdigest()


def core_key(builder: EngineBuilder, files: Mapping[str, str], sources: Mapping[str, str]) -> str:
    """`engines.key`: library and version, device, then a component, its sources and file a line."""
    version = builder.version()
    if not version.startswith(f"{builder.name} "):
        version = f"{builder.name} {version}"
    lines = ["vljepa-engines 1", version, builder.device()]
    lines += [f"{name} {sources[name]} {file}" for name, file in files.items()]
    return "\n".join(lines) + "\n"


def read_engines(folder: Path) -> EngineRecord | None:
    """What a folder holds, once every file's digest has been compared; None where it is damaged."""
    try:
        record = EngineRecord(**json.loads((folder / RECORD).read_text(encoding="utf-8")))
        whole = all(sha256_file(folder / name) == told for name, told in record.sha256.items())
    except (OSError, ValueError, TypeError):
        return None
    return record if whole else None


def axis_ranges(manifest: Manifest, component: str) -> Ranges:
    """Sizes of the dynamic axes of a component."""
    most = manifest.model.max_query_tokens
    ranges = {
        "query_count": (1, 1, MOST_QUERIES),
        "query_length": (1, min(32, most), most),
        "token_count": (1, min(16, manifest.model.text_max_tokens), manifest.model.text_max_tokens),
    }
    if component == "y_decoder" and manifest.decoder is not None:
        prefill = manifest.decoder.prefix_tokens + 1
        cache = manifest.decoder.cache_length
        ranges["token_count"] = (1, 1, prefill)
        ranges["cache_and_token_count"] = (cache + 1, cache + 1, cache + prefill)
    return ranges
