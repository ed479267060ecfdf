"""Draws docs/figures/schedules.png: the rate of each update under the schedules of carryover.training.schedule.

python docs/schedules.py
"""

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))  # from a checkout that is not installed

from carryover.training.schedule import Schedule  # noqa: E402

UPDATES, WARMUP, PEAK = 5000, 500, 1e-5  # the values for whisper-small in hparams/whisper_ft.yaml
# Colours of Okabe and Ito, told apart by the colour-blind; the line styles alone are enough in black and white.
# The widest comes first, so that it shows beside what lies upon it.
STYLES = {
    "constant": {"color": "#BBBBBB", "linestyle": "-", "linewidth": 6},
    "constant_with_warmup": {"color": "#000000", "linestyle": "-", "linewidth": 1.4},
    "noam": {"color": "#0072B2", "linestyle": "-", "linewidth": 3.2},
    "inverse_sqrt": {"color": "#FFFFFF", "linestyle": (0, (1, 5)), "linewidth": 1.6},
    "cosine": {"color": "#D55E00", "linestyle": (0, (7, 3)), "linewidth": 2},
    "linear": {"color": "#009E73", "linestyle": (0, (5, 2, 1, 2)), "linewidth": 2},
}
LABELS = {  # (update, height as a share of the peak, text)
    "constant": (2600, 1.055, "constant (no warm-up)"),
    "constant_with_warmup": (2600, 0.945, "constant_with_warmup"),
    "cosine": (2030, 0.79, "cosine"),
    "linear": (4330, 0.185, "linear"),
    "noam": (1180, 0.43, "noam (solid);\nwhite dots: inverse_sqrt,\nthe same curve"),
}


def main() -> None:
    """Write both files beside this script."""
    matplotlib.rcParams.update({"svg.hashsalt": "schedules", "font.size": 10})  # the same bytes each time
    figure, axes = plt.subplots(figsize=(8, 4.2), layout="constrained")
    axes.axvspan(0, WARMUP, color="0.93", zorder=0)
    axes.text(WARMUP / 2, 1.07 * PEAK, "warm-up", ha="center", va="center", fontsize=9)
    updates = range(1, UPDATES + 1)
    for name, style in STYLES.items():
        schedule = Schedule(name, PEAK, WARMUP)
        schedule.plan(UPDATES)
        axes.plot(updates, [schedule.rate(n) for n in updates], **style)
    for name, (x, y, text) in LABELS.items():
        axes.text(x, y * PEAK, text, color="black", fontsize=9, va="center", ha="center" if name == "noam" else "left")
    axes.set(xlim=(0, UPDATES), ylim=(0, 1.12 * PEAK), xlabel="optimizer update", ylabel="learning rate")
    axes.set_title(f"lr {PEAK:g}, warmup {WARMUP}, {UPDATES} updates", fontsize=10)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.savefig(HERE / "figures" / "schedules.png", dpi=150, metadata={"Software": None})


if __name__ == "__main__":
    main()
