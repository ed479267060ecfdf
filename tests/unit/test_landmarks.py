"""Landmarks: what is read and refused, features in closed form, augmentation that keeps its promises."""

import csv
import hashlib
import math
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchaudio.functional import compute_deltas

from carryover.data.landmarks import (
    Augmentation,
    Landmarks,
    Layout,
    NoAugmentation,
    inspect,
    missing,
    read,
    resample,
    shoulders,
)

HOLISTIC, ARMS = Layout.holistic(), Layout.hands_and_arms()
SMALL = Layout("small", {"body": 3, "hand": 2}, (0, 1), 4, ("hand",))
LEFT, RIGHT = slice(21, 42), slice(0, 21)


def made(frames, layout=ARMS, seed=5, width=200.0):
    """(F, P, C) noise about a signer whose shoulders are `width` apart."""
    generator = torch.Generator().manual_seed(seed)
    array = 250 + 20 * torch.randn(frames, layout.points, layout.coordinates, generator=generator)
    left, right = layout.shoulders
    array[:, left, 0], array[:, right, 0] = 250 + width / 2, 250 - width / 2
    array[:, [left, right], 1:3] = 250.0
    return array


def saved(path, array):
    np.save(path, np.asarray(array))
    return path


# ---- layouts ----


def test_holistic_is_mediapipes_543_points_of_the_thesis():
    assert HOLISTIC.slices == {
        "pose": slice(0, 33),
        "face": slice(33, 501),
        "left hand": slice(501, 522),
        "right hand": slice(522, 543),
    }
    assert (HOLISTIC.points, HOLISTIC.width, HOLISTIC.shoulders) == (543, 2172, (11, 12))
    assert [Landmarks(HOLISTIC, n).width for n in (0, 1, 2)] == [2172, 4344, 6516]


