"""Isaac Lab 3.0 without Kit: `make isaac` with ISAACLAB_PATH; everything here skips elsewhere."""

import importlib.util
import os

import pytest

REASON = "needs Isaac Lab 3.0: set ISAACLAB_PATH to a checkout and run `make isaac`"


def _has_isaac_lab_3():
    return importlib.util.find_spec("isaaclab") is not None and importlib.util.find_spec("isaaclab.physics") is not None


def pytest_ignore_collect(collection_path, config):
    # The modules import Isaac Lab at their top; test_available.py stays and says why the others are missing.
    names = ("conftest.py", "test_available.py")
    if collection_path.suffix == ".py" and collection_path.name not in names and not _has_isaac_lab_3():
        return True
    return None


@pytest.fixture(scope="session", autouse=True)
def _no_pinned_memory():
    """OvPhysX asks for pinned host memory, which Warp has only with CUDA: without it the wish is dropped, here only."""
    import warp as wp

    if wp.is_cuda_available() or os.environ.get("SOMA_KEEP_PINNED"):
        yield
        return
    patch = pytest.MonkeyPatch()
    for name in ("zeros", "empty"):
        original = getattr(wp, name)

        def unpinned(*args, original=original, **kwargs):
            return original(*args, **{**kwargs, "pinned": False})

        patch.setattr(wp, name, unpinned)
    yield
    patch.undo()
