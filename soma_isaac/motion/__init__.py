"""The three plain types that flow through soma_isaac: SomaMotion, RobotMotion, ReferenceClip."""

from soma_isaac.motion.clip import ReferenceClip as ReferenceClip
from soma_isaac.motion.robot import RobotMotion as RobotMotion
from soma_isaac.motion.soma import MotionIdentity as MotionIdentity
from soma_isaac.motion.soma import Provenance as Provenance
from soma_isaac.motion.soma import SomaMotion as SomaMotion
