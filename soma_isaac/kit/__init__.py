"""Isaac Sim glue: the only place that names omni.kit, carb and isaacsim.

Kit imports this module and instantiates the extension class; outside Kit the import is empty.
"""

try:
    from soma_isaac.kit.extension import SomaIsaacExtension as SomaIsaacExtension
except ImportError:  # not inside Kit: omni.ext does not exist
    __all__: list[str] = []
