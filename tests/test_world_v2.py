"""Version 2 of sprite world: its events are true of any second, its texts of the scene."""

import dataclasses
import itertools

import numpy as np
import pytest
from test_world_motions import SIZE, WINDOW_STARTS_S, Seen, mostly, spread, steps
from vljepa_edge.world import (
    COLOURS,
    EVENTS_V2,
    HELD_OUT_SYNONYMS,
    HELD_OUT_VERBS,
    OBJECTS,
    SPLITS,
    STYLES,
    SYNONYMS,
    Scene,
    WorldConfig,
    all_phrasings,
    canonical_caption,
    caption,
    held_out_caption,
    image_caption,
    is_held_out_pair,
    make_stream,
    next_step,
    patch_truth,
    plural,
    questions,
    render,
    sample_clip,
    sample_image,
    sample_scene,
    sample_stream_clip,
    scene_of,
    verb_phrases,
    window_times,
)
from vljepa_edge.world.motions import MOTIONS
from vljepa_edge.world.placing import pick
from vljepa_edge.world.poses import Pose
from vljepa_edge.world.questions import KINDS_V2
from vljepa_edge.world.questions_v2 import absent, count_of
from vljepa_edge.world.routines import ROUTINES
from vljepa_edge.world.scene import Background, Sensor
from vljepa_edge.world.states import OPPOSITES
from vljepa_edge.world.vocabulary import COUNT_WORDS, POPULAR, kin

from vljepa_edge import world

CONFIG = WorldConfig.v2()
PLAIN = WorldConfig.v2(
    p_colour=0, p_size=0, p_count=0, p_relation=0, p_distractor=0, p_late_start=0,
    p_other_colour=0, p_occluder=0, p_group=0,
)  # fmt: skip
SINGLE = tuple(m for m in EVENTS_V2 if not MOTIONS[m].partner)
DOUBLE = tuple(m for m in EVENTS_V2 if MOTIONS[m].partner)


def scenes(count: int, split: str = "train", config: WorldConfig = CONFIG) -> list[Scene]:
    rng = np.random.default_rng(12)
    return [sample_scene(rng, config, split=split) for _ in range(count)]


def clean(motion: str, seed: int) -> Scene:
    """A ball in front of one plain colour, seen by a still camera."""
    scene = scene_of(np.random.default_rng(seed), PLAIN, "football", motion)
    return dataclasses.replace(scene, background=Background("plain", 3), sensor=Sensor(0))


class Tracks:
    """Where both objects are in a window: by the pixels, each drawn without the other."""

    def __init__(self, scene: Scene, start_s: float) -> None:
        assert scene.other is not None
        self.scene = dataclasses.replace(scene, start_s=start_s)
        tiny = dataclasses.replace(scene.other, diameter=1e-6)
        self.main = Seen(dataclasses.replace(scene, other=tiny), start_s)
        self.other = Seen(dataclasses.replace(scene, diameter=1e-6), start_s)
        self.together = Seen(scene, start_s)

    @property
    def distance(self) -> np.ndarray:
        return np.hypot(self.main.x - self.other.x, self.main.y - self.other.y)

    @property
    def other_rests(self) -> bool:
        return bool(spread(self.other.x) < 0.01 and spread(self.other.y) < 0.01)

    @property
    def ahead(self) -> np.ndarray:
        """Angle from the main to the other object about the frame's middle, along the way run."""
        angles = [
            np.unwrap(np.arctan2(s.y - np.nanmean(s.y), s.x - np.nanmean(s.x)))
            for s in (self.main, self.other)
        ]
        turned = np.sign(angles[0][-1] - angles[0][0])
        lead = np.mod(turned * (angles[1] - angles[0]), 2 * np.pi)
        return np.asarray(lead)


def forward(values: np.ndarray, sign: int) -> bool:
    """Most of the steps that change anything go one way, but for one that begins anew."""
    moved = steps(values)
    moved = moved[np.abs(moved) > 0.004]
    return len(moved) >= 3 and int((np.sign(moved) == sign).sum()) >= len(moved) - 2


def jumps(values: np.ndarray, sign: int) -> bool:
    """The largest step goes that way, or the window shows no beginning anew."""
    moved = steps(values)
    return bool(np.sign(moved[np.argmax(np.abs(moved))]) == sign)


def resting(values: np.ndarray) -> bool:
    return bool((np.abs(steps(values)) < 0.004).any())


