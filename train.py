"""The one door to training: python train.py hparams/NAME.yaml [--key value ...] [--preset NAME] [--profile 24GB]
[--overfit 5] [--deterministic]; see carryover/experiment.py."""

import subprocess
import sys

import transformers

from carryover import experiment

if __name__ == "__main__":
    transformers.logging.set_verbosity_error()  # generate warns at every call of arguments that it passes itself
    try:
        sys.exit(experiment.train(sys.argv[1:]))
    except (FileNotFoundError, ValueError, MemoryError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except subprocess.CalledProcessError as error:
        sys.exit(f"error: the run that is needed first ended with status {error.returncode}; its message stands above")
    except KeyboardInterrupt:
        sys.exit("stopped; the same command continues from the last checkpoint")
