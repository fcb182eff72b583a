"""One component in a process of its own: its memory is given back whole when it is done.

`python -m vljepa_edge.export.worker FOLDER PART` reads FOLDER/.work/job.json, and tells what it
does as one JSON object a line.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from . import strict_json
from .bundle import JOB, WORK
from .errors import ExportError, Unfinished
from .full_disk import disk_error
from .origin import Origin, only
from .part import PartRecord, Say, Task, export_part, finished_part


@dataclass(frozen=True)
class Job:
    """All that a process has to know. Another job in the same folder starts from nothing."""

    origin: Origin
    task: Task
    identity: str


def run_in_process(folder: Path, part: str, say: Say) -> PartRecord:
    """Exports one component in another process. What it raises is raised here."""
    command = [sys.executable, "-m", "vljepa_edge.export.worker", str(folder), part]
    error = ""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, encoding="utf-8"
    )
    try:
        assert process.stdout is not None
        for line in process.stdout:
            told = json.loads(line)
            if "step" in told:
                say(told["step"])
            error = told.get("error", error)
        code = process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise
    if error:
        raise ExportError(error)
    record = finished_part(part, folder, folder / WORK) if code == 0 else None
    if record is None:
        raise Unfinished(
            f"the process that exported {part} ended with {_ending(code)}",
            "run the same command again to go on from there",
        )
    return record


def _ending(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    hint = ", as the system does when memory runs out" if -code == signal.SIGKILL else ""
    return f"signal {-code}{hint}"


def main(arguments: list[str]) -> int:
    """The process: exports one component, prints steps and errors."""
    folder, part = Path(arguments[0]), arguments[1]
    output = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # what libraries print must not get between our lines

    def tell(**values: str) -> None:
        output.write(json.dumps(values) + "\n")

    from ..model.checkpoint import CheckpointError

    text = (folder / WORK / JOB).read_text(encoding="utf-8")
    job = strict_json.load(Job, strict_json.parse(text, JOB), JOB)
    try:
        tell(step=f"loading {part}")
        model = only(part, job.origin.load(part), job.origin.config)
        export_part(
            part,
            model,
            job.task,
            folder,
            folder / WORK,
            lambda step: tell(step=step),
            release=True,
        )
    except (ExportError, CheckpointError) as error:
        tell(error=str(error))
        return 2
    except OSError as error:
        full = disk_error(error, folder)
        if full is None:
            raise
        tell(error=str(full))
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
