"""Watches a camera in real time and tells when it cannot keep up: python examples/camera.py 0"""

import sys

import vljepa_edge as vlj

model = vlj.load()
with model.stream(int(sys.argv[1]), queries=["What is happening?", "Who is there?"]) as stream:
    for event in stream:
        if event.type == "text":
            print(f"{event.query}  {event.text}  ({event.latency_ns / 1e6:.0f} ms)")
        elif event.type in ("dropped", "degraded", "recovered"):
            print(event, file=sys.stderr)
