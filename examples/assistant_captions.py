"""Captions to the terminal as they come: `python examples/assistant_captions.py [VIDEO]`."""

import sys

from vljepa_edge.assistant import Assistant

source = sys.argv[1] if len(sys.argv) > 1 else "examples/clips/demo.mp4"
with Assistant(None, source) as assistant:
    for caption in assistant.captions():
        print(caption)
