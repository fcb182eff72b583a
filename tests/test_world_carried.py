"""A model's version of sprite world goes from checkpoint to bundle, and decides what is drawn."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import Cli
from vljepa_edge.bench.scenarios import pictures
from vljepa_edge.bench.scenarios.spec import Spec
from vljepa_edge.bench.tasks.judge import open_judged
from vljepa_edge.calibration.calibrator import Calibrator, Settings
from vljepa_edge.calibration.fidelity import compare
from vljepa_edge.calibration.world_streams import record_world
from vljepa_edge.export.bundle import check_folder, stored_sections
from vljepa_edge.export.pack import pack
from vljepa_edge.export.queries import rewrite
from vljepa_edge.export.sections import INSIDE, Kind
from vljepa_edge.runtime.bundle import Bundle
from vljepa_edge.runtime.errors import BundleError
from vljepa_edge.runtime.model import load

from vljepa_edge import world


def with_card(source: Path, target: Path, told: object) -> Path:
    """A copy of a bundle whose card tells this world."""
    shutil.copytree(source, target)
    manifest = check_folder(target)
    card = {**manifest.provenance.card, "world": told}
    provenance = dataclasses.replace(manifest.provenance, card=card)
    with Bundle(target) as bundle:
        inner = stored_sections(target, bundle, INSIDE - {Kind.CONFIG})
    rewrite(target, dataclasses.replace(manifest, provenance=provenance), inner)
    return target


@pytest.fixture(scope="module")
def second(nano_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """nano, made to say that it was trained on version 2."""
    return with_card(nano_bundle, tmp_path_factory.mktemp("second") / "nano", 2)


def test_bundles_and_images_tell_their_world(cli: Cli, second: Path, tmp_path: Path) -> None:
    pack(second, tmp_path / "model.vlj")
    for path in (second, tmp_path / "model.vlj"):
        with load(path) as model:
            assert model.world == 2
    assert open_judged(second).world == 2
    assert "sprite world, version 2" in cli("inspect", second).stdout


def test_what_tells_none_knows_the_first(nano_bundle: Path, tmp_path: Path) -> None:
    shutil.copytree(nano_bundle, tmp_path / "old")
    manifest = check_folder(tmp_path / "old")
    card = {name: told for name, told in manifest.provenance.card.items() if name != "world"}
    provenance = dataclasses.replace(manifest.provenance, card=card)
    with Bundle(tmp_path / "old") as bundle:
        inner = stored_sections(tmp_path / "old", bundle, INSIDE - {Kind.CONFIG})
    rewrite(tmp_path / "old", dataclasses.replace(manifest, provenance=provenance), inner)
    with Bundle(tmp_path / "old") as bundle:
        assert bundle.world() == 1
    odd = with_card(nano_bundle, tmp_path / "odd", "two")
    with Bundle(odd) as bundle, pytest.raises(BundleError, match=r"card\.world is 'two'"):
        bundle.world()
    with pytest.raises(ValueError, match="no version 3"):
        world.WorldConfig.of(3)


def test_checkpoints_hand_it_on(tiny_checkpoint: Path, tmp_path: Path) -> None:
    from vljepa_edge.model import checkpoint
    from vljepa_edge.model.release import release

    opened = checkpoint.load(tiny_checkpoint)
    assert opened.world == 1
    card = {"stage": "done", "world": 2}
    checkpoint.save(tmp_path / "trained", opened.model, opened.tokenizer, card)
    (tmp_path / "trained" / "log.csv").write_text("stage,step,loss\ntext,2,0.5\n")
    release(tmp_path / "trained", tmp_path / "released")
    assert checkpoint.load(tmp_path / "released").world == 2
    assert open_judged(tmp_path / "released").world == 2


def test_what_is_drawn_follows(cli: Cli, second: Path, tiny_bundle: Path, tmp_path: Path) -> None:
    full = with_card(tiny_bundle, tmp_path / "tiny", 2)
    for asked, version in (([], 2), (["--world", "1"], 1)):
        result = cli("eval", second, "--task", "triplets", "--clips", "2", "--json", *asked)
        assert json.loads(result.stdout)["about"]["world"] == version
    told = compare(second, second, windows=2, candidates=20, streams=0)
    assert told.data == "sprite world version 2, split test, seed 2"
    calibrators = [Calibrator(full, Settings(windows=2, world=v)) for v in (None, 1)]
    assert [c.record()["world"] for c in calibrators] == [2, 1]
    assert len({c.windows.fingerprint for c in calibrators}) == 2
    texts = [[text for _, text in c.windows] for c in calibrators]
    assert texts[0] != texts[1]
    with load(second) as model:
        own, old = (record_world(model, streams=1, seconds=10, version=v)[0] for v in (None, 1))
    assert own.shifts_ns.tolist() != old.shifts_ns.tolist()
    shown = pictures.pictures_for(Spec("single", str(second), width=64, height=48))
    assert np.array_equal(shown, pictures.test_pictures(64, 48, version=2))
    assert not np.array_equal(shown, pictures.test_pictures(64, 48))
