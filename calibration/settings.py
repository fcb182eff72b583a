"""How to calibrate: one dataclass that every step takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .formats import Format
from .ranges import PERCENTILE, Method

Precision = Literal["int8", "fp8", "mixed"]


@dataclass(frozen=True)
class Settings:
    """`windows`: at most so many; `data`: as `windows.open_windows` takes it.

    `weights_only`: weights are stored in 8 bits, and computed with in float. `attention`: its two
    products are quantised too. `outliers`: the few channels that spoil a layer's scale stay float.
    """

    precision: Precision = "int8"
    data: str = "world"
    windows: int = 128
    seed: int = 7
    method: Method = "mse"
    percentile: float = PERCENTILE
    smooth: bool = True
    bias_correction: bool = True
    outliers: bool = True
    attention: bool = False
    weights_only: bool = False
    threads: int = 1
    # Version of sprite world; None: the one that the bundle was trained on.
    world: int | None = None

    @property
    def target(self) -> Format:
        """The number format of quantised layers."""
        return "fp8" if self.precision == "fp8" else "int8"
