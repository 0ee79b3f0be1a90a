"""Graphs that ask for trouble: a module for each kind of it, all of them in `sections.SECTIONS`.

A case says how a graph must end (cases.py). What a case needs is made in plain Python when the test runs.
"""
