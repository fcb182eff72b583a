"""Sprite world: seeded videos with captions, questions and timelines.

A test instrument, not natural video: flat pictures of objects move over drawn backgrounds, and all
that is true of a clip is known exactly. Needs numpy and OpenCV alone. See docs/world.md.
"""

from .captions import (
    all_phrasings,
    canonical_caption,
    canonical_image_caption,
    caption,
    held_out_caption,
    image_caption,
    motion_object_caption,
    other_phrase,
)
from .clips import Clip, sample_clip, sample_image, window_times
from .emphasis import counted_world, drawn_world, placed_world
from .labels import LABEL_KINDS, label_texts, labels_of
from .motions import is_event_of_two
from .patches import PatchTruth, patch_truth
from .placing import pick
from .questions import CAPTION_QUERIES, Question, questions
from .questions_v2 import count_of
from .reading import Told, read_caption
from .render import render
from .routines import next_step
from .sampling import SPLITS, is_held_out_pair, sample_scene, scene_of
from .scene import EVENTS_V2, MOTIONS_V1, Scene, WorldConfig
from .states import StateChange, has_states, sample_state_change, sample_state_clip
from .streams import Segment, Stream, frame_times, frames, make_stream, sample_stream_clip
from .synonyms import HELD_OUT_SYNONYMS, SYNONYMS
from .triplets import TRIPLET_KINDS, Triplet, change_one, sample_triplet
from .verbs import HELD_OUT_VERBS, held_out_verb_phrase, verb_phrases
from .video import write_mp4, write_timeline
from .vocabulary import COLOURS, OBJECTS, RELATIONS, SIZES, STYLES, plural

__all__ = [
    "CAPTION_QUERIES",
    "COLOURS",
    "EVENTS_V2",
    "HELD_OUT_SYNONYMS",
    "HELD_OUT_VERBS",
    "LABEL_KINDS",
    "MOTIONS_V1",
    "OBJECTS",
    "RELATIONS",
    "SIZES",
    "SPLITS",
    "STYLES",
    "SYNONYMS",
    "TRIPLET_KINDS",
    "Clip",
    "PatchTruth",
    "Question",
    "Scene",
    "Segment",
    "StateChange",
    "Stream",
    "Told",
    "Triplet",
    "WorldConfig",
    "all_phrasings",
    "canonical_caption",
    "canonical_image_caption",
    "caption",
    "change_one",
    "count_of",
    "counted_world",
    "drawn_world",
    "frame_times",
    "frames",
    "has_states",
    "held_out_caption",
    "held_out_verb_phrase",
    "image_caption",
    "is_event_of_two",
    "is_held_out_pair",
    "label_texts",
    "labels_of",
    "make_stream",
    "motion_object_caption",
    "next_step",
    "other_phrase",
    "patch_truth",
    "pick",
    "placed_world",
    "plural",
    "questions",
    "read_caption",
    "render",
    "sample_clip",
    "sample_image",
    "sample_scene",
    "sample_state_change",
    "sample_state_clip",
    "sample_stream_clip",
    "sample_triplet",
    "scene_of",
    "verb_phrases",
    "window_times",
    "write_mp4",
    "write_timeline",
]
