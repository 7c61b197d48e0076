"""What Warp may say while a command runs."""

from __future__ import annotations


def hush_warp() -> None:
    """Keep Warp's greeting and load times off stdout: that is for the command's results."""
    import warp

    if hasattr(warp, "LOG_WARNING"):
        warp.config.log_level = max(warp.config.log_level, warp.LOG_WARNING)
    else:  # before Warp 1.13
        warp.config.quiet = True
