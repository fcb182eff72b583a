"""Where a model's components come from, told so that another process can load one of them."""

from __future__ import annotations

import contextlib
import gc
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from ..model.config import VLJEPAConfig
from ..model.loaders import assemble, open_vljepa, own
from ..model.loaders.fill import Progress, on_meta
from ..model.tokenizer import train_tokenizer
from ..model.vl_jepa import VLJEPA
from .errors import ExportError
from .index_writer import sha256_file
from .manifest import Provenance
from .role_tokenizers import Given, folder_tokenizers

PARTS = ("x_encoder", "predictor", "y_encoder", "y_decoder")
WEIGHT_SUFFIXES = (".safetensors", ".pt", ".pth", ".bin")
Kind = Literal["random", "own", "hub", "open_vljepa"]
# Stands in for tokenizers where there are no weights either; any text comes out as bytes.
STAND_IN_TEXTS = ("what is happening?", "a red apple falls", "the blue car turns left")


@dataclass(frozen=True)
class Origin:
    """A model by its kind of checkpoint; `paths` by part, or `checkpoint` for a whole one."""

    kind: Kind
    config_json: str
    paths: dict[str, str] = field(default_factory=dict)
    seed: int = 0

    @property
    def config(self) -> VLJEPAConfig:
        """The sizes of all components."""
        return VLJEPAConfig.from_json(self.config_json)

    def parts(self) -> tuple[str, ...]:
        """The components to load, in the order of export."""
        return PARTS if self.config.y_decoder is not None else PARTS[:3]

    def load(self, part: str, progress: Progress | None = None) -> nn.Module:
        """One component in float32, in evaluation mode. CheckpointError says what doesn't fit."""
        config = self.config
        if self.kind == "random":
            torch.manual_seed(self.seed + PARTS.index(part))
            return own.COMPONENTS[part](config).eval()
        if self.kind == "own":
            return own.load_component(Path(self.paths["checkpoint"]), part, progress)
        if self.kind == "hub":
            return assemble.load_component(part, self._hub_parts(), config, self.seed, progress)
        x_encoder = self.paths.get("x_encoder")
        return open_vljepa.load_component(
            Path(self.paths["checkpoint"]),
            part,
            Path(x_encoder) if x_encoder is not None else None,
            config,
            progress,
        )

    def check(self) -> None:
        """Compares names, shapes and types of every component's tensors, reading none of them."""
        if self.kind == "random":
            return
        for part in self.parts():
            with contextlib.suppress(_Checked):
                self.load(part, _stop)
            gc.collect()

    def _hub_parts(self) -> assemble.Parts:
        return assemble.Parts(**{part: Path(path) for part, path in self.paths.items()})

    def weight_files(self) -> list[Path]:
        """All files that hold weights, in a fixed order."""
        files: list[Path] = []
        for path in map(Path, self.paths.values()):
            if path.is_dir():
                files += sorted(f for f in path.rglob("*") if f.suffix in WEIGHT_SUFFIXES)
            else:
                files.append(path)
        return files

    def sha256(self) -> str:
        """The digest of the weights: a single file's own, else that of all files' digests."""
        digests = [sha256_file(path) for path in self.weight_files()]
        if len(digests) == 1:
            return digests[0]
        return hashlib.sha256("".join(digests).encode()).hexdigest() if digests else ""

    def tokenizers(self) -> Given | None:
        """What lies beside the weights; None where nothing does."""
        if self.kind == "random":
            return train_tokenizer(STAND_IN_TEXTS * 4, 300)
        if self.kind == "own":
            return folder_tokenizers(Path(self.paths["checkpoint"]))
        if self.kind == "open_vljepa":
            return None
        roles = {"query": "predictor", "y_encoder": "y_encoder", "y_decoder": "y_decoder"}
        return {
            role: Path(self.paths[part]) / "tokenizer.json"
            for role, part in roles.items()
            if part in self.paths
        }

    def provenance(self) -> Provenance:
        """The checkpoint's names, its digest and the licences that its model cards name."""
        if self.kind == "random":
            name = f"random weights, seed {self.seed}, stand-in tokenizers"
            return Provenance(checkpoint=name)
        names = [Path(path).name for path in self.paths.values()]
        licences = dict.fromkeys(filter(None, map(_licence, map(Path, self.paths.values()))))
        if self.kind == "open_vljepa":
            licences |= dict.fromkeys(("Llama 3.2 Community License", "Gemma Terms of Use", "MIT"))
        return Provenance(
            checkpoint=" + ".join(names),
            checkpoint_sha256=self.sha256(),
            licences=tuple(licences),
        )


def only(part: str, component: nn.Module, config: VLJEPAConfig) -> VLJEPA:
    """A model whose one component is real and whose others take no memory."""
    model = on_meta(lambda: VLJEPA(config)).eval()
    setattr(model, part, component)
    return model


def random_weights(config: VLJEPAConfig, seed: int = 0) -> Origin:
    """A model of these sizes that means nothing: for mechanics and timing."""
    return Origin("random", config.to_json(), {}, seed)


def own_checkpoint(folder: Path) -> Origin:
    """A checkpoint folder of ours."""
    return Origin("own", own.read_config(folder).to_json(), {"checkpoint": str(folder)})


def hub_folders(
    paths: Mapping[str, Path],
    frames: int,
    seed: int = 0,
    dense_heads: bool = False,
    predictor_layers: int = 8,
) -> Origin:
    """Hub folders by part; the projections between them are fresh."""
    if missing := [part for part in PARTS[:3] if part not in paths]:
        raise ExportError(f"no folder for the {', '.join(missing)}", "name one each")
    parts = assemble.Parts(**{part: Path(path) for part, path in paths.items()})
    config = assemble.read_config(
        parts, frames=frames, predictor_layers=predictor_layers, dense_heads=dense_heads
    )
    return Origin("hub", config.to_json(), {p: str(path) for p, path in paths.items()}, seed)


def open_vljepa_checkpoint(path: Path, x_encoder: Path | None) -> Origin:
    """The public `best.pt`, with the folder of its frozen X-Encoder."""
    paths = {"checkpoint": str(path)}
    if x_encoder is not None:
        paths["x_encoder"] = str(x_encoder)
    return Origin("open_vljepa", open_vljepa.read_config(path).to_json(), paths)


class _Checked(Exception):
    """Everything was compared; nothing has to be read."""


def _stop(done: int, total: int) -> None:
    raise _Checked


def _licence(path: Path) -> str:
    """`license:` of a model card's front matter, or nothing."""
    card = (path if path.is_dir() else path.parent) / "README.md"
    if not card.is_file():
        return ""
    for line in card.read_text(encoding="utf-8", errors="replace").splitlines()[:80]:
        if line.startswith("license:"):
            return line.partition(":")[2].strip()
    return ""
