"""Learned inverse kinematics: a few effectors and a body's bone lengths in, a whole pose out."""

from soma_isaac.learned.effectors import Effectors as Effectors
from soma_isaac.learned.effectors import look_at as look_at
from soma_isaac.learned.effectors import position as position
from soma_isaac.learned.effectors import rotation as rotation
from soma_isaac.learned.skeleton import BODY_JOINT_NAMES as BODY_JOINT_NAMES
from soma_isaac.learned.skeleton import BODY_PARENTS as BODY_PARENTS
from soma_isaac.learned.skeleton import BodyPose as BodyPose
from soma_isaac.learned.skeleton import BodySkeleton as BodySkeleton
