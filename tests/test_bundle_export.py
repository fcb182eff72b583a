"""Bundles as folders: exported whole or not at all, checked, extended, packed."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch
from export_models import random_model, small_config, small_tokenizer
from vljepa_edge.export import bundle as bundles
from vljepa_edge.export.components import component_spec
from vljepa_edge.export.errors import ExportError
from vljepa_edge.export.export_bundle import DEFAULT_QUERY, export_bundle
from vljepa_edge.export.manifest import GateSettings, Manifest, Provenance
from vljepa_edge.export.onnx_export import ExportedComponent
from vljepa_edge.export.pack import pack
from vljepa_edge.export.phrases import add_phrases
from vljepa_edge.export.queries import add_queries
from vljepa_edge.export.vocabulary import byte_of_character, token_bytes
from vljepa_edge.model import checkpoint
from vljepa_edge.model.config import VLJEPAConfig
from vljepa_edge.runtime.bundle import Bundle
from vljepa_edge.runtime.errors import VljepaError
from vljepa_edge.runtime.model import load

SCHEMA = Path(__file__).parent.parent / "export" / "bundle.schema.json"
QUESTIONS = ("what colour is the cat?", "how many apples are there?")
PHRASES = {"words": ("a red cat", "two blue dogs", "a red cat"), "more": ("seven",)}
GATE = GateSettings(ward_threshold=0.125, decode_when="both", max_interval_ns=30 * 10**9)


@pytest.fixture(scope="module")
def steps() -> list[tuple[str, int, int]]:
    return []


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int, int]]) -> Path:
    """One exported bundle, from a checkpoint as `vljepa export` takes it. Not to be changed."""
    base = tmp_path_factory.mktemp("export")
    model = random_model(small_config())
    checkpoint.save(base / "checkpoint", model, small_tokenizer(), {"steps": 3})
    exported = export_bundle(
        base / "checkpoint",
        base / "bundle",
        query_texts=QUESTIONS,
        phrase_banks=PHRASES,
        gate=GATE,
        provenance=Provenance(checkpoint="small test model", licences=("Apache-2.0",)),
        progress=lambda *step: steps.append(step),
    )
    assert exported.folder == base / "bundle"
    assert len(exported.sha256) == 64
    assert sorted(path.name for path in base.iterdir()) == ["bundle", "checkpoint"]
    return exported.folder


@pytest.fixture
def own(made: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(made, tmp_path / "bundle"))


def test_manifest_describes_the_bundle(made: Path) -> None:
    value = json.loads((made / "bundle.json").read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    validator.check_schema(validator.schema)
    validator.validate(value)
    manifest = bundles.check_folder(made)
    assert json.loads(manifest.to_json()) == value
    assert (made / "bundle.json").read_text(encoding="utf-8") == manifest.to_json()
    assert [q.text for q in manifest.queries] == [DEFAULT_QUERY, *QUESTIONS]
    assert [(b.name, b.phrases) for b in manifest.phrase_banks] == [("words", 2), ("more", 1)]
    assert manifest.gate == GATE
    assert manifest.provenance.card == {"steps": 3}
    digest = bundles.sha256_file(made.parent / "checkpoint" / "model.safetensors")
    assert manifest.provenance.checkpoint_sha256 == digest
    assert set(manifest.provenance.tools) >= {"torch", "onnx", "onnxruntime"}
    names = {"bundle.json", "index.vlj", *manifest.files()}
    assert {path.name for path in made.iterdir()} == names


def test_progress_counts_to_the_end(made: Path, steps: list[tuple[str, int, int]]) -> None:
    assert made.exists()
    assert [step for _, step, _ in steps] == list(range(len(steps)))
    assert {total for _, _, total in steps} == {len(steps)}
    assert steps[0][0] == "reference of x_encoder"


def test_schema_and_reader_refuse_the_same(made: Path) -> None:
    validator = jsonschema.Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))
    good = json.loads((made / "bundle.json").read_text(encoding="utf-8"))
    spoil: list[Callable[[dict], object]] = [  # type: ignore[type-arg]
        lambda m: m.update(schema_version=2),
        lambda m: m.pop("window"),
        lambda m: m.update(surprise=1),
        lambda m: m["window"].update(frames="8"),
        lambda m: m["window"].update(stride=0),
        lambda m: m["window"].update(fps=0),
        lambda m: m["gate"].update(decode_when="sometimes"),
        lambda m: m["gate"].update(smoothing=17),
        lambda m: m["gate"].update(min_interval_ns=-1),
        lambda m: m["model"].update(pooling="all"),
        lambda m: m["model"].update(visual_width=0),
        lambda m: m["decoder"].pop("vocabulary"),
        lambda m: m["components"].pop("predictor"),
        lambda m: m["components"]["predictor"].update(file="../predictor.onnx"),
        lambda m: m["components"]["predictor"]["inputs"][0].update(dtype="float64"),
        lambda m: m["components"].update(z_encoder=m["components"]["predictor"]),
        lambda m: m["tokenizers"]["query"].update(template="no place for it"),
        lambda m: m["queries"][0].update(tokens=0),
        lambda m: m["preprocessing"].update(mean=[0.5, 0.5]),
    ]
    for change in spoil:
        bad = json.loads(json.dumps(good))
        change(bad)
        assert list(validator.iter_errors(bad)), bad
        with pytest.raises(ExportError, match=r"bundle\.json"):
            Manifest.from_json(json.dumps(bad))
    without = good | {"decoder": None, "golden": None}
    for name in ("y_decoder", "y_decoder_prefix"):
        without["components"] = {k: v for k, v in without["components"].items() if k != name}
    validator.validate(without)
    Manifest.from_json(json.dumps(without))
    for text in ("", "[1]", "{", '{"schema_version": NaN}'):
        with pytest.raises(ExportError, match=r"bundle\.json: (not JSON|schema_version is None)"):
            Manifest.from_json(text)


def test_golden_vectors_hold_on_the_exported_components(made: Path) -> None:
    """Every input and output of every component, through the C core's own engine runs."""
    manifest = Manifest.read(made / "bundle.json")
    golden = np.load(made / "golden.npz")
    model = load(made)
    for case in [*manifest.components, "y_decoder_step"]:
        record = manifest.components[case.removesuffix("_step")]
        inputs = {t.name: golden[f"{case}/{t.name}"] for t in record.inputs}
        outputs = {t.name: np.full_like(golden[f"{case}/{t.name}"], np.nan) for t in record.outputs}
        model.run_component(case.removesuffix("_step"), inputs, outputs)
        for name, found in outputs.items():
            assert np.abs(found - golden[f"{case}/{name}"]).max() <= 1e-4, (case, name)
    text = golden["chain/text"].tobytes()
    vocabulary = token_bytes(small_tokenizer(), 300)
    assert b"".join(vocabulary[i] for i in golden["chain/token_ids"]) == text
    model.close()


