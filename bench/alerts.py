"""How well standing alerts do: `python -m vljepa_edge.bench.alerts`.

Recall of true events and false alarms an hour, on sprite-world streams of held-out seeds. Every
alert listens to a whole stream as a user's would, through the assistant's own code:

- `stream`: no threshold is given; the stream itself tells one while it goes, aiming at one false
  alarm an hour;
- `among`: told apart from phrases of what else may be seen (all captions of the world, or all its
  objects);
- `among half`: the same with every other phrase left out, as where nobody knows all there is.

Two kinds of texts: whole captions ("a red apple falls"), and objects alone ("an apple"). Each
stream gets 32 alerts for what it shows, and 32 for what another stream shows and it doesn't. What
happens in the first `--settle` seconds counts for nobody. Where a scene's caption says more than
the alert ("a red apple falls", "an apple falls"), going off is neither right nor wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import numpy.typing as npt
from vljepa_edge.assistant.alerts import MOST_ALERTS, AlertBook, Phrases
from vljepa_edge.bench.progress import on_stderr
from vljepa_edge.bench.remembering import add_stream_options
from vljepa_edge.bench.watching import SLACK_S, Watched, watched_streams
from vljepa_edge.runtime.model import Model, load
from vljepa_edge.world import WorldConfig, motion_object_caption

PER_HOUR = 1.0
METHODS = ("stream", "among", "among half")
KINDS = ("caption", "object")
_ARTICLES = frozenset({"a", "an", "the"})
Floats = npt.NDArray[np.float32]


@dataclass
class Tally:
    """What alerts of one kind did by one method."""

    alerts: int = 0
    events: int = 0
    noticed: int = 0
    false_alarms: int = 0
    hours: float = 0.0  # of all alerts, without the time in which they may go off
    thresholds: list[float] = field(default_factory=list)

    def told(self) -> dict[str, float | int | None]:
        """For the report."""
        facts = asdict(self)
        thresholds = facts.pop("thresholds")
        return {
            **facts,
            "hours": round(self.hours, 2),
            "recall": round(self.noticed / self.events, 4) if self.events else None,
            "false_alarms_per_hour": round(self.false_alarms / self.hours, 3)
            if self.hours
            else None,
            "median_threshold": round(float(np.median(thresholds)), 3) if thresholds else None,
        }


def text_of(kind: str, name: str) -> str:
    """What a user would write: a caption as it is, an object with its article."""
    if kind == "caption":
        return name
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def measure(
    streams: Sequence[Watched], kind: str, vectors: dict[str, Floats], phrases: Phrases | None,
    settle_s: float,
) -> Tally:  # fmt: skip
    """All alerts of a kind over all streams; without phrases the stream tells the thresholds."""
    tally = Tally()
    for number, stream in enumerate(streams):
        here = {one[kind] for one in stream.truth}
        elsewhere = {one[kind] for one in streams[(number + 1) % len(streams)].truth} - here
        half = MOST_ALERTS // 2
        names = [*_spread(sorted(here), half), *_spread(sorted(elsewhere), half)]
        listen(stream, kind, names, vectors, phrases, settle_s, tally)
    return tally


def _spread(names: Sequence[str], most: int) -> list[str]:
    """So many of them at most, evenly apart."""
    if len(names) <= most:
        return list(names)
    return [names[round(i * (len(names) - 1) / (most - 1))] for i in range(most)]


def listen(
    stream: Watched, kind: str, names: Sequence[str], vectors: dict[str, Floats],
    phrases: Phrases | None, settle_s: float, tally: Tally,
) -> None:  # fmt: skip
    """One book of alerts over one stream."""
    book = AlertBook(stream.embeddings.shape[1])
    for name in names:
        text = text_of(kind, name)
        book.add(
            text, vectors[text], None, threshold=None, per_hour=PER_HOUR, hysteresis=None,
            cool_down_s=10.0, among=phrases,
        )  # fmt: skip
    fired: dict[int, list[float]] = {alert.number: [] for alert in book.all()}
    for at_s, embedding in zip(stream.times_s, stream.embeddings, strict=True):
        for firing in book.push(embedding, round(float(at_s) * 1e9)):
            fired[firing.alert].append(float(at_s))
    for name, alert in zip(names, book.all(), strict=True):
        count(
            stream,
            kind,
            name,
            [at for at in fired[alert.number] if at >= settle_s],
            settle_s,
            tally,
        )
        if alert.threshold is not None:
            tally.thresholds.append(alert.threshold)


def count(
    stream: Watched, kind: str, name: str, fired_s: Iterable[float], settle_s: float, tally: Tally
) -> None:
    """Right, wrong and neither."""
    events = [span for span in stream.spans(kind, name) if span[0] >= settle_s]
    allowed = [
        (one["t_start_s"], one["t_end_s"])
        for one in stream.truth
        if says(one["caption"] if kind == "caption" else one["object"], name)
    ]
    noticed = set()
    for at in fired_s:
        noticed |= {i for i, span in enumerate(events) if _inside(at, span)}
        tally.false_alarms += not any(_inside(at, span) for span in allowed)
    tally.alerts += 1
    tally.events += len(events)
    tally.noticed += len(noticed)
    last_s = float(stream.times_s[-1])
    busy_s = sum(max(0.0, min(end, last_s) - max(begin, settle_s)) for begin, end in allowed)
    tally.hours += max(0.0, last_s - settle_s - busy_s) / 3600


def says(caption: str, alert: str) -> bool:
    """Whether a caption tells all that an alert's text tells."""
    return set(alert.split()) - _ARTICLES <= set(caption.split())


