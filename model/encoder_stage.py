"""The X-Encoder's own stages: every visual token learns what it shows and how that moves.

The paper's X-Encoder comes pretrained (V-JEPA 2) and is frozen. nano's world has no such encoder,
but it knows the truth of every patch, so nano's encoder is pretrained on that: from each token on
an object one linear layer tells the object, its colour and how many of them there are; on the main
object also size, relation and motion, and its travel, growth, turn and fading between the two
frames. The heads are thrown away afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from .. import world
from .config import VLJEPAConfig
from .drawing_ahead import drawn_ahead
from .optimizers import Optimizers
from .processes import ALONE, Processes
from .recipe import EncoderStage, Recipe
from .training_log import Log, Progress, Save
from .training_loop import TrainingLoop
from .vl_jepa import VLJEPA

# A label that says nothing: there is no truth, or none that can be seen.
IGNORE = -100
RATES = 5
# Brings the rates to about one: a patch, a tenth in size, 20 degrees, a fifth of opacity.
_RATE_SCALE = (12.0, 12.0, 8.0, 3.0, 5.0)
_RATE_WEIGHT = 0.5
# Shares of scenes whose things are recoloured, and drawn otherwise: more than the world has, so
# that tokens tell a thing in colours and drawings that were never shown.
_RECOLOURED_SHARE = 0.4
_REDRAWN_SHARE = 0.7
# Shares of clips of two pictures, the state before and the one after, and of scenes of several
# things, a fifth of them beside a second group.
_STATES_SHARE = 0.12
_COUNTED_SHARE = 0.2
# Background tokens are many and easy; so many of them count.
_BACKGROUND_SHARE = 0.15


@dataclass
class DenseBatch:
    """`frames` uint8 [B,T,3,H,W]; per token `labels` int16 [B,N,K] (a class per head, or IGNORE)
    and `rates` float32 [B,N,5] (NaN off the main object)."""

    frames: Tensor
    labels: Tensor
    rates: Tensor


def head_sizes(config: world.WorldConfig) -> dict[str, int]:
    """Classes of each head, in the order of `DenseBatch.labels`; object 0 is the background."""
    return {
        "object": len(config.objects) + 1,
        "motion": len(config.motions),
        "colour": len(world.COLOURS) + 1,
        "count": config.max_count,
        "size": len(world.SIZES) + 1,
        "relation": len(world.RELATIONS) + 1,
    }


class DenseBatches(Dataset[DenseBatch]):
    """Batch `step`: clips (`video`) or single frames, with the truth of their tokens."""

    def __init__(
        self,
        world_config: world.WorldConfig,
        model_config: VLJEPAConfig,
        video: bool,
        batch: int,
        seed: int,
        steps: int,
    ) -> None:
        self.config, self.video, self.batch = world_config, video, batch
        self.seed, self.steps = seed, steps
        self.patch, self.tubelet = model_config.x_encoder.patch, model_config.x_encoder.tubelet
        self.counted = world.counted_world(world_config)

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, step: int) -> DenseBatch:
        frames, labels, rates = [], [], []
        for i in range(step * self.batch, (step + 1) * self.batch):
            clip = self.clip(i)
            times = clip.times_s if self.video else np.zeros(self.tubelet)
            truth = world.patch_truth(
                clip.scene, times, self.config.size // self.patch, self.tubelet
            )
            told, moved = self._tokens(clip.scene, truth)
            frames.append(clip.frames)
            labels.append(told)
            rates.append(moved)
        video = torch.from_numpy(np.stack(frames)).permute(0, 1, 4, 2, 3).contiguous()
        if not self.video:  # an image is one frame repeated to a whole tubelet
            video = video.repeat_interleave(self.tubelet, 1)
        return DenseBatch(
            video, torch.from_numpy(np.stack(labels)), torch.from_numpy(np.stack(rates))
        )

    def clip(self, index: int) -> world.Clip:
        """Clip or picture `index` of the stage; pure in the stage's seed and the index."""
        seed = self.seed + 1000
        draw = np.random.default_rng((seed, 3, index)).random()
        config = self.counted if draw < _COUNTED_SHARE and self.counted.motions else self.config
        if not self.video:
            return world.sample_image(seed, index, config)
        if draw > 1 - _STATES_SHARE and world.has_states(config):
            return world.sample_state_clip(seed, index, config)
        return world.sample_clip(seed, index, config)

    @staticmethod
    def _colour(name: str | None) -> int:
        return 0 if name is None else 1 + list(world.COLOURS).index(name)

    def _tokens(
        self, scene: world.Scene, truth: world.PatchTruth
    ) -> tuple[NDArray[np.int16], NDArray[np.float32]]:
        """Labels int16 [N,K] and rates float32 [N,5] of one clip's tokens."""
        c = self.config
        heads = len(head_sizes(c))
        # One row of labels per owner: background, main object, the one beside it, distractors
        # (of which those in front are half hidden themselves: they aren't counted).
        placed = (scene.other, *scene.distractors)
        rows = np.full((2 + len(placed), heads), IGNORE, np.int16)
        rows[0, 0] = 0
        rows[1] = (
            1 + c.objects.index(scene.object),
            c.motions.index(scene.motion) if self.video else IGNORE,
            self._colour(scene.colour),
            scene.count - 1,
            0 if scene.size is None else 1 + world.SIZES.index(scene.size),
            0 if scene.relation is None else 1 + world.RELATIONS.index(scene.relation),
        )
        for number, item in enumerate(placed):
            if item is not None:
                rows[2 + number, 0] = 1 + c.objects.index(item.object)
                rows[2 + number, 2] = self._colour(item.colour)
                if not item.front:
                    alike = world.count_of(scene, item.object, item.colour)
                    rows[2 + number, 3] = min(alike, c.max_count) - 1
        moved = np.where((truth.owner == 1)[..., None], truth.rates[:, None, None], np.nan)
        moved = moved.reshape(-1, RATES) * np.asarray(_RATE_SCALE)
        if not self.video:
            moved[:] = np.nan
        return rows[truth.owner.reshape(-1)], moved.astype(np.float32)


