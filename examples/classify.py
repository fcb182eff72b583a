"""Open-vocabulary classification: python examples/classify.py clip.mp4 LABEL LABEL ..."""

import sys

import vljepa_edge as vlj

model = vlj.load()
for match in model.classify(sys.argv[1], sys.argv[2:]):
    print(f"{match.score:+.3f}  {match.text}")
