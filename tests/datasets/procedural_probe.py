"""The measurement of benchmarks/procedural_difficulty.py, for a test."""

import importlib.util
from pathlib import Path

_FILE = Path(__file__).parents[2] / "benchmarks" / "procedural_difficulty.py"


def accuracy(num_train, num_test):
    spec = importlib.util.spec_from_file_location("procedural_difficulty", _FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    scan = module.SCANS["whole surface"]
    return module.probe_accuracy(module.histograms(num_train, "train", scan), module.histograms(num_test, "test", scan))
