"""`vljepa export` from what the hub holds: folders that transformers saved, and a best.pt."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Cli
from export_models import small_tokenizer
from hub_models import best_pt, save_embedding_gemma, save_llama, save_vjepa2
from safetensors.torch import load_file, save_file
from vljepa_edge.export import bundle as bundles
from vljepa_edge.export.errors import ExportError
from vljepa_edge.export.export_bundle import export_bundle
from vljepa_edge.export.origin import Origin
from vljepa_edge.export.queries import add_queries
from vljepa_edge.export.query_tables import check_same_table, checkpoint_embedder
from vljepa_edge.model.checkpoint import CheckpointError
from vljepa_edge.model.loaders import assemble
from vljepa_edge.runtime import golden
from vljepa_edge.runtime.model import load

pytest.importorskip("transformers")

PARTS = ("x_encoder", "predictor", "y_encoder", "y_decoder")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The four folders, each with its tokenizer; licences stand in two model cards."""
    folder = tmp_path_factory.mktemp("hub")
    paths = {part: folder / part for part in PARTS}
    save_vjepa2(paths["x_encoder"], layers=2)
    save_llama(paths["predictor"], layers=3, shards=True)
    save_embedding_gemma(paths["y_encoder"], vocab_size=300)
    save_llama(paths["y_decoder"], layers=2)
    for part in PARTS[1:]:
        small_tokenizer().save(str(paths[part] / "tokenizer.json"))
    (paths["x_encoder"] / "README.md").write_text("---\nlicense: mit\n---\n# V-JEPA 2\n")
    (paths["predictor"] / "README.md").write_text("---\nlicense: llama3.2\n---\n")
    return paths


def options(hub: dict[str, Path]) -> list[str | Path]:
    named: list[str | Path] = ["--predictor-layers", "2", "--frames", "4"]
    for part in PARTS:
        named += ["--" + part.replace("_", "-"), hub[part]]
    return named


