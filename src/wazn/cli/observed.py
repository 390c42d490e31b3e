"""How a capture is told: its progress on stderr, and what came, for people and for programs."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wazn.cli.console import ERASE_LINE, is_styled, print_note, printable

if TYPE_CHECKING:
    from wazn.weigh.capture import Summary
    from wazn.weigh.faults import Fault
    from wazn.weigh.history import StoredLine
    from wazn.weigh.importing import Imported

MOST_FAULTS_SHOWN = 20
_REQUESTS_A_LINE = 25  # where stderr is not a terminal


class Progress:
    """How far a capture is, on stderr: a line that is rewritten, or one now and then."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._is_styled = is_styled(sys.stderr)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._erase()

    def asking(self, what: str, num_done: int, num_waiting: int) -> None:
        """A request goes out."""
        line = f"{self._name}: request {num_done + 1} of {num_done + num_waiting}: {what}"
        if self._is_styled:
            sys.stderr.write(f"{ERASE_LINE}{printable(line)[:78]}")
            sys.stderr.flush()
        elif num_done and num_done % _REQUESTS_A_LINE == 0:
            print_note(f"wazn: {line}")

    def say(self, clause: str) -> None:
        """A remark that stays."""
        self._erase()
        print_note(f"wazn: {clause}")

    def _erase(self) -> None:
        if self._is_styled:
            sys.stderr.write(ERASE_LINE)
            sys.stderr.flush()


def print_summary(summary: Summary) -> None:
    """What a capture brought, the first faults in full."""
    resumed = f", {summary.num_resumed} of them earlier" if summary.num_resumed else ""
    print(
        f"{summary.source}, {summary.as_of}: {summary.num_entities} entities, {summary.num_rows} "
        f"rows, {summary.num_new} of them new; {summary.num_requests} requests{resumed}"
    )
    for reason, count in summary.left_out.most_common():
        print(f"  left out: {count} {reason}")
    for fault in summary.faults[:MOST_FAULTS_SHOWN]:
        print(printable(f"  {fault}"))
    rest = Counter(str(fault.kind) for fault in summary.faults[MOST_FAULTS_SHOWN:])
    if rest:
        told = ", ".join(f"{count} {kind}" for kind, count in rest.most_common())
        print(f"  and {told}: {summary.record}")


def summary_object(summary: Summary) -> dict[str, Any]:
    """What a capture brought, with every fault."""
    return {
        "source": summary.source,
        "as_of": str(summary.as_of),
        "requests": summary.num_requests,
        "resumed": summary.num_resumed,
        "entities": summary.num_entities,
        "rows": summary.num_rows,
        "new_rows": summary.num_new,
        "left_out": dict(summary.left_out),
        "faults": [fault_object(fault) for fault in summary.faults],
        "record": str(summary.record),
    }


def fault_object(fault: Fault) -> dict[str, str]:
    """One fault."""
    return {
        "kind": str(fault.kind),
        "entity": fault.entity,
        "metric": fault.metric,
        "first": str(fault.first),
        "last": str(fault.last),
        "detail": fault.detail,
    }


def import_object(path: Path, imported: Imported) -> dict[str, Any]:
    """What an import brought."""
    return {
        "file": str(path),
        "format": imported.format,
        "definitions": list(imported.definitions),
        "rows": imported.num_rows,
        "new_rows": imported.num_new,
        "first": str(imported.first),
        "last": str(imported.last),
    }


def line_object(line: StoredLine) -> dict[str, Any]:
    """What is stored of one metric."""
    return {
        "source": line.source,
        "definition": line.definition,
        "metric": line.metric,
        "first": str(line.first),
        "last": str(line.last),
        "days": line.num_days,
        "rows": line.num_rows,
    }
