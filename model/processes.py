"""Several training processes as one: each sees its share of a batch's clips and texts, and all of
them compute the loss of the whole batch.

Embeddings are gathered with their gradient, so N processes give the gradients of one process on
the same batch: a contrastive loss needs every row beside every other.
"""

from __future__ import annotations

import datetime
import importlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

# One process may train the text side alone for long; the others wait for it.
_PATIENCE = datetime.timedelta(hours=24)


@dataclass(frozen=True)
class Processes:
    """This process's place among `count` processes."""

    rank: int = 0
    count: int = 1

    @classmethod
    def join(cls) -> Processes:
        """What torchrun told in the environment; joins the group, over gloo. Alone without it."""
        count = int(os.environ.get("WORLD_SIZE", "1"))
        if count == 1:
            return ALONE
        if not dist.is_initialized():
            # Imported later, it would keep the group in its functions' defaults for ever, and
            # gloo's threads may then abort the process while the interpreter ends.
            importlib.import_module("torch.distributed.nn.functional")
            dist.init_process_group("gloo", timeout=_PATIENCE)
        return cls(dist.get_rank(), count)

    def leave(self) -> None:
        """Waits for all and ends the group, its threads too."""
        if self.count > 1:
            dist.barrier()
            dist.destroy_process_group()

    @property
    def first(self) -> bool:
        """Whether this process writes files and tells progress."""
        return self.rank == 0

    def wait(self) -> None:
        """Until all are here."""
        if self.count > 1:
            dist.barrier()

    def share(self, total: int) -> slice:
        """This process's part of `total` things; parts differ by one at most. ValueError where
        there are fewer things than processes."""
        if total < self.count:
            raise ValueError(f"{total} clips or texts cannot be split among {self.count} processes")
        return slice(total * self.rank // self.count, total * (self.rank + 1) // self.count)

    def gather(self, rows: Tensor) -> Tensor:
        """Every process's rows [R_i,...], in the order of ranks, with gradient.

        The gradient is right only where all processes compute the same loss from what is gathered,
        and average their gradients (`average`): nothing is sent on the way back.
        """
        if self.count == 1:
            return rows
        gathered: Tensor = _Gather.apply(rows, self)  # type: ignore[no-untyped-call]
        return gathered

    def average(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replaces gradients by their mean over all processes, in one message."""
        if self.count == 1:
            return
        grads = [p.grad for p in parameters if p.grad is not None]
        flat = torch.cat([grad.flatten() for grad in grads])
        dist.all_reduce(flat)
        flat /= self.count
        begin = 0
        for grad in grads:
            grad.copy_(flat[begin : begin + grad.numel()].view_as(grad))
            begin += grad.numel()

    def same(self, *modules: nn.Module) -> None:
        """Gives all processes the first one's weights."""
        if self.count > 1:
            for module in modules:
                for value in module.state_dict().values():
                    dist.broadcast(value, 0)

    def told(self, thing: Any) -> Any:
        """What the first process has, a value that pickles."""
        if self.count == 1:
            return thing
        box = [thing]
        dist.broadcast_object_list(box, 0)
        return box[0]


class _Gather(torch.autograd.Function):
    """all_gather of row blocks of different lengths."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, processes: Processes) -> Tensor:
        lengths = [torch.zeros((), dtype=torch.int64) for _ in range(processes.count)]
        dist.all_gather(lengths, torch.tensor(len(rows)))
        counts = [int(length) for length in lengths]
        padded = rows.new_zeros((max(counts), *rows.shape[1:]))
        padded[: len(rows)] = rows
        blocks = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(blocks, padded)
        begin = sum(counts[: processes.rank])
        ctx.own, ctx.count = slice(begin, begin + len(rows)), processes.count
        return torch.cat([block[:count] for block, count in zip(blocks, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        # The mean over processes divides by their number, but only this one holds these rows.
        return gradients[0][ctx.own] * ctx.count, None


ALONE = Processes()
