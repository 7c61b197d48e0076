"""Motion clips on the device: one clock per body, rotations between two frames, placed in the world.

Frames of all clips lie one after another. A body's time becomes a frame and a share of the next one; rotations are
interpolated the short way along the great circle, positions linearly. The placement turns and shifts what the hips do,
which moves the whole body, so that a Y-up clip stands in a Z-up world at no cost.
"""

# pyright: reportInvalidTypeForm=false
from __future__ import annotations

from typing import NamedTuple

import warp as wp

from soma_isaac.kernels.shapes import check_array

wp.set_module_options({"enable_backward": False})

HOLD, LOOP = range(2)
"""What a clip does at its end: the last frame stays, or the first one follows."""

_LOOP = wp.constant(LOOP)
# Nearer than this (half angles of 1.8 degrees) chord and arc differ by less than 1e-6 rad.
_NEAR = wp.constant(0.9995)


class ClipArrays(NamedTuple):
    """Device arrays of C clips with F frames in all.

    Attributes:
        starts: [C] int32, first frame of each clip.
        counts: [C] int32, frames of each clip.
        rates: [C] float64, Hz.
        heights: [C] float32, m, hips above the floor in the T-pose of the person the clip was made for.
        rotations: [F, J] quat (xyzw), joints 1 to J relative to the T-pose.
        translations: [F] vec3, m, hips.
    """

    starts: wp.array
    counts: wp.array
    rates: wp.array
    heights: wp.array
    rotations: wp.array
    translations: wp.array


class ClockArrays(NamedTuple):
    """Device arrays of B bodies' clocks.

    Attributes:
        clips: [B] int32.
        phases: [B] float64, s: the time after a reset.
        speeds: [B] float64; negative ones run backwards.
        ends: [B] int32, ``HOLD`` or ``LOOP``.
        times: [B] float64, s within the clip.
        active: [B] int32, 1 where the next step moves the clock.
        stale: [B] int32, 1 where the body was changed since it was posed.
        posing: [B] int32, 1 where the step poses the body.
    """

    clips: wp.array
    phases: wp.array
    speeds: wp.array
    ends: wp.array
    times: wp.array
    active: wp.array
    stale: wp.array
    posing: wp.array


@wp.kernel
def advance_kernel(
    # clips
    counts: wp.array(dtype=wp.int32),
    rates: wp.array(dtype=wp.float64),
    # clocks
    clips: wp.array(dtype=wp.int32),
    speeds: wp.array(dtype=wp.float64),
    ends: wp.array(dtype=wp.int32),
    active: wp.array(dtype=wp.int32),
    dt: wp.array(dtype=wp.float64),
    # out
    times_out: wp.array(dtype=wp.float64),
    stale_out: wp.array(dtype=wp.int32),
    posing_out: wp.array(dtype=wp.int32),
):
    """One body's clock; a body is posed if its clock moves or if it was changed."""
    body = wp.tid()
    posing_out[body] = wp.max(active[body], stale_out[body])
    stale_out[body] = 0
    if active[body] == 0:
        return
    clip = clips[body]
    duration = wp.float64(counts[clip] - 1) / rates[clip]
    time = times_out[body] + dt[0] * speeds[body]
    if ends[body] == _LOOP and duration > wp.float64(0.0):
        if time < wp.float64(0.0) or time >= duration:
            time = time - wp.floor(time / duration) * duration
    else:
        time = wp.clamp(time, wp.float64(0.0), duration)
    times_out[body] = time


@wp.kernel
def reset_kernel(
    phases: wp.array(dtype=wp.float64),
    mask: wp.array(dtype=wp.int32),
    # out
    times_out: wp.array(dtype=wp.float64),
    stale_out: wp.array(dtype=wp.int32),
):
    """One body's clock back to its phase."""
    body = wp.tid()
    if mask[body] != 0:
        times_out[body] = phases[body]
        stale_out[body] = 1


@wp.func
def between(start: wp.quat, end: wp.quat, share: float) -> wp.quat:
    """The rotation at a share of the short way from ``start`` to ``end``."""
    cosine = wp.dot(start, end)
    other = end
    if cosine < 0.0:
        cosine = -cosine
        other = -end
    first = 1.0 - share
    second = share
    if cosine < _NEAR:
        angle = wp.acos(cosine)
        sine = wp.sin(angle)
        first = wp.sin(first * angle) / sine
        second = wp.sin(second * angle) / sine
    return wp.normalize(start * first + other * second)


