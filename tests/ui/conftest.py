"""The real omni.ui (NVIDIA's ovui), headless on a software Vulkan device; skipped with a reason where it cannot run."""

import asyncio
import ctypes
import ctypes.util
import importlib.util
import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCREENSHOTS = ROOT / "out" / "ui_screenshots"
DISPLAY = (470, 1790)
FRAME_S = 1.0 / 30.0
NO_DEVICE = 100  # CUDA_ERROR_NO_DEVICE
CUDA_NAMES = (
    "cuInit",
    "cuDeviceGet",
    "cuCtxCreate_v2",
    "cuCtxDestroy_v2",
    "cuImportExternalMemory",
    "cuDestroyExternalMemory",
    "cuExternalMemoryGetMappedBuffer",
    "cuMemcpyDtoH_v2",
)


def _loadable(library):
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _stand_in_for_cuda(folder):
    """ovui links the CUDA driver, which a machine without a GPU lacks; a stand-in that says so is enough."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("ovui needs libcuda.so.1, and there is no C compiler to make a stand-in")
    source, library = folder / "cuda.c", folder / "libcuda.so.1"
    source.write_text("".join(f"int {name}(void) {{ return {NO_DEVICE}; }}\n" for name in CUDA_NAMES))
    command = [compiler, "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o", str(library), str(source)]
    subprocess.run(command, check=True, capture_output=True)
    ctypes.CDLL(str(library), ctypes.RTLD_GLOBAL)


def _vulkan_drivers():
    named = os.environ.get("VK_DRIVER_FILES") or os.environ.get("VK_ICD_FILENAMES")
    if named:
        return [Path(name) for name in named.split(os.pathsep)]
    folders = (Path("/usr/share/vulkan/icd.d"), Path("/etc/vulkan/icd.d"), Path("/usr/local/share/vulkan/icd.d"))
    return [path for folder in folders for path in folder.glob("*.json")]


@pytest.fixture(scope="session")
def omni_ui(tmp_path_factory):
    """The module ``omni.ui`` with a running headless display."""
    if importlib.util.find_spec("omni") is None or importlib.util.find_spec("omni.ui") is None:
        pytest.skip("ovui is not installed (it needs Python 3.12; .venv312 has it)")
    if ctypes.util.find_library("vulkan") is None or not _vulkan_drivers():
        pytest.skip("no Vulkan driver: apt-get install mesa-vulkan-drivers libvulkan1 gives a software one")
    import warp

    warp.config.quiet = True
    warp.init()  # before the stand-in, so that Warp looks for the real driver
    if not _loadable("libcuda.so.1"):
        _stand_in_for_cuda(tmp_path_factory.mktemp("cuda"))
    os.environ["OMNIUI_HEADLESS"] = "1"
    layout = Path("imgui.ini").resolve()  # ImGui leaves the windows' places in the working folder
    kept = layout.exists()
    import omni.ui as ui
    from omni.ui import standalone

    try:
        standalone.init("soma_isaac", *DISPLAY)
    except RuntimeError as error:
        pytest.skip(f"ovui cannot open a headless display: {error}")
    yield ui
    standalone.shutdown()
    if not kept:
        layout.unlink(missing_ok=True)


class Hands:
    """A user in front of a panel: moves the mouse, types, looks; time passes only while it does."""

    def __init__(self, panel):
        from omni.ui import testing

        self.panel = panel
        self._testing = testing
        self.slowest_update_s = 0.0

    @property
    def state(self):
        return self.panel.presenter.state

    def frames(self, count=1):
        for _ in range(count):
            began = time.perf_counter()
            self.panel.update(FRAME_S)
            self.slowest_update_s = max(self.slowest_update_s, time.perf_counter() - began)
            asyncio.run(self._testing.wait_frames(1))

    def wait(self, condition, timeout_s=120.0):
        """Frames until ``condition`` holds."""
        end = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < end, f"nothing came of it in {timeout_s} s; {self.state.error or self.state.job}"
            self.frames()
            time.sleep(0.01)
        self.frames(2)

    def settle(self):
        """Frames until the picture is the one that the state asks for."""
        self.frames(2)
        self.wait(lambda: self.state.picture is not None and not self.state.busy)
        self.frames(2)

    def _at(self, name, along=0.5):
        widget = self.panel.widgets[name]
        assert widget.computed_width > 0, f"{name} is not laid out"
        x = widget.screen_position_x + along * widget.computed_width
        y = widget.screen_position_y + 0.5 * widget.computed_height
        assert 0 <= x < DISPLAY[0] and 0 <= y < DISPLAY[1], f"{name} is off the display at {x:.0f}, {y:.0f}"
        return x, y

    def click(self, name, along=0.5):
        asyncio.run(self._testing.mouse_click(*self._at(name, along)))
        self.frames(2)

    def drag(self, name, start, end):
        asyncio.run(self._testing.mouse_drag(*self._at(name, start), *self._at(name, end)))
        self.frames(2)

    def click_title(self, name):
        """Click the title of a section: it unfolds or folds."""
        widget = self.panel.widgets[name]
        asyncio.run(self._testing.mouse_click(widget.screen_position_x + 60, widget.screen_position_y + 10))
        self.frames(4)

    def scroll(self, name, down):
        """Turn the mouse wheel over a widget as far as it goes."""
        x, y = self._at(name)
        for _ in range(20):
            asyncio.run(self._testing.mouse_scroll(x, y, dy=-5.0 if down else 5.0))
        self.frames(4)

    def type_into(self, name, text):
        """Replace a field's text and leave the field."""
        asyncio.run(self._testing.mouse_double_click(*self._at(name, 0.3)))
        self.panel.widgets[name].model.set_value("")
        self.frames(2)
        asyncio.run(self._testing.type_text(text))
        self.frames(2)
        asyncio.run(self._testing.mouse_click(*self._at("picture")))
        self.frames(2)

    def screenshot(self, name):
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        path = SCREENSHOTS / f"{name}.png"
        assert self._testing.capture_screenshot(str(path)), "no screenshot came"
        return path


@pytest.fixture
def hands_on(omni_ui, tmp_path):
    """Makes a user in front of a fresh panel with the bundled clips; outputs go to ``tmp_path``."""
    from soma_isaac.ui.panel import Panel
    from soma_isaac.ui.presenter import Presenter
    from soma_isaac.ui.state import PanelSettings

    made = []

    def make(stage=None):
        folders = {name: str(tmp_path / name) for name in ("references", "pictures")}
        presenter = Presenter(PanelSettings(**folders, export_path=str(tmp_path / "body.usda")), stage=stage)
        panel = Panel(presenter, width=DISPLAY[0], height=DISPLAY[1], position_x=0, position_y=0)
        made.append((presenter, panel))
        user = Hands(panel)
        user.settle()
        return user

    yield make
    for presenter, panel in made:
        presenter.close()
        panel.close()


@pytest.fixture
def hands(hands_on):
    """A user in front of a panel without a stage."""
    return hands_on()
