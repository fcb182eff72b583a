"""Writes other gate settings into a finished bundle."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from ..runtime.bundle import Bundle
from .bundle import check_folder, stored_sections
from .manifest import GateSettings
from .queries import rewrite
from .sections import INSIDE, Kind


def set_gate(folder: Path, gate: GateSettings) -> None:
    """Replaces a bundle's gate settings; the bundle is replaced whole, or stays as it was."""
    manifest = check_folder(folder)
    with Bundle(folder) as bundle:
        inner = stored_sections(folder, bundle, INSIDE - {Kind.CONFIG})
    rewrite(folder, dataclasses.replace(manifest, gate=gate), inner)
