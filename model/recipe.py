"""Training recipes: the stages of the paper (section 3.3) in small, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .data import Task
from .losses import LossName

# Weights of the label texts' kinds, as `world.LABEL_KINDS` has them: object, motion, colour, count,
# size. Those that few captions tell count less.
LABEL_WEIGHTS = (1.0, 1.0, 0.3, 0.3, 0.1)


@dataclass(frozen=True)
class EncoderStage:
    """One stretch of the X-Encoder's own training on the truth of every patch."""

    task: Literal["image", "video"]
    steps: int
    batch: int
    learning_rate: float
    warmup: int = 100
    cosine: bool = False


@dataclass(frozen=True)
class Stage:
    """One stretch of contrastive training.

    `y_encoder_lr` and `x_encoder_lr` multiply the learning rate of those components; an X-Encoder
    at 0 is frozen, as in the paper. Each of the `batch` clips has its caption and `questions`
    questions. `labels` weighs the loss against label texts, which goes with InfoNCE alone. Until
    the last third of the steps the Predictor sees `visual_share` of the visual tokens, others in
    each step. `quiet` weighs what its gated MLPs multiply beyond `transformer.LOUD`, which INT8
    would pay for.
    """

    task: Task
    steps: int
    batch: int
    learning_rate: float
    y_encoder_lr: float
    warmup: int = 100
    cosine: bool = False
    x_encoder_lr: float = 0.0
    questions: int = 0
    loss: LossName = "infonce"
    labels: float = 1.0
    visual_share: float = 1.0
    quiet: float = 0.0


@dataclass(frozen=True)
class TextStage:
    """The Y-Encoder's own stage before all others: phrasings of one meaning, on text alone."""

    steps: int
    batch: int
    learning_rate: float
    # Weight of the loss against label texts.
    labels: float = 1.0


@dataclass(frozen=True)
class DecoderStage:
    """The Y-Decoder's own stage: `batch` texts a step, from noisy Y-Encoder embeddings, and `clips`
    clips, each from the predicted embeddings of its caption and of one answer."""

    steps: int
    batch: int
    learning_rate: float
    # Noise norms are drawn uniformly below this; 1 is the length of an embedding.
    noise: float
    clips: int = 0


@dataclass(frozen=True)
class Recipe:
    """The Y-Encoder's text stage, the X-Encoder's stages, the contrastive ones, the Y-Decoder's."""

    text: TextStage
    encoder: tuple[EncoderStage, ...]
    stages: tuple[Stage, ...]
    decoder: DecoderStage
    weight_decay: float = 0.05
    gradient_clip: float = 1.0
    seed: int = 1
    # BF16 autocast of the stages with video; off, all of them compute in float32.
    autocast: bool = True


def nano_recipe(scale: float = 1.0) -> Recipe:
    """Sized for two CPU cores; `scale` multiplies every stage's steps.

    The paper starts from pretrained encoders. nano has none, so each gets a stage of its own first:
    the Y-Encoder on phrasings, the X-Encoder on what every patch shows. After that the paper's way:
    X-Encoder frozen, Y-Encoder at a twentieth of the rate.
    """

    def steps(count: int) -> int:
        return max(2, round(count * scale))

    return Recipe(
        text=TextStage(steps=steps(900), batch=512, learning_rate=2e-3),
        encoder=(
            EncoderStage("image", steps(1800), 128, 1e-3),
            EncoderStage("video", steps(2500), 96, 1e-3, cosine=True),
        ),
        stages=(
            Stage("image", steps(700), 96, 1e-3, 0.05, questions=1),
            Stage("video", steps(60), 96, 1e-3, 0.05),
            Stage(
                "query",
                steps(2800),
                64,
                1e-3,
                0.05,
                questions=3,
                cosine=True,
                visual_share=0.5,
                quiet=0.005,
            ),
        ),
        decoder=DecoderStage(steps=steps(3400), batch=160, learning_rate=2e-3, noise=0.8, clips=48),
    )
