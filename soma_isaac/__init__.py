"""SOMA bodies, motion conversion and G1 retargeting for Isaac Sim and Isaac Lab."""

__version__ = "0.1.0"
