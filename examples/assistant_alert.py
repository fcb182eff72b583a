"""An alert that runs a shell command; the command finds what fired in its environment.

python examples/assistant_alert.py VIDEO|CAMERA "a red apple falls" 'notify-send "$VLJEPA_ALERT"'
"""

import os
import subprocess
import sys

from vljepa_edge.assistant import Assistant, Firing

source, text, command = sys.argv[1:4]
threshold = float(sys.argv[4]) if len(sys.argv) > 4 else None  # None: told from the stream itself


def run(firing: Firing) -> None:
    # The text goes through the environment, never into the command: it could hold anything.
    facts = {"VLJEPA_ALERT": firing.text, "VLJEPA_SCORE": f"{firing.score:.3f}"}
    facts["VLJEPA_SECONDS"] = f"{firing.at_ns / 1e9:.1f}"
    subprocess.run(command, shell=True, env={**os.environ, **facts}, timeout=60, check=False)


with Assistant(None, source) as assistant:
    assistant.when(text, run, threshold=threshold, cool_down_s=30)
    assistant.wait()
