"""How often the intervals of reports hold the truth, and how often they find a difference where there is none:

    python benchmarks/interval_coverage.py [--corpora 1000] [--out docs/reference/interval_coverage.md]

Simulates test sets and systems, and takes the intervals by the code of the reports. A word is wrong with the chance
logistic(system + seed + speaker + speaker with system + utterance + utterance with run), all normal but the first. So
the truth is an integral over one normal variable. Some 5 minutes on one core.
"""

import argparse
import itertools
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.polynomial.hermite_e import hermegauss

sys.path.insert(0, str(Path(__file__).parents[1]))

from carryover.stats import bootstrap, jackknife  # noqa: E402
from carryover.stats.jackknife import Measured  # noqa: E402

MEAN, BETTER, KNEW = -1.0, -1.4, -2.2  # of the chance's logit: WER 31, 24 and 13 % in the middle setting
SYSTEMS = {"plain": MEAN, "equal": MEAN, "better": BETTER, "knew": KNEW}  # knew: before it forgot
FAMILY = 8  # methods that a table compares with plain
OWN = 0.5  # utterance with run
CHUNK, RESAMPLES, SEED = 250, 2000, 18
COVERAGE, FALSE = (0.93, 0.97), (0.03, 0.07)  # what is aimed at
NODES, WEIGHTS = hermegauss(80)


class Scatter(NamedTuple):
    """Standard deviations of the logit; 0.15 is 2.4 points of WER."""

    name: str
    seed: float
    speaker: float
    system: float  # speaker with system
    utterance: float


SETTINGS = (
    Scatter("seeds 0, speakers 0", 0, 0, 0, 1.2),
    Scatter("seeds 0.8, speakers 5", 0.05, 0.3, 0.1, 1.0),
    Scatter("seeds 2.4, speakers 5", 0.15, 0.3, 0.1, 1.4),
    Scatter("seeds 5.9, speakers 5", 0.37, 0.3, 0.1, 0.8),
    Scatter("seeds 2.4, speakers 9", 0.15, 0.6, 0.3, 1.6),
)


class Design(NamedTuple):
    """A test set and what is run on it; `sizes`: utterances of each speaker."""

    name: str
    sizes: tuple[int, ...]
    seeds: int
    by_speaker: bool
    paired: bool = True


class Corpora(NamedTuple):
    """Words, (corpora, utterances); errors of each system, (corpora, utterances, seeds); unit of each utterance."""

    words: np.ndarray
    errors: dict[str, np.ndarray]
    unit: np.ndarray


def expected(logit: np.ndarray | float, sd: float) -> np.ndarray:
    """100 * E[logistic(logit + sd * N(0, 1))]: the true WER in percent."""
    chance = 1 / (1 + np.exp(-(np.asarray(logit)[..., None] + sd * NODES)))
    return 100 * (chance * WEIGHTS).sum(-1) / WEIGHTS.sum()


def drawn(
    rng: np.random.Generator, n: int, design: Design, scatter: Scatter, means: Mapping[str, float] = SYSTEMS
) -> Corpora:
    """n corpora with systems by their mean logits."""
    speakers, seeds = len(design.sizes), design.seeds
    unit = np.repeat(np.arange(speakers), design.sizes)
    words = rng.integers(3, 12, (n, len(unit)))
    of_speaker = rng.normal(0, scatter.speaker if speakers > 1 else 0, (n, speakers))
    common = rng.normal(0, scatter.utterance, words.shape) + of_speaker[:, unit]
    shared = rng.normal(0, scatter.seed * np.sqrt(0.5), (n, seeds)) if design.paired else 0
    own = scatter.seed * np.sqrt(0.5 if design.paired else 1)
    errors = {}
    for name, mean in means.items():
        with_system = rng.normal(0, scatter.system if speakers > 1 else 0, (n, speakers))[:, unit]
        seed = shared + rng.normal(0, own, (n, seeds)) if seeds > 1 else np.zeros((n, 1))
        logit = mean + (common + with_system)[..., None] + seed[:, None, :]
        logit = logit + rng.normal(0, OWN, logit.shape)
        errors[name] = rng.binomial(words[..., None], 1 / (1 + np.exp(-logit)))
    return Corpora(words, errors, unit if design.by_speaker else np.arange(len(unit)))


