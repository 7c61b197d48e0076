"""Body model files in their official layouts, cut from the SOMA template: tests cannot have the licensed originals.

The native meshes are the template's xlo mesh in the T-pose with shuffled vertices, so that nothing works by accident of
numbering; the SOMA wraps are the template's mid mesh in the same pose. ``.pkl`` files are written opcode by opcode the
way Python 2 and chumpy did.
"""

import io
import struct
from functools import cache
from pathlib import Path

import numpy as np
import scipy.sparse

from soma_isaac.body import SomaBody
from soma_isaac.body.hand_rig import SIDES, cut_hand
from soma_isaac.body.hands import SomaHand
from soma_isaac.formats.pca_binary import PcaSpace, pca_npz_bytes
from soma_isaac.formats.rig_usd import load_template_rig
from soma_isaac.rig.mesh import edge_use
from soma_isaac.rig.skeleton import PUBLIC_JOINT_NAMES, PUBLIC_PARENTS
from tests.body.py2_pickle import Ch, Py2Pickler, Select

_SIDES = ("Left", "Right")
_BODY = (
    *("Hips", "Leg", "Leg", "Spine1", "Shin", "Shin", "Spine2", "Foot", "Foot", "Chest", "ToeBase", "ToeBase"),
    *("Neck1", "Shoulder", "Shoulder", "Head", "Arm", "Arm", "ForeArm", "ForeArm", "Hand", "Hand"),
)
_BODY_PARENTS = (-1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19)
_FINGERS = tuple(f"Hand{finger}{k}" for finger in ("Index", "Middle", "Pinky", "Ring") for k in (2, 3, 4)) + tuple(
    f"HandThumb{k}" for k in (1, 2, 3)
)
_CENTRE = ("Hips", "Spine1", "Spine2", "Chest", "Neck1", "Head")


def _body_names() -> list[str]:
    names, side = [], 0
    for part in _BODY:
        if part in _CENTRE:
            names.append(part)
        else:
            names.append(_SIDES[side] + part)
            side = 1 - side
    return names


def joints_of(kind: str) -> tuple[list[str], list[int]]:
    """SOMA names of a family member's joints in its own order, and their parents."""
    names, parents = _body_names(), list(_BODY_PARENTS)
    if kind == "smpl":
        return names + ["LeftHandMiddle1", "RightHandMiddle1"], parents + [20, 21]
    if kind == "smplx":
        names, parents = names + ["Jaw", "LeftEye", "RightEye"], parents + [15, 15, 15]
    for wrist, side in ((20, "Left"), (21, "Right")):
        for k, finger in enumerate(_FINGERS):
            parents.append(wrist if k % 3 == 0 else len(names) - 1)
            names.append(side + finger)
    return names, parents


class Native:
    """The mesh that stands for another body model's: points, triangles, SOMA wrap (m, T-pose), joints and weights."""

    def __init__(self) -> None:
        rig = load_template_rig()
        poses = {}
        for lod in ("mid", "xlo"):
            body = SomaBody(rig, lod=lod, threads=1)
            poses[lod] = body.pose(body.prepare(), np.zeros((1, 77, 3)))
        mesh = rig.mesh("xlo")
        order = np.random.default_rng(3).permutation(mesh.vertex_count)
        self.points = poses["xlo"].vertices.numpy()[0][order].astype(np.float64)
        self.triangles = np.argsort(order)[mesh.triangles].astype(np.uint32)
        self.wrap = poses["mid"].vertices.numpy()[0].astype(np.float64)
        self.wrap_quads = rig.mesh("mid").face_vertex_indices.reshape(-1, 4)
        self.joints = dict(zip(PUBLIC_JOINT_NAMES[1:], poses["mid"].joints.numpy()[0].astype(np.float64), strict=True))
        dense = np.zeros((mesh.vertex_count, rig.skeleton.joint_count))
        np.add.at(dense, (np.arange(len(dense))[:, None], mesh.joint_indices), mesh.joint_weights)
        self._weights = dense[order]
        self._rig = rig

    def weights(self, names: list[str]) -> np.ndarray:
        """Skin weights [V, J], SOMA's folded into the nearest ancestor that is among ``names``."""
        skeleton = self._rig.skeleton
        result = np.zeros((len(self.points), len(names)))
        for joint in range(skeleton.joint_count):
            owner = joint
            while owner >= 0 and skeleton.joint_names[owner] not in names:
                owner = int(skeleton.parent_indices[owner])
            column = names.index(skeleton.joint_names[owner]) if owner >= 0 else 0
            result[:, column] += self._weights[:, joint]
        return result / result.sum(axis=1, keepdims=True)

    def regressor(self, names: list[str]) -> np.ndarray:
        """Joint regressor [J, V]: affine weights of 24 near vertices that give the joint exactly."""
        result = np.zeros((len(names), len(self.points)))
        for row, name in enumerate(names):
            near = np.argsort(np.linalg.norm(self.points - self.joints[name], axis=1))[:24]
            system = np.vstack([self.points[near].T, np.ones(24)])
            result[row, near] = np.linalg.lstsq(system, np.append(self.joints[name], 1.0), rcond=None)[0]
        return result


