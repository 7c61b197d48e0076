"""Bodies of every age and build from Anny (Apache-2.0, data CC0), in SOMA topology: the population of the shape space.

Anny's phenotypes are drawn as its authors calibrated them against the WHO's growth tables, for one half of the bodies;
the other half spreads stature 1.4 times as far and takes weight, muscle and gender from their whole range, so
that tall, short, heavy, thin and muscular bodies of every age are covered. Limb lengths, girths and heads vary on top.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from soma_isaac.errors import InputRejected, MissingDependency
from soma_isaac.rig.skeleton import PUBLIC_JOINT_NAMES

AGE_GROUPS: Mapping[str, tuple[float, float, float]] = MappingProxyType(
    {
        "infant": (0.0, 3.0, 0.02),
        "child": (3.0, 12.0, 0.06),
        "teen": (12.0, 18.0, 0.08),
        "adult": (18.0, 60.0, 0.58),
        "elder": (60.0, 90.0, 0.26),
    }
)
"""Youngest and oldest age [years] and share of each group; ages are uniform within a group."""

LOCAL_CHANGES = (
    "measure-upperarm-length-incr",
    "measure-lowerarm-length-incr",
    "measure-upperleg-height-incr",
    "measure-lowerleg-height-incr",
    "measure-shoulder-dist-incr",
    "measure-napetowaist-dist-incr",
    "measure-waisttohip-dist-incr",
    "measure-waist-circ-incr",
    "measure-hips-circ-incr",
    "measure-bust-circ-incr",
    "measure-upperarm-circ-incr",
    "measure-thigh-circ-incr",
    "measure-calf-circ-incr",
    "measure-neck-circ-incr",
    "measure-neck-height-incr",
    "torso-vshape-incr",
    "stomach-tone-incr",
    "buttocks-volume-incr",
    "head-fat-incr",
    "head-scale-vert-incr",
    "head-scale-horiz-incr",
    "head-scale-depth-incr",
)
"""Anny's local changes that vary, the same on both sides of the body."""

LOCAL_DEVIATION = 0.35
"""Standard deviation of a local change for an adult of 1.7 m; smaller bodies change in proportion."""

WIDE_FACTOR = 2.0
"""How many times the Beta distributions of stature are flattened in the wide half."""

_ADULT_STATURE_M = 1.7
_BATCH = 32


PRESETS: Mapping[str, Mapping[str, float]] = MappingProxyType(
    {
        "toddler": {"age_years": 2.0},
        "child": {"age_years": 7.0},
        "teen": {"age_years": 14.0},
        "adult_female": {"age_years": 30.0, "gender": 1.0},
        "adult_male": {"age_years": 30.0, "gender": 0.0},
        "elder_female": {"age_years": 78.0, "gender": 1.0, "muscle": 0.3},
        "elder_male": {"age_years": 78.0, "gender": 0.0, "muscle": 0.3},
        "tall": {"age_years": 30.0, "gender": 0.0, "height": 0.6},
        "short": {"age_years": 30.0, "gender": 1.0, "height": 0.2},
        "heavy": {
            "age_years": 40.0,
            "gender": 0.0,
            "weight": 1.0,
            "muscle": 0.4,
            "measure-waist-circ-incr": 0.8,
            "measure-hips-circ-incr": 0.8,
            "measure-bust-circ-incr": 0.6,
            "measure-thigh-circ-incr": 0.8,
            "measure-upperarm-circ-incr": 0.6,
            "measure-neck-circ-incr": 0.6,
            "stomach-tone-incr": -0.8,
        },
        "thin": {"age_years": 30.0, "gender": 1.0, "weight": 0.0, "muscle": 0.3},
        "muscular": {"age_years": 30.0, "gender": 0.0, "weight": 0.6, "muscle": 1.0},
    }
)
"""Named bodies for :meth:`AnnySource.describe`."""


@dataclass(frozen=True, eq=False)
class People:
    """Descriptions of N bodies.

    Attributes:
        age_years: [N].
        phenotypes: Anny's phenotypes by name, [N] each, all but ``age``.
        local_changes: [N, len(LOCAL_CHANGES)] for an adult's stature.
    """

    age_years: np.ndarray
    phenotypes: Mapping[str, np.ndarray]
    local_changes: np.ndarray

    @property
    def groups(self) -> np.ndarray:
        """Index [N] into :data:`AGE_GROUPS`."""
        return np.searchsorted([end for _, end, _ in AGE_GROUPS.values()], self.age_years, side="left")


