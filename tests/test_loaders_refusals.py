"""Checkpoints that must not load: one clear line each, before anything is filled."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_models import edit_json, save_embedding_gemma, save_llama, save_vjepa2
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from vljepa_edge.model.checkpoint import CheckpointError
from vljepa_edge.model.config import PredictorConfig, VLJEPAConfig, nano
from vljepa_edge.model.loaders import embedding_gemma, llama, smollm2, vjepa2
from vljepa_edge.model.loaders.safetensors_files import SafetensorsFiles
from vljepa_edge.model.loaders.torch_file import open_tensors

pytest.importorskip("transformers")


def _refused(load: Callable[[], Any]) -> str:
    """The message of the CheckpointError that `load` must raise: one line, not too long."""
    with pytest.raises(CheckpointError) as caught:
        load()
    message = str(caught.value)
    assert "\n" not in message and len(message) < 800, message
    return message


@pytest.fixture
def hub_llama(tmp_path: Path) -> Path:
    save_llama(tmp_path, layers=3)
    return tmp_path


def _predictor(folder: Path, width: int = 96) -> VLJEPAConfig:
    stack, _ = llama.read_last_layers(folder, 2)
    stack = dataclasses.replace(stack, width=width)
    return dataclasses.replace(nano(), predictor=PredictorConfig(stack, visual_width=24))


def _rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    state = load_file(folder / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_truncated_safetensors(hub_llama: Path, share: float) -> None:
    path = hub_llama / "model.safetensors"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    config = _predictor(hub_llama)
    message = _refused(lambda: llama.load_predictor(hub_llama, config))
    assert message.startswith(f"{path}: not a readable safetensors file (")
    assert message.endswith("download it again")


def test_a_pointer_instead_of_the_weights(hub_llama: Path) -> None:
    path = hub_llama / "model.safetensors"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    assert "a Git LFS pointer, not the weights" in _refused(lambda: SafetensorsFiles(hub_llama))


def test_a_llama_of_another_width(hub_llama: Path) -> None:
    config = _predictor(hub_llama, width=128)
    message = _refused(lambda: llama.load_predictor(hub_llama, config))
    assert message == (
        f"{hub_llama / 'config.json'}: not the Predictor's stack: width is 96, expected 128"
    )


def test_a_llama_with_too_few_layers(hub_llama: Path) -> None:
    message = _refused(lambda: llama.read_last_layers(hub_llama, 8))
    assert "num_hidden_layers is 3, the Predictor takes the last 8" in message


def test_every_missing_unexpected_and_misshapen_tensor_is_named(hub_llama: Path) -> None:
    def change(state: dict[str, torch.Tensor]) -> None:
        del state["model.layers.1.self_attn.k_proj.weight"]
        del state["model.norm.weight"]
        state["model.layers.2.self_attn.q_proj.bias"] = torch.zeros(96)
        state["model.layers.2.mlp.up_proj.weight"] = torch.zeros(160, 95)

    _rewrite(hub_llama, change)
    config = _predictor(hub_llama)
    message = _refused(lambda: llama.load_predictor(hub_llama, config))
    assert message == (
        f"{hub_llama}: missing layers.1.self_attn.k_proj.weight, norm.weight; unexpected "
        "layers.2.self_attn.q_proj.bias; misshapen layers.2.mlp.up_proj.weight (160, 95), "
        "expected (160, 96)"
    )


def test_a_long_list_is_cut(hub_llama: Path) -> None:
    _rewrite(hub_llama, lambda state: [state.pop(k) for k in list(state) if "layers" in k] and None)
    config = _predictor(hub_llama)
    assert "and 12 more" in _refused(lambda: llama.load_predictor(hub_llama, config))


def test_quantised_weights(hub_llama: Path) -> None:
    def change(state: dict[str, torch.Tensor]) -> None:
        name = "model.layers.2.self_attn.q_proj.weight"
        state[name] = state[name].to(torch.float8_e4m3fn)

    _rewrite(hub_llama, change)
    config = _predictor(hub_llama)
    message = _refused(lambda: llama.load_predictor(hub_llama, config))
    assert "quantised checkpoints are not read: layers.2.self_attn.q_proj.weight is" in message


class _Payload:
    """Pickles to a call that would make a file."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.marker}",)


