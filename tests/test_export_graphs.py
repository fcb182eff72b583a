"""Exported graphs against the PyTorch reference, and what the graphs are made of."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnx.inliner
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from export_models import nano_model, random_frames, random_model, run, small_config
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper
from vljepa_edge.export import graph_passes, pooling
from vljepa_edge.export.components import NAMES, component_graph, component_names, component_spec
from vljepa_edge.export.golden import pad_queries, step_mask
from vljepa_edge.export.onnx_export import IR_VERSION, OPSET, ExportedComponent, export_component
from vljepa_edge.model.config import GemmaConfig, VLJEPAConfig
from vljepa_edge.model.vl_jepa import VLJEPA

TOLERANCE = 1e-4

onnxruntime.set_default_logger_severity(3)


class Exported:
    """A model and its components as files and ONNX Runtime sessions."""

    def __init__(self, model: VLJEPA, folder: Path) -> None:
        self.model, self.config = model, model.config
        self.parts: dict[str, ExportedComponent] = {
            name: export_component(name, model, folder) for name in component_names(model.config)
        }
        self.sessions = {name: session(part.path) for name, part in self.parts.items()}


def session(path: Path) -> onnxruntime.InferenceSession:
    """One thread: these graphs are too small for more."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return Exported(random_model(small_config()), tmp_path_factory.mktemp("small"))