def test_compiled_queries_and_phrases_are_the_models_own(made: Path) -> None:
    opened = checkpoint.load(made.parent / "checkpoint")
    model = load(made)
    table = opened.model.predictor.embed_tokens.weight.detach().numpy()
    for query, text in zip(model.queries, (DEFAULT_QUERY, *QUESTIONS), strict=True):
        assert query.text == text
        assert np.array_equal(query.embeddings, table[opened.tokenizer.encode(text).ids])
    with torch.no_grad():
        ids = torch.tensor([opened.tokenizer.encode("two blue dogs").ids])
        embedding = opened.model.y_encoder(ids)[0].numpy()
    best = model.nearest_phrases(embedding, k=2, bank=0)[0]
    assert best.text == "two blue dogs" and best.score == pytest.approx(1, abs=1e-5)
    model.close()


def test_vocabulary_bytes_are_what_the_tokenizer_decodes(made: Path) -> None:
    tokenizer = small_tokenizer()
    vocabulary = token_bytes(tokenizer, 300)
    assert vocabulary[:3] == [b"", b"", b""]  # pad, begin, end
    assert {len(v) for v in vocabulary[3:259]} == {1} and len(set(vocabulary[3:259])) == 256
    for text in ("a red cat", "émoji ☕ und mehr", "two  spaces"):
        ids = tokenizer.encode(text).ids
        assert b"".join(vocabulary[i] for i in ids).decode() == text
    assert sorted(byte_of_character().values()) == list(range(256))
    with pytest.raises(ExportError, match="only 10"):
        token_bytes(tokenizer, 10)


# ---- all or nothing ----


def test_an_interrupted_export_leaves_nothing(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: list[tuple[str, int, int]]
) -> None:
    """At any step: no bundle where none was, the old one where one was, no leftovers."""

    class Interrupted(BaseException):
        pass

    def ready_component(
        name: str, graph: Any, config: VLJEPAConfig, folder: Path, **options: Any
    ) -> ExportedComponent:
        """What was exported before: the graphs are not what this test is about."""
        path = Path(shutil.copyfile(made / f"{name}.onnx", folder / f"{name}.onnx"))
        return ExportedComponent(component_spec(name, config), path, None, 0, {})

    monkeypatch.setattr("vljepa_edge.export.part.export_graph", ready_component)
    old = Path(shutil.copytree(made, tmp_path / "old"))
    before = {path.name: path.read_bytes() for path in old.iterdir()}
    for last, _, _ in steps:
        for output in (tmp_path / "new", old):

            def progress(what: str, step: int, total: int, last: str = last) -> None:
                if what == last:
                    raise Interrupted

            with pytest.raises(Interrupted):
                export_bundle(
                    random_model(small_config(), seed=9),
                    output,
                    tokenizer=small_tokenizer(),
                    phrase_banks=PHRASES,
                    overwrite=True,
                    progress=progress,
                )
            assert [path.name for path in tmp_path.iterdir()] == ["old"]
            assert {path.name: path.read_bytes() for path in old.iterdir()} == before


