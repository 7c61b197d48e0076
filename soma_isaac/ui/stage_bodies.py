"""Bodies of the panel on the application's stage: plain Python on a small port, so that tests can stand behind it."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from soma_isaac.ui.background import LatestWorker
from soma_isaac.ui.choices import LODS, STILL_POSES, PreviewRequest
from soma_isaac.ui.plain_words import SHOWABLE_ERRORS, plain_words

if TYPE_CHECKING:
    from soma_isaac.body import PreparedIdentity, SomaBody
    from soma_isaac.sim.sinks.usd_layer import RigBody
    from soma_isaac.sim.sinks.usd_rig_values import JointPose
    from soma_isaac.ui.preview_models import PreviewModels

LOOK_EVERY_S = 0.25
"""How often the stage is asked what is on it: undo, another stage and scripts change that without a word."""


@dataclass(frozen=True, eq=False, repr=False)
class Poser:
    """What poses a body that is on the stage.

    Attributes:
        body: The rig at the level of detail that was chosen.
        identity: Its shape.
        hips_height: m above the floor in the T-pose.
    """

    body: SomaBody
    identity: PreparedIdentity
    hips_height: float


@dataclass(frozen=True, eq=False, repr=False)
class StageBody:
    """A body on its way to the stage.

    Attributes:
        rig_body: What is put there.
        poser: What poses it then.
        source: The rig's layer: held, so that the stage finds it read already.
    """

    rig_body: RigBody
    poser: Poser
    source: Any


class StagePort(Protocol):
    """The open stage, as far as the panel goes. Every method is called on the UI thread and raises ``SomaError``."""

    def bodies(self) -> tuple[str, ...]:
        """Paths of the bodies on it."""
        ...

    def add(self, body: RigBody) -> str:
        """Put a body on it; gives its path."""
        ...

    def remove(self, path: str) -> None:
        """Take one off."""
        ...

    def pose(self, path: str, pose: JointPose) -> None:
        """Hold a body in a pose that is not saved, instead of its own motion."""
        ...

    def let_go(self) -> None:
        """Give bodies that were held back to their own motion."""
        ...

    def close(self) -> None:
        """Give back all that the port holds; the bodies stay."""
        ...


@dataclass(frozen=True)
class StageState:
    """What a view shows of the stage.

    Attributes:
        bodies: Paths of the bodies on it.
        chosen: One of them, or empty.
        adding: Whether one is being made.
        live: Whether the chosen body does what the panel shows.
    """

    bodies: tuple[str, ...] = ()
    chosen: str = ""
    adding: bool = False
    live: bool = False


class StageBodies:
    """What the panel's controls do to the stage.

    Bodies are made in a thread. The port is only touched on the caller's thread, with what is ready.

    Args:
        port: The stage.
    """

    def __init__(self, port: StagePort) -> None:
        self._port = port
        self.state = StageState()
        self.message = ""
        self.error = ""
        self._made: dict[str, Poser] = {}
        self._source: Any = None
        makers = _Makers()
        self._adds: LatestWorker[PreviewRequest, StageBody] = LatestWorker(makers.stage_body, "soma-stage")
        self._poses: LatestWorker[tuple[str, Poser, PreviewRequest], JointPose] = LatestWorker(
            lambda asked: makers.pose(*asked[1:]), "soma-live"
        )
        self._asked: object = None
        self._since_look = LOOK_EVERY_S

    def add(self, request: PreviewRequest) -> None:
        """Put the body with its clip or pose on the stage, when it is made; nothing happens while one is."""
        if not self.state.adding:
            self._change(adding=True)
            self._adds.ask(replace(request, time=0.0, draft=False))

    def choose(self, path: str) -> None:
        """Choose a body on the stage."""
        if path in self.state.bodies and path != self.state.chosen:
            self._let_go()
            self._change(chosen=path)

    def remove(self) -> None:
        """Take the chosen body off the stage."""
        path = self.state.chosen
        if not path:
            self.error = "Choose a body on the stage."
            return
        self._let_go()
        if self._try(self._port.remove, path) is not None:
            self.message = f"{path} was taken off the stage."
        self._look()

    def set_live(self, on: bool) -> None:
        """Let the chosen body do what the panel shows, or its own recorded motion."""
        if on and self.state.chosen not in self._made:
            self.error = "Choose a body that was added since the panel was opened."
        elif on:
            self._change(live=True)
        else:
            self._let_go()

    def tick(self, elapsed_s: float, request: PreviewRequest) -> dict[str, Any]:
        """Collect what was made and move what is live; call it once per frame.

        Args:
            elapsed_s: s since the last call.
            request: What the panel shows.

        Returns:
            What a view has to show of it: ``stage``, with ``message`` and ``error`` where there is something to say.
        """
        made = self._adds.take()
        if made is not None:
            self._change(adding=False)
            self.error = made.error or self.error
            if made.answer is not None:
                self._put(made.answer)
        self._since_look += elapsed_s
        if self._since_look >= LOOK_EVERY_S:
            self._look()
        if self.state.live:
            self._follow(request)
        said = {"message": self.message, "error": self.error} if self.message or self.error else {}
        self.message = self.error = ""
        return {"stage": self.state, **said}

    def close(self) -> None:
        """End the threads and let bodies go; they stay on the stage."""
        self._let_go()
        self._adds.close()
        self._poses.close()
        self._port.close()

    def _put(self, made: StageBody) -> None:
        path = self._try(self._port.add, made.rig_body)
        if path is not None:
            self._made[path], self._source = made.poser, made.source
            self._let_go()
            self._look()
            self._change(chosen=path)
            self.message = f"{path} is on the stage."

    def _look(self) -> None:
        self._since_look = 0.0
        bodies = self._port.bodies()
        if self.state.chosen not in bodies:
            self._let_go()
            self._change(chosen=bodies[-1] if bodies else "")
        self._change(bodies=bodies)

    def _follow(self, request: PreviewRequest) -> None:
        path = self.state.chosen
        posed = self._poses.take()
        if posed is not None and posed.asked[0] == path:
            self.error = posed.error or self.error
            if posed.answer is None or self._try(self._port.pose, path, posed.answer) is None:
                self._let_go()
                return
        moment = (path, request.clip, request.still, request.time, request.effectors, request.posed and request.body)
        if moment != self._asked and not self._poses.busy:
            self._asked = moment
            self._poses.ask((path, self._made[path], request))

    def _let_go(self) -> None:
        if self.state.live:
            self._change(live=False)
            self._try(self._port.let_go)
        self._asked = None

    def _try(self, action: Any, *arguments: Any) -> Any:
        """What the port answers, ``""`` for nothing; ``None`` after it refused, with its words in ``error``."""
        try:
            answer = action(*arguments)
        except SHOWABLE_ERRORS as error:
            self.error = plain_words(error)
            return None
        return "" if answer is None else answer

    def _change(self, **changes: Any) -> None:
        self.state = replace(self.state, **changes)


class _Makers:
    """Makes bodies and poses them, in threads that take turns: a body poses one thing at a time."""

    def __init__(self) -> None:
        self._turn = threading.Lock()

    @cached_property
    def _models(self) -> PreviewModels:
        from soma_isaac.ui.preview_models import PreviewModels

        return PreviewModels()

    def stage_body(self, request: PreviewRequest) -> StageBody:
        with self._turn:
            return self._stage_body(request)

    def pose(self, poser: Poser, request: PreviewRequest) -> JointPose:
        with self._turn:
            return self._pose(poser, request)

    def _stage_body(self, request: PreviewRequest) -> StageBody:
        # USD is loaded with them; the panel shall open without it.
        from soma_isaac.body.skin_animation import skin_animation
        from soma_isaac.sim.sinks.usd_layer import RigBody
        from soma_isaac.sim.sinks.usd_rig import open_rig
        from soma_isaac.sim.sinks.usd_rig_values import rig_motion, rig_shape
        from soma_isaac.ui.preview_models import body_coefficients

        shaped = {}
        for lod in LODS:
            # A skin has twist helpers whatever the panel shows, and holds no correctives.
            choice = replace(request.body, lod=lod, twist=True, correctives=False)
            layer = self._models.layer(choice)
            shaped[lod] = layer, *self._models.identity(layer, choice, body_coefficients(layer, choice))
        layer, identity, hips_height = shaped[request.body.lod]
        motion = self._models.motion(request)
        hips = motion.root_translation * (hips_height / motion.identity.rest_offsets[1, 1])
        if request.clip is None and request.still == STILL_POSES[1]:
            hips = identity.bind_T_world_joint[:, 1, :3, 3]
        name = "pose" if request.clip is None else request.clip.name
        animation = skin_animation(layer.body, identity, motion.rotations, hips, fps=motion.fps, name=name)
        rig_body = RigBody(
            name=f"SOMA_{request.body.preset or request.body.backend}",
            rig=layer.rig,
            lod=request.body.lod,
            shapes=tuple(rig_shape(other.body, its) for other, its, _ in shaped.values()),
            motion=rig_motion(layer.body, animation),
        )
        return StageBody(rig_body, Poser(layer.body, identity, hips_height), open_rig())

    def _pose(self, poser: Poser, request: PreviewRequest) -> JointPose:
        """The pose that the panel shows, on another body."""
        from soma_isaac.body.skin_animation import joint_transforms
        from soma_isaac.motion.sample import pose_at
        from soma_isaac.sim.sinks.usd_rig_values import joint_poses, rig_order

        motion = self._models.motion(request)
        rotations, hips = pose_at(motion, request.time)
        hips = hips * (poser.hips_height / motion.identity.rest_offsets[1, 1])
        if request.clip is None and request.still == STILL_POSES[1]:
            hips = poser.identity.bind_T_world_joint[0, 1, :3, 3]
        posed = poser.body.pose(poser.identity, rotations[None], hips[None], fk_only=True)
        world = joint_transforms(poser.body, poser.identity, posed.transforms)
        return joint_poses(poser.body, world[:, rig_order(poser.body)].astype(float))[0]
