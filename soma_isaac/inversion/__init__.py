"""Posed vertices or foreign joint rotations to SOMA pose."""
