"""Text in and out of a model: tokenizers, chat templates, streaming, reasoning markers.

Knows nothing of weights, engines and servers.
"""
