"""`bundle.json` as dataclasses (export/bundle.schema.json says the same in JSON Schema)."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from . import strict_json
from .errors import ExportError
from .sections import CoreConfig

SCHEMA_VERSION = 1
COMPONENTS = ("x_encoder", "predictor", "y_encoder", "y_decoder_prefix", "y_decoder")
TOKENIZER_ROLES = ("query", "y_encoder", "y_decoder")
DECODE_WHEN = ("never", "onset", "close", "both")  # in the order of vlj_decode_when
POOLING = ("visual+query", "query", "visual")  # in the order of CONFIG
ROPE_VARIANTS = ("v2", "v2.1")
RESIZE_FILTERS = ("bilinear_antialias",)

DecodeWhen = Literal["never", "onset", "close", "both"]
Pooling = Literal["visual+query", "query", "visual"]
RopeVariant = Literal["v2", "v2.1"]


@dataclass(frozen=True)
class FileRecord:
    """A file of the bundle."""

    file: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class TensorRecord:
    """An input or output; a text in `shape` names a dynamic axis."""

    name: str
    dtype: Literal["uint8", "int64", "float32"]
    shape: tuple[int | str, ...]


@dataclass(frozen=True)
class ComponentRecord:
    """One engine."""

    file: str
    bytes: int
    sha256: str
    external_data: tuple[FileRecord, ...]
    precision: str
    opset: int
    inputs: tuple[TensorRecord, ...]
    outputs: tuple[TensorRecord, ...]


@dataclass(frozen=True)
class Window:
    """What one window is made of. `stride` counts sampled frames."""

    frames: int
    height: int
    width: int
    fps: float
    stride: int
    tubelet_frames: int
    patch_pixels: int


@dataclass(frozen=True)
class Preprocessing:
    """From a picture to the X-Encoder's frames: uint8 RGB, resized, cut from the centre.

    `mean` and `std` (of pixels in 0..1) are folded into the patch embedding; told for the record.
    """

    resize_short_side: int
    resize_filter: Literal["bilinear_antialias"]
    crop: Literal["center"]
    channels: Literal["rgb"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True)
class ModelRecord:
    """Sizes that the components share."""

    visual_tokens: int
    visual_width: int
    query_width: int
    max_query_tokens: int
    embedding_width: int
    text_max_tokens: int
    pooling: Pooling
    rope_variant: RopeVariant


@dataclass(frozen=True)
class DecoderRecord:
    """The Y-Decoder: prefix LM with a static KV cache."""

    prefix_tokens: int
    width: int
    kv_planes: int
    kv_heads: int
    head_size: int
    cache_length: int
    vocabulary: int
    begin_token: int
    end_token: int
    max_new_tokens: int


@dataclass(frozen=True)
class GateSettings:
    """Selective decoding, for this bundle's precision. Negative thresholds switch a rule off."""

    decode_when: DecodeWhen = "onset"
    smoothing: int = 2
    confirm: int = 1
    ward_threshold: float = 0.25
    variance_threshold: float = -1.0
    hysteresis: float = -1.0
    target_rate_hz: float = 0.0
    min_interval_ns: int = 0
    max_interval_ns: int = -1


@dataclass(frozen=True)
class TokenizerRecord:
    """A `tokenizer.json` and how it is used: the text goes in `template` at {text}."""

    file: str
    bytes: int
    sha256: str
    template: str


@dataclass(frozen=True)
class QueryRecord:
    """A compiled query; its embeddings lie in index.vlj, in this order."""

    text: str
    tokens: int


@dataclass(frozen=True)
class PhraseBankRecord:
    """A phrase bank; its texts and embeddings lie in index.vlj."""

    name: str
    phrases: int


@dataclass(frozen=True)
class Provenance:
    """Where the bundle comes from. `card`: what the checkpoint tells of its making."""

    checkpoint: str = "random weights"
    checkpoint_sha256: str = ""
    licences: tuple[str, ...] = ()
    tools: dict[str, str] = field(default_factory=dict)
    card: dict[str, Any] = field(default_factory=dict)

    @property
    def world(self) -> int:
        """Version of sprite world that the model was trained on; 1 where the card tells none."""
        return int(self.card.get("world", 1))


