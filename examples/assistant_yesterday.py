"""When was it seen yesterday? `python examples/assistant_yesterday.py MEMORY "the red car"`."""

import sys
from datetime import datetime, time, timedelta

from vljepa_edge.assistant import Memory, recall

import vljepa_edge as vlj

path, text = sys.argv[1:3]
midnight = datetime.combine(datetime.now().date(), time())
with Memory(path, read_only=True) as memory, vlj.load(components=["y_encoder"]) as model:
    for found in recall(model, memory, text, since=midnight - timedelta(days=1), until=midnight):
        print(f"{datetime.fromtimestamp(found.start_ns / 1e9):%H:%M:%S}  {found.text}")
