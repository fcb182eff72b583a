"""More forms of the same weights, for `bench/speed.py`: attention as papers write it, fused, in
BF16 and compiled; and the bundle's own graphs on ONNX Runtime, without the core.

PyTorch's modules are the reference's, which tests hold equal to `transformers`'.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from .subjects import Floats, Given, Missing, Subject, first_line, load_modules

EAGER = "PyTorch FP32, eager attention"
SDPA = "PyTorch FP32, SDPA"
BF16, COMPILED = "PyTorch BF16 autocast", "torch.compile BF16"
ORT = "the bundle's graphs, ONNX Runtime"


def torch_forms(given: Given) -> list[Subject | Missing]:
    """Four forms over one copy of the weights."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    if given.threads:
        torch.set_num_threads(given.threads)
    encoder, predictor = load_modules(given)
    frames = torch.from_numpy(given.window)[None]
    query = torch.from_numpy(given.query)[None]
    mask = torch.ones(query.shape[:2])
    with torch.inference_mode():
        tokens = encoder(frames).clone()

    def subject(name: str, encoder: Any, predictor: Any, *, bf16: bool, math: bool) -> Subject:
        def run(work: Callable[[], Any]) -> Any:
            plain = sdpa_kernel(SDPBackend.MATH) if math else nullcontext()
            with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16), plain:
                return work()

        def embedding() -> Floats:
            found = run(lambda: predictor(encoder(frames), query, mask))
            return np.asarray(found[0].float().numpy(), np.float32)

        return Subject(
            name,
            lambda: run(lambda: encoder(frames)),
            lambda: run(lambda: predictor(tokens, query, mask)),
            embedding,
        )

    found: list[Subject | Missing] = [
        subject(EAGER, encoder, predictor, bf16=False, math=True),
        subject(SDPA, encoder, predictor, bf16=False, math=False),
        subject(BF16, encoder, predictor, bf16=True, math=False),
    ]
    try:
        compiled = [torch.compile(module) for module in (encoder, predictor)]
        last = subject(COMPILED, *compiled, bf16=True, math=False)
        assert last.embedding is not None and last.predict is not None
        last.embedding()
        last.predict()
        found.append(last)
    except Exception as error:
        found.append(Missing(COMPILED, first_line(error)))
    return found


def bundle_graphs(given: Given) -> list[Subject | Missing]:
    """X-Encoder and Predictor of the bundle's folder, in Python, function bodies as they are."""
    import onnxruntime

    folder = Path(given.bundle)
    if not folder.is_dir():
        return [Missing(ORT, f"{folder.name} is no folder: its ONNX files are read")]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = given.threads
    sessions = [
        onnxruntime.InferenceSession(
            folder / f"{name}.onnx", options, providers=["CPUExecutionProvider"]
        )
        for name in ("x_encoder", "predictor")
    ]
    mask = np.ones((1, len(given.query)), np.float32)

    def encode() -> Floats:
        return np.asarray(sessions[0].run(None, {"frames": given.window[None]})[0], np.float32)

    tokens = encode()

    def predict(visual_tokens: Floats) -> Floats:
        feeds = {"visual_tokens": visual_tokens, "query_embeddings": given.query[None]}
        return np.asarray(sessions[1].run(None, {**feeds, "query_mask": mask})[0], np.float32)

    return [Subject(ORT, encode, lambda: predict(tokens), lambda: predict(encode())[0])]
