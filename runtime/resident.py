"""The largest resident memory of this process."""

from __future__ import annotations

import re
import resource
import sys
from pathlib import Path


def peak_resident_bytes() -> int:
    """Bytes, since this program was started.

    Linux counts getrusage's figure on over exec: a child of a large process begins with its
    parent's peak. /proc tells this program's own.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        status = ""
    found = re.search(r"^VmHWM:\s*(\d+) kB", status, re.M)
    if found:
        return int(found[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
