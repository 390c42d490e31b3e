"""Tiny models whose right answers are known: made by transformers, checked in, read by the tests.

``weights`` draws the weights, ``build`` writes them as files, ``catalogue`` lists the models, and
``make`` (the only part that needs torch) computes the answers. See README.md beside this file.
"""
