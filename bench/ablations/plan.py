"""What is compared with what: variants of one base model and recipe, and what the paper says."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ...model.config import VLJEPAConfig
from ...model.losses import LossName
from ...model.recipe import DecoderStage, Recipe, TextStage

Objective = Literal["embedding", "tokens"]
# Figures of a variant, as `judging` names them.
Metric = Literal["objects", "motions", "both", "retrieval", "vqa", "of 100", "CIDEr", "captions"]
DISCRIMINATIVE: tuple[Metric, ...] = ("objects", "motions", "both", "retrieval", "vqa")
GENERATIVE: tuple[Metric, ...] = ("of 100", "CIDEr", "captions")


@dataclass(frozen=True)
class Variant:
    """One training run. `pretrained`: its X-Encoder is the given one, not a new one."""

    label: str
    config: VLJEPAConfig
    recipe: Recipe
    pretrained: bool = True
    objective: Objective = "embedding"
    metrics: tuple[Metric, ...] = DISCRIMINATIVE


@dataclass(frozen=True)
class Expectation:
    """The paper has `better` above `worse` in `metric`."""

    better: str
    worse: str
    metric: Metric


@dataclass(frozen=True)
class Ablation:
    """One table: its variants, what the paper found, and the pairs that this is checked by."""

    name: str
    question: str
    paper: str
    variants: tuple[Variant, ...]
    expectations: tuple[Expectation, ...]


@dataclass(frozen=True)
class Base:
    """What all variants start from: the default model, its recipe, and no Y-Decoder training."""

    config: VLJEPAConfig
    recipe: Recipe

    def variant(self, label: str, **changes: object) -> Variant:
        """The base itself, but for `changes` of a `Variant`'s fields."""
        recipe = dataclasses.replace(self.recipe, decoder=without_steps(self.recipe.decoder))
        plain = Variant(label, self.config, recipe)
        return dataclasses.replace(plain, **changes)  # type: ignore[arg-type]

    def stages(self, label: str, **changes: object) -> Variant:
        """The base with the same changes in each contrastive stage."""
        plain = self.variant(label)
        stages = tuple(
            dataclasses.replace(stage, **changes)  # type: ignore[arg-type]
            for stage in plain.recipe.stages
        )
        return dataclasses.replace(plain, recipe=dataclasses.replace(plain.recipe, stages=stages))

    def predictor(self, label: str, *, layers: int | None = None, causal: bool = False) -> Variant:
        """The base with another Predictor."""
        part = self.config.predictor
        stack = dataclasses.replace(part.transformer, layers=layers or part.transformer.layers)
        part = dataclasses.replace(part, transformer=stack, causal=causal)
        return self.variant(label, config=dataclasses.replace(self.config, predictor=part))


def without_steps(stage: DecoderStage) -> DecoderStage:
    """The Y-Decoder's stage left out."""
    return dataclasses.replace(stage, steps=0)


def pretraining(base: Base) -> Ablation:
    """Which of the stages before the questions are worth it."""
    whole = base.variant("all stages")
    recipe = whole.recipe
    scratch = dataclasses.replace(
        recipe,
        encoder=(),
        stages=tuple(dataclasses.replace(stage, x_encoder_lr=1.0) for stage in recipe.stages),
    )
    silent = dataclasses.replace(recipe, text=TextStage(0, recipe.text.batch, 0.0))
    last = dataclasses.replace(recipe, stages=recipe.stages[-1:])
    without_captions = "without the image and video stages"
    return Ablation(
        "pretraining",
        "Which stages before the one with questions are worth it?",
        "Caption pretraining gives 21.7 points of classification (Table 5). The paper's encoders "
        "come pretrained: that nano's do is compared too.",
        (
            whole,
            base.variant(without_captions, recipe=last),
            base.variant("without the Y-Encoder's text stage", recipe=silent),
            base.variant("X-Encoder from scratch", recipe=scratch, pretrained=False),
        ),
        (Expectation("all stages", without_captions, "both"),),
    )


def multiplier(base: Base) -> Ablation:
    """The Y-Encoder's learning rate beside the Predictor's."""
    shares = (0.0, 0.01, 0.05, 0.1, 0.5, 1.0)
    return Ablation(
        "multiplier",
        "How fast should the Y-Encoder learn beside the Predictor?",
        "0.05 to 0.10 of the Predictor's rate is best (Table 5).",
        tuple(base.stages(f"x{share:g}", y_encoder_lr=share) for share in shares),
        (Expectation("x0.05", "x1", "both"), Expectation("x0.05", "x1", "retrieval")),
    )


