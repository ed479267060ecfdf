"""CTC: its likelihood and draws against every path there is; the head beside a decoder against torch, clip by clip."""

import itertools
import math
from collections import Counter, defaultdict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from carryover.losses.ctc import (
    CTCHead,
    NoCTC,
    blank_ratio,
    collapse,
    frames_needed,
    greedy,
    log_likelihood,
    sample,
)


def collapsed_slowly(path, blank):
    merged = [symbol for i, symbol in enumerate(path) if i == 0 or symbol != path[i - 1]]
    return [symbol for symbol in merged if symbol != blank]


def exact(log_probs, blank):
    """(T, V) -> {y: p(y)} by all V ** T paths."""
    total = defaultdict(float)
    for path in itertools.product(range(log_probs.shape[1]), repeat=len(log_probs)):
        p = math.exp(sum(log_probs[t, symbol].item() for t, symbol in enumerate(path)))
        total[tuple(collapsed_slowly(path, blank))] += p
    return total


@pytest.mark.parametrize("blank", [0, 2])
def test_log_likelihood_is_the_sum_over_all_paths(blank):
    torch.manual_seed(blank)
    log_probs = torch.randn(2, 5, 3).log_softmax(-1)
    frames = torch.tensor([5, 4])
    for i in range(2):
        every = exact(log_probs[i, : frames[i]], blank)
        assert sum(every.values()) == pytest.approx(1.0, abs=1e-6)
        for y, p in every.items():
            targets = torch.full((2, 5), 1)  # the padding holds a symbol, to show that it is not read
            targets[i, : len(y)] = torch.tensor(y, dtype=torch.long)
            lengths = torch.tensor([1, 1])
            lengths[i] = len(y)
            found = log_likelihood(log_probs, frames, targets, lengths, blank)[i].item()
            assert found == pytest.approx(math.log(p), abs=1e-6 * max(1, -math.log(p))), y


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 3), max_size=6), st.integers(1, 14))
def test_a_target_is_possible_exactly_where_there_are_frames_enough(target, frames):
    log_probs = torch.zeros(1, frames, 4).log_softmax(-1)
    targets = torch.tensor([target or [1]])
    found = log_likelihood(log_probs, torch.tensor([frames]), targets, torch.tensor([len(target)]), blank=0)
    assert torch.isfinite(found).item() == (frames >= frames_needed(target))
    assert torch.isfinite(found).item() or found.item() == -math.inf


def test_frames_needed_counts_a_blank_between_equal_neighbours():
    assert [frames_needed(y) for y in ([], [7], [1, 2, 1], [1, 1], [3, 3, 3, 1, 1])] == [0, 1, 3, 3, 8]


def test_half_precision_is_refused():
    with pytest.raises(TypeError, match="float32"):
        log_likelihood(
            torch.zeros(1, 4, 3, dtype=torch.bfloat16), torch.tensor([4]), torch.tensor([[1]]), torch.tensor([1]), 0
        )


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 3), max_size=12), st.integers(0, 3))
def test_collapse_merges_before_it_drops_blanks(path, blank):
    assert collapse(path, blank) == collapsed_slowly(path, blank)
    assert collapse(torch.tensor(path, dtype=torch.long), blank) == collapsed_slowly(path, blank)


def test_greedy_and_blank_ratio_read_valid_frames_only():
    paths = torch.tensor([[0, 1, 1, 0, 1, 2], [3, 3, 0, 2, 2, 2]])
    log_probs = torch.nn.functional.one_hot(paths, 4).float().mul(9).log_softmax(-1)
    frames = torch.tensor([6, 3])
    assert greedy(log_probs, frames, blank=0) == [[1, 1, 2], [3]]
    assert blank_ratio(log_probs, frames, blank=0) == (3, 9)
    assert greedy(log_probs, frames, blank=2) == [[0, 1, 0, 1], [3, 0]]
    assert blank_ratio(log_probs, frames, blank=2) == (1, 9)


def test_draws_have_the_probabilities_of_their_sequences():
    torch.manual_seed(3)
    log_probs = torch.randn(1, 4, 3).log_softmax(-1)
    n = 5_000
    generator = torch.Generator().manual_seed(1)
    drawn = sample(log_probs.expand(n, -1, -1), torch.full((n,), 3), blank=0, generator=generator)
    counts, every = Counter(map(tuple, drawn)), exact(log_probs[0, :3], blank=0)
    assert set(counts) <= set(every)
    for y, p in every.items():
        assert abs(counts[y] / n - p) < 4 * math.sqrt(p * (1 - p) / n), (y, p, counts[y] / n)


