"""carryover/data/packing.py and what Whisper writes of a window: several clips, their times, the text before."""

from pathlib import Path

import pytest
import torch

from carryover.data.packing import Packing
from carryover.models.whisper_tokenizer import Tokenizer
from recipes.whisper import from_position, without_times

ROOT = Path(__file__).parents[2]
REAL = ROOT.parent / "shared" / "models" / "whisper_tokenizer"


def example(i: int, seconds: float = 1.0, text: str = "a", language: str = "nl") -> dict:
    wav = torch.full((round(16000 * seconds),), i + 1.0)
    return {
        "id": f"clip{i}", "language": language, "row": {"duration": seconds}, "target": text, "wav": wav,
        "tokens": torch.ones(3),
    }  # fmt: skip


def said(segments, language, timestamps, previous, most):
    """Instead of a tokenizer: what it was asked for, kept on the function."""
    said.asked.append((segments, language, timestamps, previous))
    return [1]


@pytest.fixture
def asked():
    said.asked = []
    return said.asked


def windows(single: float, n: int = 400) -> list[int]:
    """Clips in each window of n clips of 1 s, windows of 10 s."""
    packing = Packing(lambda *asked: [1], 160_000, 1000, single)
    batch = packing([example(i) for i in range(n)])
    return [len(ID.split("+")) for ID in batch.id]


def test_a_share_of_the_windows_has_one_clip():
    assert set(windows(1.0)) == {1}
    few, many = windows(0.0), windows(0.5)
    assert sum(few) == sum(many) == 400
    assert many.count(1) / len(many) == pytest.approx(0.5 + 0.5 * few.count(1) / len(few), abs=0.12)


@pytest.mark.parametrize(
    "wrong, words",
    [({"single": 1.5}, "single: 1.5 of the windows"), ({"timestamps": -1}, "timestamps: -1"), ({"gap": 10}, "gap: 10")],
)
def test_shares_and_gaps_out_of_range(wrong, words):
    with pytest.raises(ValueError, match=words):
        Packing(said, 160_000, 1000, **wrong)


def test_gaps_are_silence_between_the_clips_and_in_the_times(asked):
    packing = Packing(said, 16_000 * 30, 1000, gap=2.0, timestamps=1.0)
    batch = packing([example(i) for i in range(40)])
    gaps = []
    for (segments, *_), wav, relative in zip(asked, batch.wav.data, batch.wav.lengths, strict=True):
        at = 0.0
        for start, end, _ in segments:
            assert end - start == pytest.approx(1.0) and start >= at
            assert (wav[round(16000 * at) : round(16000 * start)] == 0).all()
            assert (wav[round(16000 * start) : round(16000 * end)] > 0).all()
            gaps += [start - at] if at else []
            at = end
        assert round(relative.item() * len(wav)) == round(16000 * at)
    assert 0 <= min(gaps) and 1 < max(gaps) < 2 and 0.6 < sum(gaps) / len(gaps) < 1.4
    assert sum(row["duration"] for row in batch.row) == 40, "gaps are no speech"


def test_the_text_before_is_that_of_the_window_before(asked):
    clips = [example(i, 6.0, f"text {i}", "nl" if i < 20 else "de") for i in range(40)]
    batch = Packing(said, 160_000, 1000, previous_text=1.0)(clips)
    previous = [asked_for[3] for asked_for in asked]
    expected = [b for a, b in zip(batch.language[1:], batch.target, strict=False)]
    changes = [i for i in range(1, 40) if batch.language[i] != batch.language[i - 1]]
    assert changes == [20]
    # the first window, and the first of another language, have none; encode is not asked for them
    assert previous == [text for i, text in enumerate(expected, 1) if i not in changes]
    assert len(Packing(said, 160_000, 1000, previous_text=0.0)(clips).id) == 40 and len(asked) == 38


def test_shares_of_windows(asked):
    Packing(said, 160_000, 1000, timestamps=0.5)([example(i, 6.0) for i in range(400)])
    assert len(asked) == pytest.approx(200, abs=40) and all(timed for _, _, timed, _ in asked)


def test_rows_begin_where_the_prompt_ends():
    values = torch.arange(10).reshape(2, 5)
    assert from_position(values, torch.tensor([1, 3])).tolist() == [[1, 2, 3, 4], [8, 9, 9, 9]]
    states = torch.rand(3, 6, 4)
    assert torch.equal(from_position(states, torch.tensor([2, 2, 2])), states[:, 2:])
    assert torch.equal(from_position(states, 2), states[:, 2:])


def test_times_are_no_text_of_the_CTC_head():
    tokens, counts = without_times(torch.tensor([[90, 5, 6, 91, 2, 2], [7, 8, 9, 2, 2, 2]]), torch.tensor([4, 3]), 90)
    assert counts.tolist() == [2, 3]
    assert tokens[0, :2].tolist() == [5, 6] and tokens[1, :3].tolist() == [7, 8, 9]


@pytest.fixture(scope="module")
def real():
    if not REAL.is_dir():
        pytest.skip(f"no Whisper tokenizer at {REAL}")
    return Tokenizer(str(REAL))


SEGMENTS = [(0.0, 1.239, "goede morgen"), (2.0, 2.5, "allemaal")]


def test_a_window_as_whisper_writes_it(real):
    """Equal to transformers' own tokenizer on the same text."""
    text = (
        "<|startoftranscript|><|nl|><|transcribe|><|0.00|> goede morgen<|1.24|><|2.00|> allemaal<|2.50|><|endoftext|>"
    )
    ids = real.encode_segments(SEGMENTS, "nl", True, "", 448)
    assert ids == real.hf(text, add_special_tokens=False).input_ids
    before = real.encode_segments(SEGMENTS, "nl", True, "het weer", 448)
    assert before == real.hf("<|startofprev|> het weer" + text, add_special_tokens=False).input_ids
    plain = real.encode_segments(SEGMENTS, "nl", False, "", 448)
    assert plain == real.encode("goede morgen allemaal", "nl")
    tokens = torch.nn.utils.rnn.pad_sequence([torch.tensor(x) for x in (ids, before, plain)], True, real.eot)
    first = real.prompt_lengths(tokens)
    assert first.tolist() == [3, 6, 4]
    for row, at in zip(tokens.tolist(), first.tolist(), strict=True):
        assert real.decode(row[at:]) == "goede morgen allemaal"


def test_a_long_text_before_leaves_room(real):
    """Its last part is kept: half the positions less one at most, and never more than are free."""
    words = " ".join(f"woord{i}" for i in range(400))
    ids = real.encode_segments(SEGMENTS, "nl", True, words, 448)
    assert ids.index(real.vocabulary["<|startoftranscript|>"]) == 223 and len(ids) <= 448
    assert real.hf.decode(ids[1:223]).endswith("woord399")
    own = real.encode_segments(SEGMENTS, "nl", True, "", 448)
    assert len(real.encode_segments(SEGMENTS, "nl", True, words, len(own) + 5)) == len(own) + 5
    assert real.encode_segments(SEGMENTS, "nl", True, words, len(own) + 1) == own


def test_a_tokenizer_without_times_is_refused():
    with pytest.raises(ValueError, match="timestamps: the tokenizer of .* has no tokens for times"):
        Tokenizer(str(ROOT / "assets" / "whisper_starter")).require_times()