class AnnySource:
    """Anny's model with SOMA's topology; the first build takes 15 s of CPU, later ones read Anny's cache."""

    def __init__(self) -> None:
        """Load the model.

        Raises:
            MissingDependency: anny is not installed.
            InputRejected: The installed anny has another SOMA rig.
        """
        try:
            import anny
            import torch
            from anny.shape_distribution import SimpleShapeDistribution
        except ImportError as error:
            raise MissingDependency("anny", "sampling bodies", "pip install soma_isaac[anny]") from error
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse CSR tensor support", category=UserWarning)
            self._model = anny.Anny(rig="soma", topology="soma", phenotypes="all", local_changes=LOCAL_CHANGES)
        self._torch: Any = torch
        self.package_folder = Path(str(anny.__file__)).resolve().parents[1]
        self._distribution = SimpleShapeDistribution(self._model)
        if tuple(map(str, self._model.bone_labels)) != PUBLIC_JOINT_NAMES:
            raise InputRejected("the installed anny does not have the 78 public SOMA joints in their order")

    def draw(self, random: np.random.Generator, count: int) -> People:
        """Describe ``count`` random people (the groups' shares are rounded to whole people)."""
        bounds = np.rint(np.cumsum([0.0, *(share for _, _, share in AGE_GROUPS.values())]) * count).astype(int)
        ages = [
            random.uniform(begin, end, size)
            for (begin, end, _), size in zip(AGE_GROUPS.values(), np.diff(bounds), strict=True)
        ]
        age_years = np.concatenate(ages)
        wide = random.random(count) < 0.5
        gender = np.where(wide, random.integers(0, 2, count), random.random(count))
        phenotypes = {"gender": gender}
        for name in ("height", "weight", "muscle"):
            alpha, beta = self._beta(name, age_years, gender)
            flat = np.where(wide & (name == "height"), WIDE_FACTOR, 1.0)
            drawn = random.beta(alpha / flat, beta / flat)
            uniform = random.random(count)
            phenotypes[name] = np.where(wide & (name != "height"), uniform, drawn)
        for name in ("proportions", "cupsize", "firmness"):
            phenotypes[name] = random.random(count)
        origins = random.dirichlet((1.0, 1.0, 1.0), count)
        for column, name in enumerate(("african", "asian", "caucasian")):
            phenotypes[name] = origins[:, column]
        local = np.clip(random.normal(0.0, LOCAL_DEVIATION, (count, len(LOCAL_CHANGES))), -1.0, 1.0)
        return People(age_years, phenotypes, local)

    def describe(self, bodies: Sequence[Mapping[str, float]]) -> People:
        """Describe chosen bodies: ``age_years``, any phenotypes and local changes; the rest is average for the age.

        Raises:
            InputRejected: A name is none of these.
        """
        known = {"age_years", *self._model.phenotype_labels, *LOCAL_CHANGES}
        unknown = sorted(set().union(*bodies) - known)
        if unknown:
            raise InputRejected(
                f"no phenotype or local change {', '.join(unknown)}; there are {', '.join(sorted(known))}"
            )
        age_years = np.array([body["age_years"] for body in bodies])
        gender = np.array([body.get("gender", 0.5) for body in bodies])
        alpha, beta = self._beta("height", age_years, gender)
        averages = {"height": alpha / (alpha + beta), "proportions": np.full(len(bodies), 0.3)}
        phenotypes = {}
        for name in set(self._model.phenotype_labels) - {"age"}:
            average = averages.get(name, np.full(len(bodies), 0.5))
            phenotypes[name] = np.array(
                [body.get(name, value) for body, value in zip(bodies, average.tolist(), strict=True)]
            )
        local = np.array([[body.get(name, 0.0) for name in LOCAL_CHANGES] for body in bodies])
        return People(age_years, phenotypes, local)

    def rest_points(self, people: People) -> Iterator[np.ndarray]:
        """Batches [B, V, 3] m of the people's rest shapes in Anny's own rest pose, Y up and facing +Z."""
        phenotypes = {**people.phenotypes, "age": self._anny_age(people.age_years)}
        for begin in range(0, len(people.age_years), _BATCH):
            rows = slice(begin, begin + _BATCH)
            values = {name: self._torch.tensor(column[rows]) for name, column in phenotypes.items()}
            upright = self._points(values, np.zeros_like(people.local_changes[rows]))[..., 2]
            stature = np.ptp(upright, axis=1)
            points = self._points(values, people.local_changes[rows] * (stature / _ADULT_STATURE_M)[:, None])
            # Anny is Z-up and faces -Y.
            yield np.stack((points[..., 0], points[..., 2], -points[..., 1]), axis=-1)

    def _points(self, phenotypes: Mapping[str, Any], local: np.ndarray) -> np.ndarray:
        changes = {name: self._torch.tensor(local[:, column]) for column, name in enumerate(LOCAL_CHANGES)}
        with self._torch.no_grad():
            weights = self._model.get_phenotype_blendshape_coefficients(**phenotypes, local_changes=changes)
            return self._model.get_rest_vertices(weights).numpy()

    def _anny_age(self, age_years: np.ndarray) -> np.ndarray:
        mapping = self._distribution.morphological_age_mapping
        return mapping.morphological_to_anny_age(self._torch.tensor(age_years)).numpy()

    def _beta(self, name: str, age_years: np.ndarray, gender: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        age = self._torch.tensor(self._anny_age(age_years))
        tables = []
        for people in ("boys", "girls"):
            table = getattr(self._distribution, f"{people}_conditional_{name}_distribution")
            tables.append([value.numpy() for value in table.get_distribution_params(age)])
        male = gender <= 0.5
        return np.where(male, tables[0][0], tables[1][0]), np.where(male, tables[0][1], tables[1][1])
