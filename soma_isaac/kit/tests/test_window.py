"""The window inside Kit: its action opens and closes it."""

from __future__ import annotations

try:
    import omni.kit.test as kit_test
except ImportError:  # not inside Kit, or without its tests
    kit_test = None

if kit_test is not None:
    import omni.kit.app
    import omni.ui as ui
    from omni.kit.actions.core import get_action_registry

    from soma_isaac.kit.extension import ACTION, NAME
    from soma_isaac.ui.panel import WINDOW_TITLE

    class TestWindow(kit_test.AsyncTestCase):
        """The extension is enabled before the cases run."""

        async def test_the_action_opens_and_closes_the_window(self) -> None:
            """The window appears, lives through a number of frames with its picture at work, and goes."""
            await self._act()
            window = ui.Workspace.get_window(WINDOW_TITLE)
            assert window is not None
            self.assertTrue(window.visible)
            for _ in range(120):
                await omni.kit.app.get_app().next_update_async()
            await self._act()
            self.assertFalse(window.visible)

        async def _act(self) -> None:
            get_action_registry().execute_action(NAME, ACTION)
            for _ in range(3):
                await omni.kit.app.get_app().next_update_async()
