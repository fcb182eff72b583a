"""What the assistant refuses, in sentences that name the thing and say what to do."""

from __future__ import annotations

from vljepa_edge.runtime.errors import ArgumentError


class AssistantError(ArgumentError):
    """A request that the assistant does not take: an empty question, an alert too many, ..."""


class MemoryFileError(AssistantError):
    """A memory that isn't there, is something else, or is being written by another process."""
