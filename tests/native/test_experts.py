"""The router and the experts against their NumPy twins, bit for bit."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.native import programs
from tests.native.programs import Floats
from wazn import native
from wazn.models import layer_reference as twin
from wazn.models import reference
from wazn.weights.formats import Format, dequantize

FLOATS = (Format.F32, Format.F16, Format.BF16)
seeds = st.integers(0, 2**32 - 1)
Raw = NDArray[np.uint8]


@dataclass
class Layer:
    """A router and experts of random weights; ``raws`` are gate, up and down of each expert."""

    router: Floats
    raws: list[list[Raw]]
    formats: list[Format]
    top_k: int
    normalize: bool = True
    softcap: float = 0.0
    on_input: bool = False
    kind: str = "silu"
    limit: float = 0.0
    biases: list[Floats] | None = None  # of gate, up and down: (experts, rows)
    router_bias: Floats | None = None

    def add_biases(self, rng: np.random.Generator) -> None:
        shapes = [(len(self.raws), len(raw)) for raw in self.raws[0]]
        self.biases = [rng.normal(0, 0.5, shape).astype(np.float32) for shape in shapes]
        self.router_bias = rng.normal(0, 1, len(self.raws)).astype(np.float32)

    def flat_biases(self) -> list[Floats | None]:
        """As the program takes them."""
        return [None] * 3 if self.biases is None else [bias.reshape(-1) for bias in self.biases]

    @classmethod
    def random(
        cls,
        rng: np.random.Generator,
        formats: list[Format],
        *,
        count: int = 5,
        top_k: int = 2,
        hidden: int = 64,
        width: int = 96,
    ) -> "Layer":
        shapes = ((width, hidden), (width, hidden), (hidden, width))
        raws = [
            [programs.random_raw(f, *shape, rng) for f, shape in zip(formats, shapes, strict=True)]
            for _ in range(count)
        ]
        router = rng.normal(0, 0.3, (count, hidden)).astype(np.float32)
        return cls(router, raws, formats, top_k)

    def stack(self, which: int) -> native.Weight:
        """The packed matrices of all experts."""
        format, raws = self.formats[which], [expert[which] for expert in self.raws]
        rows, columns = len(raws[0]), raws[0].shape[1] // format.block_bytes * format.block_size
        layout = native.LAYOUTS[format.name]
        size = native.packed_bytes(layout, rows, columns)
        memory = native.Memory.allocate(size * len(raws))
        for number, raw in enumerate(raws):
            part = memory.writable()[number * size : (number + 1) * size]
            native.pack(layout, raw, columns, part)
        return native.Weight.create(memory, 0, layout, rows, columns, len(raws))

    def expected(self, x: Floats, start: Floats, *, exact: bool = False) -> Floats:
        """What the twins say."""

        def product(which: int, expert: int, rows: Floats) -> Floats:
            raw, format = self.raws[expert][which], self.formats[which]
            if exact or format in FLOATS:
                made = reference.linear_float(dequantize(raw, format), rows)
            else:
                made = reference.linear(raw, format, reference.quantize(rows))
            return made if self.biases is None else made + self.biases[which][expert]

        def network(expert: int) -> twin.WeighedNetwork:
            def run(rows: Floats, weights: Floats) -> Floats:
                gate, up = (product(which, expert, rows) * weights for which in range(2))
                return product(2, expert, self.gate(gate, up))

            return run

        logits = reference.linear_float(self.router, x)
        logits = logits if self.router_bias is None else logits + self.router_bias
        logits = twin.scaled(logits, 1.0, self.softcap)
        scores = reference.softmax(logits)
        choice = reference.choose(scores, self.top_k, normalize=self.normalize)
        networks = [network(expert) for expert in range(len(self.raws))]
        if self.on_input:
            return twin.experts_on_input(x, choice, networks, start)
        return reference.experts(x, choice, [unweighed(n) for n in networks], start)

    def gate(self, gate: Floats, up: Floats) -> Floats:
        if self.kind == "silu":
            return reference.swiglu(gate, up)
        if self.kind == "gelu_tanh":
            return reference.geglu(gate, up)
        return reference.clamped_glu(gate, up, self.limit)


def unweighed(network: twin.WeighedNetwork) -> reference.Network:
    """The same with weights of 1."""
    return lambda rows: network(rows, np.ones((1, 1), np.float32))


def computed(
    layer: Layer, x: Floats, start: Floats | None, *, threads: int = 1, exact: bool = False
) -> Floats:
    """What the kernels say; without ``start`` the sum begins with zero."""
    program = programs.new_program(threads=threads, exact=exact)
    gate, up, down = (layer.stack(which) for which in range(3))
    router = programs.packed(layer.router.view(np.uint8), Format.F32, x.shape[1])
    float_in = exact or any(format in FLOATS for format in layer.formats[:2])
    float_down = exact or layer.formats[2] in FLOATS
    source = program.buffer(x.shape[1], "none" if exact else "narrow")
    scores = program.buffer(len(layer.router), "none")
    inner = program.buffer(gate.rows, "none" if float_down else "narrow", layer.top_k)
    gathered = native.NO_BUFFER
    if float_in:
        gathered = program.buffer(x.shape[1], "none", layer.top_k)
    out = program.buffer(down.rows, "none")
    program.quantize(source)
    options = programs.choice(
        normalize=layer.normalize,
        logit_bias=layer.router_bias,
        softcap=layer.softcap,
        on_input=layer.on_input,
    )
    program.route(source, router, scores, layer.top_k, options)
    *biases, last = layer.flat_biases()
    up_biases = biases[0], biases[1]
    program.experts_up(source, gathered, gate, up, inner, layer.kind, layer.limit, up_biases)
    program.experts_down(inner, down, out, start is not None, last)
    program.open_cache(64)
    program.floats(source)[: len(x)] = x
    program.floats(out)[: len(x)] = np.nan if start is None else start
    programs.run(program, len(x))
    return program.floats(out)[: len(x)].copy()


def assert_same_bits(actual: Floats, expected: Floats) -> None:
    np.testing.assert_array_equal(actual.view(np.uint32), expected.view(np.uint32))


def rows_of(rng: np.random.Generator, count: int, hidden: int = 64) -> Floats:
    return rng.normal(0, 1, (count, hidden)).astype(np.float32)


@given(seed=seeds, columns=st.integers(1, 70))
@settings(max_examples=25, deadline=None)
def test_the_router_equals_its_twin(seed: int, columns: int) -> None:
    rng = np.random.default_rng(seed)
    x = rows_of(rng, 9)
    router = rng.normal(0, 1, (columns, 64)).astype(np.float32)
    program = programs.new_program(threads=2)
    source, scores = program.buffer(64, "none"), program.buffer(columns, "none")
    weight = programs.packed(router.view(np.uint8), Format.F32, 64)
    program.route(source, weight, scores, 1, programs.choice())
    program.open_cache(64)
    program.floats(source)[: len(x)] = x
    programs.run(program, len(x))
    expected = reference.softmax(reference.linear_float(router, x))
    assert_same_bits(program.floats(scores)[: len(x)], expected)


FORMATS = [
    [Format.Q4_0, Format.Q4_0, Format.Q8_0],
    [Format.Q4_K, Format.Q4_K, Format.Q6_K],
    [Format.MXFP4, Format.Q5_1, Format.F16],
    [Format.BF16, Format.Q4_1, Format.IQ4_NL],
    [Format.F32, Format.F32, Format.F32],
]


@pytest.mark.parametrize("formats", FORMATS, ids=lambda formats: "-".join(f.name for f in formats))
@given(seed=seeds, rows=st.integers(1, 64), threads=st.integers(1, 3), exact=st.booleans())
@settings(max_examples=6, deadline=None)
def test_experts_equal_their_twin(
    formats: list[Format], seed: int, rows: int, threads: int, exact: bool
) -> None:
    rng = np.random.default_rng(seed)
    is_wide = any(format.block_size == 256 for format in formats)
    width = 256 if is_wide else int(rng.choice([32, 96, 128]))
    hidden = 256 if is_wide else 64
    count = int(rng.integers(1, 20))
    top_k = int(rng.integers(1, min(count, 5) + 1))
    layer = Layer.random(rng, formats, count=count, top_k=top_k, hidden=hidden, width=width)
    layer.normalize, layer.on_input = bool(rng.integers(2)), bool(rng.integers(2))
    layer.softcap = float(rng.choice([0.0, 0.5]))
    x, start = rows_of(rng, rows, hidden), rows_of(rng, rows, hidden)
    found = computed(layer, x, start, threads=threads, exact=exact)
    assert_same_bits(found, layer.expected(x, start, exact=exact))


@pytest.mark.parametrize("kind", ["silu", "gelu_tanh", "clamped"])
@given(seed=seeds, rows=st.integers(1, 64), threads=st.integers(1, 3), exact=st.booleans())
@settings(max_examples=8, deadline=None)
def test_gates_and_biases_equal_their_twins(
    kind: str, seed: int, rows: int, threads: int, exact: bool
) -> None:
    rng = np.random.default_rng(seed)
    formats = FORMATS[int(rng.choice([0, 2, 3, 4]))]
    layer = Layer.random(rng, formats, count=int(rng.integers(2, 9)), width=96)
    layer.kind, layer.limit = kind, 1.5 if kind == "clamped" else 0.0
    layer.add_biases(rng)
    x, start = rows_of(rng, rows), rows_of(rng, rows)
    found = computed(layer, x, start, threads=threads, exact=exact)
    assert_same_bits(found, layer.expected(x, start, exact=exact))


def test_rows_that_fill_no_panel_are_padded_for_each_expert() -> None:
    rng = np.random.default_rng(3)
    formats = [Format.Q4_0, Format.Q8_0, Format.F16]
    layer = Layer.random(rng, formats, count=4, hidden=64, width=41)
    layer.add_biases(rng)
    for rows in (1, 7, 30):
        x, start = rows_of(rng, rows), rows_of(rng, rows)
        assert_same_bits(computed(layer, x, start), layer.expected(x, start))


def test_a_sum_can_begin_with_zero() -> None:
    rng = np.random.default_rng(4)
    layer = Layer.random(rng, FORMATS[0])
    for rows in (3, 40):
        x = rows_of(rng, rows)
        expected = layer.expected(x, np.zeros_like(x))
        assert_same_bits(computed(layer, x, None, threads=2), expected)


def test_of_equal_scores_the_lowest_index_is_taken() -> None:
    rng = np.random.default_rng(5)
    layer = Layer.random(rng, FORMATS[0], count=12, top_k=3)
    layer.router[:] = layer.router[0]
    for rows in (1, 20):
        x, start = rows_of(rng, rows), rows_of(rng, rows)
        scores = reference.softmax(reference.linear_float(layer.router, x))
        assert (reference.choose(scores, 3, normalize=True)[0] == [0, 1, 2]).all()
        assert_same_bits(computed(layer, x, start, threads=3), layer.expected(x, start))


@pytest.mark.parametrize("rows", [1, 8, 9, 64])
def test_one_expert_can_get_all_rows_and_the_others_none(rows: int) -> None:
    rng = np.random.default_rng(6)
    layer = Layer.random(rng, FORMATS[0], count=6, top_k=1)
    layer.router[:] = 0
    x = np.abs(rows_of(rng, rows))
    layer.router[4] = 1
    start = rows_of(rng, rows)
    assert_same_bits(computed(layer, x, start, threads=3), layer.expected(x, start))


def test_stacks_and_buffers_that_do_not_fit_are_refused() -> None:
    rng = np.random.default_rng(7)
    layer = Layer.random(rng, FORMATS[0])
    program = programs.new_program()
    source, scores = program.buffer(64, "narrow"), program.buffer(5, "none")
    narrow = program.buffer(96, "narrow")
    router = programs.packed(layer.router.view(np.uint8), Format.F32, 64)
    gate, up, down = (layer.stack(which) for which in range(3))
    with pytest.raises(ValueError, match="experts does not fit its router"):
        program.experts_up(source, native.NO_BUFFER, gate, up, narrow)
    with pytest.raises(ValueError, match="from 1 to all"):
        program.route(source, router, scores, 6, programs.choice(normalize=True))
    program.route(source, router, scores, 2, programs.choice(normalize=True))
    with pytest.raises(ValueError, match="no row for every expert"):
        program.experts_up(source, native.NO_BUFFER, gate, up, narrow)
    with pytest.raises(ValueError, match="does not fit its router"):
        program.experts_up(source, native.NO_BUFFER, router, up, narrow)
    with pytest.raises(ValueError, match="differ in shape"):
        program.experts_up(source, native.NO_BUFFER, gate, down, narrow)
    short = np.zeros(7, np.float32)
    pairs = program.buffer(96, "narrow", 2)
    with pytest.raises(ValueError, match="biases of experts have the wrong length"):
        program.experts_up(source, -2, gate, up, pairs, "silu", 0.0, (short, None))
    with pytest.raises(ValueError, match="biases of experts have the wrong length"):
        program.experts_down(pairs, down, program.buffer(64, "none"), False, short)
    with pytest.raises(ValueError, match="no gate tanh"):
        program.experts_up(source, -2, gate, up, pairs, "tanh")
    with pytest.raises(ValueError, match="has a limit"):
        program.experts_up(source, -2, gate, up, pairs, "clamped")
    with pytest.raises(ValueError, match="router's bias"):
        program.route(source, router, scores, 2, programs.choice(logit_bias=short))
    with pytest.raises(ValueError, match="one matrix"):
        program.linear(source, [(gate, None, narrow, False)])
    with pytest.raises(ValueError, match="does not fit its layout"):
        native.Weight.create(native.Memory.allocate(1 << 20), 0, 0, 16, 16, 0)
    with pytest.raises(ValueError, match="outside its memory"):
        native.Weight.create(native.Memory.allocate(1 << 16), 0, 0, 16, 16, 65)


@given(seed=seeds, rows=st.integers(1, 20))
@settings(max_examples=10, deadline=None)
def test_gated_sums_equal_their_twin(seed: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    gate, x, start = (rows_of(rng, rows, columns) for columns in (1, 37, 37))
    program = programs.new_program(threads=2)
    buffers = [program.buffer(columns, "none") for columns in (1, 37, 37)]
    program.add_gated(*buffers)
    program.open_cache(64)
    for buffer, values in zip(buffers, (gate, x, start), strict=True):
        program.floats(buffer)[:rows] = values
    programs.run(program, rows)
    expected = reference.fma(reference.sigmoid(gate), x, start)
    assert_same_bits(program.floats(buffers[2])[:rows], expected)
