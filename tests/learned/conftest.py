"""Learned IK runs without torch; what trains and measures it does not."""

import importlib.util

NEEDS_TORCH = [
    "test_attempts.py",  # its sets are drawn as in training
    "test_evaluation.py",
    "test_network.py",
    "test_onnx.py",
    "test_shipped_network.py",
    "test_training.py",
]

collect_ignore = [] if importlib.util.find_spec("torch") else NEEDS_TORCH
