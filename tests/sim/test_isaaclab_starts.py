"""Starts drawn by failures: bins, averages, kernel, shares and draws, against plain numpy; needs torch only."""

import math

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="Isaac Lab speaks torch")

from soma_isaac.errors import InputRejected  # noqa: E402
from soma_isaac.sim.isaaclab.start_sampling import StartSampler  # noqa: E402

SPANS = [3.9, 1.02, 0.0, 2.4]
STEP = 0.02


def sampler(spans=SPANS, **options):
    return StartSampler(spans, step=STEP, **{"count": 16, **options})


def failing(starts, pairs):
    """Failures at (clip, time) in one step."""
    clips, times = zip(*pairs, strict=True)
    starts.record(torch.tensor(clips), torch.tensor(times, dtype=torch.float64), torch.ones(len(pairs), dtype=bool))
    starts.end_step()


def test_bins_share_each_clips_span_and_weigh_by_length():
    starts = sampler()
    assert starts.clips.tolist() == [0, 0, 0, 0, 1, 2, 3, 3]
    assert starts.begins.tolist() == pytest.approx([0.0, 0.975, 1.95, 2.925, 0.0, 0.0, 0.0, 1.2])
    wanted = np.array([0.975] * 4 + [1.02, STEP, 1.2, 1.2])
    assert starts.lengths.numpy() == pytest.approx(wanted / wanted.sum())
    # Nothing failed yet: even over time.
    assert starts.probabilities().numpy() == pytest.approx(wanted / wanted.sum())
    assert starts.probabilities().dtype == torch.float64


def test_times_fall_into_their_bins_and_those_beyond_into_the_last():
    starts = sampler()
    clips = torch.tensor([0, 0, 0, 0, 1, 2, 2, 3, 3], dtype=torch.int32)
    times = torch.tensor([0.0, 0.974, 0.976, 99.0, 0.5, 0.0, 5.0, 1.19, 2.4], dtype=torch.float64)
    assert starts.bins_of(clips, times).tolist() == [0, 0, 1, 3, 4, 5, 5, 6, 7]


def test_failures_enter_a_moving_average_once_per_step_and_survivors_do_not():
    starts = sampler(average_rate=0.25)
    clips, times = torch.tensor([0, 0, 3]), torch.tensor([1.0, 1.1, 0.2], dtype=torch.float64)
    starts.record(clips, times, torch.tensor([True, True, False]))
    starts.record(clips[:1], times[:1], torch.tensor([True]))
    assert not starts.failures.any()  # the step is not over
    starts.end_step()
    counts = np.zeros(8)
    counts[1] = 3.0
    assert starts.failures.numpy() == pytest.approx(0.25 * counts)
    for _ in range(4):
        starts.end_step()
    assert starts.failures.numpy() == pytest.approx(0.25 * counts * 0.75**4)


def test_first_failures_weigh_little_against_the_even_beginning():
    starts = sampler(average_rate=0.01, kernel_size=1, uniform_share=0.1)
    failing(starts, [(0, 0.1)])
    # As if 16 environments failed once per bin of 1 s: 16 * 0.02 failures per step.
    even, first = 0.99 * 16 * STEP, 0.01
    wanted = 0.1 * float(starts.lengths[0]) + 0.9 * (first + even * float(starts.lengths[0])) / (first + even)
    assert float(starts.probabilities()[0]) == pytest.approx(wanted)


@pytest.mark.parametrize("size", [1, 3])
def test_a_failure_counts_one_for_its_bin_and_those_before_it_in_its_clip(size):
    starts = sampler(average_rate=1.0, kernel_size=size, kernel_decay=0.5, uniform_share=0.2)
    # In the last bin of the first clip, in its second bin, and in the first bin of the last clip.
    failing(starts, [(0, 3.5), (0, 1.5), (3, 0.1)])
    spread = {
        1: [[0, 0, 0, 1], [0, 1, 0, 0], [1, 0]],
        3: [[0, 1 / 7, 2 / 7, 4 / 7], [1 / 3, 2 / 3, 0, 0], [1, 0]],
    }[size]
    shares = np.zeros(8)
    shares[:4] = (np.array(spread[0]) + spread[1]) / 3
    shares[6:] = np.array(spread[2]) / 3
    wanted = 0.2 * starts.lengths.numpy() + 0.8 * shares
    assert starts.probabilities().numpy() == pytest.approx(wanted, abs=1e-12)
    assert float(starts.probabilities().sum()) == pytest.approx(1.0, abs=1e-12)


