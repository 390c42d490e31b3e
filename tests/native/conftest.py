"""Leaves the kernels of other CPUs out of the ordinary run: it has neither their tools nor time."""

import os

collect_ignore = [] if os.environ.get("REQUIRE_KERNEL_TARGETS") else ["test_variants.py"]
