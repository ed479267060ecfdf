"""Who signs the embedded corpus, and how: hand shapes, places and movements of invented signs, as a camera sees them.

The signs are defined here by their parameters; `sign` turns glosses into landmarks.
"""

from dataclasses import dataclass

import numpy as np

FPS = 25.0

# Bends of thumb, index, middle, ring and little finger (0 straight, 1 closed), and how far the fingers are spread
SHAPES = {
    "flat": (0.2, 0.0, 0.0, 0.0, 0.0, 0.0),
    "five": (0.0, 0.0, 0.0, 0.0, 0.0, 1.0),
    "fist": (1.0, 1.0, 1.0, 1.0, 1.0, 0.0),
    "index": (1.0, 0.0, 1.0, 1.0, 1.0, 0.0),
    "vee": (1.0, 0.0, 0.0, 1.0, 1.0, 1.0),
    "claw": (0.4, 0.5, 0.5, 0.5, 0.5, 1.0),
    "thumb": (0.0, 1.0, 1.0, 1.0, 1.0, 0.0),
    "horns": (0.0, 1.0, 1.0, 1.0, 0.0, 0.6),
    "pinch": (0.6, 0.7, 0.1, 0.0, 0.0, 0.6),
}
# Where the right wrist begins: from mid-shoulder, in shoulder widths; x to the image's right (the signer's left), y
# down, z away from the camera
PLACES = {
    "forehead": (-0.20, -0.75, -0.35),
    "cheek": (-0.35, -0.45, -0.30),
    "shoulder": (-0.50, 0.10, -0.30),
    "chest": (-0.15, 0.45, -0.35),
    "neutral": (-0.35, 0.75, -0.60),
    "side": (-0.85, 0.45, -0.40),
    "belly": (-0.20, 1.05, -0.35),
}
# Angles of the hand: in the image (0: fingers up), about its long axis, and towards the camera
ORIENTATIONS = {"up": (0.0, 0.0, 0.2), "in": (1.2, 0.3, 0.2), "down": (0.5, 2.6, 1.0), "edge": (0.3, 1.4, 0.3)}
# Standard deviations of a signer's own way of a sign: place, bends and spread, angles
HABIT = np.array([0.12] * 3 + [0.12] * 6 + [0.35] * 3)
REST = (-0.55, 1.60, -0.10)  # a hanging hand; the detector mostly loses it