@dataclass(frozen=True)
class Manifest:
    """All of bundle.json."""

    schema_version: int
    name: str
    precision: str
    window: Window
    preprocessing: Preprocessing
    model: ModelRecord
    decoder: DecoderRecord | None
    gate: GateSettings
    components: dict[str, ComponentRecord]
    tokenizers: dict[str, TokenizerRecord]
    token_embeddings: tuple[str, ...]
    queries: tuple[QueryRecord, ...]
    phrase_banks: tuple[PhraseBankRecord, ...]
    golden: FileRecord | None
    provenance: Provenance

    def to_json(self) -> str:
        """What `from_json` reads; the same bytes for the same manifest."""
        return strict_json.dump(self)

    @classmethod
    def from_json(cls, text: str, what: str = "bundle.json") -> Manifest:
        """Parses and checks. ExportError names the field."""
        value = strict_json.parse(text, what)
        version = value.get("schema_version") if isinstance(value, dict) else None
        if version != SCHEMA_VERSION:
            raise ExportError(
                f"{what}: schema_version is {version}, expected {SCHEMA_VERSION}",
                "update vljepa-edge, or export the bundle again",
            )
        manifest = strict_json.load(cls, value, what)
        if problems := check(manifest):
            raise ExportError(f"{what}: " + "; ".join(problems), "export the bundle again")
        return manifest

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Reads `bundle.json`."""
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError as error:
            raise ExportError(f"{path}: missing", "is this a bundle folder?") from error
        except UnicodeDecodeError as error:
            raise ExportError(f"{path}: not UTF-8", "export the bundle again") from error
        return cls.from_json(text, str(path))

    def files(self) -> dict[str, FileRecord]:
        """Every file that the manifest names, by name (a tokenizer may serve several roles)."""
        records: list[FileRecord | ComponentRecord | TokenizerRecord] = []
        for component in self.components.values():
            records += [component, *component.external_data]
        records += self.tokenizers.values()
        if self.golden is not None:
            records.append(self.golden)
        return {r.file: FileRecord(r.file, r.bytes, r.sha256) for r in records}


def check(manifest: Manifest) -> list[str]:
    """What in the manifest contradicts itself, one sentence each."""
    problems = _too_small(manifest)
    if problems:
        return problems
    w, m, d = manifest.window, manifest.model, manifest.decoder
    if w.frames % w.tubelet_frames or w.height % w.patch_pixels or w.width % w.patch_pixels:
        problems.append(
            f"window: {w.frames}x{w.height}x{w.width} is no multiple of the tubelet "
            f"{w.tubelet_frames}x{w.patch_pixels}x{w.patch_pixels}"
        )
    tokens = (w.frames // w.tubelet_frames) * (w.height // w.patch_pixels)
    tokens *= w.width // w.patch_pixels
    if tokens != m.visual_tokens:
        problems.append(f"model.visual_tokens is {m.visual_tokens}, the window gives {tokens}")
    if manifest.preprocessing.resize_short_side < max(w.height, w.width):
        problems.append(
            f"preprocessing.resize_short_side {manifest.preprocessing.resize_short_side} is under "
            f"the window's {w.height}x{w.width}"
        )
    if d is not None and d.cache_length < d.prefix_tokens + d.max_new_tokens:
        problems.append(
            f"decoder.cache_length {d.cache_length} is under prefix_tokens + max_new_tokens "
            f"= {d.prefix_tokens + d.max_new_tokens}"
        )
    if d is not None and not {d.begin_token, d.end_token} <= set(range(d.vocabulary)):
        problems.append(f"decoder: begin or end token lies outside the vocabulary {d.vocabulary}")
    expected = set(COMPONENTS if d is not None else COMPONENTS[:3])
    if set(manifest.components) - set(COMPONENTS):
        problems.append(f"components: unknown {sorted(set(manifest.components) - expected)}")
    if missing := sorted(expected - set(manifest.components)):
        problems.append(f"components: {', '.join(missing)} missing")
    for role, tokenizer in manifest.tokenizers.items():
        if role not in TOKENIZER_ROLES or "{text}" not in tokenizer.template:
            problems.append(f"tokenizers.{role}: unknown role, or a template without {{text}}")
    for query in manifest.queries:
        if not 1 <= query.tokens <= m.max_query_tokens:
            problems.append(f"query {query.text!r}: {query.tokens} tokens")
    for name in manifest.files():
        if "/" in name or ".." in name or not name:
            problems.append(f"file {name!r} is not a plain name")
    return problems


def _too_small(manifest: Manifest) -> list[str]:
    """Sizes that must be positive and are not; `text_max_tokens` and token ids may be 0."""
    problems = []
    for part in ("window", "preprocessing", "model", "decoder"):
        sizes = vars(getattr(manifest, part)) if getattr(manifest, part) is not None else {}
        for name, size in sizes.items():
            least = 0 if name in ("text_max_tokens", "begin_token", "end_token") else 1
            if isinstance(size, int) and size < least:
                problems.append(f"{part}.{name} is {size}, expected {least} or more")
    if not manifest.window.fps > 0:
        problems.append(f"window.fps is {manifest.window.fps}, expected more than 0")
    return problems + gate_problems(manifest.gate)


def gate_problems(gate: GateSettings) -> list[str]:
    """Settings that the core would not take."""
    checks = {
        "smoothing": (1 <= gate.smoothing <= 16, "1 to 16"),
        "confirm": (1 <= gate.confirm <= 1_000_000, "1 to 1000000"),
        "hysteresis": (gate.hysteresis <= 1, "at most 1"),
        "target_rate_hz": (0 <= gate.target_rate_hz <= 1000, "0 to 1000"),
        "min_interval_ns": (gate.min_interval_ns >= 0, "0 or more"),
    }
    return [
        f"gate.{name} is {getattr(gate, name)}, expected {expected}"
        for name, (holds, expected) in checks.items()
        if not holds
    ]


def core_config(manifest: Manifest) -> CoreConfig:
    """The same facts as the core reads them (CONFIG)."""
    w, m, g = manifest.window, manifest.model, manifest.gate
    d = manifest.decoder or DecoderRecord(*[0] * 10)
    return CoreConfig(
        name=manifest.name,
        precision=manifest.precision,
        frames=w.frames,
        height=w.height,
        width=w.width,
        tubelet_frames=w.tubelet_frames,
        patch_pixels=w.patch_pixels,
        fps=w.fps,
        stride=w.stride,
        resize_short_side=manifest.preprocessing.resize_short_side,
        resize_filter=RESIZE_FILTERS.index(manifest.preprocessing.resize_filter),
        visual_tokens=m.visual_tokens,
        visual_width=m.visual_width,
        query_width=m.query_width,
        max_query_tokens=m.max_query_tokens,
        embedding_width=m.embedding_width,
        text_max_tokens=m.text_max_tokens,
        pooling=POOLING.index(m.pooling),
        rope_variant=ROPE_VARIANTS.index(m.rope_variant),
        prefix_tokens=d.prefix_tokens,
        decoder_width=d.width,
        kv_planes=d.kv_planes,
        kv_heads=d.kv_heads,
        head_size=d.head_size,
        cache_length=d.cache_length,
        vocabulary=d.vocabulary,
        begin_token=d.begin_token,
        end_token=d.end_token,
        max_new_tokens=d.max_new_tokens,
        decode_when=DECODE_WHEN.index(g.decode_when),
        gate_smoothing=g.smoothing,
        gate_confirm=g.confirm,
        gate_ward_threshold=g.ward_threshold,
        gate_variance_threshold=g.variance_threshold,
        gate_hysteresis=g.hysteresis,
        gate_target_rate_hz=g.target_rate_hz,
        gate_min_interval_ns=g.min_interval_ns,
        gate_max_interval_ns=g.max_interval_ns,
    )
