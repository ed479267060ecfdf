"""Record the first ten losses of every YAML that runs on the embedded corpus.

Run it when a change of the losses is meant, and say why in the commit:

python -m tests.regression.make_golden
"""

import json
import tempfile
from pathlib import Path

from tests.recipes.helpers import EMBEDDED, first_ten_losses


def main() -> None:
    """Write golden_losses.json beside this file."""
    with tempfile.TemporaryDirectory() as folder:
        golden = {y.stem: first_ten_losses(y.stem, Path(folder)) for y in EMBEDDED}
    Path(__file__).with_name("golden_losses.json").write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