def loss(base: Base) -> Ablation:
    """InfoNCE, without label texts, and what has no negatives. Losses without a guard need a
    Y-Encoder that stays."""
    frozen: tuple[LossName, ...] = ("cosine", "l1", "l2")
    guarded: tuple[LossName, ...] = ("vicreg", "sigreg")
    variants = [base.stages("infonce", labels=0.0)]
    variants.append(base.stages("infonce, Y-Encoder frozen", y_encoder_lr=0.0, labels=0.0))
    variants += [
        base.stages(f"{name}, Y-Encoder frozen", y_encoder_lr=0.0, loss=name) for name in frozen
    ]
    variants += [base.stages(name, loss=name) for name in guarded]
    return Ablation(
        "loss",
        "Which distance between predicted and target embeddings?",
        "InfoNCE is best overall (Table 5). Nothing keeps cosine, L1 and L2 from a collapse, so "
        "their Y-Encoder is frozen here; VICReg and SIGReg are not in the paper.",
        tuple(variants),
        tuple(
            Expectation("infonce", f"{name}, Y-Encoder frozen", metric)
            for name in frozen
            for metric in ("both", "retrieval")
        ),
    )


def labels(base: Base) -> Ablation:
    """The label texts beside InfoNCE, which the paper doesn't have."""
    return Ablation(
        "labels",
        "What do label texts buy beside InfoNCE?",
        "Not in the paper: its batches of 24,000 hold every kind of negative already.",
        (
            base.variant("with label texts"),
            base.stages("without, but in the text stage", labels=0.0),
            plain(base, "without any"),
        ),
        (),
    )


def plain(base: Base, label: str) -> Variant:
    """The base with InfoNCE alone, as the paper has it."""
    variant = base.stages(label, labels=0.0)
    text = dataclasses.replace(variant.recipe.text, labels=0.0)
    recipe = dataclasses.replace(variant.recipe, text=text)
    return dataclasses.replace(variant, recipe=recipe)


def attention(base: Base) -> Ablation:
    """Llama's causal mask kept, or left out."""
    return Ablation(
        "attention",
        "Should the Predictor see both ways?",
        "Without the causal mask VQA gains 1.9 points (Table 5).",
        (base.predictor("bidirectional"), base.predictor("causal", causal=True)),
        (Expectation("bidirectional", "causal", "vqa"),),
    )


def depth(base: Base) -> Ablation:
    """Layers of the Predictor."""
    own = base.config.predictor.transformer.layers
    counts = sorted({1, max(2, own - 1), own, own + 1, 2 * own})

    def label(count: int) -> str:
        return f"{count} layer{'s' if count > 1 else ''}"

    ends = label(counts[-1]), label(counts[0])
    return Ablation(
        "depth",
        "How many layers should the Predictor have?",
        "More layers are better (Table 5).",
        tuple(base.predictor(label(count), layers=count) for count in counts),
        (Expectation(*ends, "vqa"), Expectation(*ends, "both")),
    )


def objective(base: Base) -> Ablation:
    """Embeddings or tokens: captions by what is written, classification by the nearest text, or by
    the likeliest."""
    own, text = base.config.predictor.transformer.layers, base.config.y_encoder.transformer.layers
    alone = plain(base, "embedding").recipe
    # The Y-Decoder on text alone, as the paper has it: clips would be more samples.
    decoder = dataclasses.replace(base.recipe.decoder, clips=0)
    alone = dataclasses.replace(alone, decoder=decoder)
    labelled = dataclasses.replace(base.recipe, decoder=decoder)
    deeper = base.predictor(f"tokens, {own + text} layers", layers=own + text)
    return Ablation(
        "objective",
        "Embedding prediction or token prediction, at equal samples?",
        "Embedding prediction is ahead in captioning (CIDEr) and classification, with half the "
        "trained parameters (section 4.4). The token model's class is the candidate of lowest "
        "perplexity; its caption is what it writes.",
        (
            base.variant("embedding", recipe=alone, metrics=GENERATIVE),
            base.variant("embedding, label texts", recipe=labelled, metrics=GENERATIVE),
            base.variant("tokens", objective="tokens", metrics=GENERATIVE),
            # The Y-Encoder learns too, if slowly: as many layers more make up for it.
            dataclasses.replace(deeper, objective="tokens", metrics=GENERATIVE),
        ),
        tuple(Expectation("embedding", "tokens", metric) for metric in GENERATIVE),
    )


ABLATIONS: dict[str, Callable[[Base], Ablation]] = {
    "pretraining": pretraining,
    "multiplier": multiplier,
    "loss": loss,
    "labels": labels,
    "attention": attention,
    "depth": depth,
    "objective": objective,
}
