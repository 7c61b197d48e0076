"""Unbroken stretches of frames."""

import numpy as np

from soma_isaac.math.runs import runs


def test_runs_are_half_open_intervals():
    assert runs(np.array([1, 1, 0, 1, 0, 0, 1], bool)) == [(0, 2), (3, 4), (6, 7)]
    assert runs(np.zeros(3, bool)) == []
    assert runs(np.ones(2, bool)) == [(0, 2)]
