"""The shape of the model whose layers are counted: small, and deep enough for every method."""

from dataclasses import replace

from benchmarks.loops import SHAPES

DEPTH = 16
SHAPE = replace(SHAPES["small"], hidden=16, layers=DEPTH, heads=2, key_value_heads=2)