def test_a_pt_file_with_a_payload_is_refused_and_not_run(tmp_path: Path) -> None:
    marker, path = tmp_path / "ran", tmp_path / "vitl.pt"
    torch.save({"encoder": {"x": torch.ones(2)}, "hook": _Payload(marker)}, path)
    message = _refused(lambda: vjepa2.read_config(path))
    assert message == (
        f"{path}: refused, it holds Python objects (posix.system) besides tensors and plain "
        "values; convert it to safetensors"
    )
    assert not marker.exists()


def test_pt_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "vitl.pt"
    torch.save({"encoder": {"x": torch.ones(100)}}, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert "truncated or damaged" in _refused(lambda: open_tensors(path))
    path.write_bytes(b"\x80\x02}q\x00.")
    assert "not a zip-format PyTorch file" in _refused(lambda: open_tensors(path))
    torch.save([1, 2], path)
    assert "holds a list, expected a mapping" in _refused(lambda: open_tensors(path))
    torch.save({"opt": {}, "epoch": 1}, path)
    message = _refused(lambda: vjepa2.read_config(path))
    assert message.endswith("holds epoch, opt, expected ema_encoder or target_encoder or encoder")
    torch.save({"encoder": {"module.x": torch.ones(2)}}, path)
    assert "no patch_embed.proj.weight; not a V-JEPA 2" in _refused(
        lambda: vjepa2.read_config(path)
    )
    assert "No such file" in _refused(lambda: open_tensors(tmp_path / "none.pt"))
    assert "no such file or folder" in _refused(lambda: open_tensors(tmp_path / "none"))
    assert "no model.safetensors" in _refused(lambda: open_tensors(tmp_path))


@pytest.mark.parametrize("tied", [True, False])
def test_a_head_that_is_not_the_token_table(hub_llama: Path, tied: bool) -> None:
    def change(state: dict[str, torch.Tensor]) -> None:
        state["lm_head.weight"] = state["model.embed_tokens.weight"].clone()
        state["lm_head.weight"][299, 95] += 1

    _rewrite(hub_llama, change)
    edit_json(hub_llama / "config.json", tie_word_embeddings=tied)
    decoder = dataclasses.replace(nano(), y_decoder=smollm2.read_config(hub_llama))
    message = _refused(lambda: smollm2.load(hub_llama, decoder))
    why = "though config.json ties them" if tied else "and the Y-Decoder has one table for both"
    assert f"lm_head.weight differs from embed_tokens.weight, {why}" in message
    # The Predictor has no head: it minds only a file that contradicts itself.
    predictor = _predictor(hub_llama)
    if tied:
        assert "differs" in _refused(lambda: llama.load_predictor(hub_llama, predictor))
    else:
        llama.load_predictor(hub_llama, predictor)


def test_an_untied_model_without_a_head(hub_llama: Path) -> None:
    edit_json(hub_llama / "config.json", tie_word_embeddings=False)
    config = dataclasses.replace(nano(), y_decoder=smollm2.read_config(hub_llama))
    message = _refused(lambda: smollm2.load(hub_llama, config))
    assert message.endswith("tie_word_embeddings false, but lm_head.weight is missing")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "qwen3"}, 'model_type is "qwen3", expected "llama" or "mistral"'),
        ({"attention_bias": True}, "attention_bias is true, expected false"),
        ({"sliding_window": 4096}, "sliding_window is 4096, expected null"),
        ({"hidden_size": "wide"}, 'hidden_size is "wide", expected a positive whole number'),
        ({"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}}, "rope_type is 'yarn'"),
    ],
)
def test_what_our_llama_layers_lack(hub_llama: Path, change: Any, message: str) -> None:
    edit_json(hub_llama / "config.json", **change)
    assert message in _refused(lambda: llama.read_config(hub_llama))


