from collections.abc import Sequence
from typing import Any

class HydraTexture:
    path: str
    def destroy(self) -> None: ...

class Annotator:
    def attach(self, render_products: Sequence[str]) -> Annotator: ...
    def detach(self, render_products: Sequence[str] | None = ...) -> Annotator: ...
    def get_data(self, device: str | None = ..., do_array_copy: bool | None = ...) -> Any: ...

class AnnotatorRegistry:
    @classmethod
    def get_annotator(
        cls,
        name: str,
        init_params: dict[str, Any] | None = ...,
        render_product_idxs: Sequence[int] | None = ...,
        device: str | None = ...,
        do_array_copy: bool = ...,
    ) -> Annotator: ...

class create:  # a module in Replicator
    @staticmethod
    def render_product_tiled(
        cameras: Sequence[str], tile_resolution: tuple[int, int], name: str = ...
    ) -> HydraTexture: ...

class orchestrator:  # a module in Replicator
    @staticmethod
    def step(rt_subframes: int = ..., pause_timeline: bool = ..., delta_time: float | None = ...) -> None: ...
    @staticmethod
    def set_capture_on_play(value: bool) -> None: ...