def _inside(at_s: float, span: tuple[float, float]) -> bool:
    return span[0] - SLACK_S <= at_s <= span[1] + SLACK_S


def world_phrases(kind: str, version: int) -> list[str]:
    """All that the world can show, as texts of this kind."""
    config = WorldConfig.of(version)
    if kind == "object":
        return [text_of(kind, name) for name in config.objects]
    return [motion_object_caption(name, way) for name in config.objects for way in config.motions]


def measure_all(
    model: Model, streams: Sequence[Watched], version: int, settle_s: float
) -> list[dict[str, object]]:
    """A row for each kind and method."""
    rows: list[dict[str, object]] = []
    for kind in KINDS:
        texts = sorted({text_of(kind, one[kind]) for stream in streams for one in stream.truth})
        vectors = dict(zip(texts, model.embed_text(texts), strict=True))
        listed = world_phrases(kind, version)
        embedded = model.embed_text(listed)
        banks = {
            "stream": None,
            "among": Phrases(listed, embedded),
            "among half": Phrases(listed[::2], embedded[::2]),
        }
        for method in METHODS:
            tally = measure(streams, kind, vectors, banks[method], settle_s)
            bank = banks[method]
            count_of = 0 if bank is None else len(bank.texts)
            rows.append({"texts": kind, "method": method, "phrases": count_of, **tally.told()})
    return rows


def main() -> int:
    """Print JSON."""
    parser = argparse.ArgumentParser(
        prog="python -m vljepa_edge.bench.alerts",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_stream_options(parser)
    parser.add_argument("--settle", type=float, default=120.0, help="seconds that don't count")
    arguments = parser.parse_args()
    model = load(arguments.bundle)
    version = arguments.world or model.world
    streams = list(
        watched_streams(
            model, arguments.streams, arguments.seconds, version, arguments.keep,
            on_stderr("streams"),
        )
    )  # fmt: skip
    told = {
        "bundle": f"{model.description.name} {model.description.precision}",
        "bundle_sha256": model.description.bundle_sha256,
        "world": version,
        "streams": arguments.streams,
        "seconds": arguments.seconds,
        "settle_s": arguments.settle,
        "asked_per_hour": PER_HOUR,
        "alerts": measure_all(model, streams, version, arguments.settle),
    }
    json.dump(told, sys.stdout, indent=1)
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
