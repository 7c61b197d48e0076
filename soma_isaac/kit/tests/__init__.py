"""Cases for ``omni.kit.test``, which looks for them in a package of this name; empty outside Kit."""

scan_for_test_modules = True
