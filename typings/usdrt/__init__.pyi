"""The part of usdrt (Fabric) that soma_isaac uses."""

from typing import Any

class Sdf:
    class ValueTypeName: ...

    class ValueTypeNames:
        Int: Sdf.ValueTypeName
        Point3fArray: Sdf.ValueTypeName
        Normal3fArray: Sdf.ValueTypeName
        Matrix4d: Sdf.ValueTypeName

class _Access: ...

class RtPrimSelection:
    __fabric_arrays_interface__: dict[str, Any]
    def PrepareForReuse(self) -> bool: ...
    def GetCount(self) -> int: ...

class Usd:
    class Access:
        Read: _Access
        ReadWrite: _Access
        Overwrite: _Access

    class Stage:
        @staticmethod
        def Attach(stage_id: int) -> Usd.Stage: ...
        def SelectPrims(
            self,
            *,
            require_applied_schemas: list[str] | None = ...,
            require_attrs: list[tuple[Sdf.ValueTypeName, str, _Access]] | None = ...,
            require_prim_type: str | None = ...,
            want_paths: bool = ...,
            device: str = ...,
        ) -> RtPrimSelection: ...
