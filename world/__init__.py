"""Sprite world: seeded videos with captions, questions and timelines.

A test instrument, not natural video: flat pictures of objects move over drawn backgrounds, and all
that is true of a clip is known exactly. Needs numpy and OpenCV alone. See docs/world.md.
"""

from .captions import (
    all_phrasings,
    canonical_caption,
    canonical_image_caption,
    caption,
    image_caption,
    motion_object_caption,
    verb_phrases,
)
from .clips import Clip, sample_clip, sample_image, window_times
from .questions import CAPTION_QUERIES, Question, questions
from .render import render
from .sampling import SPLITS, is_held_out_pair, pick, sample_scene, scene_of
from .scene import MOTIONS_V1, Scene, WorldConfig
from .streams import Segment, Stream, frame_times, frames, make_stream, sample_stream_clip
from .video import write_mp4, write_timeline
from .vocabulary import COLOURS, OBJECTS, STYLES, plural

__all__ = [
    "CAPTION_QUERIES",
    "COLOURS",
    "MOTIONS_V1",
    "OBJECTS",
    "SPLITS",
    "STYLES",
    "Clip",
    "Question",
    "Scene",
    "Segment",
    "Stream",
    "WorldConfig",
    "all_phrasings",
    "canonical_caption",
    "canonical_image_caption",
    "caption",
    "frame_times",
    "frames",
    "image_caption",
    "is_held_out_pair",
    "make_stream",
    "motion_object_caption",
    "pick",
    "plural",
    "questions",
    "render",
    "sample_clip",
    "sample_image",
    "sample_scene",
    "sample_stream_clip",
    "scene_of",
    "verb_phrases",
    "window_times",
    "write_mp4",
    "write_timeline",
]
