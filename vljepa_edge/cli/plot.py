"""Draws a stream as rows of some seconds: gate score, threshold, shifts, captions, truth.

OpenCV draws it, since the runtime needs that anyway.
"""

from __future__ import annotations

import math
from pathlib import Path

import click
import cv2
import numpy as np
import numpy.typing as npt

from vljepa_edge.cli.report import History, Score
from vljepa_edge.cli.truth import Annotation
from vljepa_edge.runtime.stats import StreamStats

Colour = tuple[int, int, int]  # BGR
Span = tuple[float, float, str]

WIDTH = 1800
LEFT, RIGHT, TOP, BOTTOM = 92, 28, 74, 18
GATE_HEIGHT, LANE_HEIGHT, LANE_GAP, AXIS_HEIGHT, ROW_GAP = 96, 40, 5, 24, 26
SECONDS_A_ROW = 20.0
MAX_ROWS = 16

INK: Colour = (58, 48, 40)
FAINT: Colour = (222, 216, 210)
MUTED: Colour = (140, 130, 120)
SCORE: Colour = (168, 98, 32)
THRESHOLD: Colour = (60, 60, 205)
SHIFT: Colour = (60, 60, 205)
CAPTION_TINTS: tuple[Colour, Colour] = ((247, 230, 205), (240, 214, 176))
TRUTH_TINTS: tuple[Colour, Colour] = ((214, 236, 214), (190, 224, 190))


class Text:
    """Anti-aliased text: OpenCV 5's own font, or Hershey strokes before that."""

    def __init__(self) -> None:
        self._face = cv2.FontFace("sans") if hasattr(cv2, "FontFace") else None

    def put(
        self, image: npt.NDArray[np.uint8], text: str, x: float, y: float, size: int, colour: Colour
    ) -> None:
        """Draws with its baseline's left end at (x, y)."""
        at = (round(x), round(y))
        if self._face is not None:
            cv2.putText(image, text, at, colour, self._face, size)
        else:
            plain = text.replace("…", "...").encode("ascii", "replace").decode()
            cv2.putText(
                image, plain, at, cv2.FONT_HERSHEY_SIMPLEX, size / 30, colour, 1, cv2.LINE_AA
            )

    def width(self, text: str, size: int) -> int:
        """Pixels that it takes."""
        if self._face is not None:
            _, _, width, _ = cv2.getTextSize((0, 0), text, (0, 0), self._face, size)
        else:
            (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size / 30, 1)
        return int(width)

    def lines(self, text: str, size: int, width: int, most: int) -> list[str]:
        """Breaks a text at its words into at most so many lines; the last one is cut to fit."""
        lines: list[str] = []
        words = text.split()
        while words and len(lines) < most:
            count = len(words)
            if len(lines) < most - 1:
                while count > 1 and self.width(" ".join(words[:count]), size) > width:
                    count -= 1
            lines.append(self._cut(" ".join(words[:count]), size, width))
            words = words[count:]
        return [line for line in lines if line]

    def _cut(self, text: str, size: int, width: int) -> str:
        if self.width(text, size) <= width:
            return text
        while text and self.width(text + "…", size) > width:
            text = text[:-1].rstrip()
        return text + "…" if text else ""


class Row:
    """One stretch of time on the picture."""

    def __init__(
        self, image: npt.NDArray[np.uint8], text: Text, top: int, start_s: float, seconds: float
    ) -> None:
        self._image = image
        self._text = text
        self._top = top
        self._start_s = start_s
        self._seconds = seconds

    def x(self, at_s: float) -> float:
        """Pixel of a time, held inside the row."""
        share = (at_s - self._start_s) / self._seconds
        return LEFT + min(1.0, max(0.0, share)) * (WIDTH - LEFT - RIGHT)

    def _holds(self, start_s: float, end_s: float) -> bool:
        return end_s > self._start_s and start_s < self._start_s + self._seconds

    def gate(self, history: History, top_ratio: float) -> None:
        """The score as a line, its threshold as dashes, shifts as marks."""
        y0, y1 = self._top, self._top + GATE_HEIGHT
        cv2.rectangle(self._image, (LEFT, y0), (WIDTH - RIGHT, y1), FAINT, 1)
        level = y1 - GATE_HEIGHT / top_ratio
        for x in range(LEFT, WIDTH - RIGHT, 10):
            cv2.line(self._image, (x, round(level)), (x + 5, round(level)), THRESHOLD, 1)
        self._text.put(self._image, "gate", 14, y0 + 16, 15, INK)
        self._text.put(self._image, "threshold", 14, level + 4, 12, THRESHOLD)
        # On a view of the panel, which cuts lines from the rows before and after at its edge.
        panel = self._image[y0:y1, LEFT : WIDTH - RIGHT]
        points = [
            (
                (score.at_s - self._start_s) / self._seconds * panel.shape[1],
                GATE_HEIGHT - min(score.ratio, top_ratio) / top_ratio * (GATE_HEIGHT - 2),
            )
            for score in _within(history.scores, self._start_s, self._seconds)
        ]
        if len(points) > 1:
            fixed = np.round(np.array(points) * 16).astype(np.int32)
            cv2.polylines(panel, [fixed.reshape(-1, 1, 2)], False, SCORE, 2, cv2.LINE_AA, 4)
        for at_s in history.shifts_s:
            if self._holds(at_s, at_s + 1e-9):
                x = round(self.x(at_s))
                cv2.line(self._image, (x, y0), (x, y1), SHIFT, 1, cv2.LINE_AA)
                mark = np.array([[x - 5, y0 - 1], [x + 5, y0 - 1], [x, y0 + 7]], np.int32)
                cv2.fillConvexPoly(self._image, mark, SHIFT, cv2.LINE_AA)

    def lane(self, label: str, top: int, spans: list[Span], tints: tuple[Colour, Colour]) -> None:
        """Texts as boxes over their time."""
        y0, y1 = self._top + top, self._top + top + LANE_HEIGHT
        self._text.put(self._image, label, 14, y0 + 25, 15, INK)
        for i, (start_s, end_s, words) in enumerate(spans):
            if not self._holds(start_s, end_s):
                continue
            x0, x1 = round(self.x(start_s)), round(self.x(end_s)) - 1
            cv2.rectangle(self._image, (x0, y0), (max(x0 + 1, x1), y1), tints[i % 2], -1)
            lines = self._text.lines(words, 14, x1 - x0 - 10, 2) if x1 - x0 > 48 else []
            y = y0 + (25 if len(lines) == 1 else 17)
            for line in lines:
                self._text.put(self._image, line, x0 + 6, y, 14, INK)
                y += 16

    def axis(self, top: int) -> None:
        """Seconds."""
        step = next(
            (s for s in (1, 2, 5, 10, 20, 30, 60, 120, 300, 600) if self._seconds / s <= 20), 1800
        )
        y = self._top + top
        for second in range(
            math.ceil(self._start_s / step) * step,
            math.floor(self._start_s + self._seconds) + 1,
            step,
        ):
            x = round(self.x(second))
            cv2.line(self._image, (x, y), (x, y + 4), MUTED, 1)
            label = f"{second} s" if second < 600 else f"{second // 60}:{second % 60:02}"
            self._text.put(
                self._image, label, x - self._text.width(label, 12) / 2, y + 18, 12, MUTED
            )


