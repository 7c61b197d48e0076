"""Where in which clip episodes start: evenly over all clips, or more often where they fail.

Adaptive sampling as trainers of motion tracking know it: clips are cut into bins, failures are counted by bin in a
moving average, and starts are drawn by the counts, so that hard stretches are met often without easy ones being
forgotten. A failure counts for the bins before it too, since it often begins there. Needs torch only, not Isaac Lab.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from soma_isaac.errors import InputRejected

# Probabilities become whole numbers: sums of those are the same in any order, hence the draws on every device.
_TICKS = 2.0**40


class StartSampler:
    """Bins over clips, how often episodes failed in them, and starts drawn by that.

    With ``uniform_share`` 1 failures have no influence: every time of every clip is as likely as any other.

    Attributes:
        clips: [B] int64, clip of each bin; bins stand clip by clip, in the order of time.
        begins: [B] float64, s, first time of each bin.
        widths: [B] float64, s; within a clip all bins are equally wide.
        lengths: [B] float64, share of each bin in the length of all clips.
        failures: [B] float64, moving average of the failures per step in each bin.
    """

    def __init__(
        self,
        spans: Sequence[float],
        *,
        step: float,
        bin_width: float = 1.0,
        uniform_share: float = 0.1,
        kernel_size: int = 3,
        kernel_decay: float = 0.8,
        average_rate: float = 0.001,
        count: int = 1,
        device: str | torch.device = "cpu",
    ) -> None:
        """Cut clips into bins.

        At first it is as if each of ``count`` environments failed once per ``bin_width``, evenly over all clips, so
        that the first failures of a training change little; this is forgotten at the moving average's own rate.

        Args:
            spans: [C] s: starts lie between 0 and this time of each clip.
            step: s between the calls of :meth:`end_step`; also what a clip without length counts for.
            bin_width: s; a clip has as many bins as fit, at least one, which share its span equally.
            uniform_share: Of all starts this share falls evenly on all clips, above 0 and up to 1.
            kernel_size: A failure counts for this many bins: its own and those before it in its clip.
            kernel_decay: What it counts for a bin one further ahead, relative to the next; above 0 and up to 1.
            average_rate: Share of a step in the moving average, above 0 and up to 1.
            count: Environments.
            device: Where draws and counts are made.

        Raises:
            InputRejected: A number is out of its range.
        """
        if not spans or not all(math.isfinite(span) and span >= 0.0 for span in spans):
            raise InputRejected("clips to start in need finite lengths, and there must be one")
        for name, value in (("uniform_share", uniform_share), ("kernel_decay", kernel_decay), ("rate", average_rate)):
            if not 0.0 < value <= 1.0:
                raise InputRejected(f"{name} is above 0 and at most 1, not {value!r}")
        if not (math.isfinite(bin_width) and bin_width > 0.0 and step > 0.0 and kernel_size >= 1):
            raise InputRejected("bins have a width above 0, steps too, and a kernel at least one bin")
        counts = torch.tensor([max(1, round(span / bin_width)) for span in spans])
        lasts = counts.cumsum(0)
        span_of = torch.tensor([float(span) for span in spans], dtype=torch.float64)
        clips = torch.repeat_interleave(torch.arange(len(spans)), counts)
        inside = torch.arange(len(clips)) - (lasts - counts)[clips]
        widths = (span_of / counts)[clips]
        lengths = (span_of.clamp_min(step) / counts)[clips]
        self.clips, self.widths = clips.to(device), widths.to(device)
        self.begins = (inside * widths).to(device)
        self.lengths = (lengths / lengths.sum()).to(device)
        self._firsts, self._counts = (lasts - counts).to(device), counts.to(device)
        self._columns, self._kernel = (
            table.to(device) for table in _kernel(inside, counts[clips], kernel_size, kernel_decay)
        )
        self._uniform_share, self._rate = uniform_share, average_rate
        self.failures, self._fresh = torch.zeros_like(self.lengths), torch.zeros_like(self.lengths)
        self._even = self.lengths.new_tensor(count * step / bin_width)

    def __len__(self) -> int:
        return len(self.clips)

    def bins_of(self, clips: torch.Tensor, times: torch.Tensor) -> torch.Tensor:
        """[N] bins that times [N] (s) of clips [N] lie in; times beyond a clip's span belong to its last bin."""
        first = self._firsts[clips.long()]
        inside = torch.floor(times / self.widths[first].clamp_min(1e-9)).long()
        return first + torch.minimum(inside.clamp_min(0), self._counts[clips.long()] - 1)

    def record(self, clips: torch.Tensor, times: torch.Tensor, failed: torch.Tensor) -> None:
        """Count the failures of the step that is under way.

        Args:
            clips: [N] what was played.
            times: [N] s, where in it.
            failed: [N] bool; the others are not counted.
        """
        self._fresh.index_add_(0, self.bins_of(clips, times), failed.to(self._fresh.dtype))

    def end_step(self) -> None:
        """Take the failures since the last call into the moving average."""
        self.failures.lerp_(self._fresh, self._rate)
        self._fresh.zero_()
        self._even.mul_(1.0 - self._rate)

    def probabilities(self) -> torch.Tensor:
        """[B] float64: how likely a start lies in each bin."""
        ahead = (self.failures[self._columns] * self._kernel).sum(dim=1) + self._even * self.lengths
        total = ahead.sum()
        adaptive = torch.where(total > 1e-30, ahead / total.clamp_min(1e-30), self.lengths)
        return self._uniform_share * self.lengths + (1.0 - self._uniform_share) * adaptive

    def draw(self, count: int, *, clips: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Starts by torch's own random numbers for the device.

        Args:
            count: N.
            clips: [N] which clips to start in; any by default.

        Returns:
            Clips [N] int64 and times [N] float64, s, anywhere within the bins drawn.
        """
        ticks = (self.probabilities() * _TICKS).round().long().clamp_min(1)
        ends = ticks.cumsum(0)
        if clips is None:
            low, high = torch.zeros_like(ends[:1]), ends[-1:]
        else:
            first = self._firsts[clips.long()]
            low, high = ends[first] - ticks[first], ends[first + self._counts[clips.long()] - 1]
        shares = torch.rand(2, count, dtype=torch.float64, device=ends.device)
        tick = torch.minimum(low + (shares[0] * (high - low)).long(), high - 1)
        bins = torch.searchsorted(ends, tick, right=True)
        return self.clips[bins], self.begins[bins] + shares[1] * self.widths[bins]

    def summary(self) -> dict[str, torch.Tensor]:
        """What trainers log, as scalars: entropy (1: even over the bins), the likeliest bin and its probability."""
        chances = self.probabilities()
        entropy = -(chances * chances.clamp_min(1e-30).log()).sum() / max(math.log(len(chances)), 1e-9)
        top, place = chances.max(dim=0)
        return {"sampling_entropy": entropy, "sampling_top1_prob": top, "sampling_top1_bin": place}


def _kernel(inside: torch.Tensor, counts: torch.Tensor, size: int, decay: float) -> tuple[torch.Tensor, torch.Tensor]:
    """For each bin the bins [B, K] at and after it, and what their failures count for it; no other clip's count.

    Each failure counts 1 in all, also where a clip's beginning leaves no room for the whole kernel.
    """
    reach = torch.arange(size)
    powers = decay ** reach.double()
    columns = torch.arange(len(inside))[:, None] + reach
    known = inside[:, None] + reach < counts[:, None]
    columns = torch.where(known, columns, 0)
    received = powers.cumsum(0)[torch.minimum(inside, torch.tensor(size - 1))]
    return columns, torch.where(known, powers / received[columns], 0.0)
