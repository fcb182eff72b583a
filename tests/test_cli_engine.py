"""Options of the engines on the command line: they reach the core, and what is refused is told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY_PHRASES, Cli
from vljepa_edge.runtime.bundle import Bundle


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    import cv2

    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(12):
        picture = rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)
        assert cv2.imwrite(str(folder / f"{i}.png"), picture)
    return folder


def test_options_reach_the_core(cli: Cli, tiny_bundle: Path, pictures: Path) -> None:
    plain = cli("run", pictures, "-b", tiny_bundle, "--json")
    assert plain.returncode == 0, plain.stderr
    chosen = ("--cpus", "0", "--decode-cpus", "0", "--threads", "1", "--decode-threads", "1")
    sparing = ("--no-arena", "--no-packed-weights", "--provider", "cpu", "--backend", "ort")
    other = cli("run", pictures, "-b", tiny_bundle, "--json", *chosen, *sparing)
    assert other.returncode == 0, other.stderr

    def kinds(output: str) -> list[str]:
        return [json.loads(line)["type"] for line in output.splitlines()]

    assert kinds(other.stdout) == kinds(plain.stdout)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--provider", "cuda"), 'options.provider is "cuda", but ONNX Runtime'),
        (("--backend", "tensorrt"), 'backend "tensorrt" runs engines built on this device'),
        (("--cpus", "0-"), 'options.cpus is "0-"'),
        (("--decode-cpus", "1000"), "decode_cpus"),
    ],
)
def test_refusals_name_the_option(
    cli: Cli, tiny_bundle: Path, pictures: Path, options: tuple[str, ...], sentence: str
) -> None:
    result = cli("run", pictures, "-b", tiny_bundle, *options)
    assert result.returncode in (1, 2)
    assert sentence in result.stderr and result.stderr.count("\n") == 1


def test_int8_phrase_banks(cli: Cli, tiny_bundle: Path, pictures: Path, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(tiny_bundle, tmp_path / "bundle"))
    with Bundle(bundle) as opened:
        bank = next(s.name for s in opened.sections if s.kind == "phrase_bank")
    file = tmp_path / "phrases.txt"
    file.write_text("\n".join([*TINY_PHRASES, ""]), encoding="utf-8")

    def stored(*options: str) -> int:
        made = cli("query", "phrases", bundle, bank, file, *options)
        assert made.returncode == 0, made.stderr
        assert f"{bank}: {len(TINY_PHRASES)} phrases" in made.stdout
        with Bundle(bundle, verify_hashes=True) as opened:
            return next(s.size for s in opened.sections if s.kind == "phrase_bank")

    assert stored("--int8") < stored() and stored("--int8") > 0
    found = cli("run", pictures, "-b", bundle, "--text", "phrases", "--json")
    assert found.returncode == 0, found.stderr
    texts = [json.loads(line).get("text") for line in found.stdout.splitlines()]
    assert set(filter(None, texts)) and set(filter(None, texts)) <= set(TINY_PHRASES)


def test_bench_places_its_runs(cli: Cli, tiny_bundle: Path) -> None:
    asked = ("--samples", "3", "--warmup", "0", "--threads", "1", "--cpus", "0", "--no-arena")
    result = cli("bench", tiny_bundle, *asked, "--json")
    assert result.returncode == 0, result.stderr
    (run,) = json.loads(result.stdout)["runs"]
    assert run["settings"]["cpus"] == "0" and run["settings"]["arena"] is False
    assert "engine" not in run["settings"] and run["settings"]["threads"] == 1
