"""The paper's ablations in small: `python -m vljepa_edge.bench.ablations` (docs/model.md)."""
