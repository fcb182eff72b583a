"""A real disk that is too small: one line that says so, what was there unharmed, nothing left."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from conftest import Cli
from export_models import small_config
from vljepa_edge.export import bundle as bundles
from vljepa_edge.export.errors import ExportError
from vljepa_edge.export.export_bundle import export_bundle
from vljepa_edge.export.full_disk import full_disk_told
from vljepa_edge.export.origin import random_weights
from vljepa_edge.model.vl_jepa import VLJEPA

Disk = Callable[[int], Path]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """Mounts a file system of so many bytes; skips where that is not allowed."""
    mounted: list[Path] = []

    def mount(size: int) -> Path:
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except FileNotFoundError:
            pytest.skip("no command mount")
        if done.returncode != 0:
            pytest.skip(f"no tmpfs can be mounted ({done.stderr.strip()}): it takes root")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


def one_line(result: subprocess.CompletedProcess[str]) -> None:
    assert result.returncode == 2, result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith("vljepa: ")]
    assert len(lines) == 1 and "No space left on device" in lines[0], result.stderr
    assert "Traceback" not in result.stderr


def test_every_way_of_writing_is_understood(disk: Disk) -> None:
    """numpy's writes tell no error number: tables and external data go through them."""
    folder = disk(1 << 20)
    large = np.zeros((3, 1 << 20), np.uint8)
    value = ir.Value(name="w", const_value=ir.tensor(large, name="w"))
    graph = ir.Graph([], [], nodes=[], initializers=[value], opset_imports={"": 20})
    ways: list[Callable[[Path], object]] = [
        lambda path: np.save(path, large),
        lambda path: np.savez(path, large=large),
        lambda path: path.write_bytes(large.tobytes()),
        lambda path: ir.save(ir.Model(graph, ir_version=9), path, external_data=f"{path.name}.d"),
    ]
    for i, write in enumerate(ways):
        with (
            pytest.raises(ExportError, match=r"No space left on device, nothing was written; free"),
            full_disk_told(folder / "bundle"),
        ):
            write(folder / f"{i}.npz")
        for path in folder.iterdir():
            path.unlink()


def test_exporting_to_a_full_disk(disk: Disk, cli: Cli, tiny_checkpoint: Path) -> None:
    folder = disk(200_000)
    one_line(cli("export", tiny_checkpoint, "-o", folder / "bundle", timeout=280))
    assert list(folder.iterdir()) == []


def test_a_disk_that_gets_full_between_components(disk: Disk) -> None:
    """The weights would just fit, and so the export begins; what lies beside them does not."""
    config = small_config()
    counts = VLJEPA(config).parameter_count()
    folder = disk(4 * sum(counts.values()) + 100_000)
    with pytest.raises(ExportError, match="No space left on device, nothing was written"):
        export_bundle(random_weights(config), folder / "bundle")
    assert list(folder.iterdir()) == []


def test_adding_a_query_and_packing_on_a_full_disk(disk: Disk, cli: Cli, tiny_bundle: Path) -> None:
    size = sum(path.stat().st_size for path in tiny_bundle.iterdir())
    folder = disk(size + 100_000)
    bundle = Path(shutil.copytree(tiny_bundle, folder / "bundle"))
    before = {path.name: path.read_bytes() for path in bundle.iterdir()}
    with (folder / "filler").open("wb") as file:
        free = shutil.disk_usage(folder).free
        file.write(bytes(free - 8192))
    one_line(cli("query", "add", bundle, "is the disk full?"))
    one_line(cli("pack", bundle, "-o", folder / "model.vlj"))
    assert sorted(path.name for path in folder.iterdir()) == ["bundle", "filler"]
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == before
    bundles.check_folder(bundle)
