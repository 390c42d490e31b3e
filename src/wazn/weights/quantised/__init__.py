"""Quantised checkpoints as labs publish them in safetensors, as matrices that can be packed.

A matrix is kept in several tensors: codes, scales, zeros, indices. One file for each way of doing
so; ``find.make_weights`` shows a checkpoint's matrices under their ordinary names. Integers keep
their codes and scales, and so every value, to the last bit.
"""
