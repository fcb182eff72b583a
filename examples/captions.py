"""Prints what a video means, each time that it changes: python examples/captions.py clip.mp4"""

import sys

import vljepa_edge as vlj

model = vlj.load()  # the packaged nano bundle, or a path
for event in model.stream(sys.argv[1], queries=["What is happening?"]):
    if event.type == "text":
        print(event)
