"""Who is used how much, by which definition, and since when.

Observations come in through sources and imports, are kept in an append-only store, and are read
through lenses, which are definitions kept as data. This package knows nothing of models that run:
it imports none of engine, models, weights, text or native.
"""