def test_hands_and_arms_are_those_of_the_real_files(shared):
    """The shoulders are where the layout says: level, some 200 apart, the signer's left one on the image's right."""
    with open(shared / "sign" / "manifest.tsv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    rows, apart = rows[::20], []
    for row in rows:
        path = shared / "sign" / row["path"]
        seconds, form, digest = inspect(path, ARMS, float(row["fps"]))
        assert seconds == pytest.approx(int(row["frames"]) / float(row["fps"]))
        assert form.endswith("Hz x 48 points x 3") and digest == hashlib.sha256(path.read_bytes()).hexdigest()
        array = torch.from_numpy(read(path, ARMS).array)
        middle, distance = shoulders(array, ARMS)
        left, right = array[:, 42].median(dim=0).values, array[:, 43].median(dim=0).values
        assert 150 < distance < 260 and left[0] > right[0] and abs(left[1] - right[1]) < 60
        # elbows and wrists are below them on their own sides, the right hand is at the right wrist
        arms = Landmarks(ARMS, 0).normalise(array)[:, 42:].median(dim=0).values
        assert arms[2, 1] > 0 and arms[2, 0] < 0 < arms[4, 0]
        gone = missing(array)
        if not gone[:, 0].all():  # some signers are left-handed
            found = array[~gone[:, 0]]
            apart.append(float((found[:, 0] - found[:, 45])[:, :2].norm(dim=-1).median() / distance))
        assert (gone[:, RIGHT].all(dim=1) == gone[:, RIGHT].any(dim=1)).all()  # a hand is there or not
    assert len(apart) > 20 and max(apart) < 0.35


@pytest.mark.parametrize(
    "change, words",
    [
        ({"coordinates": 2}, "2 coordinates a point; expected x, y, z"),
        ({"shoulders": (0, 5)}, "shoulders are 0 and 5; expected two of its 5 points"),
        ({"shoulders": (1, 1)}, "shoulders are 1 and 1"),
        ({"can_miss": ("foot",)}, "can_miss names 'foot'; expected of body, hand"),
    ],
)
def test_a_layout_that_cannot_be_is_refused(change, words):
    given = {"name": "x", "groups": {"body": 3, "hand": 2}, "shoulders": (0, 1)} | change
    with pytest.raises(ValueError, match=f"layout x: {words}"):
        Layout(**given)


# ---- reading ----


def test_every_form_of_a_file_is_the_same_sequence(tmp_path):
    array = made(7).numpy().astype(np.float16)
    flat = saved(tmp_path / "flat.npy", array.reshape(7, -1))
    cube = saved(tmp_path / "cube.npy", array)
    np.savez(tmp_path / "a.npz", landmarks=array.astype(np.float64), fps=30)
    np.savez_compressed(tmp_path / "b.npz", landmarks=array.reshape(7, -1))
    for path, fps in ((flat, 25.0), (cube, 25.0), (tmp_path / "a.npz", 30.0), (tmp_path / "b.npz", 25.0)):
        sequence = read(path, ARMS, fps=25.0)  # a file's own rate wins
        assert sequence.array.dtype == np.float32 and sequence.array.shape == (7, 48, 3) and sequence.fps == fps
        np.testing.assert_array_equal(sequence.array, array.astype(np.float32))
        seconds, form, _ = inspect(path, ARMS, fps=25.0)
        assert (seconds, form) == (7 / fps, f"{fps:g} Hz x 48 points x 3")
    assert read(flat, ARMS).fps is None


def test_a_pose_file_is_read_by_pose_format(tmp_path):
    pose_format = pytest.importorskip("pose_format")
    from pose_format.numpy import NumPyPoseBody
    from pose_format.pose_header import PoseHeader, PoseHeaderComponent, PoseHeaderDimensions

    names = {"POSE_LANDMARKS": 33, "FACE_LANDMARKS": 468, "LEFT_HAND_LANDMARKS": 21, "RIGHT_HAND_LANDMARKS": 21}
    components = [
        PoseHeaderComponent(name, [str(i) for i in range(n)], [], [], "XYZC")
        for name, n in (names | {"POSE_WORLD_LANDMARKS": 33}).items()
    ]
    array = made(6, HOLISTIC).numpy()
    confidence = np.ones((6, 1, 576), np.float32)
    confidence[2, 0, 501:522] = 0  # no left hand
    confidence[0, 0, 5] = 0.25
    data = np.concatenate([array[..., :3], np.full((6, 33, 3), 9.0)], axis=1)[:, None].astype(np.float32)
    body = NumPyPoseBody(25, np.ma.masked_array(data, np.repeat(confidence[..., None] == 0, 3, axis=-1)), confidence)
    path = tmp_path / "a.pose"
    with open(path, "wb") as file:
        pose_format.Pose(PoseHeader(0.2, PoseHeaderDimensions(640, 480, 0), components), body).write(file)
    sequence = read(path, HOLISTIC)
    assert sequence.fps == 25 and sequence.array.shape == (6, 543, 4)
    gone = missing(torch.from_numpy(sequence.array))
    assert gone[2, 501:522].all() and gone.sum() == 21
    assert sequence.array[0, 5, 3] == 0.25 and sequence.array[1, 5, 3] == 1
    np.testing.assert_array_equal(sequence.array[1, :, :3], array[1, :, :3])
    assert inspect(path, HOLISTIC)[:2] == (6 / 25, "25 Hz x 543 points x 4")
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ValueError, match="landmarks cannot be read: pose-format says"):
        inspect(path, HOLISTIC)


