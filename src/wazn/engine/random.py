"""Random numbers that have no state: a draw is a function of (seed, stream, position).

Philox-4x64-10 (Salmon et al. 2011), the generator of ``numpy.random.Philox``, written on plain
integers: one block costs a few microseconds, where building a numpy generator for every token
costs tens. Counting positions instead of draws makes a token independent of batching, slicing,
preemption and of how many draws came before.
"""

_MASK = 2**64 - 1
_MULTIPLIER_0 = 0xD2E7470EE14C6C93
_MULTIPLIER_1 = 0xCA5A826395121157
_WEYL_0 = 0x9E3779B97F4A7C15
_WEYL_1 = 0xBB67AE8584CAA73B
_ROUNDS = 10


def philox(key: tuple[int, int], counter: int) -> tuple[int, int, int, int]:
    """The four 64-bit words of block ``counter`` (below 2**64) under a key of two such words."""
    x0, x1, x2, x3 = counter, 0, 0, 0
    k0, k1 = key
    for _ in range(_ROUNDS):
        product_0 = x0 * _MULTIPLIER_0
        product_1 = x2 * _MULTIPLIER_1
        x0, x1, x2, x3 = (
            (product_1 >> 64) ^ x1 ^ k0,
            product_1 & _MASK,
            (product_0 >> 64) ^ x3 ^ k1,
            product_0 & _MASK,
        )
        k0 = (k0 + _WEYL_0) & _MASK
        k1 = (k1 + _WEYL_1) & _MASK
    return x0, x1, x2, x3


def uniform(seed: int, stream: int, position: int) -> float:
    """A float64 in [0, 1) with 53 random bits; ``seed`` may be any 64-bit integer, signed or not.

    ``stream`` tells the answers of one request apart; ``position`` is the drawn token's own.
    """
    return float((philox((seed & _MASK, stream), position)[0] >> 11) * 2.0**-53)
