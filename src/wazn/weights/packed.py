"""Packed weights: panels for the native kernels, in one file that processes map and share.

File: 8 bytes of magic, 8 bytes of header length, a JSON header, then the data at multiples of 64.
The header says where each tensor lies, of which source files (device, inode, size, mtime and
SHA-256) this is the packed form, and what was lost on the way. It refuses to know what the tensors
are for.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from wazn import native
from wazn.errors import BadFile, MissingTensor
from wazn.weights.choice import WEIGHTS, Weights
from wazn.weights.container import Container, TensorInfo
from wazn.weights.formats import dequantize
from wazn.weights.loss import Loss
from wazn.weights.scales import check_scales

MAGIC = b"WAZNPK06"
"""Changes with everything that changes what a packed file means."""

VECTOR = "vector"

_ALIGNMENT = 64
_HUGE_PAGE = 2 << 20
_SLAB_BYTES = 4 << 20  # of raw rows at a time: bounds the memory that packing takes

Advance = Callable[[int], None]
"""Called with the number of source bytes that were packed since the last call."""


@dataclass(frozen=True, slots=True)
class Packing:
    """What to pack: ``names`` (target name → name in the container), and who counts what it costs.

    ``loss`` is filled by the container while its tensors are read. ``weights`` is how they are
    wanted, ``settings`` whatever else their meaning depends on besides the files.
    """

    container: Container
    names: Mapping[str, str]
    loss: Loss
    weights: Weights = "native"
    settings: str = ""

    def plan(self) -> "dict[str, Place]":
        """Where each tensor goes in the packed data."""
        return plan({to: self.container.tensors[name] for to, name in self.names.items()})


@dataclass(frozen=True, slots=True)
class SourceFile:
    """Which file, as the file system identifies it; ``sha256`` is of its content when packed."""

    path: str
    device: int
    inode: int
    size: int
    mtime_ns: int
    sha256: str = ""

    @classmethod
    def of(cls, path: Path) -> "SourceFile":
        status = path.stat()
        return cls(
            str(path.absolute()), status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
        )

    @property
    def identity(self) -> tuple[int, int, int, int]:
        return self.device, self.inode, self.size, self.mtime_ns


@dataclass(frozen=True, slots=True)
class Place:
    """Where a packed tensor lies: panels of a number format, or a plain float32 vector.

    A stack of ``count`` matrices (experts) of ``rows`` rows each begins a new panel with each one.
    """

    format: str
    rows: int
    columns: int
    offset: int
    num_bytes: int
    count: int = 1


class PackedWeights:
    """Packed tensors in memory; ``matrix``, ``stack`` and ``vector`` find them by name.

    ``sources`` are the files they were packed from, ``loss`` is what rounding them cost.
    """

    def __init__(
        self,
        memory: native.Memory,
        places: dict[str, Place],
        start: int = 0,
        sources: tuple[SourceFile, ...] = (),
        loss: Loss | None = None,
    ) -> None:
        self._memory = memory
        self._start = start
        self.places = places
        self.sources = sources
        self.loss = Loss() if loss is None else loss

    def __contains__(self, name: str) -> bool:
        return name in self.places

    def matrix(self, name: str) -> native.Weight:
        """A matrix as the kernels take it; raises BadFile when the model lacks it."""
        count = self._place(name).count
        if count != 1:
            raise BadFile(f"tensor {name} is a stack of {count} where one matrix is expected")
        return self.stack(name)

    def stack(self, name: str) -> native.Weight:
        """Matrices of one shape, one for each expert; raises BadFile when the model lacks them."""
        place = self._place(name)
        if place.format == VECTOR:
            raise BadFile(f"tensor {name} is a vector where a matrix is expected")
        return native.Weight.create(
            self._memory,
            self._start + place.offset,
            native.LAYOUTS[place.format],
            place.rows,
            place.columns,
            place.count,
        )

    def vector(self, name: str) -> NDArray[np.float32]:
        """A vector (columns,) float32; raises BadFile when the model lacks it."""
        place = self._place(name)
        if place.format != VECTOR:
            raise BadFile(f"tensor {name} has {place.rows} rows where a vector is expected")
        return self._memory.floats(self._start + place.offset, place.columns)

    def _place(self, name: str) -> Place:
        if name not in self.places:
            raise MissingTensor(name)
        return self.places[name]


def plan(tensors: dict[str, TensorInfo]) -> dict[str, Place]:
    """Where each tensor goes in the packed data. Vectors become float32."""
    places, offset = {}, 0
    for name, info in tensors.items():
        format = info.format.name if len(info.shape) > 1 else VECTOR
        count = info.shape[0] if len(info.shape) == 3 else 1
        rows = info.rows // count
        size = (
            4 * info.columns
            if format == VECTOR
            else native.packed_bytes(native.LAYOUTS[format], rows, info.columns) * count
        )
        places[name] = Place(format, rows, info.columns, offset, size, count)
        offset = -(-(offset + size) // _ALIGNMENT) * _ALIGNMENT
    return places


def packed_size(places: dict[str, Place]) -> int:
    """Bytes of the packed data."""
    return max((place.offset + place.num_bytes for place in places.values()), default=0)


class Target(Protocol):
    """Where packed bytes go."""

    def __call__(self, offset: int, data: NDArray[np.uint8]) -> None: ...


def pack_tensors(packing: Packing, write: Target, threads: int, advance: Advance) -> None:
    """Pack tensors slab by slab.

    Memory stays at a few slabs per thread, whatever the size of the model. Raises BadFile when a
    scale is NaN or infinite.
    """
    container = packing.container
    tensors = {name: container.tensors[source] for name, source in packing.names.items()}
    places = packing.plan()

    def pack_slab(slab: tuple[str, int, int]) -> int:
        name, start, stop = slab
        info, place = tensors[name], places[name]
        raw = container.read(info.name, start, stop)
        check_scales(raw, info.format, info.name, start)
        if place.format == VECTOR:
            write(place.offset, dequantize(raw, info.format).view(np.uint8).reshape(-1))
            return int(raw.nbytes)
        panel = native.packed_bytes(native.LAYOUTS[place.format], 1, place.columns)
        packed = np.empty(-(-(stop - start) // native.PANEL_ROWS) * panel, np.uint8)
        native.pack(native.LAYOUTS[place.format], raw, place.columns, packed)
        matrix, row = divmod(start, place.rows)
        before = matrix * (place.num_bytes // place.count) + row // native.PANEL_ROWS * panel
        write(place.offset + before, packed)
        return int(raw.nbytes)

    with ThreadPoolExecutor(threads) as executor:
        for num_bytes in executor.map(pack_slab, _slabs(tensors, places)):
            advance(num_bytes)


def _slabs(
    tensors: dict[str, TensorInfo], places: dict[str, Place]
) -> Iterator[tuple[str, int, int]]:
    """Rows to pack at a time; none of them belong to two matrices of a stack."""
    for name, info in tensors.items():
        step = max(1, _SLAB_BYTES // info.row_bytes // native.PANEL_ROWS) * native.PANEL_ROWS
        rows = places[name].rows
        for begin in range(0, info.rows, rows):
            for start in range(begin, begin + rows, step):
                yield name, start, min(start + step, begin + rows)


def pack_in_memory(packing: Packing, threads: int, advance: Advance) -> PackedWeights:
    """Packed weights in memory of this process only."""
    places = packing.plan()
    memory = native.Memory.allocate(packed_size(places))
    target = memory.writable()

    def write(offset: int, data: NDArray[np.uint8]) -> None:
        target[offset : offset + data.size] = data

    with ThreadPoolExecutor(1) as hasher:
        hashed = hasher.submit(_hashed_sources, packing.container.paths)
        pack_tensors(packing, write, threads, advance)
        return PackedWeights(memory, places, sources=hashed.result(), loss=packing.loss)


def pack_to_file(packing: Packing, path: Path, threads: int, advance: Advance) -> None:
    """Write a packed file, synced to disk. The source files are hashed on the way."""
    places, paths = packing.plan(), packing.container.paths
    with ThreadPoolExecutor(1) as hasher:
        hashed = hasher.submit(_hashed_sources, paths)
        header_room = _aligned(16 + len(_header([], packing)) + 1024 * (1 + len(paths)))
        with open(path, "wb") as file:

            def write(offset: int, data: NDArray[np.uint8]) -> None:
                _write_all(file.fileno(), data, header_room + offset)

            pack_tensors(packing, write, threads, advance)
            header = _header(hashed.result(), packing)
            file.write(MAGIC + (header_room - 16).to_bytes(8, "little"))
            file.write(header.ljust(header_room - 16))
            file.flush()
            os.ftruncate(file.fileno(), header_room + packed_size(places))
            os.fsync(file.fileno())
            _read_back(file.fileno(), path)


def _read_back(descriptor: int, path: Path) -> None:
    """Have a file lie in memory in huge pages, from which a model decodes up to 15% faster.

    What was written piece by piece is kept in small ones. Read in order, too: the threads of a
    model, which read at several places at once, leave 10 to 20% of a file in small pages.
    """
    os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    memory = native.Memory.map_file(str(path))
    for offset in range(0, memory.size - 3, _HUGE_PAGE):
        memory.floats(offset, 1)


def _write_all(descriptor: int, data: NDArray[np.uint8], offset: int) -> None:
    view = data.data
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def _aligned(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _header(sources: Sequence[SourceFile], packing: Packing) -> bytes:
    content = {
        "sources": [[s.path, s.device, s.inode, s.size, s.mtime_ns, s.sha256] for s in sources],
        "places": {
            name: [p.format, p.rows, p.columns, p.offset, p.num_bytes, p.count]
            for name, p in packing.plan().items()
        },
        "loss": packing.loss.sums,
        "weights": packing.weights,
    }
    return json.dumps(content, separators=(",", ":")).encode()


def _hashed_sources(paths: Sequence[Path]) -> tuple[SourceFile, ...]:
    sources = []
    for path in paths:
        source = SourceFile.of(path)
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        sources.append(SourceFile(source.path, *source.identity, digest))
    return tuple(sources)


@dataclass(frozen=True, slots=True)
class PackedHeader:
    """The header of a packed file; ``start`` is where the data begin."""

    sources: tuple[SourceFile, ...]
    places: dict[str, Place]
    start: int
    loss: Loss
    weights: str


def read_header(path: Path) -> PackedHeader:
    """Raises BadFile when the file is not a whole packed file of this version."""
    with open(path, "rb") as file:
        prefix = file.read(16)
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(prefix[8:], "little")
        if len(prefix) != 16 or prefix[:8] != MAGIC or length > size - 16:
            raise BadFile(f"{path}: not a packed file of this version")
        text = file.read(length)
    try:
        content: dict[str, Any] = json.loads(text)
        sources = tuple(SourceFile(*fields) for fields in content["sources"])
        places = {name: Place(*fields) for name, fields in content["places"].items()}
        loss, weights = Loss(content["loss"]), content["weights"]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadFile(f"{path}: the header is damaged ({error})") from None
    if weights not in WEIGHTS or 16 + length + packed_size(places) != size:
        raise BadFile(f"{path}: the file is {size} bytes long, which is not what its header says")
    return PackedHeader(sources, places, 16 + length, loss, weights)


def map_packed(path: Path, header: PackedHeader) -> PackedWeights:
    """Map a packed file; pages are read when first used, and shared with other processes."""
    memory = native.Memory.map_file(str(path))
    return PackedWeights(memory, header.places, header.start, header.sources, header.loss)
