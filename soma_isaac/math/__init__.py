"""Rotations, frames and resampling: numpy in, numpy out, leading dimensions are batch."""
