"""Tests of wazn.weights."""
