"""The panel's logic in plain Python (presenter, preview, jobs) and its widgets (panel, only omni.ui)."""
