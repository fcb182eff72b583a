"""The measuring process: `python -m vljepa_edge.bench.scenarios.worker LINES SPEC`."""

from __future__ import annotations

import dataclasses
import signal
import sys
import threading
import time
from pathlib import Path

from .. import conditions
from ..energy import EnergyRun, find_meter, idle_watts
from .recorder import Monitor, Recorder
from .spec import Spec


def main(lines: Path, spec: Spec) -> int:
    """Measures and records. SIGINT and SIGTERM end it early, keeping what it has."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    recorder = Recorder(lines)
    done = False
    try:
        from .paced import multi, paced
        from .single import cold, single

        scenarios = {"single": single, "cold": cold, "multi": multi}
        trace = lines.with_suffix(".trace.json") if spec.trace else None
        meter, reason = (None, "not measured") if spec.scenario == "cold" else find_meter()
        idle_w = idle_watts(meter) if meter else None
        recorder.note("start", conditions.snapshot())
        busy, run = conditions.BusyClock.now(), EnergyRun(meter, reason, idle_w)
        monitor = Monitor(recorder) if spec.scenario != "cold" else None
        began = time.monotonic()
        done = scenarios.get(spec.scenario, paced)(spec, recorder, stop, trace)
        if monitor is not None:
            monitor.stop()
        recorder.note("end", conditions.snapshot())
        recorder.note("energy", dataclasses.asdict(run.result()))
        recorder.counter("wall_s", time.monotonic() - began)
        recorder.counter("background_cores", busy.background_cores())
        recorder.counter("peak_rss_mb", conditions.peak_rss_mb())
    except Exception as error:
        # Told by the parent in one line; its class decides the exit code there.
        recorder.note("error", {"type": type(error).__name__, "message": str(error)})
        return 1
    finally:
        recorder.close(done)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Spec.from_json(sys.argv[2])))
