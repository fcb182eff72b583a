"""Rasterises the icon packages' SVGs into the committed sprite sheets (a developer's tool).

Run as `python -m vljepa_edge.world.build_atlas --icons DIR`; DIR holds the unpacked npm packages
@iconify-json/noto, @iconify-json/twemoji and @iconify-json/fluent-emoji-flat in folders named
`noto`, `twemoji` and `fluent-emoji-flat`. Needs resvg-py, which nothing else here does.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from .atlas import ATLAS_DIR, COLUMNS, TILE_PX
from .vocabulary import ICON_SLUGS, OBJECTS

PACKAGES = {"noto": "noto", "twemoji": "twemoji", "fluent": "fluent-emoji-flat"}
_RASTER_PX = 384
_MARGIN_PX = 2


def svg_of(icons: dict[str, Any], slug: str) -> str:
    """Return a standalone SVG document for one icon of an Iconify set, following aliases."""
    while slug in icons.get("aliases", {}):
        alias = icons["aliases"][slug]
        if set(alias) & {"rotate", "hFlip", "vFlip"}:
            raise ValueError(f"icon {slug!r} is a transformed alias: choose another")
        slug = alias["parent"]
    if slug not in icons["icons"]:
        raise ValueError(f"icon set {icons['prefix']!r} has no icon {slug!r}")
    icon = icons["icons"][slug]
    width = icon.get("width", icons.get("width", 16))
    height = icon.get("height", icons.get("height", 16))
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'viewBox="{icon.get("left", 0)} {icon.get("top", 0)} {width} {height}" '
        f'width="{width}" height="{height}">{icon["body"]}</svg>'
    )


def rasterise(svg: str) -> npt.NDArray[np.uint8]:
    """Draw an SVG, crop it to what is visible and centre it in a BGRA uint8 [96, 96, 4] tile."""
    import resvg_py

    encoded = bytes(resvg_py.svg_to_bytes(svg_string=svg, width=_RASTER_PX, height=_RASTER_PX))
    bgra = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_UNCHANGED)
    if bgra is None or bgra.shape[2] != 4:
        raise ValueError("the SVG did not render to a picture with alpha")
    rows, columns = np.nonzero(bgra[:, :, 3] > 8)
    bgra = bgra[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    # Resize with premultiplied alpha, or the invisible pixels' colour bleeds into the edges.
    premultiplied = bgra.astype(np.float32)
    premultiplied[:, :, :3] *= premultiplied[:, :, 3:] / 255.0
    scale = (TILE_PX - 2 * _MARGIN_PX) / max(bgra.shape[:2])
    height, width = (max(1, round(side * scale)) for side in bgra.shape[:2])
    small = cv2.resize(premultiplied, (width, height), interpolation=cv2.INTER_AREA)
    alpha = small[:, :, 3:]
    small[:, :, :3] = small[:, :, :3] * (255.0 / np.maximum(alpha, 0.5))
    small[alpha[:, :, 0] <= 0.5] = 0
    tile = np.zeros((TILE_PX, TILE_PX, 4), np.uint8)
    y, x = (TILE_PX - height) // 2, (TILE_PX - width) // 2
    tile[y : y + height, x : x + width] = np.rint(np.clip(small, 0, 255)).astype(np.uint8)
    return tile


def main() -> None:
    """Build the three sheets and `atlas.json` in the package's atlas folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--icons", type=Path, required=True, help="folder of unpacked packages")
    arguments = parser.parse_args()
    ATLAS_DIR.mkdir(exist_ok=True)
    sources = {}
    for style, package in PACKAGES.items():
        folder = arguments.icons / package
        icons = json.loads((folder / "icons.json").read_text(encoding="utf-8"))
        about = json.loads((folder / "info.json").read_text(encoding="utf-8"))
        version = json.loads((folder / "package.json").read_text(encoding="utf-8"))["version"]
        rows = -(-len(OBJECTS) // COLUMNS)
        sheet = np.zeros((rows * TILE_PX, COLUMNS * TILE_PX, 4), np.uint8)
        for i, name in enumerate(OBJECTS):
            y, x = (side * TILE_PX for side in divmod(i, COLUMNS))
            sheet[y : y + TILE_PX, x : x + TILE_PX] = rasterise(svg_of(icons, ICON_SLUGS[name]))
        path = ATLAS_DIR / f"{style}.webp"
        # A WebP quality above 100 asks OpenCV for the lossless mode.
        if not cv2.imwrite(str(path), sheet, [cv2.IMWRITE_WEBP_QUALITY, 101]):
            raise OSError(f"cannot write {path}")
        sources[style] = {
            "package": f"@iconify-json/{package} {version}",
            "author": about["author"]["name"],
            "url": about["author"]["url"],
            "licence": about["license"]["spdx"],
        }
        print(f"{path.name}: {len(OBJECTS)} tiles, {path.stat().st_size / 1e6:.2f} MB")
    manifest = {"tile_px": TILE_PX, "columns": COLUMNS, "sources": sources, "objects": OBJECTS}
    (ATLAS_DIR / "atlas.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