def test_draws_follow_the_probabilities_within_and_across_clips():
    torch.manual_seed(1)
    starts = sampler(average_rate=1.0, kernel_size=1, uniform_share=0.3)
    failing(starts, [(0, 2.0)] * 3 + [(3, 2.0)])
    chances = starts.probabilities().numpy()
    count = 40_000
    clips, times = starts.draw(count)
    found = np.bincount(starts.bins_of(clips, times).numpy(), minlength=8) / count
    assert np.abs(found - chances).max() < 5 * math.sqrt(0.25 / count)
    spans = torch.tensor(SPANS, dtype=torch.float64)
    assert (times >= 0).all() and (times <= spans[clips]).all()
    # Evenly within a bin: mean and spread of a uniform distribution.
    inside = times[(clips == 0) & (times >= 1.95) & (times < 2.925)].numpy() - 1.95
    assert inside.mean() == pytest.approx(0.975 / 2, abs=0.02) and inside.std() == pytest.approx(
        0.975 / 12**0.5, abs=0.02
    )
    asked = torch.arange(4).repeat(count // 4)
    clips, times = starts.draw(count, clips=asked)
    assert torch.equal(clips, asked)
    found = np.bincount(starts.bins_of(clips, times).numpy(), minlength=8) / (count // 4)
    for clip in range(4):
        rows = starts.clips.numpy() == clip
        assert found[rows] == pytest.approx(chances[rows] / chances[rows].sum(), abs=0.03)


def test_without_any_failure_left_and_with_the_share_of_one_starts_are_even():
    starts = sampler(average_rate=1.0)
    starts.end_step()
    assert float(starts.failures.sum()) == 0.0
    assert torch.allclose(starts.probabilities(), starts.lengths)
    even = sampler(average_rate=1.0, uniform_share=1.0)
    failing(even, [(0, 0.0)])
    assert torch.allclose(even.probabilities(), even.lengths)


def test_the_same_seed_gives_the_same_starts():
    drawn = []
    for _ in range(2):
        torch.manual_seed(11)
        starts = sampler()
        failing(starts, [(0, 2.0)])
        drawn.append(torch.stack([part.double() for part in starts.draw(50)]))
    assert torch.equal(*drawn)
    assert not torch.equal(drawn[0], torch.stack([part.double() for part in starts.draw(50)]))


def test_training_finds_the_hard_place():
    """Episodes that die at 7.3 s of 10 s: starts gather in the bins that lead there, the others keep their share."""
    torch.manual_seed(0)
    starts = StartSampler([10.0], step=STEP, count=256, average_rate=0.005)
    _, times = starts.draw(256)
    for _ in range(2000):
        before, times = times, times + STEP
        failed = (before < 7.3) & (times >= 7.3)
        over = times > 10.0
        starts.record(torch.zeros(256, dtype=torch.long), times, failed)
        starts.end_step()
        _, fresh = starts.draw(256)
        times = torch.where(failed | over, fresh, times)
    summary = {name: float(value) for name, value in starts.summary().items()}
    chances = starts.probabilities()
    assert summary["sampling_top1_bin"] == 7 and summary["sampling_top1_prob"] == pytest.approx(float(chances.max()))
    assert float(chances[5:8].sum()) > 0.85 and float(chances[[0, 1, 2, 3, 4, 8, 9]].min()) >= 0.0099
    shares = chances.numpy()
    assert summary["sampling_entropy"] == pytest.approx(-(shares * np.log(shares)).sum() / np.log(10))
    assert float(StartSampler([10.0], step=STEP).summary()["sampling_entropy"]) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("spans", "options"),
    [
        ([], {}),
        ([-1.0], {}),
        ([math.inf], {}),
        ([1.0], {"uniform_share": 0.0}),
        ([1.0], {"kernel_size": 0}),
        ([1.0], {"kernel_decay": 1.5}),
        ([1.0], {"average_rate": 0.0}),
        ([1.0], {"bin_width": math.nan}),
    ],
)
def test_numbers_out_of_range_are_refused(spans, options):
    with pytest.raises(InputRejected):
        sampler(spans, **options)
