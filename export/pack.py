"""A bundle as one file: the image (.vlj) that firmware maps or flashes."""

from __future__ import annotations

from pathlib import Path

from ..runtime.bundle import Bundle
from .bundle import INDEX, MANIFEST, check_folder, stored_sections
from .errors import ExportError
from .full_disk import full_disk_told
from .index_writer import write_image
from .sections import Kind

# Sections that only tools on a computer read.
TOOL_KINDS = frozenset((Kind.GOLDEN, Kind.TOKENIZER, Kind.MANIFEST))


def pack(bundle: Path, image: Path, *, tools: bool = True, overwrite: bool = False) -> str:
    """Packs the folder `bundle` into the file `image` and returns the image's digest.

    The bundle is checked first, the image afterwards. tools=False leaves out the tokenizers, golden
    vectors and manifest: firmware runs without them, `vljepa doctor` and new queries need them.
    """
    if not (bundle / INDEX).is_file() or not (bundle / MANIFEST).is_file():
        raise ExportError(f"{bundle} is no bundle folder", f"it needs {MANIFEST} and {INDEX}")
    if image.is_dir() or image.resolve().parent == bundle.resolve():
        raise ExportError(f"{image} is a folder or inside the bundle", "name a file outside of it")
    if image.exists() and not overwrite:
        raise ExportError(f"{image} exists", "choose another output, or overwrite it")
    check_folder(bundle)
    kinds = frozenset(Kind) if tools else frozenset(Kind) - TOOL_KINDS
    image.parent.mkdir(parents=True, exist_ok=True)
    with Bundle(bundle) as opened, full_disk_told(image):
        digest = write_image(image, stored_sections(bundle, opened, kinds))
    with Bundle(image, verify_hashes=True):
        pass
    return digest
