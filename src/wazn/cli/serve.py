"""``wazn serve``: models over HTTP, each in a worker process of its own.

Checks the address before anything is loaded, fetches what is not in the store yet, and hands over
to ``wazn.server``. The one line on stdout is the address, once every model answers.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from wazn.cli.console import Waiting
from wazn.cli.options import EngineOptions, with_options

if TYPE_CHECKING:
    from wazn.engine.protocol import Load


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """What to serve, where, and to whom."""

    models: Annotated[
        list[str],
        typer.Argument(
            help="Aliases, paths, or hf:… ms:… pypi:… as 'wazn pull' takes them; a worker each."
        ),
    ]
    host: Annotated[
        str, typer.Option(help="Address to listen on; beyond loopback only with an API key.")
    ] = "127.0.0.1"
    port: Annotated[int, typer.Option(help="Port to listen on; 0 takes a free one.")] = 8080
    api_key: Annotated[
        str | None,
        typer.Option(
            envvar="WAZN_API_KEY",
            show_envvar=False,
            help="Clients must send this key; better set WAZN_API_KEY, which 'ps' does not show.",
        ),
    ] = None
    lenient: Annotated[
        bool, typer.Option("--lenient", help="Ignore unknown request fields instead of refusing.")
    ] = False


@with_options
def serve(asked: ServeOptions, engine: EngineOptions) -> None:
    """Serve models over HTTP, as OpenAI's API does: POST /v1/chat/completions.

    \b
    Example:
      wazn serve smollm2
      WAZN_API_KEY=… wazn serve smollm2 ./qwen3.gguf --host 0.0.0.0 --port 8000
    """
    import asyncio

    from wazn.cli.loading import fetch
    from wazn.engine.supervisor import WorkerSettings
    from wazn.server import listener
    from wazn.server.access import check_exposure
    from wazn.server.served_models import ServedModels

    check_exposure(asked.host, asked.api_key)
    models = ServedModels(_loads(asked.models, engine), WorkerSettings())
    listener.open_listener(asked.host, asked.port).close()  # known before a long download
    for name in asked.models:
        fetch(name)
    with listener.open_listener(asked.host, asked.port) as socket, ExitStack() as waiting:
        waiting.enter_context(Waiting(f"loading {', '.join(models.names)}"))

        def announce() -> None:
            waiting.close()
            print(
                f"wazn serves {', '.join(models.names)} on {listener.address_of(socket)}/v1",
                flush=True,
            )

        serving = listener.Serving(socket, asked.api_key, asked.lenient, on_ready=announce)
        asyncio.run(listener.serve(models, serving))


def _loads(names: list[str], engine: EngineOptions) -> list[Load]:
    """What each worker is told; pinned ones get CPUs that no other worker has."""
    from wazn.engine.protocol import PROTOCOL_VERSION, Load

    pinned = _cpus(len(names), engine)
    return [
        Load(
            PROTOCOL_VERSION,
            name,
            threads=engine.threads,
            context=engine.context,
            memory_bytes=engine.memory,
            precision=engine.precision,
            kv=engine.kv,
            weights=engine.weights,
            cpus=cpus,
        )
        for name, cpus in zip(names, pinned, strict=True)
    ]


def _cpus(num_workers: int, engine: EngineOptions) -> list[list[int] | None]:
    """CPUs to pin the threads of each worker to; None where they are free."""
    from wazn.machine import read_cpu
    from wazn.settings import load_settings
    from wazn.topology import place_workers, read_topology

    pin = load_settings().pin if engine.pin is None else engine.pin
    if not pin:
        return [None] * num_workers
    threads = engine.threads or read_cpu().useful_threads
    return [list(cpus) for cpus in place_workers(read_topology(), num_workers, threads)]