def slows(s: Seen, sign: int) -> bool:
    """Of steps one after the other along the way, speed falls (sign -1) or rises (1)."""
    moved = steps(s.x)
    moved = moved * np.sign((moved / np.maximum(np.abs(moved), 0.004)).sum())  # the cut is negative
    changes = [b - a for a, b in itertools.pairwise(moved) if min(a, b) > 0.012]
    return bool(changes) and all(np.sign(c) == sign or abs(c) < 0.015 for c in changes)


CHECKS = {
    "appear": lambda s: (s.area == 0).any() and grown(s, 1),
    "vanish": lambda s: (s.area == 0).any() and grown(s, -1),
    "fall": lambda s: forward(s.y, 1) and spread(s.y) > 0.25 and spread(s.x) < 0.02,
    "launch": lambda s: forward(s.y, -1) and spread(s.y) > 0.25 and spread(s.x) < 0.02,
    "stop": lambda s: spread(s.x) > 0.2 and resting(s.x) and slows(s, -1),
    "start": lambda s: spread(s.x) > 0.2 and resting(s.x) and slows(s, 1),
    "collide": lambda s: (
        np.nanmin(s.distance) < 0.32 and np.nanmax(s.distance) > 0.5 and not s.other_rests
    ),
    "swap": lambda s: np.nanmin(s.distance) > 0.2 and crossed(s),
    "follow": lambda s: not s.other_rests and (np.abs(s.ahead - np.radians(80)) < 0.6).mean() > 0.8,
    "orbit": lambda s: s.other_rests and s.distance.min() > 0.22 and turned(s) > 200,
    "approach": lambda s: s.other_rests and forward(s.distance, -1) and jumps(s.distance, 1),
    "depart": lambda s: s.other_rests and forward(s.distance, 1) and jumps(s.distance, -1),
    "hide": lambda s: s.other_rests and forward(s.distance, -1) and hidden(s),
    "emerge": lambda s: s.other_rests and forward(s.distance, 1) and hidden(s),
}


def grown(s: Seen, sign: int) -> bool:
    """A picture of half the size comes just before (after) the whole one."""
    whole = s.area.max()
    between = np.flatnonzero((s.area > 0) & (s.area < 0.85 * whole))
    ways = [np.sign(s.area[i + 1] - s.area[i]) for i in between if i + 1 < len(s.area)]
    ways += [np.sign(s.area[i] - s.area[i - 1]) for i in between if i > 0]
    # Its beginning anew, from the whole to nothing or back, goes the other way, once.
    return bool(ways) and sum(w == sign for w in ways) >= len(ways) - 1


def crossed(s: Tracks) -> bool:
    """At some time each is where the other was."""
    main = np.stack((s.main.x, s.main.y), 1)
    other = np.stack((s.other.x, s.other.y), 1)
    between = np.linalg.norm(main[:, None] - other[None], axis=-1)
    return bool(np.nanmin(between) < 0.1)


def turned(s: Tracks) -> float:
    angle = np.unwrap(np.arctan2(s.main.y - s.other.y, s.main.x - s.other.x))
    return float(abs(np.degrees(angle[-1] - angle[0])))


def hidden(s: Tracks) -> bool:
    """In some frame the pixels are those of the other object alone."""
    change = np.abs(s.together.frames.astype(int) - s.other.frames).max(-1) > 40
    return bool(change.mean((1, 2)).min() < 0.002 and change.mean((1, 2)).max() > 0.01)


def test_every_event_has_a_check() -> None:
    assert set(CHECKS) == set(EVENTS_V2) and len(CONFIG.motions) == 34


@pytest.mark.parametrize("motion", EVENTS_V2)
def test_label_is_true_in_any_window(motion: str) -> None:
    for seed in range(6):
        scene = clean(motion, seed)
        for start_s in WINDOW_STARTS_S:
            seen = Tracks(scene, start_s) if motion in DOUBLE else Seen(scene, start_s)
            assert CHECKS[motion](seen), (motion, seed, start_s, scene.drive)


