"""Side-by-side measurement: speed of wazn and its peers, and how far their answers drift.

Each contender runs in a process of its own (``process``), takes turns with the others on the same
workload (``workload``, ``measure``), and a run counts only if the machine was quiet (``quiet``,
``records``). ``divergence`` compares next-token distributions. Nothing here is imported by the
engine or the server.
"""
