"""A YAML that starts from another's result (`run_first: hparams/dutch_pretrain.yaml`): which model that is."""

from pathlib import Path


def model(values: dict) -> str | None:
    """Model that the other YAML's run makes; None where the YAML does not use it.

    It is used where some key holds `<output_root>/<name of the other YAML>/<pretrain_seed>/model`: so another
    `--model` (or `--teacher`) on the command line needs nothing.

    Parameters
    ----------
    values : dict
        Plain values of the YAML under overrides, references resolved (`settings.resolved`).
    """
    if not values.get("run_first"):
        return None
    model = f"{values['output_root']}/{Path(values['run_first']).stem}/{values['pretrain_seed']}/model"
    return model if model in values.values() else None


def missing(values: dict) -> str | None:
    """The same where it is not there yet."""
    made = model(values)
    return made if made and not Path(made).exists() else None