@pytest.mark.parametrize(
    ("motion", "opposite"),
    [("appear", "vanish"), ("fall", "launch"), ("approach", "depart"), ("hide", "emerge")],
)
def test_order_in_time_tells_the_two_apart(motion: str, opposite: str) -> None:
    """Played backwards an event passes the check of its opposite and fails its own."""
    for one, two in ((motion, opposite), (opposite, motion)):
        scene = clean(one, 3)
        times = np.arange(64) / 8 + 0.01
        spec, twin = MOTIONS[one], MOTIONS[two]
        period = 1 / scene.drive.rate
        drive = dataclasses.replace(scene.drive, phase=0.0)
        a = spec.pose(times, drive)
        b = twin.pose(period - np.mod(times, period), drive)
        for field in ("dx", "dy", "scale_x", "opacity"):
            assert np.allclose(getattr(a, field), getattr(b, field), atol=1e-6)
        seen = Tracks(scene, 0.3) if one in DOUBLE else Seen(scene, 0.3)
        assert CHECKS[one](seen) and not CHECKS[two](seen)


@pytest.mark.parametrize("motion", EVENTS_V2)
def test_events_stay_in_view(motion: str) -> None:
    for seed in range(10):
        scene = clean(motion, seed)
        spec = MOTIONS[motion]
        times = np.linspace(0, 5, 60)
        pose = spec.pose(times, scene.drive)
        parts = [(scene.centres[0], scene.diameter, pose)]
        if scene.other is not None:
            moved = spec.companion(times, scene.drive) if spec.companion else Pose.rest(60)
            parts.append((scene.other.centre, scene.other.diameter, moved))
        for (x, y), diameter, track in parts:
            for at in (x + track.dx, y + track.dy):
                assert at.min() > 0.4 * diameter - 0.02 and at.max() < 1.02 - 0.4 * diameter


def test_samples_are_functions_of_their_arguments() -> None:
    for sampler, split in itertools.product(
        (sample_clip, sample_image, sample_stream_clip), SPLITS
    ):
        one, again = (sampler(4, 2, CONFIG, split) for _ in range(2))
        assert one.frames.tobytes() == again.frames.tobytes() and one.scene == again.scene
        assert one.scene.world == 2
        assert Scene.from_dict(one.scene.to_dict()) == one.scene
    assert sample_clip(4, 2, CONFIG).scene != sample_clip(4, 3, CONFIG).scene


def test_all_that_is_promised_occurs() -> None:
    drawn = scenes(4000)
    assert {s.motion for s in drawn} == set(CONFIG.motions)
    assert len({s.object for s in drawn}) == 300
    assert {s.count for s in drawn} == {1, 2, 3, 4, 5, 6}
    assert {s.style for s in drawn} == set(STYLES[:2])
    assert {s.style for s in scenes(50, "style")} == {STYLES[2]}
    for share, low in (
        ([s.sensor.pan > 0 for s in drawn], 0.1),
        ([s.sensor.light > 0 for s in drawn], 0.2),
        ([s.sensor.blur > 0 for s in drawn], 0.1),
        ([s.relation is not None for s in drawn], 0.03),
        ([any(d.front for d in s.distractors) for s in drawn], 0.03),
        ([s.count > 1 for s in drawn], 0.08),
        ([bool(s.other and s.other.colour) for s in drawn], 0.05),
    ):
        assert np.mean(share) > low
    popular = np.mean([s.object in OBJECTS[:POPULAR] for s in drawn])
    assert 0.25 < popular < 0.4
    held = {(s.object, s.motion) for s in scenes(300, "pairs")}
    assert all(is_held_out_pair(*pair) for pair in held)
    assert not any(is_held_out_pair(s.object, s.motion) for s in drawn)


def test_what_the_camera_adds_can_be_seen() -> None:
    scene = clean("still", 1)
    times = np.array([0.0, 1.5])
    plain = render(scene, times, SIZE)
    assert (plain[0] == plain[1]).all()
    panned = render(dataclasses.replace(scene, sensor=Sensor(7, pan=0.08)), times, SIZE)
    assert (panned[0] != panned[1]).any()
    lit = render(dataclasses.replace(scene, sensor=Sensor(7, light=0.8)), times, SIZE)[0]
    assert np.ptp(lit[:, :, 1].astype(int) - plain[0][:, :, 1]) > 20
    soft = render(dataclasses.replace(scene, sensor=Sensor(7, blur=0.006)), times, SIZE)[0]
    edges = [np.abs(np.diff(f.astype(int), axis=1)).max() for f in (plain[0], soft)]
    assert edges[1] < 0.8 * edges[0]


