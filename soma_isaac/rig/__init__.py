"""Immutable facts about the SOMA body: skeleton, skin, twist table."""
