"""A server of fake models as a process: ``serve_fake.py JSON``, see ``Options``."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from wazn.engine.protocol import PROTOCOL_VERSION, Load
from wazn.engine.supervisor import WorkerSettings
from wazn.server.listener import Serving, address_of, open_listener, serve
from wazn.server.served_models import ServedModels

FAKE_WORKER = (sys.executable, str(Path(__file__).with_name("fake_llm.py")))


@dataclass(frozen=True, slots=True)
class Options:
    """What a test may choose."""

    models: list[str] = field(default_factory=lambda: ["fake"])
    api_key: str | None = None
    lenient: bool = False
    drain_s: float = 10.0
    max_open_requests: int = 64


def main(options: Options) -> None:
    """Prints the address at once and ``ready`` when all models are."""
    settings = WorkerSettings(
        command=FAKE_WORKER, max_open_requests=options.max_open_requests, backoff_s=0.1
    )
    models = ServedModels([Load(PROTOCOL_VERSION, name) for name in options.models], settings)
    with open_listener("127.0.0.1", 0) as listener:
        print(address_of(listener), flush=True)
        serving = Serving(
            listener,
            options.api_key,
            options.lenient,
            options.drain_s,
            on_ready=lambda: print("ready", flush=True),
        )
        asyncio.run(serve(models, serving))


if __name__ == "__main__":
    main(msgspec.json.decode(sys.argv[1], type=Options))
