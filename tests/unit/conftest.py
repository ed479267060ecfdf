"""Property tests: the same examples in every run, and hypothesis beside SpeechBrain's lazily imported modules."""

import sys

import pytest
from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")


def _tell_lazy_modules_file():
    """hypothesis asks every module for its __file__; SpeechBrain's lazy ones then import k2 and raise ImportError."""
    if "speechbrain.utils.importutils" in sys.modules:
        sys.modules["speechbrain.utils.importutils"].LazyModule.__file__ = None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems():
    _tell_lazy_modules_file()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup():
    _tell_lazy_modules_file()
