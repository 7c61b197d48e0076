"""Bodies on Kit's stage: the commands, undo and redo with the application's own stack."""

from __future__ import annotations

try:
    import omni.kit.test as kit_test
    import omni.kit.undo
    import omni.usd
except ImportError:  # not inside Kit, or without its tests or a stage
    kit_test = None

if kit_test is not None:
    import omni.kit.app
    import omni.kit.commands
    from omni.kit.actions.core import get_action_registry

    from soma_isaac.body import SomaBody
    from soma_isaac.body.skin_animation import skin_animation
    from soma_isaac.formats.rig_usd import load_template_rig
    from soma_isaac.kit.extension import ACTION, NAME
    from soma_isaac.pipelines.motion_in import load_motion
    from soma_isaac.rig.skeleton import data_path
    from soma_isaac.sim.sinks.usd_layer import AddBody, RigBody, bodies_on
    from soma_isaac.sim.sinks.usd_rig_values import rig_motion, rig_shape

    class TestStage(kit_test.AsyncTestCase):
        """The extension is enabled before the cases run; its commands are there once its window was opened."""

        async def test_a_body_is_added_taken_back_and_added_again(self) -> None:
            """What is on the stage follows the undo stack, and the root layer holds none of it."""
            context = omni.usd.get_context()
            await context.new_stage_async()
            await self._act()
            stage = context.get_stage()
            assert stage is not None
            done, path = omni.kit.commands.execute("AddSomaBody", edit=AddBody(stage, _walker()))
            self.assertTrue(done)
            self.assertEqual(bodies_on(stage), (path,))
            self.assertFalse(stage.GetRootLayer().GetPrimAtPath(path))
            self.assertGreater(stage.GetEndTimeCode(), 100.0)
            omni.kit.undo.undo()
            self.assertEqual(bodies_on(stage), ())
            omni.kit.undo.redo()
            self.assertEqual(bodies_on(stage), (path,))
            omni.kit.undo.undo()
            await self._act()

        async def _act(self) -> None:
            get_action_registry().execute_action(NAME, ACTION)
            for _ in range(3):
                await omni.kit.app.get_app().next_update_async()

    def _walker() -> RigBody:
        body = SomaBody(load_template_rig(), lod="xlo", threads=1)
        identity, clip = body.prepare(), load_motion(data_path("demo_clips") / "walk.npz")
        animation = skin_animation(body, identity, clip.rotations, clip.root_translation, fps=clip.fps, name="walk")
        return RigBody("walker", body.rig, "xlo", (rig_shape(body, identity),), rig_motion(body, animation))
