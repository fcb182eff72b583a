"""The peers of a bundle: PyTorch in three forms, and plain exports of the same modules.

A group is what one process holds: its subjects share weights. What a group needs beyond that is
imported when it is opened, so that a peer that is not installed is told and nothing else fails.
"""

from __future__ import annotations

import dataclasses
import gc
import json
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...export.origin import Origin
from ...model.config import VLJEPAConfig

Floats = npt.NDArray[np.float32]
Arrays = list[npt.NDArray[Any]]
FILES = ("encoder.onnx", "predictor.onnx")


@dataclass(frozen=True)
class Subject:
    """Something that encodes one window and, unless it is an encoder alone, predicts."""

    name: str
    encode: Callable[[], object]
    predict: Callable[[], object] | None
    # What it predicts, for the cosine to full precision; visual tokens of an encoder alone; None
    # where it computes another function of the frames.
    embedding: Callable[[], Floats] | None


@dataclass(frozen=True)
class Missing:
    """A peer that cannot run here, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Given:
    """What every peer gets: the checkpoint, a window uint8 [T,3,H,W], a query float32 [L,W]."""

    folder: Path
    origin: Origin
    window: npt.NDArray[np.uint8]
    query: Floats
    threads: int
    bundle: str
    bundle_name: str
    backend: str
    stride: int

    def write(self) -> None:
        """Into the folder, for another process."""
        np.savez(self.folder / "given.npz", window=self.window, query=self.query)
        values = {
            "origin": dataclasses.asdict(self.origin),
            "threads": self.threads,
            "bundle": self.bundle,
            "bundle_name": self.bundle_name,
            "backend": self.backend,
            "stride": self.stride,
        }
        (self.folder / "given.json").write_text(json.dumps(values), encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Given:
        """What `write` wrote."""
        values = json.loads((folder / "given.json").read_text(encoding="utf-8"))
        with np.load(folder / "given.npz", allow_pickle=False) as arrays:
            window, query = arrays["window"], arrays["query"]
        return cls(
            folder, window=window, query=query, **{**values, "origin": Origin(**values["origin"])}
        )

    @property
    def config(self) -> VLJEPAConfig:
        """The checkpoint's sizes."""
        return self.origin.config


def bundle_group(given: Given, own_ops: bool = True) -> list[Subject | Missing]:
    """The bundle, through the core, prepared for its query as an open stream prepares it."""
    from ...runtime.model import load
    from ...runtime.options import StreamOptions
    from ...runtime.queries import Query
    from ...runtime.session import Session

    model = load(given.bundle, backend=given.backend, threads=given.threads, own_ops=own_ops)
    window, queries = given.window, [Query("", given.query)]
    Session(model, queries, StreamOptions(text="none")).close()
    tokens = model.encode_window(window)
    return [
        Subject(
            given.bundle_name if own_ops else f"{given.bundle_name}, without own operators",
            lambda: model.encode_window(window),
            lambda: model.predict(tokens, queries),
            lambda: model.predict(model.encode_window(window), queries)[0],
        )
    ]


def torch_group(given: Given) -> list[Subject | Missing]:
    """PyTorch FP32 eager, BF16 autocast, and compiled; one copy of the weights."""
    return torch_subjects(
        given,
        [
            TorchForm("PyTorch FP32 eager"),
            TorchForm("PyTorch BF16 autocast", bf16=True),
            TorchForm("torch.compile FP32", compiled=True),
        ],
    )


@dataclass(frozen=True)
class TorchForm:
    """One way to run the reference modules. `math`: attention as products and a softmax."""

    name: str
    bf16: bool = False
    math: bool = False
    compiled: bool = False


