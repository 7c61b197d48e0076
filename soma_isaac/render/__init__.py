"""What to render as plain data, and the kit-less renderer."""

from soma_isaac.render.scene import Camera as Camera
from soma_isaac.render.scene import SceneMesh as SceneMesh
from soma_isaac.render.scene import render_scene as render_scene
