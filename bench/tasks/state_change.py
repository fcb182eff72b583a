"""Which action lies between two states: WORLDPREDICTION-WM's task with this world's clips.

The two pictures, each shown for half of a window, give a state embedding; of four clips the
nearest one is the answer (paper, section 4.4). What is asked of both is how it moves: the clips
show the same object in other places and colours, which an answer to that leaves out.
"""

from __future__ import annotations

import numpy as np

from ... import world
from .context import MOTION_QUERY, Context, batches
from .score import Score, score

TASK = "state change"


def choose(context: Context) -> list[Score]:
    """Accuracy among four clips of the same object."""
    right: list[bool] = []
    half = context.config.frames // 2
    embedder = context.judged.embedder
    chunk = 16  # five clips each
    for start in range(0, context.clips, chunk):
        numbers = range(start, min(start + chunk, context.clips))
        cases = [world.sample_state_change(context.seed, i, context.config) for i in numbers]
        frames = [
            clip
            for case in cases
            for clip in (
                np.stack([case.before] * half + [case.after] * (context.config.frames - half)),
                *case.clips,
            )
        ]
        embedded = np.concatenate(
            [embedder.embed_video(stack, MOTION_QUERY) for stack in batches(frames)]
        )
        for case, rows in zip(cases, embedded.reshape(len(cases), 5, -1), strict=True):
            right.append(int((rows[1:] @ rows[0]).argmax()) == case.answer)
        context.progress(f"state change: {len(right)} of {context.clips}")
    return [score(TASK, "two pictures to one of 4 clips", right, chance=0.25)]