def _movement(name: str, s: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Way (F, 3) of the wrist, wriggling (F,) of the fingers, turning (F,) of the hand at shares s (F,) of a sign."""
    wave, zero = 2 * np.pi * s, np.zeros_like(s)
    ways = {
        "hold": (zero, zero, zero),
        "down": (zero, 0.45 * s, zero),
        "up": (zero, -0.45 * s, zero),
        "out": (-0.45 * s, zero, zero),
        "across": (0.45 * s, zero, zero),
        "arc": (0.45 * s, -0.30 * np.sin(np.pi * s), zero),
        "circle": (0.18 * np.sin(wave), 0.18 * (1 - np.cos(wave)), zero),
        "tap": (zero, 0.14 * np.abs(np.sin(wave)), -0.1 * np.abs(np.sin(wave))),
        "sway": (0.2 * np.sin(2 * wave), zero, zero),
        "zigzag": (0.14 * np.sin(2 * wave), 0.45 * s, zero),
        "wriggle": (zero, 0.4 * s, zero),
        "twist": (zero, zero, zero),
    }
    wriggle = 0.35 * np.sin(2 * wave) if name == "wriggle" else zero
    turn = 0.7 * np.sin(2 * wave) if name == "twist" else zero
    return np.stack(ways[name], axis=1), wriggle, turn


@dataclass(frozen=True)
class Sign:
    """Hand shape, place, movement, orientation, number of hands, and the shape it ends with where that differs."""

    shape: str
    place: str
    movement: str
    orientation: str = "up"
    hands: int = 1
    last_shape: str | None = None


# Several differ in one parameter alone, as real signs do: the four directions by movement, SCHNEE and REGEN by shape,
# NEBEL and WOLKE by movement, BERG and VIEL by shape, STARK and FROST by hands.
SIGNS = {
    "time": {
        "HEUTE": Sign("flat", "neutral", "tap", "in", 2),
        "MORGEN": Sign("thumb", "cheek", "arc"),
        "NACHT": Sign("flat", "chest", "across", "in", 2),
        "TAG": Sign("index", "chest", "arc", "up"),
    },
    "place": {
        "NORD": Sign("index", "neutral", "up"),
        "SUED": Sign("index", "neutral", "down"),
        "OST": Sign("index", "neutral", "across"),
        "WEST": Sign("index", "neutral", "out"),
        "BERG": Sign("flat", "chest", "zigzag", "edge", 1),
        "KUESTE": Sign("flat", "belly", "sway", "down"),
    },
    "weather": {
        "REGEN": Sign("claw", "forehead", "wriggle", "down", 2),
        "SCHNEE": Sign("five", "forehead", "wriggle", "down", 2),
        "SONNE": Sign("fist", "forehead", "hold", "up", 1, "five"),
        "WIND": Sign("five", "shoulder", "sway", "edge", 2),
        "NEBEL": Sign("claw", "cheek", "circle", "up", 2),
        "WOLKE": Sign("claw", "cheek", "sway", "up", 2),
        "GEWITTER": Sign("index", "forehead", "zigzag"),
        "FROST": Sign("fist", "shoulder", "tap", "edge", 2),
    },
    "degree": {
        "STARK": Sign("fist", "shoulder", "tap", "edge"),
        "WENIG": Sign("pinch", "neutral", "twist"),
        "VIEL": Sign("five", "chest", "zigzag", "edge", 1),
    },
    "verb": {
        "KOMMEN": Sign("index", "side", "across", "in"),
        "BLEIBEN": Sign("horns", "neutral", "down", "edge"),
        "AENDERN": Sign("vee", "neutral", "twist", "edge", 2),
    },
}
SIGN_OF = {gloss: sign for signs in SIGNS.values() for gloss, sign in signs.items()}


# ---- signing ----
# A hand's track is (F, 12): wrist x, y, z; bends of five fingers and their spread; three angles. Both hands are
# written as right ones; the left one is mirrored when its points are made.


@dataclass(frozen=True)
class Signer:
    """Who signs: build, camera, tempo and habits. Lengths are in shoulder widths, angles in radians."""

    width: float  # shoulder width in the image, pixels
    centre: np.ndarray  # (2,) mid-shoulder in the image, pixels
    yaw: float  # how far the body is turned away from the camera
    roll: float  # how far camera or body is tilted
    reach: float  # factor on the places: arm length against shoulder width
    hand: float  # from the wrist to the middle finger's tip
    tempo: float
    extent: float  # factor on the movements
    places: dict[str, np.ndarray]  # (3,) where this signer's places differ from the book's
    shapes: dict[str, np.ndarray]  # (6,) how the hand shapes do
    turn: np.ndarray  # (3,) how the hand is held
    habits: dict[str, np.ndarray]  # (12,) what is this signer's own in a sign, by gloss, as a track has it
    noise: float  # the detector's, standard deviation
    losses: float  # hands that the detector loses, bursts a frame

    @classmethod
    def drawn(cls, rng: np.random.Generator) -> "Signer":
        return cls(
            width=rng.uniform(120, 230),
            centre=np.array([rng.uniform(210, 290), rng.uniform(210, 280)]),
            yaw=rng.normal(0, 0.2),
            roll=rng.normal(0, 0.06),
            reach=rng.uniform(0.85, 1.15),
            hand=rng.uniform(0.40, 0.55),
            tempo=rng.uniform(0.75, 1.35),
            extent=rng.uniform(0.6, 1.4),
            places={name: rng.normal(0, 0.12, 3) for name in PLACES},
            shapes={name: rng.normal(0, 0.15, 6) for name in SHAPES},
            turn=rng.normal(0, 0.3, 3),
            habits={gloss: rng.normal(0, HABIT) for gloss in SIGN_OF},
            noise=rng.uniform(0.008, 0.02),
            losses=rng.uniform(0.0, 0.03),
        )


def sign(text: str, signer: Signer, rng: np.random.Generator) -> np.ndarray:
    """Glosses -> (F, 48, 3) float16, as a detector would have found them."""
    resting = np.concatenate([REST, SHAPES["claw"], ORIENTATIONS["down"]])
    start = np.tile(resting, (rng.integers(2, 7), 1))
    right, left = [start], [start]
    for gloss in text.split():
        to_right, to_left = _stroke(gloss, signer, rng)
        if to_left is None:
            to_left = np.tile(resting, (len(to_right), 1))
        _append(right, left, to_right, to_left, round(rng.uniform(4, 8) / signer.tempo))
    end = np.tile(resting, (rng.integers(2, 7), 1))
    _append(right, left, end, end, round(rng.uniform(5, 9) / signer.tempo))
    return _filmed(np.concatenate(right), np.concatenate(left), signer, rng)


def _stroke(gloss: str, signer: Signer, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
    """Tracks (F, 12) of one sign, None for a hand that rests."""
    one, habit = SIGN_OF[gloss], signer.habits[gloss]
    frames = max(4, round(rng.uniform(8, 14) / signer.tempo))
    s = np.linspace(0, 1, frames) ** rng.uniform(0.75, 1.3)
    way, wriggle, turn = _movement(one.movement, s)
    first, last = (np.array(SHAPES[shape]) + signer.shapes[shape] for shape in (one.shape, one.last_shape or one.shape))
    bends = first + (last - first) * s[:, None] + habit[3:9] + rng.normal(0, 0.05, 6)
    bends[:, 1:5] += wriggle[:, None] * np.array([1, -1, 1, -1])
    angles = np.array(ORIENTATIONS[one.orientation]) + signer.turn + habit[9:] + rng.normal(0, 0.1, 3)
    angles = np.column_stack([angles[0] + turn, np.full_like(s, angles[1]), np.full_like(s, angles[2])])
    way = way * signer.extent * rng.uniform(0.8, 1.2)

    def track() -> np.ndarray:  # each hand is a little off by itself
        place = (np.array(PLACES[one.place]) + signer.places[one.place] + habit[:3]) * signer.reach
        place += rng.normal(0, 0.05, 3)
        return np.column_stack([place + way, np.clip(bends, -0.15, 1.15), angles])

    return track(), track() if one.hands == 2 else None


def _append(right: list, left: list, to_right: np.ndarray, to_left: np.ndarray, frames: int) -> None:
    """Go on with two tracks, after the way to their beginning in so many frames, slow at both its ends."""
    s = np.arange(1, frames + 1)[:, None] / (frames + 1)
    s = s * s * (3 - 2 * s)
    for tracks, to in ((right, to_right), (left, to_left)):
        tracks += [tracks[-1][-1] + s * (to[0] - tracks[-1][-1]), to]


def _filmed(right: np.ndarray, left: np.ndarray, signer: Signer, rng: np.random.Generator) -> np.ndarray:
    """Tracks (F, 12) of both hands -> (F, 48, 3) float16: points, seen by the camera, found by a detector."""
    frames = len(right)
    hands, arms = [], []
    for side, track in ((1, right), (-1, left)):
        mirror = np.array([side, 1, 1])
        wrist = track[:, :3]
        shoulder = np.tile([-0.5, 0.0, 0.0], (frames, 1))
        span = np.sqrt(((wrist - shoulder) ** 2).sum(axis=1, keepdims=True))
        out = np.sqrt(np.maximum(0.72**2 - span**2 / 4, 0)) * np.array([-0.6, 0.8, 0.0])
        hands.append(_hand(track, signer.hand) * mirror)
        arms.append([point * mirror for point in (shoulder, (shoulder + wrist) / 2 + out, wrist)])
    (right_shoulder, right_elbow, right_wrist), (left_shoulder, left_elbow, left_wrist) = arms
    arm_points = [left_shoulder, right_shoulder, right_elbow, right_wrist, left_elbow, left_wrist]
    points = np.concatenate([*hands, np.stack(arm_points, axis=1)], axis=1)  # (F, 48, 3)

    drift = 0.04 * np.sin(np.arange(frames)[:, None] / FPS * rng.uniform(1, 4) + rng.uniform(0, 6, 2))
    points[..., :2] += drift[:, None]
    x, y, z = np.moveaxis(points, -1, 0)
    x, z = x * np.cos(signer.yaw) + z * np.sin(signer.yaw), z * np.cos(signer.yaw) - x * np.sin(signer.yaw)
    x, y = x * np.cos(signer.roll) - y * np.sin(signer.roll), x * np.sin(signer.roll) + y * np.cos(signer.roll)
    points = np.stack([x, y, 0.1 * z], axis=-1)  # depth is what a single camera hardly sees
    points += rng.normal(0, signer.noise, points.shape)
    points[:, :21] += rng.normal(0, signer.noise, (frames, 1, 3))  # a hand is found as a whole, or beside its place
    points[:, 21:42] += rng.normal(0, signer.noise, (frames, 1, 3))
    points = points * signer.width + np.array([*signer.centre, 250.0])

    for part, track in ((slice(0, 21), right), (slice(21, 42), left)):
        lost = track[:, 1] > 1.35  # hanging hands are out of the picture
        for start in rng.integers(0, frames, rng.poisson(signer.losses * frames)):
            lost[start : start + rng.integers(1, 6)] = True
        points[lost, part] = 0
    return points.astype(np.float16)


def _hand(track: np.ndarray, size: float) -> np.ndarray:
    """Tracks (F, 12) -> the right hand's points (F, 21, 3): wrist, then thumb to little finger, from base to tip."""
    bends, spread = track[:, 3:8], track[:, 8]
    # in the hand's own plane: x to the thumb's side, y along the hand, z out of the palm; 1 is the hand's length
    base = np.array([(0.14, 0.15), (0.16, 0.50), (0.05, 0.52), (-0.06, 0.50), (-0.16, 0.45)])
    splay = np.array([0.35, 0.25, 0.05, -0.12, -0.32])
    lengths = np.array([(0.20, 0.15, 0.12)] + [(0.24, 0.14, 0.10)] * 4)
    joints = np.array([(0.5, 0.6, 0.6)] + [(1.3, 1.7, 1.0)] * 4).cumsum(axis=1)
    points = np.zeros((len(track), 21, 3))
    for finger in range(5):
        aside = splay[finger] * spread + (0.9 * (1 - bends[:, 0]) if finger == 0 else 0.0)
        at = np.tile([*base[finger], 0.0], (len(track), 1))
        points[:, 1 + 4 * finger] = at
        for joint in range(3):
            flex = bends[:, finger] * joints[finger, joint]
            step = np.stack([np.sin(aside) * np.cos(flex), np.cos(aside) * np.cos(flex), np.sin(flex)], axis=1)
            at = at + lengths[finger, joint] * step
            points[:, 2 + 4 * finger + joint] = at
    x, y, z = np.moveaxis(points, -1, 0)
    inplane, about, towards = track[:, 9:, None].transpose(1, 0, 2)  # (F, 1) each
    x, z = x * np.cos(about) + z * np.sin(about), z * np.cos(about) - x * np.sin(about)
    y, z = y * np.cos(towards) - z * np.sin(towards), y * np.sin(towards) + z * np.cos(towards)
    x, y = x * np.cos(inplane) + y * np.sin(inplane), y * np.cos(inplane) - x * np.sin(inplane)
    return track[:, None, :3] + size * np.stack([x, -y, -z], axis=-1)