def test_captions_are_true_and_unambiguous() -> None:
    rng = np.random.default_rng(0)
    for scene in scenes(500):
        phrasings = all_phrasings(scene)
        assert phrasings[0] == canonical_caption(scene) and len(set(phrasings)) >= 18
        names = {scene.object, *SYNONYMS.get(scene.object, ())}
        nouns = names if scene.count == 1 else {plural(name) for name in names}
        for text in (*phrasings, caption(scene, rng), image_caption(scene, rng)):
            padded = f" {text} "
            assert any(f" {noun} " in padded for noun in nouns), text
            said = {w for w in text.split() if w in COLOURS}
            other = scene.other.colour if scene.other else None
            assert said <= {scene.colour, other} and (scene.colour is None or scene.colour in said)
            if scene.count > 1:
                assert COUNT_WORDS[scene.count] in text.split()
        for text in phrasings:
            assert (scene.other is None) == ("something" not in text and "{" not in text) or (
                scene.other is None or scene.other.object in text
            )
        assert caption(scene, rng) in phrasings
    owners: dict[str, str] = {}
    for motion in CONFIG.motions:
        for forms in verb_phrases(motion, "a dog"):
            assert owners.setdefault(forms[1], motion) == motion, forms


def test_words_are_held_out() -> None:
    rng = np.random.default_rng(1)
    said = {word for scene in scenes(3000) for word in caption(scene, rng).split()}
    held = {word.partition("|")[0].split()[-1] for word in HELD_OUT_VERBS.values()}
    thirds = {verb + "s" for verb in held} | {verb + "es" for verb in held}
    assert not said & set(HELD_OUT_SYNONYMS.values())
    assert not said & thirds
    names = set(OBJECTS)
    for words in SYNONYMS.values():
        assert not names & set(words)
    assert not names & set(HELD_OUT_SYNONYMS.values())
    assert set(SYNONYMS) | set(HELD_OUT_SYNONYMS) <= names and set(HELD_OUT_VERBS) <= set(MOTIONS)
    texts = [held_out_caption(scene) for scene in scenes(400)]
    assert sum(text is not None for text in texts) > 100
    for text, scene in zip(texts, scenes(400), strict=True):
        assert text is None or text not in all_phrasings(scene)


def test_questions_are_answerable() -> None:
    rng = np.random.default_rng(3)
    kinds, presence, zero = set(), [], 0
    for scene in scenes(1500):
        for question in questions(scene, rng, CONFIG):
            kinds.add(question.kind)
            assert question.answer in question.candidates, question
            assert len(set(question.candidates)) == len(question.candidates) >= 2
            words = question.query.rstrip("?").split()
            if question.kind == "presence":
                seen = any(f" {name} " in f" {' '.join(words)} " for name in scene.names())
                assert seen == (question.answer == "yes"), question
                presence.append(question.answer)
            elif question.kind == "count":
                asked = next(n for n in OBJECTS if f" {plural(n)} " in f" {' '.join(words)} ")
                assert COUNT_WORDS[count_of(scene, asked)] == question.answer
                zero += question.answer == "zero"
            elif question.kind == "next":
                after = next_step(scene.motion, CONFIG.motions)
                assert verb_phrases(after)[0][0].split()[0] in question.answer or scene.count == 1
            elif question.kind == "role":
                assert scene.other and question.answer.endswith(scene.other.object)
            elif question.kind == "caption":
                true = set(all_phrasings(scene))
                assert [c for c in question.candidates if c in true] == [question.answer]
    assert kinds == set(KINDS_V2) and zero > 20
    assert 0.4 < presence.count("yes") / len(presence) < 0.6


def test_complex_counts_are_counts_of_pixels_too() -> None:
    """Two groups: the same thing in two colours, or two things; each group is drawn apart."""
    found = 0
    for scene in scenes(4000):
        group = [d for d in scene.distractors if not d.front and d.diameter == scene.diameter]
        if not group:
            continue
        found += 1
        name, colour = group[0].object, group[0].colour
        assert count_of(scene, name, colour) == len(group)
        if name == scene.object:
            assert colour != scene.colour and count_of(scene, name) == len(group) + scene.count
        for one, two in itertools.combinations([*scene.centres, *(d.centre for d in group)], 2):
            assert np.hypot(one[0] - two[0], one[1] - two[1]) > 0.9 * scene.diameter
    assert found > 40


