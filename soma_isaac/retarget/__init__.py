"""SOMA motion to robot motion with pinocchio."""
