from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

PANEL_ROWS: int
PAGE: int
NO_BUFFER: int
LAYOUTS: dict[str, int]

def available_isas() -> list[str]: ...
def release_free_memory() -> None: ...
def packed_bytes(layout: int, rows: int, columns: int) -> int: ...
def pack(layout: int, raw: NDArray[np.uint8], columns: int, out: NDArray[np.uint8]) -> None: ...
def uniform(seed: int, stream: int, position: int) -> float: ...

class Memory:
    @staticmethod
    def map_file(path: str) -> Memory: ...
    @staticmethod
    def allocate(bytes: int) -> Memory: ...
    @property
    def size(self) -> int: ...
    @property
    def is_lost(self) -> bool: ...
    def floats(self, offset: int, count: int) -> NDArray[np.float32]: ...
    def writable(self) -> NDArray[np.uint8]: ...

class Weight:
    @staticmethod
    def create(
        memory: Memory, offset: int, layout: int, rows: int, columns: int, count: int = 1
    ) -> Weight: ...
    @property
    def count(self) -> int: ...
    @property
    def rows(self) -> int: ...
    @property
    def columns(self) -> int: ...
    @property
    def layout(self) -> int: ...
    def row(self, row: int) -> NDArray[np.float32]: ...

class Pool:
    def __init__(self, threads: int, cpus: Sequence[int] = ()) -> None: ...
    @property
    def size(self) -> int: ...
    def measure_bandwidth(self, bytes: int) -> float: ...
    def measure_compute(self, isa: str) -> float: ...

