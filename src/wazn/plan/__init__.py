"""What a model would need and how fast it would run here, before any of it is downloaded.

``families`` turn a configuration into a ``shape`` (matrices, caches, state), ``formats`` say what
its numbers weigh, ``memory`` adds them up, ``speed`` divides the work by what ``probe`` measured
of the machine. Nothing here reads a weight or runs a model.
"""