def test_a_pose_file_without_pose_format_names_the_command(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pose_format", None)
    (tmp_path / "a.pose").write_bytes(b"any")
    with pytest.raises(ImportError, match=r"pip install -e '\.\[pose\]'"):
        inspect(tmp_path / "a.pose", HOLISTIC)


def refusals(folder):
    """{file: reason} of files that preparation must refuse, each made here."""
    good, expected = made(5).numpy(), "expected 48 x 3 = 144 of layout hands_and_arms"
    cases = {
        "gone.npy": "landmarks cannot be opened: No such file or directory",
        "letter.npy": "landmarks cannot be read: no file of NumPy's, for it does not begin as .npy or .npz",
        "a.csv": "landmarks have an unknown ending: '.csv', expected one of .npy, .npz, .pose",
        "keys.npz": "landmarks cannot be read: no key 'landmarks', found left, right",
        "text.npy": "landmarks are no numbers: <U3, expected float32 or another real type",
        "empty.npy": "landmarks are empty (0 frames)",
        "wide.npy": f"landmarks do not fit the layout: 2172 values a frame, {expected}",
        "cube.npy": f"landmarks do not fit the layout: 48 x 4 values a frame, {expected}",
        "line.npy": f"landmarks do not fit the layout: no values a frame, {expected}",
        "rate.npz": "landmarks have no possible frame rate: 0.0 Hz",
        "point.npy": "landmarks hold NaN: frame 3, left hand, 1 of 21 points (only a whole group may be missing)",
        "arms.npy": "landmarks hold NaN: frame 2, arms, 6 of 6 points",
        "inf.npy": "landmarks hold inf: frame 1, right hand, 2 of 21 points",
        "one.npy": "shoulders coincide: 0 apart in the median of 5 frames; points (42, 43) of layout hands_and_arms",
        "none.npy": "shoulders are missing in every frame: points (42, 43) of layout hands_and_arms",
    }
    (folder / "letter.npy").write_text("Dear sir, these are no landmarks.")
    (folder / "a.csv").write_text("1,2,3")
    np.savez(folder / "keys.npz", left=good, right=good)
    np.savez(folder / "rate.npz", landmarks=good, fps=0)
    saved(folder / "text.npy", np.array([["abc"]]))
    saved(folder / "empty.npy", good[:0])
    saved(folder / "wide.npy", np.zeros((5, 2172)))
    saved(folder / "cube.npy", np.zeros((5, 48, 4)))
    saved(folder / "line.npy", np.zeros(5))
    for name, where, value in (
        ("point.npy", (3, 30), np.nan),
        ("arms.npy", (2, slice(42, 48)), np.nan),
        ("inf.npy", (1, slice(4, 6)), -np.inf),
        ("none.npy", (slice(None), 43), 0.0),
        ("one.npy", (slice(None), 43, slice(0, 2)), good[:, 42, :2]),
    ):
        array = good.copy()
        array[where] = value
        saved(folder / name, array)
    return cases


def test_what_is_refused_says_why(tmp_path):
    for name, reason in refusals(tmp_path).items():
        with pytest.raises(ValueError) as error:
            inspect(tmp_path / name, ARMS, 25.0)
        assert str(error.value) == reason, name
    with pytest.raises(ValueError, match="tell no frame rate: a .npy file without `fps`; give fps in the YAML"):
        inspect(saved(tmp_path / "good.npy", made(5)), ARMS)
    with pytest.raises(ValueError, match=r"wide.npy: landmarks do not fit"):  # the file is named where nobody else does
        read(tmp_path / "wide.npy", ARMS)
    (tmp_path / "cut.npy").write_bytes((tmp_path / "good.npy").read_bytes()[:-9])
    with pytest.raises(ValueError, match="landmarks cannot be read: "):
        inspect(tmp_path / "cut.npy", ARMS, 25.0)


def test_pickles_are_never_opened(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="landmarks cannot be read: .*allow_pickle"):
        inspect(tmp_path / "a.npy", ARMS, 25.0)


def test_a_whole_hand_that_is_nan_is_a_missing_hand(tmp_path):
    zeros, nans = made(6), made(6)
    zeros[2:4, LEFT], nans[2:4, LEFT] = 0, math.nan
    assert inspect(saved(tmp_path / "a.npy", nans), ARMS, 25.0)[0] == 6 / 25
    assert missing(nans).equal(missing(zeros)) and missing(nans)[2:4, LEFT].all() and missing(nans).sum() == 42
    features = Landmarks(ARMS)
    assert features(nans).equal(features(zeros)) and features(nans).isfinite().all()


# ---- features ----


def test_normalisation_of_a_pair_of_shoulders_made_by_hand():
    """Shoulders at (110, 50, 7) and (90, 50, 3): origin (100, 50, 5), unit 20. So (130, 60, 5) is at (1.5, 0.5, 0)."""
    array = torch.zeros(5, 5, 4)
    array[:, 0] = torch.tensor([110.0, 50, 7, 0.9])
    array[:, 1] = torch.tensor([90.0, 50, 3, 0.8])
    array[:, 2] = torch.tensor([130.0, 60, 5, 0.7])
    array[1:, 3:] = torch.tensor([100.0, 30, 45, 0.6])
    array[0, 3:, 3] = 0.6  # missing in frame 0, whatever its visibility says
    array[4, 0] = torch.tensor([900.0, 900, 900, 0.1])  # one frame's shoulder is wrong: the median does not follow it
    expected = torch.tensor(
        [[0.5, 0, 0.1, 0.9], [-0.5, 0, -0.1, 0.8], [1.5, 0.5, 0, 0.7], [0, -1, 2, 0.6], [0, -1, 2, 0.6]]
    )
    points = Landmarks(SMALL, 0).normalise(array)
    torch.testing.assert_close(points[1:4], expected.expand(3, 5, 4), atol=1e-6, rtol=0)
    torch.testing.assert_close(points[0, :3], expected[:3], atol=1e-6, rtol=0)
    assert (points[0, 3:] == 0).all()
    torch.testing.assert_close(points[4, 1:], expected[1:], atol=1e-6, rtol=0)
    middle, distance = shoulders(array, SMALL)
    assert middle.tolist() == [100, 50, 5] and distance == 20


@settings(max_examples=20)
@given(st.floats(0.01, 100), st.floats(-1000, 1000))
def test_features_do_not_know_where_and_how_large_the_signer_is(factor, shift):
    array = made(4)
    moved = factor * array.double() + shift
    torch.testing.assert_close(Landmarks(ARMS, 1)(moved), Landmarks(ARMS, 1)(array), atol=1e-3, rtol=0)


def test_differences_are_torchaudios():
    array = made(9)
    coordinates = Landmarks(ARMS, 0)(array)
    features = Landmarks(ARMS, 2)(array)
    first = compute_deltas(coordinates.T.contiguous()).T
    assert features.shape == (9, 432) and features.dtype == torch.float32
    assert features[:, :144].equal(coordinates) and coordinates.shape == (9, 144)
    torch.testing.assert_close(features[:, 144:288], first, atol=1e-6, rtol=0)
    torch.testing.assert_close(features[:, 288:], compute_deltas(first.T.contiguous()).T, atol=1e-6, rtol=0)
    assert Landmarks(ARMS, 1)(array).equal(features[:, :288])
    # and those are the formula: sum n (c_{t+n} - c_{t-n}) / 10, n = 1, 2
    c = coordinates
    torch.testing.assert_close(first[4], (c[5] - c[3] + 2 * (c[6] - c[2])) / 10, atol=1e-6, rtol=0)
    torch.testing.assert_close(first[0], (c[1] - c[0] + 2 * (c[2] - c[0])) / 10, atol=1e-6, rtol=0)


def test_one_frame_and_numpy_are_taken_and_other_shapes_refused():
    array = made(1)
    features = Landmarks(ARMS)(array)
    assert features.shape == (1, 432) and features[:, 144:].abs().max() < 1e-6
    assert Landmarks(ARMS)(array.numpy()).equal(features)
    with pytest.raises(ValueError, match=r"shape \(1, 144\); expected \(frames, 48, 3\) of layout hands_and_arms"):
        Landmarks(ARMS)(array.flatten(1))
    with pytest.raises(ValueError, match="differences: 3; give 0, 1 or 2"):
        Landmarks(ARMS, 3)


# ---- augmentation ----


def test_resampling_is_linear_and_never_averages_a_missing_point():
    array = torch.arange(5.0)[:, None, None] + torch.ones(5, 1, 3)  # 1, 2, 3, 4, 5
    assert resample(array, 9)[:, 0, 0].tolist() == [1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5]
    assert resample(array, 3)[:, 0, 0].tolist() == [1, 3, 5]
    assert resample(array, 1)[:, 0, 0].tolist() == [1]
    assert resample(array, 5) is array
    array[2] = 0
    slow = resample(array, 13)[:, 0, 0]  # a third of a frame each
    assert slow.tolist() == pytest.approx([1, 4 / 3, 5 / 3, 2, 2, 0, 0, 0, 4, 4, 13 / 3, 14 / 3, 5])


@pytest.mark.parametrize("lost", [0.0, math.nan])
@settings(max_examples=30)
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 60))
def test_augmentation_keeps_its_promises(lost, seed, frames, fewest):
    array = made(frames, seed=seed)
    array[:, LEFT] = lost
    array[frames // 3 : 2 * frames // 3, RIGHT] = lost
    before = array.clone()
    augmentation = Augmentation(ARMS, prob=1.0, speed=(0.5, 2.0), drop=0.5)
    out = augmentation(array, fewest, torch.Generator().manual_seed(seed))
    assert min(fewest, frames) <= len(out) <= 2 * frames and out.shape[1:] == (48, 3)
    assert array.nan_to_num(-1).equal(before.nan_to_num(-1))  # the argument is not written to
    gone = missing(out)
    assert gone[:, LEFT].all() and not gone[:, 42:].any()
    assert (gone[:, RIGHT].all(dim=1) == gone[:, RIGHT].any(dim=1)).all()  # no hand is half there
    values = out[gone]
    assert values.isnan().all() if math.isnan(lost) else (values == 0).all()
    again = augmentation(array, fewest, torch.Generator().manual_seed(seed))
    assert again.nan_to_num(-1).equal(out.nan_to_num(-1))


def test_draws_come_from_torchs_generator_so_that_a_resume_repeats_them():
    array, augmentation = made(30), Augmentation(ARMS, prob=0.9)
    torch.manual_seed(3)
    first = [augmentation(array, 10) for _ in range(4)]
    state = torch.get_rng_state()
    second = [augmentation(array, 10) for _ in range(4)]
    torch.set_rng_state(state)
    assert all(a.equal(b) for a, b in zip(second, (augmentation(array, 10) for _ in range(4)), strict=True))
    assert len({tuple(x.flatten()[:50].tolist()) for x in first + second}) > 5
    torch.manual_seed(3)
    given = torch.Generator().manual_seed(3)
    other = [augmentation(array, 10, given) for _ in range(4)]
    assert all(a.equal(b) for a, b in zip(first, other, strict=True))  # the one given counts as the global one


def test_probability_zero_and_the_null_object_are_the_identity():
    array = made(12)
    for augmentation in (Augmentation(ARMS, prob=0.0), NoAugmentation()):
        assert not augmentation.changes
        assert all(augmentation(array, 3) is array for _ in range(20))
    assert Augmentation(ARMS, prob=0.1).changes
    torch.manual_seed(0)
    some = Augmentation(ARMS, prob=0.25)
    assert sum(some(array) is not array for _ in range(1000)) == pytest.approx(250, abs=4 * math.sqrt(1000 / 4 * 3 / 4))


def test_each_change_alone_is_what_it_says():
    array = made(100)
    off = {"prob": 1.0, "speed": (1.0, 1.0), "drop": 0.0, "scale": (1.0, 1.0), "noise": 0.0}
    alone = lambda **on: Augmentation(ARMS, **(off | on))  # noqa: E731
    torch.manual_seed(1)
    torch.testing.assert_close(alone()(array), array, atol=1e-4, rtol=0)
    assert [len(alone(speed=(f, f))(array)) for f in (0.8, 1.25, 2.0)] == [125, 80, 50]
    torch.testing.assert_close(alone(speed=(2.0, 2.0))(array), resample(array, 50), atol=1e-4, rtol=0)
    lengths = [len(alone(drop=0.2)(array)) for _ in range(50)]
    assert min(lengths) >= 80 and max(lengths) <= 100 and len(set(lengths)) > 8
    kept = alone(drop=0.2)(array)
    rows = [int((array - frame).abs().amax(dim=(1, 2)).argmin()) for frame in kept]
    assert rows == sorted(set(rows))  # frames in their order, none twice
    # 20 % away from mid-shoulder (250, 250, 250), which normalisation must not undo: shoulders stay
    scaled = alone(scale=(1.2, 1.2))(array)
    torch.testing.assert_close(scaled[:, :42], 250 + 1.2 * (array[:, :42] - 250), atol=1e-3, rtol=0)
    torch.testing.assert_close(scaled[:, 42:44], array[:, 42:44], atol=1e-3, rtol=0)
    coordinates = Landmarks(ARMS, 0).normalise
    torch.testing.assert_close(coordinates(scaled)[:, :42], 1.2 * coordinates(array)[:, :42], atol=1e-4, rtol=0)
    # noise of 0.01 shoulder widths of 200 is 2; 100 * 144 draws tell their deviation to 0.6 %
    assert (alone(noise=0.01)(array) - array).std().item() == pytest.approx(2.0, rel=0.03)


def test_augmentation_leaves_a_frame_with_both_shoulders():
    array = made(30)
    array[1:, ARMS.shoulders[0]] = 0  # one frame of thirty has both
    augmentation, lengths = Augmentation(ARMS, prob=1.0), set()
    for seed in range(200):
        out = augmentation(array, 1, torch.Generator().manual_seed(seed))
        assert Landmarks(ARMS, 0).normalise(out).isfinite().all()
        lengths.add(len(out))
    assert len(lengths) > 5  # most are still faster or slower


def test_visibility_and_short_sequences_stay():
    array = made(20, HOLISTIC, width=100.0)
    array[..., 3] = 0.5
    torch.manual_seed(2)
    out = Augmentation(HOLISTIC, prob=1.0)(array, fewest=20)
    assert (out[..., 3] == 0.5).all() and len(out) >= 20
    assert len(Augmentation(HOLISTIC, prob=1.0, speed=(4.0, 4.0))(array, fewest=100)) == 20


@pytest.mark.parametrize(
    "wrong, words",
    [
        ({"prob": 1.5}, "prob: 1.5"),
        ({"speed": (1.2, 0.8)}, "speed: 1.2 to 0.8; give two factors above 0"),
        ({"scale": (0.0, 1.0)}, "scale: 0.0 to 1.0"),
        ({"drop": 1.0}, "drop: 1.0"),
        ({"noise": -1.0}, "noise: -1.0"),
    ],
)
def test_values_out_of_range_are_named(wrong, words):
    with pytest.raises(ValueError, match=words):
        Augmentation(ARMS, **wrong)


def test_the_layouts_can_be_named_in_a_yaml():
    from hyperpyyaml import load_hyperpyyaml

    found = load_hyperpyyaml(
        "layout: !apply:carryover.data.landmarks.Layout.holistic\n"
        "features: !new:carryover.data.landmarks.Landmarks {layout: !ref <layout>, differences: 1}\n"
        "augmentation: !new:carryover.data.landmarks.Augmentation {layout: !ref <layout>, speed: [0.8, 1.25]}\n"
        "own: !new:carryover.data.landmarks.Layout\n"
        "    name: own\n    groups: {arms: 6, hand: 21}\n    shoulders: [0, 1]\n    can_miss: [hand]\n"
    )
    assert found["features"].width == 4344 and found["augmentation"].layout.name == "holistic"
    assert found["own"].width == 81 and found["own"].slices["hand"] == slice(6, 27)