def test_a_batch_draws_what_its_utterances_draw_one_at_a_time():
    log_probs = torch.randn(3, 30, 5, generator=torch.Generator().manual_seed(0)).log_softmax(-1)
    frames = torch.tensor([30, 0, 17])
    batch = sample(log_probs, frames, 0, torch.Generator().manual_seed(5))
    generator = torch.Generator().manual_seed(5)
    assert batch == [sample(log_probs[i : i + 1], frames[i : i + 1], 0, generator)[0] for i in range(3)]
    assert batch[1] == [] and batch != sample(log_probs, frames, 0, torch.Generator().manual_seed(6))


def test_equals_torch_clip_by_clip_and_ignores_silence_after_the_clip():
    torch.manual_seed(0)
    head = CTCHead(width=16, pieces=11)
    states = torch.randn(3, 40, 16)
    frames, lengths = torch.tensor([40, 25, 9]), torch.tensor([6, 4, 2])
    targets = torch.randint(0, 11, (3, 8))
    found = head(states, frames, targets, lengths, units=7)["ctc"]
    wanted = 0.0
    for i in range(3):
        log_probs = head.linear(states[i : i + 1, : frames[i]]).log_softmax(-1).transpose(0, 1)
        target = targets[i : i + 1, : lengths[i]]
        wanted += torch.nn.functional.ctc_loss(
            log_probs, target, frames[i : i + 1], lengths[i : i + 1], blank=11, reduction="sum"
        )
    assert found.item() == pytest.approx(wanted.item() / 7, rel=1e-6)
    states[2, 9:] = 100.0
    assert head(states, frames, targets, lengths, units=7)["ctc"].item() == pytest.approx(found.item(), rel=1e-6)


def test_an_impossible_target_is_infinite_not_free():
    head = CTCHead(width=4, pieces=5)
    targets = torch.tensor([[1, 1, 1, 1]])  # four equal pieces need three blanks between them: 7 frames
    impossible = head(torch.randn(1, 6, 4), torch.tensor([6]), targets, torch.tensor([4]), units=4)["ctc"]
    possible = head(torch.randn(1, 7, 4), torch.tensor([7]), targets, torch.tensor([4]), units=4)["ctc"]
    assert torch.isinf(impossible) and torch.isfinite(possible)


def test_the_null_object_adds_no_term_and_has_no_parameters():
    head = NoCTC()
    assert head(None, None, None, None, None) == {} and not list(head.parameters())


def test_measured_texts_keep_what_the_symbols_can_write():
    """They count as errors by their whole text; training refuses them."""
    from carryover.losses import ctc
    from carryover.text import Characters, Glosses, Normaliser

    letters, normalise = Characters("abc"), Normaliser()
    item = ctc.targets(letters, normalise, training=False)
    ids = [list(item.func(text, "nl"))[1].tolist() for text in ("ab 42 c", "a4b", "42")]
    assert ids == [letters.encode("ab c"), letters.encode("ab"), []]
    with pytest.raises(ValueError, match="no symbol for '2', '4'"):
        list(ctc.targets(letters, normalise).func("ab 42 c", "nl"))
    glosses = Glosses(["HAUS", "REGEN"])
    assert ctc.encode_known(glosses, "HAUS A REGEN") == glosses.encode("HAUS REGEN")


def test_unwritable_sentences_stay_in_test_and_leave_training(tmp_path):
    import numpy as np
    import soundfile

    from carryover.data import manifest
    from carryover.data.preparation import prepare
    from carryover.models.limits import UNKNOWN, CTCLimits
    from carryover.text import Characters, Normaliser
    from local.table import utterances

    class Few(CTCLimits):
        def recording(self, utterance):
            return None

        def pair(self, utterance):
            return None

        def settings(self):
            return {}

    soundfile.write(tmp_path / "a.wav", 0.1 * np.random.default_rng(1).standard_normal(16000), 16000)
    rows = [
        f"{split}{n}\ta.wav\tab {text}\t{split}\n" for split in ("train", "test") for n, text in enumerate(("c", 42))
    ]
    (tmp_path / "manifest.tsv").write_text("ID\taudio\ttext\tsplit\n" + "".join(rows) + "t\tgone.wav\tab\ttest\n")
    limits = Few(acoustic=None, features=None, tokenizer=Characters("abc"), target_text=Normaliser())
    out = tmp_path / "manifests" / "nl"
    counts = prepare(utterances, tmp_path, out, "nl", ["train", "test"], limits)
    assert counts == {"train": 1, "test": 2, "rejected": 2}
    done = manifest.read_done(out)
    assert done["remarks"] == {UNKNOWN: 1} and done["rejected"] == {UNKNOWN: 1, "audio cannot be opened": 1}
    assert manifest.left_out(out.parent) == {"nl": "1 of 3 listed utterances are refused (nl/rejected.csv says why)"}