@wp.kernel
def sample_clips_kernel(
    # clips
    starts: wp.array(dtype=wp.int32),
    counts: wp.array(dtype=wp.int32),
    rates: wp.array(dtype=wp.float64),
    heights: wp.array(dtype=wp.float32),
    rotations: wp.array(dtype=wp.quat, ndim=2),
    translations: wp.array(dtype=wp.vec3),
    # bodies
    bodies: wp.array(dtype=wp.int32),
    clips: wp.array(dtype=wp.int32),
    times: wp.array(dtype=wp.float64),
    placements: wp.array(dtype=wp.transform),
    legs: wp.array(dtype=wp.float32),
    # out
    rotations_out: wp.array(dtype=wp.mat33, ndim=2),
    translations_out: wp.array(dtype=wp.vec3),
):
    """One joint of one body at its own time."""
    row, joint = wp.tid()
    body = bodies[row]
    clip = clips[body]
    last = counts[clip] - 1
    position = times[body] * rates[clip]
    frame = wp.clamp(int(wp.floor(position)), 0, wp.max(last - 1, 0))
    share = float(wp.clamp(position - wp.float64(frame), wp.float64(0.0), wp.float64(1.0)))
    first = starts[clip] + frame
    second = starts[clip] + wp.min(frame + 1, last)
    rotation = between(rotations[first, joint], rotations[second, joint], share)
    if joint == 0:
        placement = placements[body]
        rotation = wp.transform_get_rotation(placement) * rotation
        hips = translations[first] * (1.0 - share) + translations[second] * share
        if legs[body] > 0.0:
            hips *= legs[body] / heights[clip]
        translations_out[row] = wp.transform_point(placement, hips)
    rotations_out[row, joint] = wp.quat_to_matrix(rotation)


def launch_advance(clips: ClipArrays, clocks: ClockArrays, *, dt: wp.array) -> None:
    """Move the clocks of active bodies by ``dt`` times their speed; looping ones wrap, the others stop at the ends.

    Active and stale bodies are marked for posing; none is stale afterwards.

    Args:
        clips: The C clips.
        clocks: The B clocks; ``times``, ``stale`` and ``posing`` change.
        dt: [1] float64, s.

    Raises:
        InputRejected: A shape or a device does not fit.
    """
    device = clocks.times.device
    for name in ("clips", "phases", "speeds", "ends", "active", "stale", "posing"):
        check_array(name, getattr(clocks, name), clocks.times.shape, device)
    check_array("dt", dt, (1,), device)
    check_array("rates", clips.rates, clips.counts.shape, device)
    wp.launch(
        advance_kernel,
        dim=len(clocks.times),
        inputs=[clips.counts, clips.rates, clocks.clips, clocks.speeds, clocks.ends, clocks.active, dt],
        outputs=[clocks.times, clocks.stale, clocks.posing],
        device=device,
    )


def launch_reset(clocks: ClockArrays, *, mask: wp.array) -> None:
    """Set clocks back to their phases.

    Args:
        clocks: The B clocks; ``times`` and ``stale`` change.
        mask: [B] int32, which ones.

    Raises:
        InputRejected: A shape or a device does not fit.
    """
    device = clocks.times.device
    check_array("mask", mask, clocks.times.shape, device)
    check_array("stale", clocks.stale, clocks.times.shape, device)
    wp.launch(
        reset_kernel,
        dim=len(clocks.times),
        inputs=[clocks.phases, mask],
        outputs=[clocks.times, clocks.stale],
        device=device,
    )


def launch_sample_clips(
    clips: ClipArrays,
    clocks: ClockArrays,
    *,
    bodies: wp.array,
    placements: wp.array,
    legs: wp.array,
    rotations_out: wp.array,
    translations_out: wp.array,
) -> None:
    """Poses of N of the B bodies at their times.

    Args:
        clips: The C clips over J joints.
        clocks: The B clocks.
        bodies: [N] int32, which bodies.
        placements: [B] transform, from the clip's world to the output's.
        legs: [B] float32, m, hips above the floor in the body's T-pose: the path is scaled by it over the clip's; legs
            of 0 leave it as it is.
        rotations_out: [N, J] mat33; joint 0 (the hips) is placed.
        translations_out: [N] vec3, m.

    Raises:
        InputRejected: A shape or a device does not fit.
    """
    device = rotations_out.device
    count, joints = rotations_out.shape
    check_array("rotations", clips.rotations, (None, joints), device)
    check_array("translations", clips.translations, (clips.rotations.shape[0],), device)
    check_array("bodies", bodies, (count,), device)
    check_array("placements", placements, clocks.times.shape, device)
    check_array("legs", legs, clocks.times.shape, device)
    check_array("heights", clips.heights, clips.counts.shape, device)
    check_array("translations_out", translations_out, (count,), device)
    wp.launch(
        sample_clips_kernel,
        dim=(count, joints),
        inputs=[
            clips.starts,
            clips.counts,
            clips.rates,
            clips.heights,
            clips.rotations,
            clips.translations,
            bodies,
            clocks.clips,
            clocks.times,
            placements,
            legs,
        ],
        outputs=[rotations_out, translations_out],
        device=device,
    )
