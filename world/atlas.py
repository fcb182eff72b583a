"""Reads the committed sprite sheets: one lossless WebP per drawing style, one tile per object.

Tiles are 96 x 96, straight alpha, in the order of `vocabulary.OBJECTS`; `atlas.json` records the
order, the sources and their licences, and is checked against the vocabulary when a sheet is opened.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from .redraw import redraw
from .vocabulary import COLOURS, OBJECTS, STYLES

ATLAS_DIR = Path(__file__).parent / "atlas"
TILE_PX = 96
COLUMNS = 20
# Side lengths that a sprite is kept at; drawing shrinks from the next larger one, by at most 2x.
MIP_PX = (96, 64, 40, 24)

Rgba = npt.NDArray[np.uint8]

_INDEX = {name: i for i, name in enumerate(OBJECTS)}


class AtlasError(RuntimeError):
    """The committed sprite sheets are missing, damaged, or belong to another vocabulary."""


@lru_cache(maxsize=len(STYLES))
def _sheet(style: str) -> Rgba:
    """Decode one style's sheet to RGBA uint8 [rows*96, 20*96, 4]."""
    if style not in STYLES:
        raise ValueError(f"unknown drawing style {style!r}; expected one of {', '.join(STYLES)}")
    manifest_path = ATLAS_DIR / "atlas.json"
    sheet_path = ATLAS_DIR / f"{style}.webp"
    try:
        manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
        encoded = np.fromfile(sheet_path, dtype=np.uint8)
    except (OSError, ValueError) as error:
        raise AtlasError(f"{error}; reinstall, or rebuild it with build_atlas") from error
    if tuple(manifest["objects"]) != OBJECTS:
        raise AtlasError(f"{manifest_path} lists other objects than vocabulary.OBJECTS: rebuild it")
    bgra = cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)
    if bgra is None or bgra.ndim != 3 or bgra.shape[2] != 4:
        raise AtlasError(f"{sheet_path} does not decode to four channels")
    return np.asarray(cv2.cvtColor(bgra, cv2.COLOR_BGRA2RGBA), dtype=np.uint8)


def sprite(style: str, name: str) -> Rgba:
    """Return one object's picture, RGBA uint8 [96, 96, 4] with straight alpha.

    Raises `ValueError` for an unknown style or object, `AtlasError` for damaged sheets.
    """
    if name not in _INDEX:
        raise ValueError(f"unknown object {name!r}; see vocabulary.OBJECTS")
    row, column = divmod(_INDEX[name], COLUMNS)
    y, x = row * TILE_PX, column * TILE_PX
    return _sheet(style)[y : y + TILE_PX, x : x + TILE_PX]


def recolour(rgba: Rgba, colour: str) -> Rgba:
    """Repaint a picture in the shades of one colour, keeping its drawing visible.

    The picture's own luminance picks a shade on a ramp dark - colour - light, so that lines and
    shadows stay. Straight alpha in and out, uint8 [H, W, 4].
    """
    tint = np.array(COLOURS[colour], dtype=np.float32)
    luminance = cv2.cvtColor(rgba[:, :, :3], cv2.COLOR_RGB2GRAY)
    visible = rgba[:, :, 3] > 128
    shown = luminance[visible] if visible.any() else luminance.reshape(-1)
    low, middle, high = (float(q) for q in np.percentile(shown, (4, 50, 96)))
    # The median shade becomes the colour itself; flat pictures are not stretched to its ends.
    spread = max(high - low, 100.0)
    level = 0.6 + (np.arange(256, dtype=np.float32) - middle) / spread
    level = np.clip(level, 0.0, 1.0)[:, None]
    dark, light = {
        "white": (tint * 0.66, np.full(3, 255, np.float32)),
        "black": (tint * 0.2, tint + 62.0),
    }.get(colour, (tint * 0.5, tint * 0.72 + 255.0 * 0.28))
    below, above = dark + (tint - dark) * (level / 0.6), tint + (light - tint) * (level - 0.6) / 0.4
    ramp = np.where(level < 0.6, below, above)
    table = np.rint(np.clip(ramp, 0, 255)).astype(np.uint8)
    return np.dstack([table[luminance], rgba[:, :, 3]])


@lru_cache(maxsize=2048)
def mipmaps(style: str, name: str, colour: str | None, redrawn: int = 0) -> tuple[Rgba, ...]:
    """Return the picture at each size of `MIP_PX` with premultiplied alpha, ready to draw.
    `redrawn`, where it isn't 0, is the seed of another drawing of it."""
    straight = sprite(style, name)
    if redrawn:
        straight = redraw(straight, redrawn)
    if colour is not None:
        straight = recolour(straight, colour)
    alpha = straight[:, :, 3:4].astype(np.uint16)
    premultiplied = straight.copy()
    premultiplied[:, :, :3] = (straight[:, :, :3].astype(np.uint16) * alpha + 127) // 255
    levels = [premultiplied]
    for side in MIP_PX[1:]:
        small = cv2.resize(premultiplied, (side, side), interpolation=cv2.INTER_AREA)
        levels.append(np.asarray(small, dtype=np.uint8))
    for level in levels:
        level.setflags(write=False)
    return tuple(levels)
