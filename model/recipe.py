"""Training recipes: the stages of the paper (section 3.3) in small, as data."""

from __future__ import annotations

from dataclasses import dataclass

from .data import Task


@dataclass(frozen=True)
class Stage:
    """One stretch of training. `y_encoder_lr` multiplies the learning rate of the Y-Encoder."""

    task: Task
    steps: int
    batch: int
    learning_rate: float
    y_encoder_lr: float
    warmup: int = 100
    cosine: bool = False


@dataclass(frozen=True)
class TextStage:
    """The Y-Encoder's own stage before all others: phrasings of one meaning, on text alone."""

    steps: int
    batch: int
    learning_rate: float


@dataclass(frozen=True)
class DecoderStage:
    """The Y-Decoder's own stage: text alone, from noisy Y-Encoder embeddings."""

    steps: int
    batch: int
    learning_rate: float
    # Noise norms are drawn uniformly below this; 1 is the length of an embedding.
    noise: float


@dataclass(frozen=True)
class Recipe:
    """The Y-Encoder's text stage, the contrastive stages in order, then the Y-Decoder's."""

    text: TextStage
    stages: tuple[Stage, ...]
    decoder: DecoderStage
    weight_decay: float = 0.05
    gradient_clip: float = 1.0
    seed: int = 1


def nano_recipe(scale: float = 1.0) -> Recipe:
    """Sized for two CPU cores; `scale` multiplies every stage's steps.

    nano has no pretrained encoders: its X-Encoder learns with the rest instead of being frozen,
    and its Y-Encoder has a text stage of its own first, then the paper's multiplier.
    """

    def steps(count: int) -> int:
        return max(2, round(count * scale))

    return Recipe(
        text=TextStage(steps=steps(300), batch=384, learning_rate=2e-3),
        stages=(
            Stage("image", steps(2200), 128, 1e-3, 0.05),
            Stage("video", steps(100), 96, 1e-3, 0.05),
            Stage("query", steps(2000), 96, 1e-3, 0.05, cosine=True),
        ),
        decoder=DecoderStage(steps=steps(1500), batch=256, learning_rate=2e-3, noise=0.8),
    )