def truth(mean: float, design: Design, scatter: Scatter) -> float:
    """Of all that an interval of the design speaks for: other seeds where there are several, other speakers."""
    variance = scatter.utterance**2 + OWN**2
    variance += scatter.speaker**2 + scatter.system**2 if len(design.sizes) > 1 else 0
    variance += scatter.seed**2 if design.seeds > 1 else 0
    return float(expected(mean, np.sqrt(variance)))


def measured(corpora: Corpora, design: Design) -> dict[str, Measured]:
    """Each system by the reports' code."""

    def sums(counts):
        found = np.zeros((len(counts), corpora.unit.max() + 1, *counts.shape[2:]))
        np.add.at(found, (slice(None), corpora.unit), counts)
        return found

    names = {
        name: tuple(f"{name if not design.paired else ''}{s}" for s in range(design.seeds)) for name in corpora.errors
    }
    words = sums(corpora.words)
    return {name: jackknife.rate(sums(errors), words, names[name]) for name, errors in corpora.errors.items()}


def resampled(corpora: Corpora, system: str, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """BCa intervals of a system's WER with one seed, over utterances; corpora share their resamples by 50."""
    errors, words = corpora.errors[system][..., 0].astype(float), corpora.words.astype(float)
    rate = jackknife.rate(errors[..., None], words, ("",))
    change = rate.parts[("",)].change[..., 0]
    ends = []
    for start in range(0, len(words), 50):
        part = slice(start, start + 50)
        sums = bootstrap.resampled_sums(np.hstack([errors[part].T, words[part].T]), RESAMPLES, rng)
        above, below = np.split(sums, 2, axis=1)
        rows = zip(rate.value[part], (100 * above / below).T, change[part], strict=True)
        ends += [bootstrap.bca(*row) for row in rows]
    low, high = np.array(ends).T
    return low, high


class Shares(NamedTuple):
    """Of corpora: whose interval holds the true rate, difference and avoided forgetting (where it is sure that
    something was forgotten), and who find a difference where there is none.
    """

    rate: float
    difference: float
    avoided: float
    false: float


def simulate(design: Design, scatter: Scatter, n: int, rng: np.random.Generator) -> Shares:
    """Take the intervals of n corpora."""
    counts, sure = np.zeros(4), 0
    real = {name: truth(mean, design, scatter) for name, mean in (("plain", MEAN), ("better", BETTER), ("knew", KNEW))}
    forgot = real["plain"] - real["knew"]
    for start in range(0, n, CHUNK):
        corpora = drawn(rng, min(CHUNK, n - start), design, scatter)
        systems = measured(corpora, design)
        if design.seeds == 1 and not design.by_speaker:
            ends = resampled(corpora, "plain", rng)
        else:
            ends = systems["plain"].interval()
        better = systems["plain"] - systems["better"]
        whole = systems["plain"] - systems["knew"]
        forgotten = whole.interval()[0] > 0
        with np.errstate(divide="ignore", invalid="ignore"):
            avoided = [end[forgotten] for end in better.over(whole).times(100.0).interval()]
        sure += np.count_nonzero(forgotten)
        counts += (
            held(ends, real["plain"]),
            held(better.interval(), real["plain"] - real["better"]),
            held(avoided, 100 * (real["plain"] - real["better"]) / forgot),
            len(corpora.words) - held((systems["plain"] - systems["equal"]).interval(), 0.0),
        )
    return Shares(*(counts / (n, n, sure, n)))


def held(ends: tuple[np.ndarray, np.ndarray], real: float) -> int:
    """How many intervals hold the truth."""
    return int(np.count_nonzero((ends[0] <= real) & (real <= ends[1])))


def family(design: Design, scatter: Scatter, n: int, rng: np.random.Generator) -> tuple[float, float]:
    """Studies of `FAMILY` methods equal to plain in which any seems to differ after Holm's correction: with the larger
    of the two p-values, as tables have it, and with that of the interval alone.
    """
    found = np.zeros(2)
    for start in range(0, n, CHUNK):
        means = dict.fromkeys(["plain", *(f"method {i}" for i in range(FAMILY))], MEAN)
        systems = measured(drawn(rng, min(CHUNK, n - start), design, scatter, means), design)
        plain = systems.pop("plain")
        pairs = [(difference.p(), difference.p_of_seeds()) for difference in (one - plain for one in systems.values())]
        smallest = (
            np.min([np.maximum(p, p_seeds) for p, p_seeds in pairs], axis=0),
            np.min([p for p, _ in pairs], axis=0),
        )
        found += [np.count_nonzero(FAMILY * p < 0.05) for p in smallest]
    return tuple(found / n)


def families(n: int, say: Callable[[str], None] = lambda text: None) -> list[str]:
    """Lines of the table over whole studies."""
    lines = ["| study | any false positive, % | without the p-value over seeds, % |", "|---|---|---|"]
    for number, design in enumerate(design for design in designs() if design.seeds > 1):
        rng = np.random.default_rng([SEED, 2000 + number])
        shares = zip(*(family(design, scatter, n, rng) for scatter in SETTINGS), strict=True)
        cells = [", ".join(f"{100 * share:.0f}" for share in kind) for kind in shares]
        lines.append(f"| {design.name} | {' | '.join(cells)} |")
        say(lines[-1])
    return lines


def of_one_rate(utterances: int, mean: float, n: int) -> tuple[float, float, float]:
    """True WER, and coverage of the BCa bootstrap and of Student's t for it, with one model."""
    design, rng = Design("", (utterances,), 1, False), np.random.default_rng([SEED, 3000, utterances])
    corpora = drawn(rng, n, design, SETTINGS[0], {"plain": mean})
    real = truth(mean, design, SETTINGS[0])
    ends = resampled(corpora, "plain", rng), measured(corpora, design)["plain"].interval()
    return real, *(held(one, real) / n for one in ends)


def of_one_difference(utterances: int, n: int) -> list[float]:
    """Coverage of the paired BCa bootstrap for a difference of two models, by setting."""
    design, rng, found = Design("", (utterances,), 1, False), np.random.default_rng([SEED, 4000, utterances]), []
    for scatter in SETTINGS:
        corpora = drawn(rng, n, design, scatter)
        corpora.errors["difference"] = corpora.errors["plain"] - corpora.errors["better"]
        real = truth(MEAN, design, scatter) - truth(BETTER, design, scatter)
        found.append(held(resampled(corpora, "difference", rng), real) / n)
    return found


def bootstrap_or_t(n: int) -> list[str]:
    """Lines of the table over utterances of one model: where which of the two holds better."""
    logits = (-4.0, -3.0, -2.0, MEAN)
    names = ", ".join(f"{truth(mean, Design('', (1,), 1, False), SETTINGS[0]):.0f}" for mean in logits)
    lines = [
        f"| one model | rate, BCa (WER {names} %) | rate, Student's t | difference, paired BCa (settings 1 to 5) |",
        "|---|---|---|---|",
    ]
    for utterances in (10, 20, 50, 100):
        rates = [of_one_rate(utterances, mean, n) for mean in logits]
        kinds = [rate[1] for rate in rates], [rate[2] for rate in rates], of_one_difference(utterances, n)
        cells = [", ".join(f"{share:.2f}" for share in kind) for kind in kinds]
        lines.append(f"| {utterances} utterances | {' | '.join(cells)} |")
    return lines


def once_used(design: Design, scatter: Scatter, n: int, rng: np.random.Generator) -> float:
    """False positives of what reports had before: percentiles of utterances and seeds resampled together."""
    wrong = 0
    for _ in range(n):
        corpora = drawn(rng, 1, design, scatter)
        counts = np.concatenate(
            [corpora.words[0][:, None], *(corpora.errors[k][0] for k in ("plain", "equal"))], axis=1
        )
        sums = bootstrap.resampled_sums(counts.astype(float), 1000, rng)
        shares = [bootstrap.weights(design.seeds, 1000, rng) / design.seeds for _ in range(1 if design.paired else 2)]
        a, b = (
            (share * part).sum(1)
            for share, part in zip((shares * 2)[:2], np.split(sums[:, 1:], 2, axis=1), strict=True)
        )
        low, high = np.percentile((a - b) / sums[:, 0], [2.5, 97.5])
        wrong += not low <= 0 <= high
    return wrong / n


def designs() -> Iterator[Design]:
    """What stands in the table."""
    for n in (10, 20, 50, 100, 430):
        yield Design(f"one model, {n} utterances", (n,), 1, False)
    uneven = tuple(max(1, int(400 / (i * 3.6))) for i in range(1, 21))
    for name, sizes in (
        ("5", (80,) * 5),
        ("6", (70,) * 6),
        ("20", (20,) * 20),
        ("100", (4,) * 100),
        ("20 uneven", uneven),
    ):
        yield Design(f"one model, {name} speakers", sizes, 1, True)
    for seeds, paired in itertools.product((3, 5, 10), (True, False)):
        how = f"{seeds} seeds{'' if paired else ', not paired'}"
        yield Design(f"{how}, 430 utterances", (430,), seeds, False, paired)
        yield Design(f"{how}, 6 speakers", (70,) * 6, seeds, True, paired)
        yield Design(f"{how}, 20 speakers", (20,) * 20, seeds, True, paired)


def row(name: str, shares: list[Shares]) -> str:
    """A line of the table; bold is what misses the aim."""

    def cells(kind: str, low: float, high: float, form: Callable[[float], str]) -> str:
        texts = [(form(getattr(s, kind)), low <= getattr(s, kind) <= high) for s in shares]
        return ", ".join(text if good else f"**{text}**" for text, good in texts)

    def ratio(value: float) -> str:
        return f"{value:.2f}"

    cover = [cells(kind, COVERAGE[0] - 0.005, COVERAGE[1] + 0.005, ratio) for kind in ("rate", "difference", "avoided")]
    wrong = cells("false", FALSE[0] - 0.005, FALSE[1] + 0.005, lambda value: f"{100 * value:.0f}")
    return f"| {name} | {' | '.join(cover)} | {wrong} |"


def table(n: int, say: Callable[[str], None] = lambda text: None) -> str:
    """The page."""
    lines = [
        "| what is at hand | rate | difference | forgetting avoided | false positives, % |",
        "|---|---|---|---|---|",
    ]
    for number, design in enumerate(designs()):
        rng = np.random.default_rng([SEED, number])
        lines.append(row(design.name, [simulate(design, scatter, n, rng) for scatter in SETTINGS]))
        say(lines[-1])
    whole = families(n, say)
    before = ["| what was at hand | false positives, % |", "|---|---|"]
    rng = np.random.default_rng([SEED, 1000])
    for name, sizes, seeds in (
        ("3 seeds, 430 utterances", (430,), 3), ("5 seeds, 430 utterances", (430,), 5),
        ("10 seeds, 430 utterances", (430,), 10), ("one model, 6 speakers", (70,) * 6, 1),
        ("3 seeds, 6 speakers", (70,) * 6, 3),
    ):  # fmt: skip
        design = Design(name, sizes, seeds, False)
        shares = [100 * once_used(design, scatter, n, rng) for scatter in SETTINGS]
        before.append(f"| {name} | {', '.join(f'{share:.0f}' for share in shares)} |")
        say(before[-1])
    settings = "; ".join(f"{i}. {scatter.name}" for i, scatter in enumerate(SETTINGS, 1))
    return "\n".join([
        "# How often intervals hold the truth", "",
        f"Made by `python benchmarks/interval_coverage.py --corpora {n} --out docs/reference/interval_coverage.md`. "
        "What the intervals are: [statistics](../guides/statistics.md).", "",
        f"Share of {n} simulated corpora whose 95 % interval holds the truth, and of those in which two equal systems "
        f"seem to differ (0 is outside), each in five settings, in points of WER (standard deviations): {settings}. "
        "Aimed at: 0.93 to 0.97 and 3 to 7 %; **bold** is outside.", "", *lines, "",
        f"Whole studies: {FAMILY} methods equal to the baseline, Holm's correction; aimed at: at most 7 %.", "",
        *whole, "",
        "What reports had before (percentiles of utterances and seeds resampled together):", "", *before, "",
        "One model, over utterances: coverage of a rate by what is taken (BCa) and by Student's t, and of a "
        "difference by what is not taken (BCa; Student's t is in the first table).", "", *bootstrap_or_t(n), "",
    ])  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--corpora", type=int, default=1000)
    parser.add_argument("--out", type=Path, help="a Markdown file; default: print alone")
    options = parser.parse_args()
    text = table(options.corpora, lambda line: print(line, flush=True))
    if options.out:
        options.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