def torch_subjects(given: Given, forms: list[TorchForm]) -> list[Subject | Missing]:
    """Forms over one copy of the weights; a compiled one runs here once, so that it is compiled."""
    import torch
    from torch.nn.attention import SDPBackend, sdpa_kernel

    if given.threads:
        torch.set_num_threads(given.threads)
    modules = load_modules(given)
    frames = torch.from_numpy(given.window)[None]
    query = torch.from_numpy(given.query)[None]
    mask = torch.ones(query.shape[:2])
    with torch.inference_mode():
        tokens = modules[0](frames).clone()

    def subject(form: TorchForm) -> Subject:
        encoder, predictor = map(torch.compile, modules) if form.compiled else modules

        def run(work: Callable[[], Any]) -> Any:
            bf16 = torch.autocast("cpu", torch.bfloat16, enabled=form.bf16)
            plain = sdpa_kernel(SDPBackend.MATH) if form.math else nullcontext()
            with torch.inference_mode(), bf16, plain:
                return work()

        def embedding() -> Floats:
            found = run(lambda: predictor(encoder(frames), query, mask))
            return np.asarray(found[0].float().numpy(), np.float32)

        def predict() -> object:
            return run(lambda: predictor(tokens, query, mask))

        if form.compiled:
            embedding()
            predict()
        return Subject(form.name, lambda: run(lambda: encoder(frames)), predict, embedding)

    found: list[Subject | Missing] = []
    for form in forms:
        try:
            found.append(subject(form))
        except Exception as error:
            found.append(Missing(form.name, first_line(error)))
    return found


def load_modules(given: Given) -> tuple[Any, Any]:
    """X-Encoder and Predictor in PyTorch, without the embedding table: the query is embedded."""
    encoder, predictor = given.origin.load("x_encoder"), given.origin.load("predictor")
    del predictor.embed_tokens
    gc.collect()
    return encoder, predictor


def plain_export(given: Given) -> list[Subject | Missing]:
    """What `torch.onnx.export` makes of the reference modules, without our rewrites: two files."""
    import torch

    encoder, predictor = load_modules(given)
    frames = torch.from_numpy(given.window)[None]
    query = torch.from_numpy(given.query)[None]
    mask = torch.ones(query.shape[:2])
    with torch.inference_mode():
        tokens = encoder(frames).clone()
    np.savez(given.folder / "tokens.npz", tokens=tokens.numpy())
    with torch.no_grad():
        for name in FILES:
            inputs = (frames,) if name == FILES[0] else (tokens.clone(), query.clone(), mask)
            torch.onnx.export(
                encoder if name == FILES[0] else predictor, inputs,
                str(given.folder / name), dynamo=True, opset_version=20, verbose=False,
                external_data=True,
            )  # fmt: skip
            if name == FILES[0]:
                encoder = None
                gc.collect()
    return []


def ort_group(given: Given) -> list[Subject | Missing]:
    """The plain export on ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = given.threads
    sessions = [
        onnxruntime.InferenceSession(
            given.folder / name, options, providers=["CPUExecutionProvider"]
        )
        for name in FILES
    ]

    def run(number: int, arrays: Arrays) -> Floats:
        names = [one.name for one in sessions[number].get_inputs()]
        found = sessions[number].run(None, dict(zip(names, arrays, strict=True)))[0]
        return np.asarray(found, np.float32)

    return [_two_step("plain export, ONNX Runtime FP32", run, given)]


def openvino_group(given: Given, precision: str) -> list[Subject | Missing]:
    """The plain export on OpenVINO; `precision` f32 or bf16."""
    import openvino

    core = openvino.Core()
    config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
    if given.threads:
        config["INFERENCE_NUM_THREADS"] = str(given.threads)
    requests = [
        core.compile_model(given.folder / name, "CPU", config).create_infer_request()
        for name in FILES
    ]

    def run(number: int, arrays: Arrays) -> Floats:
        found = requests[number].infer(dict(enumerate(arrays)))
        return np.array(next(iter(found.values())), np.float32)

    name = {"f32": "FP32", "bf16": "BF16"}[precision]
    return [_two_step(f"plain export, OpenVINO {name}", run, given)]


def _two_step(name: str, run: Callable[[int, Arrays], Floats], given: Given) -> Subject:
    frames: Arrays = [given.window[None]]
    rest: Arrays = [given.query[None], np.ones((1, len(given.query)), np.float32)]
    with np.load(given.folder / "tokens.npz", allow_pickle=False) as arrays:
        tokens = arrays["tokens"]
    return Subject(
        name,
        lambda: run(0, frames),
        lambda: run(1, [tokens, *rest]),
        lambda: run(1, [run(0, frames), *rest])[0],
    )


def first_line(error: Exception) -> str:
    """An error as one short line."""
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:200]
