"""Opens what is judged: a checkpoint through PyTorch, or a bundle through the C core."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...model.deployed import Deployed
from ...model.embedder import Embedder
from ...runtime.model import Model, load


@dataclass(frozen=True)
class Judged:
    """A model ready to be asked, with what a report says of it. `model`: None for PyTorch."""

    embedder: Embedder
    name: str
    engine: str
    precision: str
    size: int
    frames: int
    fps: float
    stride: int
    model: Model | None = None
    # Version of sprite world that it was trained on.
    world: int = 1


def open_judged(path: Path | None) -> Judged:
    """A checkpoint folder (needs torch), a bundle folder or an image; None: the packaged bundle."""
    if path is not None and (path / "model.safetensors").is_file():
        from ...model import checkpoint
        from ...model.reference import Reference

        opened = checkpoint.load(path)
        c = opened.model.config
        reference = Reference(opened.model, opened.tokenizer)
        return Judged(
            reference,
            c.name,
            "PyTorch reference",
            "fp32",
            c.image_size,
            c.frames,
            c.fps,
            c.stride,
            world=opened.world,
        )
    deployed = load(path)
    about = deployed.description
    return Judged(
        Deployed(deployed),
        about.name,
        "C core",
        about.precision,
        about.height,
        about.frames,
        about.fps,
        about.stride,
        deployed,
        deployed.world,
    )
