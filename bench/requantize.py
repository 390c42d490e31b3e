"""Make a GGUF file in another number format, with llama.cpp's own quantiser.

    python -m bench.requantize SOURCE TARGET TYPE [--pure]

TYPE is what llama.cpp calls it: Q4_0, Q8_0, Q4_K_M, IQ4_XS …; Q3_K, Q4_K and Q5_K mean their _M
mixtures. Mixtures keep some tensors in better formats; --pure puts every matrix into TYPE itself.
No importance matrix is used; the types that demand one are refused by llama.cpp.
Needs llama-cpp-python (pip install 'wazn[bench]').
"""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path
from typing import Any

MIXTURES = {"Q3_K": "Q3_K_M", "Q4_K": "Q4_K_M", "Q5_K": "Q5_K_M"}


def requantize(source: Path, target: Path, kind: str, *, pure: bool = False) -> None:
    """Write ``target``; ValueError for a type llama.cpp does not know or cannot make."""
    library: Any = import_module("llama_cpp")
    silence = library.llama_log_callback(lambda *_: None)
    library.llama_log_set(silence, None)
    file_type = getattr(library, f"LLAMA_FTYPE_MOSTLY_{MIXTURES.get(kind, kind)}", None)
    if file_type is None:
        raise ValueError(f"llama.cpp has no type {kind}.")
    params = library.llama_model_quantize_default_params()
    params.ftype, params.allow_requantize, params.pure = file_type, True, pure
    if library.llama_model_quantize(str(source).encode(), str(target).encode(), params):
        target.unlink(missing_ok=True)
        raise ValueError(f"llama.cpp cannot make {kind} of {source.name}.")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("kind", metavar="TYPE")
    parser.add_argument("--pure", action="store_true", help="every matrix in TYPE itself")
    asked = parser.parse_args()
    requantize(asked.source, asked.target, asked.kind, pure=asked.pure)


if __name__ == "__main__":
    main()