@pytest.fixture(scope="module")
def made(hub: dict[str, Path], cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("made") / "bundle"
    result = cli("export", *options(hub), "--no-query-table", "-o", output, timeout=280)
    assert result.returncode == 0, result.stderr
    table = result.stdout[result.stdout.index("component ") :]
    assert [line.split()[0] for line in table.splitlines()[:3]] == ["component", *PARTS[:2]]
    return output


@pytest.mark.timeout(600)
def test_a_bundle_of_hub_folders(made: Path, hub: dict[str, Path], cli: Cli) -> None:
    manifest = bundles.check_folder(made)
    assert manifest.window.frames == 4 and manifest.model.query_width == 96
    assert manifest.provenance.licences == ("mit", "llama3.2")
    assert manifest.token_embeddings == ("y_decoder",)  # the Predictor's table was not asked for
    result = cli("doctor", made, "--json", timeout=280)
    assert result.returncode == 0, result.stderr
    found = {one["name"]: one["cosine"] for one in json.loads(result.stdout)["results"]}
    assert "chain/predicted_embedding" in found and min(found.values()) >= 0.99999, found
    # It is these folders' model: the core's embedding of a text is the loaders'.
    parts = assemble.Parts(**hub)
    config = assemble.read_config(parts, frames=4, predictor_layers=2)
    reference = assemble.load_component("y_encoder", parts, config)
    ids = torch.tensor([small_tokenizer().encode("a red cat").ids])
    with torch.no_grad(), load(made) as model:
        expected = reference(ids)[0].numpy()
        assert np.abs(model.embed_text(["a red cat"])[0] - expected).max() < 1e-5


@pytest.mark.timeout(600)
def test_queries_are_compiled_from_the_llama_folder(
    made: Path, hub: dict[str, Path], cli: Cli, tmp_path: Path
) -> None:
    bundle = Path(shutil.copytree(made, tmp_path / "bundle"))
    refused = cli("query", "add", bundle, "a cat?")
    assert refused.returncode == 2 and "carries no query embedding table" in refused.stderr
    # Another model's table, as wide: it would mean something else.
    other = Path(shutil.copytree(hub["y_decoder"], tmp_path / "other"))
    state = load_file(other / "model.safetensors")
    state["model.embed_tokens.weight"] += 0.01
    save_file(state, other / "model.safetensors")
    wrong = cli("query", "add", bundle, "two cats?", "--checkpoint", other)
    assert wrong.returncode == 2 and "is not the one that the bundle was made with" in wrong.stderr
    narrow = cli("query", "add", bundle, "two cats?", "--checkpoint", hub["y_encoder"])
    assert narrow.returncode == 2 and "is 48 wide, the bundle's queries 96" in narrow.stderr
    none = cli("query", "add", bundle, "two cats?", "--checkpoint", hub["x_encoder"])
    assert none.returncode == 2 and "holds no embed_tokens.weight" in none.stderr

    added = cli("query", "add", bundle, "how many cats?", "--checkpoint", hub["predictor"])
    assert added.returncode == 0 and "added" in added.stdout, added.stderr
    table = assemble.load_component(
        "predictor",
        assemble.Parts(**hub),
        assemble.read_config(assemble.Parts(**hub), frames=4, predictor_layers=2),
    ).embed_tokens.weight
    with load(bundle) as model:
        assert [one.text for one in model.queries][-1] == "how many cats?"
        expected = table.detach().numpy()[small_tokenizer().encode("how many cats?").ids]
        assert np.array_equal(model.queries[-1].embeddings, expected)


@pytest.mark.timeout(600)
def test_a_bundle_of_best_pt(hub: dict[str, Path], tmp_path: Path) -> None:
    """Its sizes are given here: of the published one they stand in the file, and are large."""
    from transformers import AutoModel, LlamaForCausalLM

    vision, gemma = (AutoModel.from_pretrained(hub[p]) for p in ("x_encoder", "y_encoder"))
    path = tmp_path / "best.pt"
    saved = best_pt(LlamaForCausalLM.from_pretrained(hub["predictor"]), gemma, vision, 40)
    torch.save(saved, path)
    parts = dataclasses.replace(assemble.Parts(**hub), y_decoder=None)
    config = assemble.read_config(parts, frames=4, embedding_width=40, predictor_layers=2)
    origin = Origin("open_vljepa", config.to_json(), {"checkpoint": str(path)})
    output = tmp_path / "bundle"
    with pytest.raises(ExportError, match="no tokenizer"):
        export_bundle(origin, output)
    roles = {"query": small_tokenizer(), "y_encoder": small_tokenizer()}
    banks = {"labels": ["a cat", "a dog"]}
    export_bundle(origin, output, tokenizer=roles, phrase_banks=banks, query_table=False)
    with load(output) as model:
        assert not model.has("y_decoder")
        results = list(golden.rerun(model, golden.read_golden(output)))
    assert len(results) == 4 and min(one.cosine for one in results) >= 0.99999
    assert add_queries(output, ["a cat?"], checkpoint=path) == ["a cat?"]


def test_rows_are_read_from_every_layout(hub: dict[str, Path], tmp_path: Path) -> None:
    """Few rows of a sharded Llama and of a best.pt; what holds none, or others, is refused."""
    file = hub["y_decoder"] / "model.safetensors"
    table = load_file(file)["model.embed_tokens.weight"]
    torch.save({"model_state_dict": {"predictor.embed_tokens.weight": table}}, tmp_path / "best.pt")
    ids = np.array([3, 299, 7])
    # One seed made both Llamas: their tables are the same, one in shards and one not.
    for place in (hub["predictor"], hub["y_decoder"], tmp_path / "best.pt"):
        assert np.array_equal(checkpoint_embedder(place, 96)(ids), table.numpy()[ids])
    with pytest.raises(ExportError, match="token 300 is outside the table of 300 rows"):
        checkpoint_embedder(hub["predictor"], 96)(np.array([300]))
    with pytest.raises(ExportError, match="is 48 wide, the bundle's queries 96"):
        checkpoint_embedder(hub["y_encoder"], 96)
    with pytest.raises(CheckpointError, match=r"holds no embed_tokens\.weight; name a checkpoint"):
        checkpoint_embedder(hub["x_encoder"], 96)
    rows = table.numpy()[ids]
    check_same_table(hub["predictor"], "a cat?", rows, rows.copy())
    with pytest.raises(ExportError, match="not the one that the bundle was made with"):
        check_same_table(hub["predictor"], "a cat?", rows, rows + 0.01)


def damage(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    file = next(folder.glob("model*.safetensors"))
    state = load_file(file)
    change(state)
    save_file(state, file)


def untied(state: dict[str, Any]) -> None:
    state["lm_head.weight"] = state["model.embed_tokens.weight"] + 1


@pytest.mark.parametrize(
    ("part", "change", "words"),
    [
        ("x_encoder", "truncate", "not a readable safetensors file"),
        ("predictor", "narrow", "misshapen"),
        ("y_decoder", "untie", "lm_head.weight differs from embed_tokens.weight"),
        ("x_encoder", "payload", "refused, it holds Python objects (posix.system)"),
        ("y_encoder", "tokenizer", "not a tokenizer.json"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    hub: dict[str, Path], cli: Cli, tmp_path: Path, part: str, change: str, words: str
) -> None:
    bad = Path(shutil.copytree(hub[part], tmp_path / "bad" / part))
    if change == "truncate":
        file = bad / "model.safetensors"
        file.write_bytes(file.read_bytes()[:-1000])
    elif change == "narrow":
        config = json.loads((bad / "config.json").read_text())
        (bad / "config.json").write_text(json.dumps({**config, "hidden_size": 48}))
    elif change == "untie":
        damage(bad, untied)
    elif change == "payload":
        bad = bad / "vitl.pt"
        torch.save({"encoder": {"x": torch.ones(2)}, "hook": Payload(tmp_path / "ran")}, bad)
    else:
        (bad / "tokenizer.json").write_text("{}")
    out = tmp_path / "out"
    result = cli("export", *options({**hub, part: bad}), "-o", out / "bundle")
    assert result.returncode == 2, result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith("vljepa: ")]
    assert len(lines) == 1 and words in lines[0], result.stderr
    assert "Traceback" not in result.stderr
    assert not out.exists() or list(out.iterdir()) == []
    assert not (tmp_path / "ran").exists()


class Payload:
    """Pickles to a call that would make a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        import os

        return os.system, (f"touch {self.marker}",)