def draw_timeline(
    path: Path, histories: list[History], truth: list[Annotation], stats: StreamStats
) -> None:
    """Writes the picture. Raises click.ClickException when the file cannot be written."""
    begin_s = 0.0 if truth else max(0.0, stats.first_frame_ns / 1e9)
    end_s = max([stats.last_frame_ns / 1e9, begin_s + 1.0, *(a.end_s for a in truth)])
    duration_s = end_s - begin_s
    # Rows of 20 s, longer ones for a long stream and a shorter one for a short clip.
    seconds = max(SECONDS_A_ROW, math.ceil(duration_s / MAX_ROWS / 10) * 10.0)
    seconds = min(seconds, max(5.0, math.ceil(duration_s)))
    rows = max(1, math.ceil(duration_s / seconds - 1e-6))
    lanes = len(histories) + bool(truth)
    lanes_top = GATE_HEIGHT + 8
    axis_top = lanes_top + lanes * (LANE_HEIGHT + LANE_GAP)
    row_height = axis_top + AXIS_HEIGHT + ROW_GAP
    image = np.full((TOP + rows * row_height + BOTTOM, WIDTH, 3), 255, np.uint8)
    text = Text()
    _title(image, text, histories, stats)
    first = histories[0]
    top_ratio = _top_ratio(first.scores)
    captions = [caption_spans(history, end_s) for history in histories]
    for i in range(rows):
        row = Row(image, text, TOP + i * row_height, begin_s + i * seconds, seconds)
        row.gate(first, top_ratio)
        for lane, spans in enumerate(captions):
            label = "caption" if len(captions) == 1 else f"query {lane}"
            row.lane(label, lanes_top + lane * (LANE_HEIGHT + LANE_GAP), spans, CAPTION_TINTS)
        if truth:
            spans = [(a.start_s, a.end_s, a.caption) for a in truth]
            row.lane("truth", axis_top - LANE_HEIGHT - LANE_GAP, spans, TRUTH_TINTS)
        row.axis(axis_top)
    if not cv2.imwrite(str(path), image):
        raise click.ClickException(f"{path}: cannot be written as a picture; name it .png")


def caption_spans(history: History, end_s: float) -> list[Span]:
    """When each caption held: its segment's span, or from its onset to the next one's."""
    closed = [t for t in history.texts if t.reason != "onset"]
    if closed:
        return [(t.start_ns / 1e9, t.end_ns / 1e9, t.text) for t in closed]
    starts = [t.end_ns / 1e9 for t in history.texts]
    ends = [*starts[1:], end_s]
    return [(s, e, t.text) for s, e, t in zip(starts, ends, history.texts, strict=False)]


def _within(scores: list[Score], start_s: float, seconds: float) -> list[Score]:
    """Scores of a row, with a neighbour on each side so that lines go through."""
    inside = [i for i, s in enumerate(scores) if start_s <= s.at_s <= start_s + seconds]
    if not inside:
        return []
    return scores[max(0, inside[0] - 1) : inside[-1] + 2]


def _top_ratio(scores: list[Score]) -> float:
    ratios = [score.ratio for score in scores]
    return float(min(4.0, max(1.6, 1.1 * np.percentile(ratios, 99)))) if ratios else 1.6


def _title(
    image: npt.NDArray[np.uint8], text: Text, histories: list[History], stats: StreamStats
) -> None:
    text.put(image, " · ".join(h.query for h in histories), 14, 28, 20, INK)
    counts = (
        f"{stats.windows} windows, {stats.predictions} predictions, {stats.shifts} shifts, "
        f"{stats.decodes} decodes in {stats.duration_s:.0f} s"
    )
    text.put(image, counts, 14, 52, 14, MUTED)
