"""A disk that gets full while something large is written: one sentence that says so."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import ExportError

FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
# What numpy's tofile raises, without any error number: by np.save and by onnx_ir's external data.
SHORT_WRITE = re.compile(r"\d+ requested and \d+ written")


def disk_error(error: OSError, output: Path) -> ExportError | None:
    """The sentence for a full disk at `output`; None for anything else."""
    number = error.errno
    if number is None and SHORT_WRITE.search(str(error)):
        number = errno.ENOSPC
    if number not in FULL:
        return None
    return ExportError(
        f"{output.parent}: {os.strerror(number)}, nothing was written",
        "free some space, or choose another -o",
    )


@contextmanager
def full_disk_told(output: Path) -> Iterator[None]:
    """Around what writes `output` whole or not at all."""
    try:
        yield
    except OSError as error:
        told = disk_error(error, output)
        if told is None:
            raise
        raise told from error
