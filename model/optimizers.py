"""Optimisers: Muon for the weight matrices inside the layers, AdamW for everything else.

Muon (orthogonalised momentum; torch.optim.Muon) needs clearly fewer samples than AdamW at nano's
size, and its cost vanishes beside a step's forward and backward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

# A second moment that forgets faster than the default: usual for contrastive training.
BETAS = (0.9, 0.98)
# Muon's rate relative to AdamW's, with updates scaled to AdamW's usual size.
MUON_LR = 2.0
# Matrices of parameters with these names are Muon's.
STACKS = ("x_encoder.blocks.", "predictor.layers.", "y_encoder.layers.")


class Optimizers:
    """AdamW and Muon as one, over parameters named as in the whole model.

    `multiplier(name)` scales the learning rate of a parameter; those at 0 are left alone.
    """

    def __init__(
        self,
        named: Iterable[tuple[str, nn.Parameter]],
        decay: float,
        multiplier: Callable[[str], float] = lambda name: 1.0,
    ) -> None:
        groups: dict[tuple[bool, float, bool], list[nn.Parameter]] = {}
        for name, parameter in named:
            share = multiplier(name)
            if share == 0:
                continue
            matrix = parameter.ndim == 2
            key = (matrix and name.startswith(STACKS), share, matrix)
            groups.setdefault(key, []).append(parameter)
        adamw: list[dict[str, Any]] = []
        muon: list[dict[str, Any]] = []
        for (inner, share, matrix), parameters in sorted(groups.items()):
            rate = share * (MUON_LR if inner else 1.0)
            (muon if inner else adamw).append(
                {
                    "params": parameters,
                    "multiplier": rate,
                    "weight_decay": decay if matrix or inner else 0.0,
                }
            )
        self.all: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(adamw, betas=BETAS, fused=True),
            torch.optim.Muon(muon, adjust_lr_fn="match_rms_adamw"),
        ]

    def parameters(self) -> list[nn.Parameter]:
        """Everything that is trained."""
        return [p for o in self.all for group in o.param_groups for p in group["params"]]

    def step(self, rate: float) -> None:
        """One step at learning rate `rate`; gradients are cleared."""
        for optimizer in self.all:
            for group in optimizer.param_groups:
                group["lr"] = rate * group["multiplier"]
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def state_dict(self) -> list[dict[str, Any]]:
        """State of both, to resume from."""
        return [optimizer.state_dict() for optimizer in self.all]

    def load_state_dict(self, states: list[dict[str, Any]]) -> None:
        """What `state_dict` gave."""
        for optimizer, state in zip(self.all, states, strict=True):
            optimizer.load_state_dict(state)
