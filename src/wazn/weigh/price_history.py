"""All price rows at hand: those that come with wazn, and those observed since.

What ``wazn observe prices`` keeps below the home is read in the same form as the bundled file.
"""

from __future__ import annotations

from pathlib import Path

from wazn.weigh.folders import Folders
from wazn.weigh.prices import PriceRow, bundled_rows, read_rows


def known_rows(home: Path) -> tuple[PriceRow, ...]:
    """Bundled and observed rows; raises BadFile for an observed file that is damaged."""
    rows = list(bundled_rows())
    for path in sorted(Folders(home).prices.glob("*.csv")):
        with open(path, encoding="utf-8", newline="") as lines:
            rows += read_rows(lines, str(path))
    return tuple(rows)