class DenseHeads(nn.Module):
    """One linear layer on the X-Encoder's tokens; gives the loss of a batch."""

    def __init__(self, width: int, config: world.WorldConfig) -> None:
        super().__init__()
        self.sizes = list(head_sizes(config).values())
        self.linear = nn.Linear(width, sum(self.sizes) + RATES)

    def forward(
        self, tokens: Tensor, batch: DenseBatch, generator: torch.Generator
    ) -> tuple[Tensor, list[float]]:
        """tokens [B,N,D] -> (loss, accuracy per head on the tokens that it counts)."""
        labels = batch.labels.flatten(0, 1).long()
        seen = labels[:, 0] > 0
        some = torch.rand(len(seen), generator=generator) < _BACKGROUND_SHARE
        chosen = (seen | some).nonzero()[:, 0]
        out = self.linear(tokens.flatten(0, 1)[chosen]).float()
        labels, rates = labels[chosen], batch.rates.flatten(0, 1)[chosen]
        logits = out[:, : sum(self.sizes)].split(self.sizes, 1)
        loss, right = out.new_zeros(()), []
        for number, scores in enumerate(logits):
            truth = labels[:, number]
            counted = truth > (0 if number == 0 else -1)
            if not bool((truth >= 0).any()):
                right.append(float("nan"))
                continue
            weight = 1.0 if number < 2 else 0.4
            loss = loss + weight * F.cross_entropy(scores, truth, ignore_index=IGNORE)
            hits = (scores.detach().argmax(1) == truth)[counted]
            right.append(float(hits.float().mean()))
        known = ~rates.isnan().any(1)
        if bool(known.any()):
            error = F.smooth_l1_loss(out[known, -RATES:], rates[known])
            loss = loss + _RATE_WEIGHT * error
        return loss, right


def dense_batches(dataset: DenseBatches, start: int, workers: int) -> Iterator[DenseBatch]:
    """Batches `start`, `start + 1`, ... rendered ahead by worker processes."""
    return drawn_ahead(dataset, range(start, len(dataset)), workers)


def train_encoder(
    model: VLJEPA,
    heads: DenseHeads,
    world_config: world.WorldConfig,
    recipe: Recipe,
    stage: EncoderStage,
    first: int,
    resumed: Any,
    save: Save,
    save_every: int,
    workers: int,
    log: Log,
    progress: Progress | None,
    processes: Processes = ALONE,
) -> None:
    """Runs one stage from step `first` on."""
    parameters = [*model.x_encoder.named_parameters("x_encoder"), *heads.named_parameters("heads")]
    optimizer = Optimizers(parameters, recipe.weight_decay)
    if resumed is not None:
        optimizer.load_state_dict(resumed)
    drawn = world.drawn_world(world_config, _REDRAWN_SHARE, _RECOLOURED_SHARE)
    dataset = DenseBatches(
        drawn, model.config, stage.task == "video", stage.batch, recipe.seed, stage.steps
    )

    def loss_of(batch: DenseBatch, step: int) -> tuple[Tensor, int]:
        generator = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
        clips = processes.share(len(batch.frames))
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=recipe.autocast):
            tokens = model.x_encoder(batch.frames[clips])
        # The heads are a single layer: every process runs them on the tokens of all.
        return heads(processes.gather(tokens.float()), batch, generator)[0], stage.batch

    name = f"encoder-{stage.task}"
    loop = TrainingLoop(name, stage, recipe, optimizer, save, save_every, log, progress, processes)
    loop.run(dense_batches(dataset, first, workers), loss_of, first)
