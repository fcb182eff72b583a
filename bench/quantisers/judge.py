"""What a quantised X-Encoder and Predictor cost: signal to noise, cosine, decisions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from .inputs import Arrays, Judged

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Outputs:
    """Full precision's visual tokens [n,N,D] and predicted embeddings [n,E]."""

    tokens: Floats
    embeddings: Floats


@dataclass(frozen=True)
class Score:
    """Of one component, or both. `sqnr_db`: of its own output; the rest: of what is predicted."""

    sqnr_db: float
    cosine_mean: float
    cosine_min: float
    top1_change: float  # share of windows whose nearest caption is another one
    top1: float  # share of windows whose nearest caption is right

    def to_json(self) -> dict[str, float]:
        """All fields."""
        return asdict(self)


class Pair:
    """X-Encoder and Predictor, each as an ONNX file, on ONNX Runtime."""

    def __init__(self, files: Mapping[str, Path], threads: int) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self._sessions = {
            name: onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
            for name, path in files.items()
        }

    def encode(self, frames: npt.NDArray[np.uint8]) -> Floats:
        """Windows [n,T,3,H,W] one by one -> visual tokens [n,N,D]."""
        return np.concatenate([self._run("x_encoder", {"frames": f[None]}) for f in frames])

    def predict(self, tokens: Floats, query: Arrays) -> Floats:
        """Visual tokens [n,N,D] one by one -> predicted embeddings [n,E]."""
        rows = [self._run("predictor", {"visual_tokens": t[None], **query}) for t in tokens]
        return np.concatenate(rows)

    def _run(self, component: str, values: Arrays) -> Any:
        return self._sessions[component].run(None, values)[0]


def full_precision(
    files: Mapping[str, Path], shown: Judged, query: Arrays, threads: int
) -> Outputs:
    """What the float components give for the judged windows."""
    pair = Pair(files, threads)
    tokens = pair.encode(shown.frames)
    return Outputs(tokens, pair.predict(tokens, query))


def judge(
    floats: Mapping[str, Path],
    quantised: Mapping[str, Path],
    expected: Outputs,
    shown: Judged,
    query: Arrays,
    threads: int,
) -> dict[str, Score]:
    """Scores of each component alone, the other one in float, and of `both`."""
    float_pair, pair = Pair(floats, threads), Pair(quantised, threads)
    tokens = pair.encode(shown.frames)

    def score(found: Floats, noisy: Floats, clean: Floats) -> Score:
        cosines = (found * expected.embeddings).sum(1)
        best = (found @ shown.candidates.T).argmax(1)
        before = (expected.embeddings @ shown.candidates.T).argmax(1)
        return Score(
            sqnr_db(clean, noisy),
            float(cosines.mean()),
            float(cosines.min()),
            float(np.mean(best != before)),
            float(np.mean(best == shown.right)),
        )

    encoded = float_pair.predict(tokens, query)
    predicted = pair.predict(expected.tokens, query)
    both = pair.predict(tokens, query)
    return {
        "x_encoder": score(encoded, tokens, expected.tokens),
        "predictor": score(predicted, predicted, expected.embeddings),
        "both": score(both, both, expected.embeddings),
    }


def sqnr_db(clean: Floats, noisy: Floats) -> float:
    """Power of the clean signal over that of the difference, in decibels."""
    noise = float(((noisy.astype(np.float64) - clean) ** 2).sum())
    power = float((clean.astype(np.float64) ** 2).sum())
    return float(10 * np.log10(power / noise)) if noise else float("inf")
