"""What is measured, and how: one file per scenario, each run in a fresh process."""

from __future__ import annotations

# Scenario -> (headline samples, what a reader is told).
SCENARIOS: dict[str, tuple[str, str]] = {
    "single": ("window_ms", "windows back to back, none with a text among them"),
    "paced": (
        "embedding_latency_ms",
        "scheduled capture of the last frame to the embedding",
    ),
    "multi": (
        "embedding_latency_ms",
        "the same, with the most cameras that keep up",
    ),
    "burst": ("text_latency_ms", "scheduled capture to text, while every window asks for one"),
    "cold": ("first_embedding_ms", "a new process's start to its first embedding"),
    "soak": ("embedding_latency_ms", "as paced, for long; memory slope, drift, temperature"),
}
