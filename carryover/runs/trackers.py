"""Dashboards that a run's numbers are sent to, beside metrics.jsonl."""

import importlib.util


class NoTracker:
    """No dashboard: metrics.jsonl and train_log.txt alone."""

    def log(self, event: dict) -> None:
        pass


class TensorBoard:
    """Numbers of train, valid and test events as TensorBoard scalars, `tensorboard --logdir RUN/tensorboard`."""

    def __init__(self, folder: str):
        self.folder, self.writer = folder, None

    def log(self, event: dict) -> None:
        if self.writer is None:  # made with the first event, so that reading a run's YAML writes nothing
            from torch.utils.tensorboard import SummaryWriter

            self.writer = SummaryWriter(self.folder)
        for tag, value in scalars(event).items():
            self.writer.add_scalar(tag, value, event["update"])
        self.writer.flush()


class WandB:
    """The same numbers at Weights & Biases; needs `pip install wandb` and a login, or mode="offline".

    Parameters
    ----------
    **options
        Passed to `wandb.init` (project, name, mode, dir, ...).
    """

    def __init__(self, **options):
        if importlib.util.find_spec("wandb") is None:
            raise ImportError("tracker: WandB needs the package wandb: pip install -e '.[wandb]'")
        self.options, self.run = options, None

    def log(self, event: dict) -> None:
        if self.run is None:
            import wandb

            self.run = wandb.init(**self.options)
        if values := scalars(event):
            self.run.log(values, step=event["update"])


def scalars(event: dict) -> dict[str, float]:
    """The plottable numbers of an event as {"valid_de/WER": 12.3}; empty for events that carry no curve."""
    if event["event"] not in ("train", "valid", "test"):
        return {}
    prefix = "_".join(str(event[key]) for key in ("event", "language") if key in event)
    return {
        f"{prefix}/{key}": value
        for key, value in event.items()
        if key not in ("update", "epoch", "time") and isinstance(value, (int, float))
    }
