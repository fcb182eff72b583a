"""Makes docs/weights.md's table of parity out of the rows that the tests of loaders have written.

PARITY_TABLE=rows.md pytest tests/test_loaders_*.py; python tests/parity_table.py rows.md
"""

from __future__ import annotations

import sys
from pathlib import Path

# What a row's case starts with -> what its group is called. The first that fits counts.
GROUPS = {
    "X-Encoder, V-JEPA 2.1": "X-Encoder, V-JEPA 2.1: 1 (image path), 2, 8, 16 frames; square and "
    "non-square grids",
    "X-Encoder, V-JEPA 2": "X-Encoder, V-JEPA 2: 2, 8, 16 frames; an image; the configured grid, "
    "another, a non-square one",
    "Predictor": "Predictor: all and the last layers of a sharded Llama; query padded to 512",
    "Y-Encoder": "Y-Encoder: Gemma 3 tokens; embedding with and without dense heads; padding",
    "Y-Decoder": "Y-Decoder: logits without and with prefix, teacher-forced and by `step`",
    "open-vljepa": "open-vljepa: predicted and text embedding against its forward pass",
    "full size: X-Encoder": "X-Encoder at full size: ViT-L, 8 frames of 256²",
    "full size: Predictor": "Predictor at full size: the last 8 layers of Llama-3.2-1B, 1,056 "
    "tokens before pooling",
    "full size: Y-Encoder": "Y-Encoder at full size: EmbeddingGemma-300M, 300 tokens",
    "full size: Y-Decoder": "Y-Decoder at full size: SmolLM2-135M, 40 tokens",
}


def table(rows: list[str]) -> str:
    """The worst of each group, in Markdown; ValueError for a row of no group."""
    worst: dict[str, tuple[float, float]] = {}
    for row in rows:
        case, difference, limit = (cell.strip() for cell in row.strip().strip("|").split("|"))
        group = next((name for name in GROUPS if case.startswith(name)), None)
        if group is None:
            raise ValueError(f"no group for the row {case!r}")
        found = (float(difference), float(limit))
        worst[group] = max(worst.get(group, found), found)
    lines = ["| case | max abs difference | limit |", "|---|---|---|"]
    for group, title in GROUPS.items():
        if group in worst:
            difference, limit = worst[group]
            lines.append(f"| {title} | {difference:.1e} | {limit:.0e} |")
    return "\n".join(lines)


if __name__ == "__main__":
    lines = Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()
    print(table([line for line in lines if line.startswith("| ") and "max abs" not in line]))
