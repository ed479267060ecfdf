"""The one door to training: python train.py hparams/NAME.yaml [--key value ...] [--preset NAME] [--profile 24GB]
[--overfit 5] [--deterministic]; see carryover/experiment.py."""

import sys

import transformers

from carryover import exits, experiment

if __name__ == "__main__":
    transformers.logging.set_verbosity_error()  # generate warns at every call of arguments that it passes itself
    sys.exit(exits.run(lambda: experiment.train(sys.argv[1:])))
