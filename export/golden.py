"""Golden vectors: inputs and full-precision outputs of every component, for `vljepa doctor`.

Keys are `<component>/<tensor>`. `y_decoder` is the prefill, `y_decoder_step` the first step after
it. `chain/...` goes from the frames to the words: `chain/predicted_embedding` [E] of the first
query, `chain/token_ids` and `chain/text` (UTF-8 bytes) of its greedy decode.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..model.config import VLJEPAConfig
from ..model.vl_jepa import VLJEPA
from ..model.y_decoder import HIDDEN, YDecoder

Arrays = dict[str, NDArray[Any]]
# Queries batched in the Predictor's example: enough to show padding, few enough to stay small.
QUERIES = 4


def golden_frames(config: VLJEPAConfig) -> NDArray[np.uint8]:
    """A coloured wave with a disc that crosses it, uint8 [1,T,3,H,W]; the same everywhere."""
    size, count = config.image_size, config.frames
    y, x = np.mgrid[0:size, 0:size] * 8 // size  # 8 x 8 tiles
    frames = np.empty((1, count, 3, size, size), dtype=np.uint8)
    rows, columns = np.mgrid[0:size, 0:size]
    for t in range(count):
        centre = size // 4 + t * size // (2 * count)
        disc = (rows - size // 2) ** 2 + (columns - centre) ** 2 < (size // 6) ** 2
        for channel in range(3):
            wave = (x * (20 + 6 * channel) + y * (28 - 8 * channel) + 5 * t) % 200 + 20
            frames[0, t, channel] = np.where(disc, (250, 60, 30)[channel], wave)
    return frames


@torch.no_grad()
def part_vectors(
    part: str,
    model: VLJEPA,
    before: Arrays,
    queries: Sequence[NDArray[np.float32]],
    text_ids: NDArray[np.int64],
) -> Arrays:
    """Runs one component's PyTorch reference in float32; `model` needs to hold that one alone.

    `before`: the vectors of the parts before it, in the order x_encoder, predictor, y_encoder,
    y_decoder. `queries`: compiled ones [L,W], the first is the chain's. `text_ids` [L]: the
    Y-Encoder's text.
    """
    arrays: Arrays = {}
    if part == "x_encoder":
        frames = golden_frames(model.config)
        visual = model.x_encoder(torch.from_numpy(frames))
        _put(arrays, "x_encoder", frames=frames, visual_tokens=visual)
    elif part == "predictor":
        visual = torch.from_numpy(before["x_encoder/visual_tokens"])
        embeddings, mask = pad_queries(queries[:QUERIES])
        # One by one: a batch of long windows needs gigabytes.
        rows = [
            model.predictor(visual, one[None], shown[None])
            for one, shown in zip(embeddings, mask, strict=True)
        ]
        predicted = torch.cat(rows)
        _put(
            arrays,
            "predictor",
            visual_tokens=visual,
            query_embeddings=embeddings,
            query_mask=mask,
            predicted_embedding=predicted,
        )
        _put(arrays, "chain", predicted_embedding=predicted[0])
    elif part == "y_encoder":
        ids = torch.from_numpy(text_ids)[None]
        _put(arrays, "y_encoder", token_ids=ids, text_embedding=model.y_encoder(ids))
    else:
        assert model.y_decoder is not None
        predicted = torch.from_numpy(before["chain/predicted_embedding"])
        _put_decoder(arrays, model.y_decoder, predicted[None])
    return arrays


def put_text(arrays: Arrays, token_bytes: Sequence[bytes]) -> None:
    """Adds what the chain's tokens say."""
    text = b"".join(token_bytes[i] for i in arrays["chain/token_ids"])
    arrays["chain/text"] = np.frombuffer(text, dtype=np.uint8)


def pad_queries(queries: Sequence[NDArray[np.float32]]) -> tuple[Tensor, Tensor]:
    """Compiled queries as one batch [Q,L,W] and its 1/0 mask [Q,L]."""
    longest = max(len(query) for query in queries)
    embeddings = torch.zeros(len(queries), longest, queries[0].shape[1])
    mask = torch.zeros(len(queries), longest)
    for i, query in enumerate(queries):
        embeddings[i, : len(query)] = torch.from_numpy(query)
        mask[i, : len(query)] = 1
    return embeddings, mask


def _put_decoder(arrays: Arrays, decoder: YDecoder, embedding: Tensor) -> None:
    c = decoder.config
    soft = decoder.soft_tokens(embedding)
    _put(arrays, "y_decoder_prefix", embedding=embedding, soft_tokens=soft)
    begin = torch.tensor([[decoder.special.begin]])
    x = torch.cat((soft, decoder.embed_tokens(begin)), 1)
    planes = 2 * c.transformer.layers
    cache = torch.zeros(planes, c.transformer.kv_heads, c.cache_length, c.transformer.head_dim)
    past = 0
    for name in ("y_decoder", "y_decoder_step"):
        count = x.shape[1]
        positions = torch.arange(past, past + count)
        mask = step_mask(decoder, past, count)
        logits, new = decoder.step(x, positions, mask, cache)
        _put(
            arrays,
            name,
            input_embeddings=x,
            positions=positions,
            attention_mask=mask,
            kv_cache=cache,
            logits=logits,
            kv_new=new,
        )
        cache = cache.clone()
        cache[:, :, past : past + count] = new
        past += count
        x = decoder.embed_tokens(logits.argmax(-1, keepdim=True))
    token_ids = decoder.generate(embedding)[0]
    arrays["chain/token_ids"] = np.array(token_ids, dtype=np.int64)


def step_mask(decoder: YDecoder, past: int, count: int) -> Tensor:
    """Additive [count, C + count]: shows `past` cache columns and what the prefix LM may see."""
    length = decoder.config.cache_length
    mask = torch.full((count, length + count), HIDDEN)
    mask[:, :past] = 0
    mask[:, length:] = decoder.prefix_mask(past + count)[past:, past:]
    return mask


def _put(arrays: Arrays, component: str, **tensors: Tensor | NDArray[Any]) -> None:
    for name, tensor in tensors.items():
        array = tensor.numpy() if isinstance(tensor, Tensor) else tensor
        arrays[f"{component}/{name}"] = np.ascontiguousarray(array)


def write_npz(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """As numpy.savez_compressed, with nothing of the clock in it."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(arrays):
            content = io.BytesIO()
            np.lib.format.write_array(content, arrays[name], allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, content.getvalue())