@cache
def native() -> Native:
    """The native mesh, made once."""
    return Native()


def shape_field(points: np.ndarray, count: int) -> np.ndarray:
    """Smooth shape directions [count, V, 3] m: uniform growth, a shift, girth, then waves."""
    x, y, z = points.T
    fields = [0.05 * points, np.tile([0.0, 0.1, 0.0], (len(points), 1)), np.stack([0.05 * x, 0 * y, 0.05 * z], 1)]
    for k in range(3, count):
        fields.append(0.01 * np.sin(k * points[:, [1, 2, 0]] * 2.0 + k) / k)
    return np.array(fields[:count])


def smpl_arrays(kind: str = "smpl", components: int = 10) -> dict[str, np.ndarray]:
    """A model file's arrays with their official names, types and shapes."""
    body = native()
    names, parents = joints_of(kind)
    weights = body.weights(names)
    random = np.random.default_rng(11)
    features = 9 * (len(names) - 1)
    bulge = random.normal(scale=0.002, size=(3, features))
    posedirs = weights[:, 1 + np.arange(features) // 9][:, None, :] * bulge[None]
    extra = {"smplx": 10 if components == 10 else 0}.get(kind, 0)  # SMPL-X appends as many expression components
    shapes = shape_field(body.points, components + extra)
    tree = np.array([[2**32 - 1, *parents[1:]], range(len(names))], dtype=np.uint32)
    return {
        "v_template": body.points,
        "shapedirs": np.moveaxis(shapes, 0, 2),
        "posedirs": posedirs,
        "J_regressor": body.regressor(names),
        "weights": weights,
        "kintree_table": tree,
        "f": body.triangles,
    }


def smpl_pickle(kind: str = "smpl", protocol: int = 2, components: int = 10) -> bytes:
    """A model file as the official ``.pkl``: chumpy template, weights and shapes, sparse regressor, training info."""
    arrays = smpl_arrays(kind, components)
    shapes = arrays["shapedirs"]
    wide = np.concatenate([shapes, np.zeros_like(shapes)], axis=2)  # the original selects 10 of 300
    picked = np.flatnonzero(np.tile(np.arange(wide.shape[2]) < shapes.shape[2], shapes.shape[0] * 3))
    record = {
        "J_regressor_prior": scipy.sparse.csc_matrix(arrays["J_regressor"]),
        "f": arrays["f"],
        "J_regressor": scipy.sparse.csc_matrix(arrays["J_regressor"]),
        "kintree_table": arrays["kintree_table"],
        "J": arrays["J_regressor"] @ arrays["v_template"],
        "weights_prior": arrays["weights"],
        "weights": Ch(arrays["weights"]),
        "vert_sym_idxs": np.arange(len(arrays["v_template"])),
        "posedirs": Ch(arrays["posedirs"]),
        "pose_training_info": {"gender": "neutral", "subjects": [1, 2], "regularisation": 0.5},
        "bs_style": "lbs",
        "v_template": Ch(arrays["v_template"]),
        "shapedirs": Select(Ch(wide), picked.astype(np.int64), tuple(map(int, shapes.shape))),
        "bs_type": "lrotmin",
    }
    return Py2Pickler(protocol).dumps(record)


def npz(arrays: dict[str, np.ndarray]) -> bytes:
    """Bytes of an npz."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


# a folder in SOMA-X layout


def write_obj(path: Path, points: np.ndarray, faces: np.ndarray) -> None:
    """An OBJ with ``v``, one dummy ``vt``/``vn`` and ``f`` lines, vertex order as given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["# mesh", "o body", *(f"v {x!r} {y!r} {z!r}" for x, y, z in points.tolist()), "vt 0 0", "vn 0 1 0"]
    lines += ["f " + " ".join(f"{index + 1}/1/1" for index in face) for face in faces.tolist()]
    path.write_text("\n".join(lines) + "\n")


def write_pair(folder: Path, unit: float, base: str = "base_body.obj", wrap: str = "SOMA_wrap.obj") -> None:
    """A backend's OBJ pair; ``unit`` is metres per unit of the files."""
    body = native()
    write_obj(folder / base, body.points / unit, body.triangles)
    write_obj(folder / wrap, body.wrap / unit, body.wrap_quads)


def write_smpl(root: Path, kind: str = "smpl", form: str = "npz", gender: str = "NEUTRAL") -> Path:
    """``<KIND>/`` with a model file (``npz``, ``pkl`` of protocol 2, or ``pkl0`` of protocol 0) and the OBJ pair."""
    folder = root / kind.upper()
    write_pair(folder, 1.0)
    path = folder / f"{kind.upper()}_{gender}.{'npz' if form == 'npz' else 'pkl'}"
    path.write_bytes(npz(smpl_arrays(kind)) if form == "npz" else smpl_pickle(kind, 0 if form == "pkl0" else 2))
    return path


def garment_space(components: int = 6) -> PcaSpace:
    """A GarmentMeasurements-like space on the native mesh, metres."""
    points = native().points
    return PcaSpace(points, shape_field(points, components), np.linspace(2.0, 0.5, components), "")


def pca_bytes(space: PcaSpace) -> bytes:
    """The binary ``.pca``."""
    matrix = space.directions.reshape(len(space.eigenvalues), -1)
    head = struct.pack("<II", matrix.shape[1], matrix.shape[0])
    return head + b"".join(part.astype("<f8").tobytes() for part in (matrix, space.mean, space.eigenvalues))


def write_garment(root: Path, form: str = "npz") -> None:
    """``GarmentMeasurements/`` with ``point.npz`` or ``point.pca``."""
    folder = root / "GarmentMeasurements"
    write_pair(folder, 1.0, base="mean.obj")
    space = garment_space()
    (folder / f"point.{form}").write_bytes(pca_npz_bytes(space) if form == "npz" else pca_bytes(space))


def write_mhr(root: Path) -> None:
    """``MHR/`` with a TorchScript module that is called and answers like MHR's, and the OBJ pairs; cm."""
    import torch

    class Mhr(torch.nn.Module):
        def __init__(self, mean: torch.Tensor, shapes: torch.Tensor, scales: torch.Tensor) -> None:
            super().__init__()
            self.register_buffer("mean", mean)
            self.register_buffer("shapes", shapes)
            self.register_buffer("scales", scales)

        def forward(
            self, identity: torch.Tensor, parameters: torch.Tensor, face: torch.Tensor
        ) -> tuple[torch.Tensor, torch.Tensor]:
            scale = 1.0 + parameters[:, 136:204] @ self.scales + 0.1 * parameters[:, 130:136].sum(1, keepdim=True)
            points = self.mean[None] + torch.einsum("bk,kvc->bvc", identity, self.shapes)
            return points * scale[:, :, None] + 0.0 * face.sum(), parameters

    points = native().points * 100.0
    module = Mhr(
        torch.from_numpy(points).float(),
        torch.from_numpy(shape_field(points / 100.0, 45) * 100.0).float(),
        torch.linspace(0.01, 0.05, 68)[:, None],
    )
    folder = root / "MHR"
    folder.mkdir(parents=True, exist_ok=True)
    script = torch.jit.script(module)
    for level in ("lod1", "lod6"):
        torch.jit.save(script, str(folder / f"mhr_model_{level}.pt"))
        write_pair(folder, 0.01, base=f"base_body_{level}.obj", wrap="SOMA_wrap_lod1.obj")


def neutral_arrays(components: int = 4) -> dict[str, np.ndarray]:
    """The arrays of a ``SOMA_neutral.npz`` (cm) around the template's bind shape; bags are near eyes and jaw."""
    rig = load_template_rig()
    mid, low = rig.mesh("mid"), rig.mesh("low")
    mean = mid.points * 100.0
    joints = rig.skeleton.bind_T_world_joint[:, :3, 3] * 100.0

    def nearest(*names: str) -> np.ndarray:
        distance = np.min([np.linalg.norm(mean - joints[rig.skeleton.index(name)], axis=1) for name in names], axis=0)
        return np.sort(np.argsort(distance)[:120])

    shapes = shape_field(mid.points, components) * 100.0
    return {
        "mean": mean.astype(np.float32),
        "shapedirs": shapes.reshape(components, -1).astype(np.float32),
        "eigenvalues": np.linspace(1.5, 0.5, components).astype(np.float32),
        "triangles": mid.triangles,
        "triangles_low": low.triangles,
        "lod_mid_to_low": np.arange(low.vertex_count),
        "face_vert_indices": mid.face_vertex_indices,
        "face_vert_counts": mid.face_vertex_counts,
        "segment_eye_bags": nearest("LeftEye", "RightEye"),
        "segment_mouth_bag": nearest("Jaw"),
        "metadata": np.array('{"made": "for tests"}'),
        "t_pose__v1.0.0": np.tile(np.eye(3), (78, 1, 1)),
        "t_pose__v1.0.0__joint_names": np.array(PUBLIC_JOINT_NAMES),
        "t_pose__v1.0.0__parent_ids": np.maximum(np.array(PUBLIC_PARENTS), 0),
    }


def write_neutral(root: Path, components: int = 4) -> Path:
    """``SOMA_neutral.npz``."""
    root.mkdir(parents=True, exist_ok=True)
    path = root / "SOMA_neutral.npz"
    path.write_bytes(npz(neutral_arrays(components)))
    return path


# hands


def hand_file_arrays() -> dict[str, np.ndarray]:
    """The arrays of a ``SOMAHand.npz`` whose one shape is uniform growth; the right hand lists the left one's twins."""
    rig = load_template_rig()
    points = rig.mesh("mid").points
    left = np.random.default_rng(5).permutation(cut_hand(rig, "left").vertices["mid"])
    twin = {tuple(point): row for row, point in enumerate(np.round(points, 7) * (-1.0, 1.0, 1.0))}
    record = {}
    for side, vertices in zip(SIDES, (left, [twin[tuple(p)] for p in np.round(points[left], 7)]), strict=True):
        cut = cut_hand(rig, side, mid_vertices=np.array(vertices))
        edges, uses = edge_use(cut.rig.mesh("mid").triangles)
        record |= {
            f"{side}_vert_ids": vertices,
            f"{side}_hand_joint_ids_global": cut.joints,
            f"{side}_boundary_loop": np.unique(edges[uses == 1]),
        }
        if side == "left":
            record["left_mean"] = cut.rig.mesh("mid").points * 100.0
            record["left_shapedirs"] = record["left_mean"].reshape(1, -1)
            record["left_eigenvalues"] = np.array([0.01])
    return record


class NativeHand:
    """A hand in MANO's layout: 778 vertices, flat, palm down, m, the wrist away from the origin, world axes.

    Its mesh is the low hand, vertices shuffled and 60 faces split at their middles; the SOMA wrap is the mid hand in
    the order of the hand file.
    """

    def __init__(self, side: str, hand_file: Path) -> None:
        rig = load_template_rig()
        posed = {}
        for lod in ("mid", "low"):
            hand = SomaHand(rig, side, lod=lod, hand_file=hand_file, threads=1)
            posed[lod] = hand.pose(hand.prepare_identity(), np.zeros((1, 25, 3)))
            self.low = hand
            if lod == "mid":
                self.wrap_triangles = hand.triangles
        place = rig.skeleton.rest_T_world_joint[rig.skeleton.index(f"{side.capitalize()}Hand"), :3, :3]
        offset = np.array([0.09 if side == "right" else -0.09, 0.006, 0.005])

        def placed(points: np.ndarray) -> np.ndarray:
            return points.astype(np.float64) @ place.T + offset

        self.wrap = placed(posed["mid"].vertices.numpy()[0])
        points, triangles = placed(posed["low"].vertices.numpy()[0]), self.low.triangles
        split = triangles[:60]
        middle = len(points) + np.arange(len(split))
        fans = [np.stack([split[:, k], split[:, (k + 1) % 3], middle], axis=1) for k in range(3)]
        order = np.random.default_rng(6).permutation(len(points) + len(split))
        self.points = np.concatenate([points, points[split].mean(axis=1)])[order]
        self.triangles = np.argsort(order)[np.concatenate([triangles[60:], *fans])].astype(np.uint32)
        fingers = [f"{side.capitalize()}{name}" for name in ("Hand", *_FINGERS)]
        joints = placed(posed["mid"].joints.numpy()[0])
        self.joints = joints[[self.low.joint_names.index(name) for name in fingers]]


def mano_arrays(side: str, hand_file: Path) -> dict[str, np.ndarray]:
    """A MANO model's arrays with their official names and shapes; pose data are of the right shape only."""
    hand = NativeHand(side, hand_file)
    distance = np.linalg.norm(hand.points[:, None] - hand.joints, axis=-1)
    regressor = np.zeros((16, len(hand.points)))
    for row, joint in enumerate(hand.joints):
        near = np.argsort(distance[:, row])[:24]
        system = np.vstack([hand.points[near].T, np.ones(24)])
        regressor[row, near] = np.linalg.lstsq(system, np.append(joint, 1.0), rcond=None)[0]
    parents = [2**32 - 1, *(0 if k % 3 == 0 else k for k in range(15))]
    return {
        "v_template": hand.points,
        "shapedirs": np.moveaxis(shape_field(hand.points, 10), 0, 2),
        "posedirs": np.zeros((len(hand.points), 3, 135)),
        "J_regressor": regressor,
        "weights": np.eye(16)[distance.argmin(axis=1)],
        "kintree_table": np.array([parents, range(16)], dtype=np.uint32),
        "f": hand.triangles,
        "hands_mean": np.zeros(45),
        "hands_components": np.eye(45),
    }


def write_mano(root: Path, hand_file: Path, form: str = "npz") -> None:
    """``MANO/`` with both hands (``npz``, ``pkl`` of protocol 2, or ``pkl0`` of protocol 0) and their OBJ pairs."""
    folder = root / "MANO"
    for side in SIDES:
        hand, arrays = NativeHand(side, hand_file), mano_arrays(side, hand_file)
        write_obj(folder / f"base_hand_{side}.obj", hand.points, hand.triangles)
        write_obj(folder / f"SOMA_wrap_{side}.obj", hand.wrap, hand.wrap_triangles)
        path = folder / f"MANO_{side.upper()}.{'npz' if form == 'npz' else 'pkl'}"
        if form == "npz":
            path.write_bytes(npz(arrays))
            continue
        record = arrays | {
            "J_regressor": scipy.sparse.csc_matrix(arrays["J_regressor"]),
            "v_template": Ch(arrays["v_template"]),
            "shapedirs": Ch(arrays["shapedirs"]),
            "posedirs": Ch(arrays["posedirs"]),
            "weights": Ch(arrays["weights"]),
            "bs_style": "lbs",
        }
        path.write_bytes(Py2Pickler(0 if form == "pkl0" else 2).dumps(record))
