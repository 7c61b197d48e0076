"""Isaac Sim glue: the only place that names omni.kit, carb and isaacsim."""