class Program:
    def __init__(
        self,
        pool: Pool,
        max_rows: int,
        exact: bool,
        layers: int,
        kv_heads: int,
        head_dim: int,
        kv: str,
        isa: str,
    ) -> None: ...
    @property
    def segments(self) -> list[str]: ...
    @property
    def head_dim(self) -> int: ...
    @property
    def num_operations(self) -> int: ...
    def start_profile(self) -> None: ...
    @property
    def seconds(self) -> list[float]: ...
    @property
    def page_bytes(self) -> int: ...
    @property
    def state_bytes(self) -> int: ...
    def buffer(self, columns: int, form: str, copies: int = 1) -> int: ...
    def embed(self, table: Weight, out: int) -> None: ...
    def rms_norm(
        self, x: int, weight: NDArray[np.float32], eps: float, heads: int, out: int
    ) -> None: ...
    def linear(
        self, x: int, products: list[tuple[Weight, NDArray[np.float32] | None, int, bool]]
    ) -> None: ...
    def rope(
        self,
        x: int,
        heads: int,
        head_dim: int,
        offset: int,
        width: int,
        interleaved: bool,
        inverse: bool = False,
        table: int = 0,
    ) -> None: ...
    def append_kv(self, key: int, value: int, layer: int) -> None: ...
    def attend(
        self,
        query: int,
        out: int,
        layer: int,
        heads: int,
        scale: float,
        window: int = 0,
        chunk: int = 0,
        softcap: float = 0.0,
        sinks: NDArray[np.float32] | None = None,
        is_tempered: bool = False,
    ) -> None: ...
    def scale(self, x: int, factor: float, cap: float) -> None: ...
    def add(self, x: int, out: int) -> None: ...
    def gated_product(
        self, gate: int, up: int, out: int, kind: str = "silu", limit: float = 0.0
    ) -> None: ...
    def quantize(self, x: int) -> None: ...
    def route(
        self, x: int, weight: Weight, scores: int, top_k: int, options: dict[str, Any]
    ) -> None: ...
    def experts_up(
        self,
        x: int,
        gathered: int,
        gate: Weight,
        up: Weight,
        out: int,
        kind: str = "silu",
        limit: float = 0.0,
        biases: tuple[NDArray[np.float32] | None, ...] = (None, None),
    ) -> None: ...
    def experts_down(
        self,
        x: int,
        weight: Weight,
        out: int,
        accumulate: bool,
        bias: NDArray[np.float32] | None = None,
    ) -> None: ...
    def add_gated(self, gate: int, x: int, out: int) -> None: ...
    def gather(self, x: int, out: int) -> None: ...
    def emit(self, x: int) -> None: ...
    def end_segment(self, name: str) -> None: ...
    @property
    def copied_bytes(self) -> int: ...
    def copy_weights(self) -> None: ...
    def latent_store(self, latent: int, rotary: int, rate: int = 1) -> int: ...
    def compress(
        self,
        values: int,
        gates: int,
        store: int,
        rate: int,
        overlaps: bool,
        biases: NDArray[np.float32],
        weight: NDArray[np.float32],
        eps: float,
        rotated: int,
        table: int,
    ) -> None: ...
    def repeat(self, x: int, out: int) -> None: ...
    def hyper_weights(
        self,
        x: int,
        streams: int,
        iterations: int,
        scales: NDArray[np.float32],
        biases: NDArray[np.float32],
        eps: float,
    ) -> None: ...
    def collapse(self, streams: int, weights: int, out: int) -> None: ...
    def expand(self, streams: int, weights: int, x: int) -> None: ...
    def grouped_linear(self, x: int, weight: Weight, out: int) -> None: ...
    def append_latent(self, latent: int, rotary: int, store: int) -> None: ...
    def attend_latent(
        self,
        query: int,
        rotary: int,
        out: int,
        store: int,
        heads: int,
        scale: float,
        options: dict[str, Any],
    ) -> None: ...
    def select(self, query: int, weights: int, store: int, top_k: int, scale: float) -> None: ...
    def layer_norm(
        self, x: int, weight: NDArray[np.float32], bias: NDArray[np.float32], eps: float
    ) -> None: ...
    def causal_conv(self, x: int, weight: NDArray[np.float32], size: int) -> None: ...
    def unit_length(self, x: int, heads: int, eps: float, factor: float) -> None: ...
    def delta_gates(
        self, a: int, b: int, rate: NDArray[np.float32], bias: NDArray[np.float32]
    ) -> None: ...
    def delta_rule(
        self,
        query: int,
        key: int,
        value: int,
        decay: int,
        beta: int,
        out: int,
        key_heads: int,
        tiled: bool,
    ) -> None: ...
    def sigmoid_gate(self, gate: int, x: int, out: int) -> None: ...
    def open_cache(self, pages: int, slots: int = 1) -> None: ...
    def set_factors(self, factors: NDArray[np.float32]) -> None: ...
    def set_angles(self, angles: NDArray[np.float32], table: int = 0) -> None: ...
    def run(
        self,
        first_segment: int,
        last_segment: int,
        token_ids: NDArray[np.int32],
        row_starts: NDArray[np.int32],
        first_positions: NDArray[np.int32],
        page_tables: NDArray[np.int32],
        wanted: NDArray[np.int32],
        result: NDArray[np.float32],
        state_slots: NDArray[np.int32] | None = None,
    ) -> None: ...
    def floats(self, buffer: int) -> NDArray[Any]: ...

class Sampling:
    def __init__(
        self,
        *,
        temperature: float,
        top_k: int,
        top_p: float,
        min_p: float,
        typical_p: float,
        repetition_penalty: float,
        presence_penalty: float,
        frequency_penalty: float,
    ) -> None: ...

class Stream:
    def __init__(self, seed: int, stream: int, position: int) -> None: ...

class SpecialIds:
    def __init__(
        self,
        *,
        prompt: NDArray[np.int32],
        biased: NDArray[np.int32],
        biases: NDArray[np.float32],
        barred: NDArray[np.int32],
        min_tokens: int,
    ) -> None: ...

class SamplingState:
    def __init__(
        self, sampling: Sampling, stream: Stream, ids: SpecialIds, num_top: int
    ) -> None: ...
    def observe(self, token_id: int) -> None: ...

class Sampler:
    def __init__(self, pool: Pool, isa: str) -> None: ...
    def sample(
        self, logits: NDArray[np.float32], states: list[SamplingState]
    ) -> list[tuple[int, tuple[float, list[tuple[int, float]]] | None]]: ...
    def candidates(
        self, logits: NDArray[np.float32], state: SamplingState
    ) -> tuple[NDArray[np.int32], NDArray[np.float32]]: ...
