"""What the tasks share: the model, the world, and embeddings that several tasks look at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ... import world
from .judge import Judged

Floats = npt.NDArray[np.float32]
Progress = Callable[[str], None]

CAPTION_QUERY = world.CAPTION_QUERIES[0]
OBJECT_QUERY = "which object is it?"
MOTION_QUERY = "how does it move?"
# Clips rendered and embedded together.
BATCH = 64


@dataclass(frozen=True)
class Pool:
    """Clips of one split with captions that all differ in meaning: truth, one random phrasing
    each, and the embeddings float32 [clips, E] predicted for the caption query, for "which object
    is it?" and for "how does it move?"."""

    scenes: list[world.Scene]
    captions: list[str]
    embeddings: Floats
    objects: Floats
    motions: Floats


@dataclass
class Context:
    """One run of the suite. `clips` is the number of cases a figure rests on."""

    judged: Judged
    config: world.WorldConfig
    clips: int
    seed: int
    progress: Progress = lambda line: None
    _pools: dict[str, Pool] = field(default_factory=dict)
    _texts: dict[str, Floats] = field(default_factory=dict)

    def pool(self, split: str) -> Pool:
        """The clips of a split, drawn and embedded once for all tasks."""
        if split not in self._pools:
            scenes: list[world.Scene] = []
            captions: list[str] = []
            rows: list[Floats] = []
            batch: list[npt.NDArray[np.uint8]] = []
            known: set[str] = set()
            index = 0
            # Small worlds run out of meanings: then some come twice.
            while len(scenes) < self.clips:
                clip = world.sample_clip(self.seed, index, self.config, split=split)
                index += 1
                meaning = world.canonical_caption(clip.scene)
                if meaning in known and index < 4 * self.clips:
                    continue
                known.add(meaning)
                scenes.append(clip.scene)
                captions.append(clip.caption)
                batch.append(clip.frames)
                if len(batch) == BATCH or len(scenes) == self.clips:
                    queries = [(CAPTION_QUERY, OBJECT_QUERY, MOTION_QUERY)] * len(batch)
                    rows += self.judged.embedder.embed_queries(np.stack(batch), queries)
                    batch = []
                    self.progress(f"{split}: {len(scenes)} of {self.clips} clips")
            self._pools[split] = Pool(scenes, captions, *np.stack(rows, 1))
        return self._pools[split]

    def texts(self, texts: Sequence[str]) -> Floats:
        """Unit embeddings float32 [len(texts), E]; each text is embedded once."""
        new = [text for text in dict.fromkeys(texts) if text not in self._texts]
        if new:
            for text, row in zip(new, self.judged.embedder.embed_text(new), strict=True):
                self._texts[text] = row
        return np.stack([self._texts[text] for text in texts])


def batches(frames: Iterable[npt.NDArray[np.uint8]]) -> Iterable[npt.NDArray[np.uint8]]:
    """Clips in stacks of at most `BATCH`."""
    waiting: list[npt.NDArray[np.uint8]] = []
    for clip in frames:
        waiting.append(clip)
        if len(waiting) == BATCH:
            yield np.stack(waiting)
            waiting = []
    if waiting:
        yield np.stack(waiting)
