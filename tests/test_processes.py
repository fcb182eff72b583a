"""Two real processes train as one: equal gradients, an equal model, resumed where they stopped."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import tiny_training
import torch
from vljepa_edge.model import checkpoint
from vljepa_edge.model.optimizers import STACKS
from vljepa_edge.model.processes import ALONE, Processes
from vljepa_edge.model.vl_jepa import VLJEPA


def launch(*arguments: str | Path) -> None:
    script = Path(__file__).with_name("tiny_training.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", str(script), *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr[-4000:]


def test_two_processes_end_where_one_does(tmp_path: Path) -> None:
    torch.manual_seed(0)
    tiny_training.run(tmp_path / "one", ALONE)
    launch(tmp_path / "two", "query", "2")  # broken off in the last contrastive stage
    stopped = checkpoint.load_training_state(tmp_path / "two")
    assert stopped is not None and 0 < stopped["step"] <= 2
    launch(tmp_path / "two")

    # Gradients: the same sums in another order.
    alone = tiny_training.first_gradients(ALONE)
    shared = torch.load(tmp_path / "two.gradients.pt", weights_only=True)
    assert alone.keys() == shared.keys()
    for name, gradient in alone.items():
        scale = float(gradient.abs().max())
        assert (gradient - shared[name]).abs().max() <= 1e-5 * max(scale, 1e-3), name

    # Weights, by how far they moved. Muon gives every direction of a gradient the same size, those
    # of rounding too (few rows make few true ones), in BF16: its matrices may differ by a part of
    # the way. All else is AdamW's.
    torch.manual_seed(tiny_training.tiny_recipe().seed)
    begin = VLJEPA(tiny_training.tiny_config()).state_dict()
    one = checkpoint.load(tmp_path / "one").model.state_dict()
    two = checkpoint.load(tmp_path / "two").model.state_dict()
    for name, value in one.items():
        if name.startswith("y_decoder."):
            continue
        apart, way = ((value - other[name]).abs().mean() for other in (two, begin))
        by_muon = value.ndim == 2 and name.startswith(STACKS)
        assert apart <= (0.4 if by_muon else 0.05) * way, name
    # Only one of them wrote: every logged step is there once.
    rows = (tmp_path / "two" / "log.csv").read_text().splitlines()
    assert len(rows) == len({tuple(row.split(",")[:2]) for row in rows})


def test_shares_cover_everything_once() -> None:
    for total in (3, 7, 12):
        parts = [Processes(rank, 3).share(total) for rank in range(3)]
        assert [i for part in parts for i in range(total)[part]] == list(range(total))
    with pytest.raises(ValueError, match="2 clips or texts cannot be split among 3"):
        Processes(0, 3).share(2)
