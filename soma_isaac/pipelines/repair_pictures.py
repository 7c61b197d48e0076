"""Pictures of a repair: the clip above, the repaired clip below, with the path that a joint is held to."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from soma_isaac.formats.atomic import write_file
from soma_isaac.formats.png import png_bytes
from soma_isaac.learned.effectors import joint_index
from soma_isaac.learned.poser import Poser
from soma_isaac.learned.skeleton import POSE_INDICES, BodyPose, BodySkeleton, body_kinematics
from soma_isaac.motion.resample import resample
from soma_isaac.motion.soma import SomaMotion
from soma_isaac.pipelines.motion_in import load_motion
from soma_isaac.pipelines.pose_body import ShownBody, bones_body
from soma_isaac.pipelines.pose_pictures import LOOK_RGB, POSITION_RGB, View, ball, body_mesh, captioned, framing
from soma_isaac.pipelines.poser_choice import choose_poser
from soma_isaac.pipelines.repair import repair_motion
from soma_isaac.pipelines.repair_targets import Hold
from soma_isaac.render import render_scene
from soma_isaac.render.contact_sheet import contact_sheet
from soma_isaac.rig.skeleton import data_path

VIEW = View(azimuth=-0.35, elevation=0.12, size=(220, 300))
COLUMNS, BEADS = 7, 36


def repair_sheet(
    shown: ShownBody, before: SomaMotion, after: SomaMotion, hold: Hold, view: View = VIEW, columns: int = COLUMNS
) -> np.ndarray:
    """Frames of a clip above the same frames repaired [H, W, 3] uint8.

    Red beads are the path, the blue ball is where the joint shall be in that frame.

    Raises:
        ValueError: The hold has no path.
    """
    if hold.path is None:
        raise ValueError("the hold has no path to draw")
    around = round(0.8 * before.fps)
    frames = np.linspace(hold.begin - around, hold.end - 1 + around, columns).round().astype(int)
    beads = hold.path[np.linspace(0, len(hold.path) - 1, min(BEADS, len(hold.path))).astype(int)]
    pictures = []
    for motion, name in ((before, "clip"), (after, "repaired")):
        pose = BodyPose(motion.rotations[:, list(POSE_INDICES)], motion.root_translation)
        for frame in np.clip(frames, 0, before.frame_count - 1):
            meshes = [body_mesh(shown, pose, frame), *(ball(bead, POSITION_RGB, 0.012) for bead in beads)]
            if hold.begin <= frame < hold.end:
                meshes.append(ball(hold.path[frame - hold.begin], LOOK_RGB, 0.035))
            camera = framing(np.concatenate([mesh.vertices for mesh in meshes]), view)
            caption = f"{name} {frame / before.fps:.1f} s"
            pictures.append(captioned(render_scene(meshes, camera, view.size), caption))
    return contact_sheet(pictures, columns)


def hand_on_a_circle(motion: SomaMotion, seconds: float = 2.0, joint: str = "RightHand") -> Hold:
    """A hand led once around a circle in front of the chest, in the middle of a clip; it goes along with a person.

    Args:
        motion: The clip.
        seconds: Time for the way around.
        joint: The hand.
    """
    count = round(seconds * motion.fps)
    begin = (motion.frame_count - count) // 2
    part = slice(begin, begin + count)
    skeleton = BodySkeleton.from_public_offsets(motion.identity.rest_offsets)
    rotations = motion.rotations[part][:, list(POSE_INDICES)]
    positions, _ = body_kinematics(rotations, motion.root_translation[part], skeleton.rest_offsets)
    chest = positions[:, joint_index("Chest")]
    if np.ptp(chest, axis=0).max() < 0.3:
        chest = chest.mean(axis=0)
    left, _, ahead = motion.rotations[part, 0].mean(axis=0).T
    out = -left if joint.startswith("Right") else left
    angle = 2.0 * np.pi * np.arange(count) / count
    around = 0.13 * (np.cos(angle)[:, None] * left + np.sin(angle)[:, None] * [0.0, 1.0, 0.0])
    return Hold(joint, begin, begin + count, chest + skeleton.scale * (0.40 * ahead + 0.15 * out + around))


def write_repair_sheet(path: Path, network: str | None = None, clip: str = "wave") -> list[str]:
    """Repair a bundled clip, draw it into a file, and say how well it went.

    Raises:
        InputRejected: The network cannot be read.
    """
    poser: Poser = choose_poser(network)
    motion = resample(load_motion(data_path(f"demo_clips/{clip}.npz")), 40.0)
    hold = hand_on_a_circle(motion)
    found = repair_motion(motion, [hold], poser)
    shown = bones_body(motion.identity, clip, "mid")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, png_bytes(repair_sheet(shown, motion, found.motion, hold)))
    return [f"{clip}: {hold.joint} met within {1e3 * found.residual[0][0]:.3f} mm"]
