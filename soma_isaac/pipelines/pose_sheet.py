"""The picture of ``docs/posing.md``: the same effectors on five bodies, drawn with what is asked of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from soma_isaac.formats.atomic import write_file
from soma_isaac.formats.png import png_bytes
from soma_isaac.inversion.smpl_body import BodySize, rest_offsets
from soma_isaac.learned.effectors import Effector, Effectors, look_at, position, rotation
from soma_isaac.learned.poser import Poser
from soma_isaac.math.so3 import matrix_from_rotvec
from soma_isaac.motion.soma import MotionIdentity
from soma_isaac.pipelines.pose import PosedBody, pose_body
from soma_isaac.pipelines.pose_body import ShownBody, bones_body, identity_body
from soma_isaac.pipelines.pose_effectors import NamedPoses
from soma_isaac.pipelines.pose_pictures import View, pose_picture
from soma_isaac.pipelines.poser_choice import choose_poser
from soma_isaac.render.contact_sheet import contact_sheet
from soma_isaac.rig.skeleton import PUBLIC_JOINT_NAMES, template_rest_offsets

VIEW = View(azimuth=0.45, elevation=0.16, size=(300, 380))
CUSTOM_STRETCH = {
    **dict.fromkeys(("ForeArm", "Hand"), 1.35),
    **dict.fromkeys(("Shin", "Foot"), 0.72),
    **dict.fromkeys(("Shoulder", "Arm", "Leg"), 1.3),
    **dict.fromkeys(("Spine1", "Spine2", "Chest"), 1.1),
    **dict.fromkeys(("Neck1", "Neck2", "Head"), 1.5),
}
"""A cartoon of a person: long arms and neck, short legs, broad shoulders."""


@dataclass(frozen=True, eq=False)
class PoseSheet:
    """The sheet and what it shows.

    Attributes:
        image: [H, W, 3] uint8, a row per set of effectors, a column per body.
        posed: The bodies, each with all poses.
    """

    image: np.ndarray
    posed: tuple[PosedBody, ...]


def sheet_bodies(lod: str = "mid") -> tuple[ShownBody, ...]:
    """Child, tall, heavy, a body with SMPL's bones, and a custom rig."""
    smpl = rest_offsets(BodySize(1.0, 1.0, 1.0, 1.0, 1.0, "mean"), "smplh")
    custom = template_rest_offsets().copy()
    for row, name in enumerate(PUBLIC_JOINT_NAMES):
        custom[row] *= CUSTOM_STRETCH.get(name.removeprefix("Left").removeprefix("Right"), 1.0)
    drop = sum(float(custom[PUBLIC_JOINT_NAMES.index(f"Left{joint}"), 1]) for joint in ("Leg", "Shin", "Foot"))
    custom[1] = (0.0, 0.09 - drop, 0.0)
    return (
        *(identity_body(named=name, lod=lod) for name in ("child", "tall", "heavy")),
        bones_body(MotionIdentity("smplh", np.zeros(0), None, smpl, "estimated"), "smpl bones", lod),
        bones_body(MotionIdentity("soma", np.zeros(0), None, custom, "file"), "custom rig", lod),
    )


def sheet_poses(shown: ShownBody) -> NamedPoses:
    """Two sets of effectors: the same points in the room for every body, and points that grow with its size."""
    size = shown.skeleton.scale
    places = np.cumsum(shown.skeleton.rest_offsets[[0, 15, 16, 17, 18]], axis=0)  # Hips to LeftToeBase in the T-pose
    ankle, toe = float(places[3, 1]), shown.skeleton.rest_offsets[18]

    def feet(left: Sequence[float], right: Sequence[float]) -> list[Effector]:
        """Both feet flat on the floor: ankles and, where the T-pose has them from there, toes."""
        made = [position("LeftFoot", [left[0], ankle, left[1]]), position("RightFoot", [right[0], ankle, right[1]])]
        made.append(position("LeftToeBase", [left[0] + toe[0], ankle + toe[1], left[1] + toe[2]]))
        return [*made, position("RightToeBase", [right[0] - toe[0], ankle + toe[1], right[1] + toe[2]])]

    def grown(*point: float) -> list[float]:
        return [size * value for value in point]

    room = [
        *feet((0.12, 0.05), (-0.12, -0.05)),
        position("LeftHand", [0.25, 1.0, 0.32]),
        position("RightHand", [-0.25, 0.62, 0.30]),
        look_at("Head", [0.3, 1.0, 0.9]),
    ]
    own = [
        *feet((0.22 * size, 0.30 * size), (-0.14 * size, -0.32 * size)),
        position("LeftHand", grown(0.40, 1.40, 0.45)),
        position("RightHand", grown(-0.50, 0.95, 0.10)),
        rotation("LeftHand", matrix_from_rotvec(np.array([0.0, -1.4, 0.3]))),
        look_at("Head", grown(0.7, 1.5, 1.1)),
    ]
    return NamedPoses(("same points", "by its size"), (tuple(room), tuple(own)))


def draw_pose_sheet(poser: Poser, view: View = VIEW, lod: str = "mid") -> PoseSheet:
    """Pose the five bodies and draw them.

    Args:
        poser: What poses.
        view: Where from.
        lod: Level of detail of the skins.
    """
    posed = tuple(pose_body(shown, sheet_poses(shown), poser) for shown in sheet_bodies(lod))
    pictures = [
        pose_picture(each.shown, each.refined.pose, each.effectors, row, view, f"{each.shown.name}\n{name}")
        for row, name in enumerate(posed[0].poses.names)
        for each in posed
    ]
    return PoseSheet(contact_sheet(pictures, len(posed)), posed)


def write_pose_sheet(path: Path, network: str | None = None) -> list[str]:
    """Draw the sheet into a file; the lines say how well every body meets its effectors.

    Raises:
        InputRejected: The network cannot be read.
    """
    sheet = draw_pose_sheet(choose_poser(network))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, png_bytes(sheet.image))
    return [line for each in sheet.posed for line in _lines(each)]


def _lines(posed: PosedBody) -> list[str]:
    kinds: Effectors = posed.effectors
    lines = []
    for row, name in enumerate(posed.poses.names):
        used = kinds.weight[row] > 0.0
        place = used & (kinds.kind[row] == 0)
        worst = 1e3 * posed.refined.residual[row][place].max()
        turn = np.degrees(posed.refined.residual[row][used & ~place].max(initial=0.0))
        change = np.degrees(posed.refined.change[row])
        lines.append(
            f"{posed.shown.name}, {name}: {int(posed.refined.reached[row][used].sum())} of {int(used.sum())} met, "
            f"worst {worst:.3f} mm and {turn:.3f} deg, learned pose changed by {change:.1f} deg"
        )
    return lines
