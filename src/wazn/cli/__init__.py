"""The ``wazn`` command: one file per command group, each imported only when it is called.

Knows terminals, pipes and exit statuses; refuses to know how a model computes. Commands speak to
the engine through ``wazn.LLM`` and to the disk through ``wazn.weights``, and raise WaznError for
``main`` to turn into one sentence.
"""
