"""Poses of one body as files: a SOMA npz, or the skinned body in USD or glTF with one frame per pose."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from soma_isaac.errors import InputRejected
from soma_isaac.motion.soma import SomaMotion
from soma_isaac.pipelines.pose_body import ShownBody

KINDS = ("npz", "usda", "usdc", "usd", "glb")


def encoded(shown: ShownBody, motion: SomaMotion, kind: str, names: Sequence[str] = ()) -> bytes:
    """The bytes of a file.

    Args:
        shown: The body.
        motion: Its poses, one per frame.
        kind: One of ``KINDS``.
        names: What the poses are called.

    Raises:
        InputRejected: There is no such kind of file.
    """
    if kind not in KINDS:
        raise InputRejected(f"there is no file of poses named .{kind}; there are {', '.join(KINDS)}")
    if kind == "npz":
        from soma_isaac.formats.soma_npz import provenance_array, soma_npz_bytes

        return soma_npz_bytes(motion, {"provenance": provenance_array(motion.provenance)})
    from soma_isaac.body.skin_animation import skin_animation
    from soma_isaac.formats.glb import skin_animation_glb
    from soma_isaac.formats.rig_usd_uv import template_uvs
    from soma_isaac.formats.skel_anim_usd import skel_animation_stage
    from soma_isaac.formats.usd_stage_file import save_staged

    animation = skin_animation(
        shown.body, shown.identity, motion.rotations, motion.root_translation, fps=motion.fps, name="poses"
    )
    comment = f"SOMA body ({shown.name}), poses: {', '.join(names[:20])}"
    uv = template_uvs().get(shown.layer.lod)
    if kind == "glb":
        return skin_animation_glb(animation, comment, uv)
    with tempfile.TemporaryDirectory() as folder:
        stage = skel_animation_stage(animation, f".{kind}", comment, uv)
        return save_staged(stage, Path(folder) / f"poses.{kind}").read_bytes()
