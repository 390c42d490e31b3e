"""Weights on disk: containers (GGUF, safetensors), number formats, packing, the local store.

Knows bytes, names and shapes; refuses to know what a tensor means to a model. Every file is
hostile input: each count, offset and size is checked against the file before it is used.
"""
