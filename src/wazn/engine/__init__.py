"""From token ids to token ids and text: scheduler, paged KV, sampler and the Python API.

``llm.LLM`` is the door for programs, ``engine.Engine`` the loop behind it: one ``step()`` is one
forward pass of everything that can run. The engine knows models only through
``served_model.ServedModel`` and text only through ``wazn.text``; it knows no HTTP.
"""