def test_absent_objects() -> None:
    rng = np.random.default_rng(5)
    for scene in scenes(200):
        for negatives in ("random", "popular", "adversarial"):
            name = absent(rng, scene, CONFIG, negatives)
            assert name not in scene.names()
            if negatives == "popular":
                assert name in OBJECTS[:POPULAR]
            elif negatives == "adversarial":
                assert name in kin(scene.object, CONFIG.objects)
    with pytest.raises(ValueError, match="unknown negatives 'hard'"):
        absent(rng, scene, CONFIG, "hard")


def test_routines_hold_each_motion_once() -> None:
    motions = [motion for routine in ROUTINES for motion in routine]
    assert sorted(motions) == sorted(CONFIG.motions)
    for motion in motions:
        after = next_step(motion, CONFIG.motions)
        assert after != motion and MOTIONS[after].partner == MOTIONS[motion].partner
    assert next_step("appear", ("appear", "left")) == "appear"
    assert next_step("vanish", ("vanish", "grow")) == "grow"


def test_streams_follow_the_routines_at_24_annotations_a_minute() -> None:
    counts, follows = [], 0
    for seed in range(6):
        stream = make_stream(seed, 120.0, CONFIG)
        counts.append(len(stream.segments) / 2)
        for before, after in itertools.pairwise(stream.segments):
            assert 1.49 <= after.end_s - after.start_s <= 3.51
            if after.change == "motion":
                follows += 1
                assert after.scene.motion == next_step(before.scene.motion, CONFIG.motions)
                assert after.scene.object == before.scene.object
                if MOTIONS[after.scene.motion].partner:
                    assert after.scene.other and before.scene.other
                    assert after.scene.other.object == before.scene.other.object
    assert 21 < np.mean(counts) < 27 and follows > 20
    assert make_stream(3, 600.0, CONFIG).segments[-1].end_s == 600.0


@pytest.mark.parametrize("motion", ["hide", "collide", "orbit", "approach"])
def test_patches_of_two_objects(motion: str) -> None:
    """Patches of either object are those that change when it is taken away."""
    agreed = total = 0
    for seed in range(8):
        scene = dataclasses.replace(clean(motion, seed), start_s=0.4)
        assert scene.other is not None
        times = window_times(CONFIG)
        truth = patch_truth(scene, times, 8)
        frames = render(scene, times, SIZE).astype(int)
        without_main = render(dataclasses.replace(scene, diameter=1e-6), times, SIZE)
        tiny = dataclasses.replace(scene.other, diameter=1e-6)
        without_other = render(dataclasses.replace(scene, other=tiny), times, SIZE)
        for number, empty in ((1, without_main), (2, without_other)):
            changed = np.abs(frames - empty).max(-1) > 24
            share = changed.reshape(4, 2, 8, 16, 8, 16).mean((1, 3, 5))
            sure = (share > 0.65) | (share < 0.01)
            agreed += int(((share > 0.65) == (truth.owner == number))[sure].sum())
            total += int(sure.sum())
    assert agreed / total > 0.95
    moving = np.abs(truth.other_rates[:, :2]).max() > 0.01
    assert moving == (MOTIONS[motion].companion is not None)


def test_pick_and_mostly_are_what_the_checks_need() -> None:
    """The checks of version 1 hold for its motions in version 2's scenes."""
    rng = np.random.default_rng(2)
    assert pick(rng, ["only"]) == "only"
    scene = clean("left", 1)
    assert mostly(steps(Seen(scene, 0.0).x) < -0.01)


def test_clips_of_two_states_show_what_changed() -> None:
    """Half a window before, half after; the action is one that leaves another state; the same clip
    every time, and never one of the questions'."""
    config = world.WorldConfig.v2(size=48, p_noise=0.0)
    for index in range(12):
        clip = world.sample_state_clip(3, index, config)
        again = world.sample_state_clip(3, index, config)
        assert np.array_equal(clip.frames, again.frames) and clip.caption == again.caption
        assert clip.scene.motion in OPPOSITES and clip.scene.start_s == 0.0
        before, after = clip.frames[:4], clip.frames[4:]
        assert (before == before[0]).all() and (after == after[0]).all()
        assert not np.array_equal(before[0], after[0])
    asked = world.sample_state_change(3, 0, config, split="train")
    assert not np.array_equal(asked.before, world.sample_state_clip(3, 0, config).frames[0])
    restless = world.WorldConfig.v2(motions=("orbit", "shake"))
    assert not world.has_states(restless) and world.has_states(config)
    with pytest.raises(ValueError, match="leaves another state"):
        world.sample_state_clip(1, 0, restless)
