"""Y-Decoder over a small Llama-shaped LM with tied embeddings (`HuggingFaceTB/SmolLM2-135M`)."""

from __future__ import annotations

from pathlib import Path

from ..config import SpecialTokens, VLJEPAConfig, YDecoderConfig
from ..y_decoder import YDecoder
from .fill import Progress, fill, finished, fresh, on_meta
from .hub_config import HubConfig, check_sizes
from .llama import IGNORED, check_tied, open_model, stack_recipe
from .llama import read_config as read_stack


def read_config(folder: Path, prefix_tokens: int = 8, max_new_tokens: int = 64) -> YDecoderConfig:
    """A Y-Decoder over all layers of the LM."""
    return YDecoderConfig(read_stack(folder), prefix_tokens, max_new_tokens)


def read_special_tokens(folder: Path) -> SpecialTokens:
    """Begin and end of text as the LM was trained; padding falls back to the end token."""
    hub = HubConfig.read(folder / "config.json")
    for name in ("bos_token_id", "eos_token_id"):
        if not isinstance(hub.get(name), int):
            raise hub.refusal(name, "one token id")
    end = hub.get("eos_token_id")
    return SpecialTokens(pad=hub.get("pad_token_id", end), begin=hub.get("bos_token_id"), end=end)


def load(
    folder: Path, config: VLJEPAConfig, seed: int = 0, progress: Progress | None = None
) -> YDecoder:
    """The Y-Decoder with the LM's weights in float32.

    The map from an embedding to soft tokens is fresh, from `seed`, and has to be trained.
    CheckpointError also where the LM's head is not its token table: the Y-Decoder ties them.
    """
    decoder = on_meta(lambda: YDecoder(config))
    c = decoder.config.transformer
    where = folder / "config.json"
    check_sizes(where, read_stack(folder), c, "Y-Decoder")
    with open_model(folder) as source:
        check_tied(source, HubConfig.read(where), part="Y-Decoder")
        fill(decoder, stack_recipe(c.layers), source, IGNORED, progress)
    fresh(decoder, ["prefix_proj"], seed, deviation=0.2)  # as YDecoder starts it
    return finished(decoder)