def test_a_bundle_without_y_decoder(tmp_path: Path) -> None:
    config = dataclasses.replace(small_config(), y_decoder=None)
    exported = export_bundle(
        random_model(config), tmp_path / "b", tokenizer=small_tokenizer(), query_table=False
    )
    assert exported.components == ["x_encoder", "predictor", "y_encoder"]
    manifest = bundles.check_folder(tmp_path / "b")
    assert manifest.decoder is None and manifest.token_embeddings == ()
    model = load(tmp_path / "b")
    assert model.has("predictor") and not model.has("y_decoder")
    model.close()
    # New queries need the table: from the checkpoint.
    checkpoint.save(tmp_path / "c", random_model(config), small_tokenizer(), {})
    with pytest.raises(ExportError, match="carries no query embedding table; name the checkpoint"):
        add_queries(tmp_path / "b", ["a cat?"])
    assert add_queries(tmp_path / "b", ["a cat?"], checkpoint=tmp_path / "c") == ["a cat?"]
    model = load(tmp_path / "b")
    table = random_model(config).predictor.embed_tokens.weight.detach().numpy()
    expected = table[small_tokenizer().encode("a cat?").ids]
    assert np.array_equal(model.queries[1].embeddings, expected)
    model.close()


def test_outputs_that_exist_are_kept(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    model = random_model(small_config())
    for overwrite in (False, True):
        with pytest.raises(ExportError, match="exists and is no bundle"):
            export_bundle(model, folder, tokenizer=small_tokenizer(), overwrite=overwrite)
    with pytest.raises(ExportError, match="exists; choose another output, or overwrite it"):
        export_bundle(model, made, tokenizer=small_tokenizer())
    assert (folder / "thesis.txt").read_text() == "years of work"
    with pytest.raises(ExportError, match="has no tokenizer"):
        export_bundle(model, tmp_path / "new")


def test_what_the_caller_gave_is_checked_before_anything_is_exported(tmp_path: Path) -> None:
    steps: list[str] = []
    for changes, message in (
        ({"query_texts": ["ok", " "]}, "query is empty"),
        ({"query_texts": ["word " * 300]}, "expected 1 to 40"),
        ({"phrase_banks": {"none": []}}, "phrase bank 'none' has no phrases"),
        ({"phrase_banks": {"b": ["ok", ""]}}, "phrase is empty"),
        ({"phrase_banks": {"b" * 64: ["ok"]}}, "1 to 63 printable bytes"),
        ({"gate": GateSettings(smoothing=0)}, "gate.smoothing is 0, expected 1 to 16"),
        ({"tokenizer": tmp_path / "none.json"}, r"none\.json: not a tokenizer\.json"),
    ):
        options = {"tokenizer": small_tokenizer(), **changes}
        with pytest.raises(ExportError, match=message):
            export_bundle(
                random_model(small_config()),
                tmp_path / "new",
                progress=lambda what, step, total: steps.append(what),
                **options,  # type: ignore[arg-type]
            )
    assert steps == [] and list(tmp_path.iterdir()) == []


# ---- damage ----


def test_damage_is_named(own: Path) -> None:
    def flip(name: str) -> None:
        content = bytearray((own / name).read_bytes())
        content[len(content) // 2] ^= 1
        (own / name).write_bytes(content)

    for name in ("predictor.onnx", "tokenizer.json", "golden.npz"):
        flip(name)
        with pytest.raises(ExportError, match=f"{name}: its SHA-256 is not the one in bundle.json"):
            bundles.check_folder(own)
        flip(name)
    bundles.check_folder(own)
    flip("index.vlj")
    with pytest.raises(VljepaError, match=r"index\.vlj"):
        bundles.check_folder(own)
    flip("index.vlj")
    (own / "y_encoder.onnx").write_bytes((own / "y_encoder.onnx").read_bytes()[:-1])
    with pytest.raises(ExportError, match=r"y_encoder\.onnx: \d+ bytes, bundle\.json says"):
        bundles.check_folder(own)
    (own / "y_encoder.onnx").unlink()
    with pytest.raises(ExportError, match=r"y_encoder\.onnx: missing"):
        bundles.check_folder(own)
    (own / "bundle.json").unlink()
    with pytest.raises(ExportError, match=r"bundle\.json: missing; is this a bundle folder"):
        bundles.check_folder(own)


def test_manifest_and_index_must_agree(own: Path) -> None:
    manifest = Manifest.read(own / "bundle.json")
    changed = dataclasses.replace(manifest, gate=dataclasses.replace(GATE, ward_threshold=9.0))
    (own / "bundle.json").write_text(changed.to_json(), encoding="utf-8")
    with pytest.raises((ExportError, VljepaError), match=r"bundle\.json|manifest"):
        bundles.check_folder(own)


# ---- queries and phrases ----


def test_added_queries_are_compiled_as_at_export(own: Path, made: Path) -> None:
    before = (own / "x_encoder.onnx").read_bytes()
    assert add_queries(own, ["a blue dog?", DEFAULT_QUERY, "a blue dog?"]) == ["a blue dog?"]
    assert add_queries(own, ["a blue dog?"]) == []
    manifest = bundles.check_folder(own)
    assert [q.text for q in manifest.queries] == [DEFAULT_QUERY, *QUESTIONS, "a blue dog?"]
    model = load(own)
    fresh = load(made).compile_query("a blue dog?")
    assert np.array_equal(model.queries[-1].embeddings, fresh.embeddings)
    model.close()
    assert (own / "x_encoder.onnx").read_bytes() == before
    assert [path.name for path in own.parent.iterdir()] == ["bundle"]


@pytest.mark.parametrize(
    ("text", "message"),
    [("", "query is empty"), ("  ", "query is empty"), ("word " * 300, "expected 1 to 40")],
)
def test_bad_queries_change_nothing(own: Path, text: str, message: str) -> None:
    before = {path.name: path.read_bytes() for path in own.iterdir()}
    with pytest.raises(ExportError, match=message):
        add_queries(own, ["a fine one", text])
    assert {path.name: path.read_bytes() for path in own.iterdir()} == before


def test_added_phrases(own: Path) -> None:
    assert add_phrases(own, "new", ["a cat", "a dog", "a cat"]) == 2
    assert add_phrases(own, "more", ["eight", "nine"]) == 2
    manifest = bundles.check_folder(own)
    banks = [(bank.name, bank.phrases) for bank in manifest.phrase_banks]
    assert banks == [("words", 2), ("more", 2), ("new", 2)]
    model = load(own)
    matches = model.nearest_phrases(model.embed_text(["nine"])[0], k=1, bank=1)
    assert matches[0].text == "nine" and matches[0].score == pytest.approx(1, abs=1e-5)
    model.close()
    assert add_phrases(own, "bytes", ["eight", "nine"], int8=True) == 2
    with load(own) as model:
        bank = [b.name for b in bundles.check_folder(own).phrase_banks].index("bytes")
        matches = model.nearest_phrases(model.embed_text(["nine"])[0], k=2, bank=bank)
    assert matches[0].text == "nine" and matches[0].score == pytest.approx(1, abs=1e-3)
    with pytest.raises(ExportError, match="has no phrases"):
        add_phrases(own, "new", [])


# ---- image ----


def test_image_is_the_bundle_in_one_file(made: Path, tmp_path: Path) -> None:
    image = tmp_path / "deep" / "small.vlj"
    digest = pack(made, image)
    with Bundle(made) as folder, Bundle(image, verify_hashes=True) as packed:
        assert [(s.kind, s.name, s.sha256) for s in packed] == [
            (s.kind, s.name, s.sha256) for s in folder
        ]
        assert {s.file for s in packed} == {""}
    model, other = load(made), load(image)
    assert other.description.bundle_sha256 == digest
    frames = np.zeros((4, 48, 48, 3), dtype=np.uint8)
    assert np.array_equal(model.embed_video(frames), other.embed_video(frames))
    model.close()
    other.close()
    assert [path.name for path in image.parent.iterdir()] == ["small.vlj"]
    lean = tmp_path / "lean.vlj"
    pack(made, lean, tools=False)
    with Bundle(lean, verify_hashes=True) as packed:
        assert {"golden", "tokenizer", "manifest"}.isdisjoint(s.kind for s in packed)


def test_packing_is_refused_with_a_reason(made: Path, own: Path, tmp_path: Path) -> None:
    image = tmp_path / "small.vlj"
    for folder, output, message in (
        (tmp_path, image, "is no bundle folder"),
        (made, tmp_path, "is a folder"),
        (own, own / "in.vlj", "inside the bundle"),
    ):
        with pytest.raises(ExportError, match=message):
            pack(folder, output)
    image.write_bytes(b"x")
    with pytest.raises(ExportError, match="exists; choose another"):
        pack(made, image)
    (own / "predictor.onnx").write_bytes(b"cut")
    with pytest.raises(ExportError, match=r"predictor\.onnx: 3 bytes"):
        pack(own, image, overwrite=True)
    assert image.read_bytes() == b"x"
