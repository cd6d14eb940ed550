"""The shape of the model whose layers are counted: small, and deep enough for every method."""

from dataclasses import replace

from transformers import LlamaConfig

from benchmarks.loops import SHAPES

DEPTH = 16
SHAPE = replace(SHAPES["small"], hidden=16, layers=DEPTH, heads=2, key_value_heads=2)

LLAMA_8B = LlamaConfig(
    vocab_size=128256,
    hidden_size=4096,
    intermediate_size=14336,
    num_hidden_layers=32,
    num_attention_heads=32,
    num_key_value_heads=8,
    tie_word_embeddings=False,
)
"""Of which bytes are counted, and nothing is built."""