def test_shards_and_their_index(tmp_path: Path) -> None:
    save_llama(tmp_path, layers=3, shards=True)
    index = tmp_path / "model.safetensors.index.json"
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    values = json.loads(index.read_text())
    swapped = dict(values["weight_map"])
    swapped["model.norm.weight"] = next(
        file for file in swapped.values() if file != swapped["model.norm.weight"]
    )
    index.write_text(json.dumps({**values, "weight_map": swapped}))
    assert "says that it holds model.norm.weight" in _refused(lambda: SafetensorsFiles(tmp_path))
    index.write_text(json.dumps({"weight_map": {"x": "../x.safetensors"}}))
    assert "is not a plain file name" in _refused(lambda: SafetensorsFiles(tmp_path))
    index.write_text(json.dumps(values))
    shards[0].unlink()
    message = _refused(lambda: SafetensorsFiles(tmp_path))
    assert f"names {shards[0].name}, not in this folder" in message


def test_v_jepa_2_is_not_2_1(tmp_path: Path) -> None:
    save_vjepa2(tmp_path, layers=1)
    config = vjepa2.read_config(tmp_path)
    other = dataclasses.replace(config, rope_variant="v2.1", rope_trained_grid=16)
    message = _refused(lambda: vjepa2.load(tmp_path, dataclasses.replace(nano(), x_encoder=other)))
    assert message.endswith("V-JEPA 2, but the model is set to V-JEPA 2.1")
    edit_json(tmp_path / "config.json", qkv_bias=False)
    assert "qkv_bias is false, expected true" in _refused(lambda: vjepa2.read_config(tmp_path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"use_bidirectional_attention": False}, "use_bidirectional_attention is false"),
        ({"attn_logit_softcapping": 50.0}, "attn_logit_softcapping is 50.0, expected null"),
        ({"layer_types": ["full_attention"]}, "sliding_attention for 4 layers"),
        ({"model_type": "gemma2"}, 'expected "gemma3_text"'),
    ],
)
def test_a_gemma_that_is_no_encoder(tmp_path: Path, change: Any, message: str) -> None:
    save_embedding_gemma(tmp_path)
    edit_json(tmp_path / "config.json", **change)
    assert message in _refused(lambda: embedding_gemma.read_config(tmp_path))


def test_dense_heads_of_another_form(tmp_path: Path) -> None:
    save_embedding_gemma(tmp_path)
    with_heads = embedding_gemma.read_config(tmp_path, dense_heads=True)
    config = dataclasses.replace(nano(), y_encoder=with_heads)
    edit_json(tmp_path / "3_Dense" / "config.json", activation_function="torch.nn.ReLU")
    message = _refused(lambda: embedding_gemma.load(tmp_path, config))
    assert 'activation_function is "torch.nn.ReLU"' in message
    modules = json.loads((tmp_path / "modules.json").read_text())
    (tmp_path / "modules.json").write_text(json.dumps(modules[:2]))
    message = _refused(lambda: embedding_gemma.load(tmp_path, config))
    assert "modules.json: Transformer, Pooling; expected Transformer, Pooling, Dense" in message
    (tmp_path / "modules.json").unlink()
    assert "modules.json: no list" in _refused(lambda: embedding_gemma.load(tmp_path, config))


_WHOLE = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4, dtype=torch.bfloat16)}


@given(st.integers(0, 200), st.integers(0, 255), st.booleans())
@settings(max_examples=40, deadline=None)
def test_damaged_headers_never_get_past_the_reader(at: int, byte: int, cut: bool) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save_file(_WHOLE, path)
        damaged = bytearray(path.read_bytes())
        at = min(at, len(damaged) - 1)
        if cut:
            del damaged[at:]
        else:
            damaged[at] = byte
        path.write_bytes(damaged)
        try:
            with SafetensorsFiles(path) as source:
                for name in source.names():
                    source.dtype(name), source.read(name), source.shape(name)
        except CheckpointError as error:
            assert str(error).startswith(str(path)) and "\n" not in str(error)
