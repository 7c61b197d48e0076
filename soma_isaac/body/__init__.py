"""SOMA bodies: prepare an identity once, pose it many times."""
