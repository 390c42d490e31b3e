"""Checkpoints quantised as labs do it: written here bit by bit, read by wazn."""
