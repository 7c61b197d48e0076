"""Isaac Sim glue: the only place that names omni.kit, carb and isaacsim.

Kit imports this module and instantiates the extension class; outside Kit the import is empty.
"""

try:
    import omni.ext as _omni_ext  # noqa: F401
except ImportError:  # not inside Kit
    __all__: list[str] = []
else:
    from soma_isaac.kit.extension import SomaIsaacExtension as SomaIsaacExtension
