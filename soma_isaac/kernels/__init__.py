"""Warp functions and kernels, stateless: each file has one launch function that checks shapes and devices."""
