"""One clip, in a worker: a human motion file becomes reference clips and the record that the report is made from."""

from __future__ import annotations

import functools
import json
from pathlib import Path

from soma_isaac.batch.job import ConversionJob, ConvertedClip
from soma_isaac.errors import InputRejected, RigMismatch
from soma_isaac.formats.amass import is_amass, read_amass
from soma_isaac.formats.npz import open_npz
from soma_isaac.formats.reference_clip import reference_clip_bytes
from soma_isaac.formats.soma_npz import is_soma_npz
from soma_isaac.motion.resample import resample
from soma_isaac.motion.soma import SomaMotion
from soma_isaac.pipelines.motion_in import load_motion
from soma_isaac.pipelines.run_config import DETAILS_FOLDER
from soma_isaac.retarget.clip import reference_clip
from soma_isaac.retarget.details import clip_details
from soma_isaac.retarget.dynamics import dynamics
from soma_isaac.retarget.human import human_keypoints
from soma_isaac.retarget.retargeter import retarget_keypoints
from soma_isaac.retarget.robot import RobotModel, load_robot
from soma_isaac.retarget.settings import config_with
from soma_isaac.retarget.two_ways import way_comparison


@functools.lru_cache(maxsize=1)
def _robot(urdf: str) -> RobotModel:
    return load_robot(Path(urdf))


def convert_clip(job: ConversionJob) -> ConvertedClip:
    """Retarget one motion to the robot.

    Args:
        job: The input; ``settings`` has ``fps`` [Hz], ``source_fps`` [Hz] or None, ``up_axis`` or None,
            ``robot_urdf`` and its ``robot_digest``, ``smpl``: the user's SMPL files or None, and ``retarget``: the
            settings that are not the defaults, if any.

    Returns:
        The files that the job names; equal job and input give equal bytes.

    Raises:
        InputRejected: The file is no motion that we accept, or not the one that was planned; or there are SMPL files,
            but none of the model that an AMASS clip was made with.
        RigMismatch: The URDF or an SMPL file is not the one that was planned.
        SolveFailed: The clip has no usable solution.
        MissingDependency: Pinocchio is not installed.
    """
    robot = _robot(job.settings["robot_urdf"])
    if robot.digest != job.settings["robot_digest"]:
        raise RigMismatch("the URDF changed after the run was planned; run again to plan it anew")
    motion, by_joints = _motion(job)
    if motion.provenance.source_digest != job.sha256:
        raise InputRejected("the file changed after the run was planned; run again to plan it anew", job.input)
    resampled = resample(motion, job.settings["fps"])
    human = human_keypoints(resampled)
    changed = job.settings.get("retarget", {})
    config = config_with(changed)
    robot_motion = retarget_keypoints(human, robot, config)
    clip = reference_clip(robot_motion, robot)
    details = clip_details(resampled, human, robot_motion, robot, dynamics(clip, robot))
    if by_joints is not None:
        other = human_keypoints(resample(by_joints, job.settings["fps"]))
        other_motion = retarget_keypoints(other, robot, config)
        details["comparison"] = way_comparison("by joint rotations", other, other_motion, robot_motion, robot)
    said = {"retarget": changed} if changed else {}
    details |= said
    files = {}
    for output in job.outputs:
        folder = output.partition("/")[0]
        if folder == DETAILS_FOLDER:
            files[output] = json.dumps(details, sort_keys=True, allow_nan=False).encode("ascii") + b"\n"
        else:
            files[output] = reference_clip_bytes(clip, folder)
    return ConvertedClip(files, {"frames": robot_motion.frame_count, "source_fps": motion.fps} | said)


def _motion(job: ConversionJob) -> tuple[SomaMotion, SomaMotion | None]:
    """The human's motion; AMASS clips by mesh where the user has SMPL files, then by joint rotations as well."""
    source, source_fps, up_axis = Path(job.source), job.settings["source_fps"], job.settings["up_axis"]
    if job.settings["smpl"] is not None and source.suffix.lower() == ".npz":
        archive = open_npz(source, name=job.input)
        if is_amass(archive) and not is_soma_npz(archive):
            from soma_isaac.pipelines.smpl_mesh import convert_smpl  # it loads Warp and USD

            clip = read_amass(archive, source_fps)
            by_mesh = convert_smpl(clip, job.settings["smpl"], job.input, up_axis, job.settings["fps"]).motion
            return by_mesh, load_motion(source, source_fps=source_fps, up_axis=up_axis, name=job.input)
    return load_motion(source, source_fps=source_fps, up_axis=up_axis, name=job.input), None