@pytest.fixture(scope="module")
def whole_nano(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return Exported(nano_model(), tmp_path_factory.mktemp("nano"))


@pytest.fixture(params=["small", "whole_nano"])
def exported(request: pytest.FixtureRequest) -> Exported:
    found: Exported = request.getfixturevalue(request.param)
    return found


def close(found: np.ndarray, expected: torch.Tensor) -> None:
    assert found.shape == tuple(expected.shape)
    assert np.abs(found - expected.numpy()).max() <= TOLERANCE


def random_queries(config: VLJEPAConfig, lengths: Sequence[int]) -> list[np.ndarray]:
    rng = np.random.default_rng(5)
    width = config.predictor.transformer.width
    return [rng.standard_normal((n, width), dtype=np.float32) for n in lengths]


# ---- parity with the reference ----


@torch.no_grad()
def test_x_encoder_is_the_reference(exported: Exported) -> None:
    for frames in (
        random_frames(exported.config),
        torch.zeros_like(random_frames(exported.config)),
        torch.full_like(random_frames(exported.config), 255),
    ):
        found = run(exported.sessions["x_encoder"], frames=frames)
        close(found, exported.model.x_encoder(frames))


@torch.no_grad()
@pytest.mark.parametrize("lengths", [[1], [6], [40], [3, 9, 5], [1, 2, 3, 4, 5, 6, 7, 8]])
def test_predictor_is_the_reference(exported: Exported, lengths: list[int]) -> None:
    visual = exported.model.x_encoder(random_frames(exported.config, seed=2))
    embeddings, mask = pad_queries(random_queries(exported.config, lengths))
    found = run(
        exported.sessions["predictor"],
        visual_tokens=visual,
        query_embeddings=embeddings,
        query_mask=mask,
    )
    expected = exported.model.predictor(visual.expand(len(lengths), -1, -1), embeddings, mask)
    close(found, expected)
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


@torch.no_grad()
def test_neither_padding_nor_neighbours_change_a_prediction(exported: Exported) -> None:
    visual = exported.model.x_encoder(random_frames(exported.config, seed=3)).numpy()
    queries = random_queries(exported.config, [4, 7])

    def predict(batch: Sequence[np.ndarray], pad: int = 0) -> np.ndarray:
        embeddings, mask = pad_queries(batch)
        embeddings = torch.nn.functional.pad(embeddings, (0, 0, 0, pad), value=3.0)
        mask = torch.nn.functional.pad(mask, (0, pad))
        return run(
            exported.sessions["predictor"],
            visual_tokens=visual,
            query_embeddings=embeddings,
            query_mask=mask,
        )

    together = predict(queries)
    for i, query in enumerate(queries):
        alone = predict([query])
        assert np.abs(together[i] - alone[0]).max() <= 1e-5
        longest = exported.config.predictor.max_query_tokens - len(query)
        assert np.abs(predict([query], pad=longest)[0] - alone[0]).max() <= 1e-5


@torch.no_grad()
def test_y_encoder_is_the_reference(exported: Exported) -> None:
    generator = torch.Generator().manual_seed(6)
    for length in (1, 2, 9, exported.config.y_encoder.max_tokens):
        ids = torch.randint(0, 300, (1, length), generator=generator)
        close(run(exported.sessions["y_encoder"], token_ids=ids), exported.model.y_encoder(ids))


@torch.no_grad()
def test_y_decoder_prefix_is_the_reference(exported: Exported) -> None:
    decoder = exported.model.y_decoder
    assert decoder is not None
    embedding = torch.randn(1, exported.config.embedding_width)
    found = run(exported.sessions["y_decoder_prefix"], embedding=embedding)
    close(found, decoder.soft_tokens(embedding))


@torch.no_grad()
@pytest.mark.parametrize(("past", "count"), [(0, 1), (0, 4), (4, 1), (5, 3), (9, 6)])
def test_y_decoder_is_the_reference(exported: Exported, past: int, count: int) -> None:
    decoder = exported.model.y_decoder
    assert decoder is not None
    c = decoder.config
    torch.manual_seed(7)
    cache = torch.randn(
        2 * c.transformer.layers, c.transformer.kv_heads, c.cache_length, c.transformer.head_dim
    )
    inputs = {
        "input_embeddings": torch.randn(1, count, c.transformer.width),
        "positions": torch.arange(past, past + count),
        "attention_mask": step_mask(decoder, past, count),
        "kv_cache": cache,
    }
    logits, new = exported.sessions["y_decoder"].run(
        None, {name: tensor.numpy() for name, tensor in inputs.items()}
    )
    expected_logits, expected_new = decoder.step(**inputs)
    close(logits, expected_logits)
    close(new, expected_new)


@torch.no_grad()
def test_chain_gives_the_same_words(exported: Exported) -> None:
    """Frames to greedy tokens through all ONNX components, the cache kept as the core keeps it."""
    model, sessions = exported.model, exported.sessions
    decoder = model.y_decoder
    assert decoder is not None
    for seed in range(3):
        frames = random_frames(exported.config, seed)
        queries, mask = pad_queries(random_queries(exported.config, [5 + seed]))
        visual = run(sessions["x_encoder"], frames=frames)
        embedding = run(
            sessions["predictor"],
            visual_tokens=visual,
            query_embeddings=queries,
            query_mask=mask,
        )
        reference = model.predictor(model.x_encoder(frames), queries, mask)
        close(embedding, reference)
        assert greedy(exported, embedding) == decoder.generate(reference)[0]


def greedy(exported: Exported, embedding: np.ndarray) -> list[int]:
    decoder = exported.model.y_decoder
    assert decoder is not None
    c = decoder.config
    table = decoder.embed_tokens.weight.detach().numpy()
    soft = run(exported.sessions["y_decoder_prefix"], embedding=embedding)
    x = np.concatenate((soft, table[[decoder.special.begin]][None]), 1)
    planes = 2 * c.transformer.layers
    cache = np.zeros(
        (planes, c.transformer.kv_heads, c.cache_length, c.transformer.head_dim), np.float32
    )
    past, tokens = 0, list[int]()
    while len(tokens) < c.max_new_tokens:
        count = x.shape[1]
        logits, new = exported.sessions["y_decoder"].run(
            None,
            {
                "input_embeddings": x,
                "positions": np.arange(past, past + count),
                "attention_mask": step_mask(decoder, past, count).numpy(),
                "kv_cache": cache,
            },
        )
        cache[:, :, past : past + count] = new
        past += count
        token = int(logits[0].argmax())
        if token == decoder.special.end:
            break
        tokens.append(token)
        x = table[[token]][None]
    return tokens


@torch.no_grad()
@pytest.mark.parametrize("rope_variant", ["v2", "v2.1"])
@pytest.mark.parametrize("heads", [1, 2, 4])
def test_rewritten_x_encoder_is_the_reference(rope_variant: str, heads: int) -> None:
    config = small_config()
    x_encoder = dataclasses.replace(config.x_encoder, rope_variant=rope_variant, heads=heads)
    model = random_model(dataclasses.replace(config, x_encoder=x_encoder))
    frames = random_frames(config)
    found = component_graph("x_encoder", model)(frames)
    close(found.numpy(), model.x_encoder(frames))


@torch.no_grad()
@pytest.mark.parametrize("pooling_rule", ["visual+query", "query", "visual"])
@pytest.mark.parametrize("project_query", [False, True])
@pytest.mark.parametrize("kv_heads", [1, 2, 4])
def test_rewritten_predictor_is_the_reference(
    pooling_rule: str, project_query: bool, kv_heads: int
) -> None:
    config = small_config()
    predictor = dataclasses.replace(
        config.predictor,
        pooling=pooling_rule,
        project_query=project_query,
        transformer=dataclasses.replace(config.predictor.transformer, kv_heads=kv_heads),
    )
    model = random_model(dataclasses.replace(config, predictor=predictor))
    visual = torch.randn(1, config.visual_tokens, 64)
    queries, mask = pad_queries(random_queries(config, [2, 6]))
    found = component_graph("predictor", model)(visual, queries, mask)
    close(found.numpy(), model.predictor(visual.expand(2, -1, -1), queries, mask))


def gemma_model(window: int, dense: tuple[int, ...]) -> VLJEPA:
    config = small_config()
    gemma = GemmaConfig(full_layers=(1,), sliding_window=window, query_scale=20.0)
    transformer = dataclasses.replace(config.y_encoder.transformer, layers=2)
    y_encoder = dataclasses.replace(
        config.y_encoder, transformer=transformer, gemma=gemma, dense_widths=dense
    )
    return random_model(dataclasses.replace(config, y_encoder=y_encoder))


@torch.no_grad()
def test_rewritten_gemma_y_encoder_is_the_reference(tmp_path: Path) -> None:
    """A window that covers every text, then one that some texts outgrow."""
    model = gemma_model(512, ())
    graph = component_graph("y_encoder", model)
    ids = torch.arange(3, 35)[None]
    close(graph(ids).numpy(), model.y_encoder(ids))
    model = gemma_model(8, (40, 28))
    part = export_component("y_encoder", model, tmp_path)
    for length in (1, 5, 6, 32):
        ids = torch.arange(3, 3 + length)[None]
        close(run(session(part.path), token_ids=ids), model.y_encoder(ids))


def test_pooling_variants_export(tmp_path: Path) -> None:
    config = small_config()
    predictor = dataclasses.replace(config.predictor, pooling="query", project_query=True)
    model = random_model(dataclasses.replace(config, predictor=predictor))
    part = export_component("predictor", model, tmp_path)
    visual = torch.randn(1, config.visual_tokens, 64)
    queries, mask = pad_queries(random_queries(config, [2, 6, 1]))
    found = run(session(part.path), visual_tokens=visual, query_embeddings=queries, query_mask=mask)
    with torch.no_grad():
        close(found, model.predictor(visual.expand(3, -1, -1), queries, mask))


# ---- what the graphs are made of ----

# Upper bounds per component: (a layer's nodes, what is around the layers). See docs/export.md.
NODES = {
    "x_encoder": (28, 7),
    "predictor": (40, 22),
    "y_encoder": (39, 16),
    "y_decoder_prefix": (0, 3),
    "y_decoder": (42, 13),
}


def layers_of(name: str, config: VLJEPAConfig) -> int:
    if name == "x_encoder":
        return config.x_encoder.layers
    part = {"predictor": config.predictor, "y_encoder": config.y_encoder}.get(name)
    if part is None:
        part = config.y_decoder
    assert part is not None
    return part.transformer.layers


@pytest.mark.parametrize("name", NAMES)
def test_graphs_stay_small(exported: Exported, name: str) -> None:
    part = exported.parts[name]
    per_layer, around = NODES[name]
    assert part.nodes <= per_layer * layers_of(name, exported.config) + around
    assert part.nodes == sum(part.operators.values())
    assert set(part.operators) <= graph_passes.ALLOWED_OPERATORS


@pytest.mark.parametrize("name", NAMES)
def test_files_say_what_the_contract_says(exported: Exported, name: str) -> None:
    network = onnx.load(exported.parts[name].path)
    assert network.ir_version == IR_VERSION
    versions = {entry.domain: entry.version for entry in network.opset_import}
    assert versions.pop("") == OPSET
    assert versions == ({pooling.DOMAIN: pooling.VERSION} if name == "predictor" else {})
    spec = component_spec(name, exported.config)
    for values, tensors in (
        (network.graph.input, spec.inputs),
        (network.graph.output, spec.outputs),
    ):
        assert [value.name for value in values] == [tensor.name for tensor in tensors]
        for value, tensor in zip(values, tensors, strict=True):
            dims = [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
            assert tuple(dims) == tensor.shape
            dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
            assert dtype == np.dtype(tensor.dtype)


@pytest.mark.parametrize("name", NAMES)
def test_reshapes_are_constant_and_shapes_computed_only_for_dynamic_axes(
    exported: Exported, name: str
) -> None:
    network = onnx.load(exported.parts[name].path).graph
    constants = {tensor.name for tensor in network.initializer}
    consumers: dict[str, set[str]] = {}
    for node in network.node:
        for value in node.input:
            consumers.setdefault(value, set()).add(node.op_type)
        if node.op_type == "Reshape":
            assert node.input[1] in constants
    shapes = [node for node in network.node if node.op_type == "Shape"]
    assert len(shapes) <= {"predictor": 2, "y_encoder": 1}.get(name, 0)
    for node in shapes:
        assert consumers[node.output[0]] <= {"Concat", "Slice"}


def test_pooling_is_one_node_with_a_body(small: Exported) -> None:
    network = onnx.load(small.parts["predictor"].path)
    (function,) = network.functions
    assert (function.domain, function.name) == (pooling.DOMAIN, pooling.NAME)
    (node,) = [node for node in network.graph.node if node.domain == pooling.DOMAIN]
    assert node.output[0] == "predicted_embedding"
    inlined = onnx.inliner.inline_local_functions(network)
    assert not [node for node in inlined.graph.node if node.domain]


def test_bytes_are_reproducible_and_tell_nothing_of_the_machine(
    small: Exported, tmp_path: Path
) -> None:
    again = export_component("predictor", random_model(small_config()), tmp_path)
    assert again.path.read_bytes() == small.parts["predictor"].path.read_bytes()
    for part in small.parts.values():
        content = part.path.read_bytes()
        for trace in (b"site-packages", b".py", b"pytorch", b"pkg.torch", bytes(Path.home())):
            assert trace not in content, (part.path, trace)


def test_names_lead_back_to_the_model(small: Exported) -> None:
    names = {node.name for node in onnx.load(small.parts["x_encoder"].path).graph.node}
    assert {"blocks.1.attention.qkv/MatMul", "blocks.0.fc1/MatMul", "patch_embed/Cast"} <= names
    names = {node.name for node in onnx.load(small.parts["predictor"].path).graph.node}
    assert {"layers.0.gate/MatMul", "pool/MaskedMeanPool"} <= names


def test_large_weights_lie_beside_the_graph(small: Exported, tmp_path: Path) -> None:
    part = export_component("x_encoder", small.model, tmp_path, external_bytes=1000)
    assert part.external == tmp_path / "x_encoder.onnx.data"
    assert part.path.stat().st_size < 100_000 < part.external.stat().st_size
    frames = random_frames(small.config)
    inside = run(small.sessions["x_encoder"], frames=frames)
    assert np.array_equal(run(session(part.path), frames=frames), inside)


def test_operators_outside_the_list_are_refused(small: Exported) -> None:
    network = ir.load(small.parts["y_decoder_prefix"].path)
    network.graph.append(ir.Node("", "IsNaN", [network.graph.inputs[0]]))
    with pytest.raises(ValueError, match="y_decoder_prefix: the graph holds IsNaN"):
        graph_passes.check_operators(network, "y_decoder_prefix")


@settings(max_examples=25, deadline=None)
@given(batch=st.integers(1, 4), tokens=st.integers(1, 9), seed=st.integers(0, 1000), data=st.data())
def test_masked_mean_pool_body(batch: int, tokens: int, seed: int, data: st.DataObject) -> None:
    """The ONNX function body against numpy in float64, for any mask with something in it."""
    rng = np.random.default_rng(seed)
    hidden = rng.standard_normal((batch, tokens, 6)).astype(np.float32)
    kept = [data.draw(st.integers(1, tokens)) for _ in range(batch)]
    mask = np.array([[i < k for i in range(tokens)] for k in kept], dtype=np.float32)
    weight = rng.standard_normal((6, 5)).astype(np.float32)
    bias = rng.standard_normal(5).astype(np.float32)
    found = pooling_session().run(
        None, {"hidden": hidden, "mask": mask, "weight": weight, "bias": bias}
    )[0]
    for row, h, k in zip(found, hidden.astype(np.float64), kept, strict=True):
        expected = h[:k].mean(0) @ weight + bias
        assert np.abs(row - expected / np.linalg.norm(expected)).max() <= 1e-5


@functools.cache
def pooling_session() -> onnxruntime.InferenceSession:
    function = pooling.function_body(OPSET)
    shapes = {"hidden": ["b", "m", 6], "mask": ["b", "m"], "weight": [6, 5], "bias": [5]}
    graph = helper.make_graph(
        [helper.make_node(pooling.NAME, list(shapes), ["embedding"], domain=pooling.DOMAIN)],
        "pooling",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["b", 5])],
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(pooling.DOMAIN, 1)]
    network = helper.make_model(
        graph, functions=[function], opset_imports=opsets, ir_version=IR_VERSION
    )
    return onnxruntime.InferenceSession(
        network.SerializeToString(), providers=["CPUExecutionProvider"]
    )
