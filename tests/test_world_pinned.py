"""Version 1 of sprite world stays as it is, to the byte: a bundle and its figures rest on it."""

import hashlib
import json

import numpy as np
from vljepa_edge.world import (
    SPLITS,
    WorldConfig,
    all_phrasings,
    caption,
    make_stream,
    questions,
    sample_clip,
    sample_image,
    sample_scene,
    sample_stream_clip,
)

# Made by `python tests/test_world_pinned.py` with the OpenCV of constraints.txt.
PIXELS = "a6476d82f65c71abf7993b2a7a9340c20cdcabb90313c504a89efabf4c513e94"
TEXTS = "7955c7fdc6dd9fa1e96ed77a41e28d7414a3efb1c2d5dbdffbf5ac7dbd83fff7"


def pixels() -> str:
    """A hash over the pixels of samples of every kind and split."""
    total = hashlib.sha256()
    for split in SPLITS:
        for sampler in (sample_clip, sample_image, sample_stream_clip):
            for index in range(6):
                total.update(sampler(9, index, WorldConfig(), split).frames.tobytes())
    return total.hexdigest()


def texts() -> str:
    """A hash over truths, captions, questions and timelines."""
    total = hashlib.sha256()
    rng = np.random.default_rng(5)
    for split in SPLITS:
        for index in range(40):
            total.update(sample_clip(9, index, WorldConfig(size=16), split).caption.encode())
            scene = sample_scene(rng, WorldConfig(), split=split)
            total.update(
                repr((scene.object, scene.motion, scene.centres, scene.drive.rate)).encode()
            )
            total.update("|".join((*all_phrasings(scene), caption(scene, rng))).encode())
            for question in questions(scene, rng):
                total.update(repr((question.query, question.answer, question.candidates)).encode())
        total.update(json.dumps(make_stream(3, 60.0, split=split).timeline()).encode())
    total.update(repr([float(x) for x in rng.random(3)]).encode())
    return total.hexdigest()


def test_version_1_keeps_its_pixels() -> None:
    assert pixels() == PIXELS


def test_version_1_keeps_its_texts() -> None:
    assert texts() == TEXTS


if __name__ == "__main__":
    print(pixels(), texts())
