"""More forms of the same weights, for `bench/speed.py`: attention as papers write it, fused, in
BF16 and compiled; and the bundle's own graphs on ONNX Runtime, without the core.

PyTorch's modules are the reference's, which tests hold equal to `transformers`'.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .subjects import Floats, Given, Missing, Subject, TorchForm, torch_subjects

EAGER = "PyTorch FP32, eager attention"
SDPA = "PyTorch FP32, SDPA"
BF16, COMPILED = "PyTorch BF16 autocast", "torch.compile BF16"
ORT = "the bundle's graphs, ONNX Runtime"


def torch_forms(given: Given) -> list[Subject | Missing]:
    """Four forms over one copy of the weights."""
    return torch_subjects(
        given,
        [
            TorchForm(EAGER, math=True),
            TorchForm(SDPA),
            TorchForm(BF16, bf16=True),
            TorchForm(COMPILED, bf16=True, compiled=True),
        ],
    )


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
