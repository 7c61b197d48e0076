"""The pose that effectors ask for, on the body that is shown: work for the renderer's thread."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from soma_isaac.body import PreparedIdentity
from soma_isaac.learned.effectors import Effectors, look_at, position
from soma_isaac.learned.poser import WEIGHTS, Poser
from soma_isaac.learned.skeleton import BodySkeleton
from soma_isaac.motion.soma import MotionIdentity, Provenance, SomaMotion
from soma_isaac.pipelines.poser_choice import STILL, choose_poser
from soma_isaac.pipelines.still_pose import STILL_FPS
from soma_isaac.rig.skeleton import data_path
from soma_isaac.ui.choices import PointEffector

NO_NETWORK = "This version ships without the pose network: poses are proposed from the T-pose."


@lru_cache(maxsize=1)
def poser() -> Poser:
    """The poser with the network that ships, or without one where there is none."""
    return choose_poser(None if data_path(WEIGHTS).is_file() else STILL)


def public_offsets(identity: PreparedIdentity, hips_height: float) -> np.ndarray:
    """Offsets [78, 3] m of the public joints of a body in its T-pose, on its soles.

    Args:
        identity: The body.
        hips_height: m above the floor in the T-pose.
    """
    offsets = identity.arrays.relative_offsets.numpy()[0].astype(np.float64)
    offsets[0], offsets[1] = 0.0, (0.0, hips_height, 0.0)
    return offsets


def posed_motion(effectors: tuple[PointEffector, ...], identity: PreparedIdentity, hips_height: float) -> SomaMotion:
    """One frame of the body in the pose that its effectors ask for; notes say what is out of reach.

    Args:
        effectors: At least one that holds a place.
        identity: The body.
        hips_height: m above the floor in the T-pose.

    Raises:
        InputRejected: No effector holds a place.
    """
    offsets = public_offsets(identity, hips_height)
    sets = Effectors.of([look_at(e.joint, e.point) if e.look else position(e.joint, e.point) for e in effectors])
    found = poser().solve(sets, BodySkeleton.from_public_offsets(offsets))
    notes = [
        f"{each.words} is out of reach by {100.0 * far:.0f} cm."
        if not each.look
        else f"{each.words} a point it cannot."
        for each, met, far in zip(effectors, found.reached[0], found.residual[0], strict=True)
        if not met
    ]
    if not data_path(WEIGHTS).is_file():
        notes.append(NO_NETWORK)
    origin = Provenance("effectors", "", "effectors", "none", "y", "format", tuple(notes))
    shape = MotionIdentity("soma", np.zeros(0), None, offsets, "mesh")
    return SomaMotion(STILL_FPS, found.pose.full(), found.pose.root_position, shape, origin)
