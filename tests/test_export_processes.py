"""Export one component per process: several tokenizers, 16-bit weights, interruptions, refusals."""

from __future__ import annotations

import dataclasses
import json
import resource
import shutil
import signal
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from conftest import Cli
from export_models import SENTENCES, random_model, small_config, small_tokenizer
from tokenizers import Tokenizer
from vljepa_edge.export import bundle as bundles
from vljepa_edge.export import origin as origins
from vljepa_edge.export import weight_storage
from vljepa_edge.export.errors import ExportError, Unfinished
from vljepa_edge.export.export_bundle import export_bundle
from vljepa_edge.export.origin import Origin
from vljepa_edge.model import checkpoint
from vljepa_edge.model.config import VLJEPAConfig
from vljepa_edge.model.tokenizer import train_tokenizer
from vljepa_edge.runtime import golden
from vljepa_edge.runtime.errors import BundleError
from vljepa_edge.runtime.model import load


def config() -> VLJEPAConfig:
    """Wide enough that its weights count as weights."""
    small = small_config()
    stack = dataclasses.replace(small.predictor.transformer, width=128, mlp_width=256)
    return dataclasses.replace(
        small, predictor=dataclasses.replace(small.predictor, transformer=stack)
    )


def other_tokenizer() -> Tokenizer:
    """Gives other ids than `small_tokenizer` for the same text."""
    return train_tokenizer([text[::-1] for text in SENTENCES] * 4, 280)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint with a tokenizer of its own for each role."""
    folder = tmp_path_factory.mktemp("processes") / "checkpoint"
    checkpoint.save(folder, random_model(config()), small_tokenizer(), {})
    other_tokenizer().save(str(folder / "tokenizer.y_encoder.json"))
    return folder


@pytest.fixture(scope="module")
def made(base: Path) -> Path:
    """The checkpoint exported in processes, interrupted once by a kill and gone on with."""
    output = base.parent / "bundle"
    steps: list[str] = []

    def kill(what: str, done: int, total: int) -> None:
        steps.append(what)
        if what == "loading y_encoder":
            raise KeyboardInterrupt

    source = origins.own_checkpoint(base)
    with pytest.raises(KeyboardInterrupt):
        export_bundle(source, output, storage="fp16", progress=kill)
    assert not output.exists()
    kept = output.with_name(".bundle.export")
    assert (kept / "x_encoder.onnx").is_file() and (kept / ".work" / "predictor.json").is_file()
    with pytest.raises(BundleError):
        load(kept)
    again: list[str] = []
    export_bundle(source, output, storage="fp16", progress=lambda what, *_: again.append(what))
    assert "x_encoder is ready" in again and "loading y_encoder" in again
    assert sorted(p.name for p in output.parent.iterdir()) == ["bundle", "checkpoint"]
    return output


def test_each_role_has_its_tokenizer(made: Path) -> None:
    manifest = bundles.check_folder(made)
    files = {role: one.file for role, one in manifest.tokenizers.items()}
    assert files["query"] == files["y_decoder"] != files["y_encoder"]
    text = "a red cat jumps"
    with load(made) as model:
        assert model.tokenize(text) == small_tokenizer().encode(text).ids
        assert model.tokenize(text, "y_encoder") == other_tokenizer().encode(text).ids
        reference = random_model(config())
        ids = torch.tensor([other_tokenizer().encode(text).ids])
        with torch.no_grad():
            expected = reference.y_encoder(ids)[0].numpy()
        assert np.abs(model.embed_text([text])[0] - expected).max() < 2e-3
        query = model.compile_query(text).embeddings
        rows = reference.predictor.embed_tokens.weight.detach().numpy()
        assert np.allclose(query, rows[small_tokenizer().encode(text).ids], atol=2e-3)
        with pytest.raises(BundleError, match="carries no tokenizer for captions, only for"):
            model.tokenize(text, "captions")


def test_weights_are_stored_in_half_and_agree(made: Path) -> None:
    manifest = bundles.check_folder(made)
    assert manifest.precision == "fp16"
    graph = onnx.load(made / "predictor.onnx").graph
    types = {one.data_type for one in graph.initializer if len(one.dims) == 2}
    assert onnx.TensorProto.FLOAT16 in types
    # The pixels' scale is folded into this one, and rounding it costs more than all others.
    encoder = {one.name: one for one in onnx.load(made / "x_encoder.onnx").graph.initializer}
    folded = encoder["patch_embed.projection.weight"]
    assert folded.data_type == onnx.TensorProto.FLOAT
    assert np.prod(folded.dims) >= weight_storage.LEAST_ELEMENTS
    assert all(one.type.tensor_type.elem_type != 10 for one in (*graph.input, *graph.output))
    with load(made) as model:
        found = {one.name: one for one in golden.rerun(model, golden.read_golden(made))}
    assert len(found) >= 6
    assert min(one.cosine for one in found.values()) > 0.9999


def test_a_weight_that_is_too_large_is_named() -> None:
    large = np.array([[1.0, 1e5]], dtype=np.float32)
    with pytest.raises(ExportError, match=r"w holds 1e\+05, too large for float16; .*bf16"):
        weight_storage.to_16_bits(large, np.dtype(np.float16), "w")
    assert weight_storage.to_16_bits(large, np.dtype(np.float32), "w").max() == 1e5


# ---- what goes wrong ----


def test_a_killed_process_is_told_and_what_was_finished_kept(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "python"
    program.write_text(f"#!/bin/sh\nkill -{int(signal.SIGKILL)} $$\n")
    program.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(program))
    with pytest.raises(Unfinished, match="signal 9, as the system does when memory runs out; run"):
        export_bundle(origins.own_checkpoint(base), tmp_path / "out")
    assert not (tmp_path / "out").exists() and (tmp_path / ".out.export").is_dir()


def test_two_exports_to_one_place(base: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with (
        bundles.resumable(out, "one job") as _,
        pytest.raises(ExportError, match="another export to it is running"),
        bundles.resumable(out, "one job"),
    ):
        pass


def test_another_job_starts_anew(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for job in ("one job", "one job", "another"):
        with pytest.raises(KeyboardInterrupt), bundles.resumable(out, job) as folder:
            ready = folder / "x_encoder.onnx"
            assert ready.exists() == (job == "one job" and (folder / "seen").exists())
            ready.write_text("")
            (folder / "seen").write_text("")
            raise KeyboardInterrupt


@pytest.mark.parametrize("change", ["truncated", "misshapen", "missing"])
def test_a_bad_checkpoint_is_refused_before_anything_is_exported(
    base: Path, tmp_path: Path, change: str
) -> None:
    from safetensors.torch import load_file, save_file

    bad = Path(shutil.copytree(base, tmp_path / "bad"))
    path = bad / "model.safetensors"
    if change == "truncated":
        path.write_bytes(path.read_bytes()[:-1000])
    else:
        state = load_file(path)
        name = "y_decoder.layers.0.up_proj.weight"  # of the component that is exported last
        wrong = state.pop(name)
        if change == "misshapen":
            state[name] = wrong[:-1].contiguous()
        save_file(state, path)
    with pytest.raises(checkpoint.CheckpointError) as caught:
        export_bundle(origins.own_checkpoint(bad), tmp_path / "out")
    assert "\n" not in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["bad"]


def test_a_disk_that_is_too_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = origins.random_weights(config())
    usage = shutil.disk_usage(tmp_path)._replace(free=10_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(ExportError, match=r"0\.00 GB are free, the bundle needs"):
        export_bundle(source, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_gets_full(base: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: the process's first one is too large."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(ExportError, match="nothing was written; free some space"):
            export_bundle(origins.own_checkpoint(base), tmp_path / "out")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_tokenizers_that_do_not_fit(tmp_path: Path) -> None:
    stack = dataclasses.replace(config().predictor.transformer, vocabulary=40)
    small = dataclasses.replace(
        config(), predictor=dataclasses.replace(config().predictor, transformer=stack)
    )
    source = origins.random_weights(small)
    with pytest.raises(ExportError, match="of the tokenizer for query lies outside the model's 40"):
        export_bundle(source, tmp_path / "out")
    source = origins.random_weights(config())
    with pytest.raises(ExportError, match="no tokenizer for the role y_encoder"):
        export_bundle(source, tmp_path / "out", tokenizer={"query": small_tokenizer()})
    with pytest.raises(ExportError, match="role 'qury' is unknown"):
        export_bundle(source, tmp_path / "out", tokenizer={"qury": small_tokenizer()})
    with pytest.raises(ExportError, match="the template of query is 'Q:'"):
        export_bundle(source, tmp_path / "out", templates={"query": "Q:"})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "name one of: a CHECKPOINT"),
        (["--preset", "paper"], "name one of"),
        (["x", "--random-weights", "--preset", "paper"], "name one of"),
        (["--random-weights"], "go together"),
        (["--preset", "paper", "--random-weights", "--frames", "7"], "7 is odd"),
        (["x", "--frames", "8"], "a checkpoint says itself"),
        (["x", "--y-decoder", "y"], "--y-decoder does not go with a CHECKPOINT"),
        (["--x-encoder", "none"], "no folder for the predictor, y_encoder"),
    ],
)
def test_commands_that_make_no_sense(
    cli: Cli, tmp_path: Path, arguments: list[str], words: str
) -> None:
    result = cli("export", *arguments, "-o", tmp_path / "out")
    assert result.returncode == 2 and words in result.stderr, result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_the_job_is_told_in_full() -> None:
    """What a process reads is what the caller said."""
    source = origins.random_weights(config(), seed=7)
    again = Origin(**json.loads(json.dumps(dataclasses.asdict(source))))
    assert again == source and again.config == config()
