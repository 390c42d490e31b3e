"""Leaves the kernels of other CPUs out of the ordinary run: it has neither their tools nor time."""

import os

_VARIANTS = ["test_variants.py", "test_layer_variants.py"]

collect_ignore = [] if os.environ.get("REQUIRE_KERNEL_TARGETS") else _VARIANTS
