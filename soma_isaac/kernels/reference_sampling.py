"""Reference clips of a robot on the device: every environment samples its own clip at its own time."""

# pyright: reportInvalidTypeForm=false
from __future__ import annotations

from typing import NamedTuple

import warp as wp

from soma_isaac.kernels.clip_sampling import between
from soma_isaac.kernels.shapes import check_array

wp.set_module_options({"enable_backward": False})


class ReferenceArrays(NamedTuple):
    """Device arrays of C clips with F frames in all, J joints and B bodies.

    Attributes:
        starts: [C] int32, first frame of each clip.
        counts: [C] int32, frames of each clip.
        rates: [C] float64, Hz.
        joint_pos: [F, J] float32, rad.
        joint_vel: [F, J] float32, rad/s.
        body_pos: [F, B] vec3, m.
        body_quat: [F, B] quat (xyzw).
        body_link_vel: [F, B] vec3, m/s, of the link origins.
        body_com_vel: [F, B] vec3, m/s, of the centres of mass.
        body_ang_vel: [F, B] vec3, rad/s.
    """

    starts: wp.array
    counts: wp.array
    rates: wp.array
    joint_pos: wp.array
    joint_vel: wp.array
    body_pos: wp.array
    body_quat: wp.array
    body_link_vel: wp.array
    body_com_vel: wp.array
    body_ang_vel: wp.array


class ReferenceSample(NamedTuple):
    """Device arrays of N environments' references, named as in :class:`ReferenceArrays`.

    Attributes:
        joint_pos: [N, J] float32, rad.
        joint_vel: [N, J] float32, rad/s.
        body_pos: [N, B] vec3, m, shifted to the environment.
        body_quat: [N, B] quat (xyzw).
        body_link_vel: [N, B] vec3, m/s.
        body_com_vel: [N, B] vec3, m/s.
        body_ang_vel: [N, B] vec3, rad/s.
    """

    joint_pos: wp.array
    joint_vel: wp.array
    body_pos: wp.array
    body_quat: wp.array
    body_link_vel: wp.array
    body_com_vel: wp.array
    body_ang_vel: wp.array


@wp.struct
class FramePair:
    """Two frames and how far between them."""

    first: int
    second: int
    share: float


@wp.func
def frame_pair(start: int, count: int, rate: wp.float64, time: wp.float64) -> FramePair:
    """Frames on both sides of a time; before the first and after the last one they hold."""
    pair = FramePair()
    last = count - 1
    position = time * rate
    frame = wp.clamp(int(wp.floor(position)), 0, wp.max(last - 1, 0))
    pair.share = float(wp.clamp(position - wp.float64(frame), wp.float64(0.0), wp.float64(1.0)))
    pair.first = start + frame
    pair.second = start + wp.min(frame + 1, last)
    return pair


@wp.kernel
def sample_joints_kernel(
    # clips
    starts: wp.array(dtype=wp.int32),
    counts: wp.array(dtype=wp.int32),
    rates: wp.array(dtype=wp.float64),
    joint_pos: wp.array(dtype=wp.float32, ndim=2),
    joint_vel: wp.array(dtype=wp.float32, ndim=2),
    # environments
    clips: wp.array(dtype=wp.int32),
    times: wp.array(dtype=wp.float64),
    # out
    joint_pos_out: wp.array(dtype=wp.float32, ndim=2),
    joint_vel_out: wp.array(dtype=wp.float32, ndim=2),
):
    """One joint of one environment."""
    env, joint = wp.tid()
    clip = clips[env]
    pair = frame_pair(starts[clip], counts[clip], rates[clip], times[env])
    joint_pos_out[env, joint] = wp.lerp(joint_pos[pair.first, joint], joint_pos[pair.second, joint], pair.share)
    joint_vel_out[env, joint] = wp.lerp(joint_vel[pair.first, joint], joint_vel[pair.second, joint], pair.share)


@wp.kernel
def sample_bodies_kernel(
    # clips
    starts: wp.array(dtype=wp.int32),
    counts: wp.array(dtype=wp.int32),
    rates: wp.array(dtype=wp.float64),
    body_pos: wp.array(dtype=wp.vec3, ndim=2),
    body_quat: wp.array(dtype=wp.quat, ndim=2),
    body_link_vel: wp.array(dtype=wp.vec3, ndim=2),
    body_com_vel: wp.array(dtype=wp.vec3, ndim=2),
    body_ang_vel: wp.array(dtype=wp.vec3, ndim=2),
    # environments
    clips: wp.array(dtype=wp.int32),
    times: wp.array(dtype=wp.float64),
    origins: wp.array(dtype=wp.vec3),
    # out
    body_pos_out: wp.array(dtype=wp.vec3, ndim=2),
    body_quat_out: wp.array(dtype=wp.quat, ndim=2),
    body_link_vel_out: wp.array(dtype=wp.vec3, ndim=2),
    body_com_vel_out: wp.array(dtype=wp.vec3, ndim=2),
    body_ang_vel_out: wp.array(dtype=wp.vec3, ndim=2),
):
    """One body of one environment."""
    env, body = wp.tid()
    clip = clips[env]
    pair = frame_pair(starts[clip], counts[clip], rates[clip], times[env])
    share = pair.share
    body_pos_out[env, body] = wp.lerp(body_pos[pair.first, body], body_pos[pair.second, body], share) + origins[env]
    body_quat_out[env, body] = between(body_quat[pair.first, body], body_quat[pair.second, body], share)
    body_link_vel_out[env, body] = wp.lerp(body_link_vel[pair.first, body], body_link_vel[pair.second, body], share)
    body_com_vel_out[env, body] = wp.lerp(body_com_vel[pair.first, body], body_com_vel[pair.second, body], share)
    body_ang_vel_out[env, body] = wp.lerp(body_ang_vel[pair.first, body], body_ang_vel[pair.second, body], share)


def launch_sample_reference(
    arrays: ReferenceArrays, *, clips: wp.array, times: wp.array, origins: wp.array, out: ReferenceSample
) -> None:
    """References of N environments, interpolated between frames; times outside a clip hold its ends.

    Args:
        arrays: The clips.
        clips: [N] int32, which clip each environment plays.
        times: [N] float64, s within it.
        origins: [N] vec3, m, added to positions.
        out: Where to.

    Raises:
        InputRejected: A shape or a device does not fit.
    """
    device = times.device
    count = len(times)
    check_array("clips", clips, (count,), device)
    check_array("origins", origins, (count,), device)
    for name in ReferenceSample._fields:
        check_array(name, getattr(out, name), (count, getattr(arrays, name).shape[1]), device)
    lead = [arrays.starts, arrays.counts, arrays.rates]
    wp.launch(
        sample_joints_kernel,
        dim=out.joint_pos.shape,
        inputs=[*lead, arrays.joint_pos, arrays.joint_vel, clips, times],
        outputs=[out.joint_pos, out.joint_vel],
        device=device,
    )
    bodies = [
        arrays.body_pos, arrays.body_quat, arrays.body_link_vel, arrays.body_com_vel, arrays.body_ang_vel,
    ]  # fmt: skip
    wp.launch(
        sample_bodies_kernel,
        dim=out.body_pos.shape,
        inputs=[*lead, *bodies, clips, times, origins],
        outputs=list(out[2:]),
        device=device,
    )
