"""Fills a module from a checkpoint, one tensor at a time, after all of it has been checked.

A module is built on the meta device, where it takes no memory, and its parameters are made as their
tensors are read: there is never a second copy of a component.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from ..checkpoint import CheckpointError
from .tensor_source import TensorSource

Progress = Callable[[int, int], None]
"""Called with the bytes filled and the bytes of the whole: first once all has been checked and
nothing read, then after each parameter."""

Module = TypeVar("Module", bound=nn.Module)

_READABLE = ("F64", "F32", "F16", "BF16")
_SHOWN = 6


@dataclass(frozen=True)
class Stored:
    """How one parameter is made: `names` stacked along the first axis, plus each of `added`."""

    names: tuple[str, ...]
    added: tuple[str, ...] = ()


Recipe = Mapping[str, Stored]
"""How each parameter of a module, by name, is made of stored tensors."""


def on_meta(build: Callable[[], Module]) -> Module:
    """Builds a module without memory for its parameters; its constants are real."""
    with torch.device("meta"):
        return build()


def fill(
    module: nn.Module,
    recipe: Recipe,
    source: TensorSource,
    ignored: Sequence[str] = (),
    progress: Progress | None = None,
) -> None:
    """Makes the parameters that `recipe` names, in float32.

    `ignored`: regular expressions of stored names that are known and not needed. CheckpointError
    lists every tensor that is missing, unexpected, misshapen or quantised, before any is read.
    """
    parameters = dict(module.named_parameters())
    _check(parameters, recipe, source, ignored)
    total = sum(4 * parameters[name].numel() for name in recipe)
    done = 0
    if progress is not None:
        progress(0, total)
    for name, stored in recipe.items():
        value = _make(tuple(parameters[name].shape), stored, source)
        _assign(module, name, value)
        done += 4 * value.numel()
        if progress is not None:
            progress(done, total)


def fresh(module: nn.Module, linears: Sequence[str], seed: int, deviation: float = 0.02) -> None:
    """Starts linear layers that no checkpoint has: normal weights, zero biases."""
    generator = torch.Generator().manual_seed(seed)
    for name in linears:
        linear = module.get_submodule(name)
        assert isinstance(linear, nn.Linear)
        weight = torch.empty(linear.weight.shape, device="cpu")
        _assign(module, f"{name}.weight", weight.normal_(std=deviation, generator=generator))
        if linear.bias is not None:
            _assign(module, f"{name}.bias", torch.zeros(linear.bias.shape, device="cpu"))


def finished(module: Module) -> Module:
    """The module in evaluation mode, once every parameter of it has been made."""
    empty = [name for name, parameter in module.named_parameters() if parameter.is_meta]
    assert not empty, f"a loader left {empty} empty"
    return module.eval()


def _check(
    parameters: Mapping[str, Tensor],
    recipe: Recipe,
    source: TensorSource,
    ignored: Sequence[str],
) -> None:
    found = source.names()
    wanted = {name for stored in recipe.values() for name in stored.names + stored.added}
    known = re.compile("|".join(f"(?:{pattern})" for pattern in ignored) or r"(?!)")
    unexpected = {name for name in found - wanted if not known.fullmatch(name)}
    misshapen = [
        problem
        for name, stored in recipe.items()
        if found.issuperset(stored.names + stored.added)
        and (problem := _shape_problem(tuple(parameters[name].shape), stored, source))
    ]
    quantised = [
        f"{name} is stored as {source.dtype(name)}"
        for name in sorted(wanted & found)
        if source.dtype(name) not in _READABLE
    ]
    problems = [
        _listed("missing", sorted(wanted - found)),
        _listed("unexpected", sorted(unexpected)),
        _listed("misshapen", misshapen),
        _listed("quantised checkpoints are not read:", quantised),
    ]
    if any(problems):
        raise CheckpointError(f"{source.path}: " + "; ".join(filter(None, problems)))


def _shape_problem(expected: tuple[int, ...], stored: Stored, source: TensorSource) -> str:
    shapes = [source.shape(name) for name in stored.names]
    rows = sum(shape[0] for shape in shapes if shape)
    # A stack has equal parts: q, k and v.
    whole = shapes[0] if len(shapes) == 1 else (rows, *shapes[0][1:])
    if whole != expected or len(set(shapes)) > 1:
        parts = " + ".join(
            f"{name} {shape}" for name, shape in zip(stored.names, shapes, strict=True)
        )
        return f"{parts}, expected {expected}"
    for name in stored.added:
        shape = source.shape(name)
        if tuple(side for side in shape if side != 1) != expected:
            return f"{name} {shape}, expected {expected}"
    return ""


def _listed(title: str, problems: list[str]) -> str:
    if not problems:
        return ""
    more = f" and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
    return f"{title} " + ", ".join(problems[:_SHOWN]) + more


def _make(shape: tuple[int, ...], stored: Stored, source: TensorSource) -> Tensor:
    value = torch.empty(shape, device="cpu")
    start = 0
    for name in stored.names:
        part = source.read(name)
        if len(stored.names) == 1:
            value.copy_(part)
        else:
            value[start : start + len(part)].copy_(part)
            start += len(part)
    for name in stored.added:
        value += source.read(name).reshape(shape)
    return value


def _assign(module: nn.Module, name: str, value: Tensor) -> None:
    owner, _, leaf = name.rpartition(".")
    parent = module.get_submodule(owner)
    trained = getattr(parent, leaf).requires_grad
    setattr(parent, leaf, nn.Parameter(value, requires_grad=trained))
