"""The architectures that docs/models.md speaks of, each as a small random model.

The one list of them: the tests and `make models` read it. A configuration has two layers (or as
many as the architecture's pattern of layers needs) of 32 numbers a token.
"""

from __future__ import annotations

from typing import Any

import torch

WIDE = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
    "initializer_range": 0.2,
}
EXPERTS = {"num_experts_per_tok": 2, "num_local_experts": 4}
NARROW = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
DRAWN = {"initializer_range": 0.2, "tie_word_embeddings": False}
GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 512, **DRAWN}
NO_DROPOUT = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
HYBRID = {
    "mamba_n_heads": 8,
    "mamba_d_head": 8,
    "mamba_n_groups": 1,
    "mamba_d_state": 16,
    "mamba_expand": 2,
    "mamba_chunk_size": 16,
}

ARCHITECTURES: dict[str, tuple[str, dict[str, Any]]] = {
    "Llama": ("LlamaConfig", WIDE),
    "Mistral": ("MistralConfig", {**WIDE, "sliding_window": None}),
    "Mistral, window of 16": ("MistralConfig", {**WIDE, "sliding_window": 16}),
    "Phi": ("PhiConfig", {**WIDE, "num_key_value_heads": 4}),
    "Phi-3": ("Phi3Config", {**WIDE, "sliding_window": None}),
    "Falcon": ("FalconConfig", {**NARROW, **DRAWN}),
    "Falcon, ALiBi": ("FalconConfig", {**NARROW, **DRAWN, "alibi": True}),
    "GPT-2": ("GPT2Config", GPT),
    "GPT-Neo, window of 16": (
        "GPTNeoConfig",
        {
            "hidden_size": 32,
            "num_layers": 2,
            "num_heads": 4,
            "attention_types": [[["global", "local"], 1]],
            "window_size": 16,
            "max_position_embeddings": 512,
            **DRAWN,
        },
    ),
    "GPT-J": ("GPTJConfig", {**GPT, "rotary_dim": 4}),
    "GPT-NeoX": ("GPTNeoXConfig", {**NARROW, **DRAWN, "intermediate_size": 64}),
    "OPT": ("OPTConfig", {**NARROW, "ffn_dim": 64, "word_embed_proj_dim": 32, "init_std": 0.2}),
    "Bloom": ("BloomConfig", {"hidden_size": 32, "n_layer": 2, "n_head": 4, **DRAWN}),
    "MPT": (
        "MptConfig",
        {"d_model": 32, "n_layers": 2, "n_heads": 4, "expansion_ratio": 2, **DRAWN},
    ),
    "StableLM": ("StableLmConfig", WIDE),
    "Starcoder2": ("Starcoder2Config", WIDE),
    "SmolLM3": ("SmolLM3Config", WIDE),
    "OLMo-2": ("Olmo2Config", WIDE),
    "Granite": ("GraniteConfig", WIDE),
    "Cohere": ("CohereConfig", {**WIDE, **DRAWN}),
    "Gemma": ("GemmaConfig", {**WIDE, **DRAWN}),
    "Gemma-2": ("Gemma2Config", {**WIDE, "sliding_window": 16}),
    "Gemma-3": ("Gemma3TextConfig", {**WIDE, "sliding_window": 16}),
    "Qwen2": ("Qwen2Config", WIDE),
    "Qwen3": ("Qwen3Config", WIDE),
    "Qwen3-MoE": (
        "Qwen3MoeConfig",
        {**WIDE, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32},
    ),
    "Mixtral": ("MixtralConfig", {**WIDE, **EXPERTS, "output_router_logits": True}),
    "GPT-OSS": ("GptOssConfig", {**WIDE, **EXPERTS, "sliding_window": 16}),
    "Mamba": ("MambaConfig", {"hidden_size": 64, "num_hidden_layers": 2, "state_size": 8, **DRAWN}),
    "Mamba-2": (
        "Mamba2Config",
        {
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "state_size": 16,
            "num_heads": 16,
            "head_dim": 8,
            "n_groups": 1,
            "chunk_size": 16,
            **DRAWN,
        },
    ),
    "FalconMamba": (
        "FalconMambaConfig",
        {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 8, **DRAWN},
    ),
    "RWKV": (
        "RwkvConfig",
        {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "attention_hidden_size": 32,
            "rescale_every": 1,
        },
    ),
    "RecurrentGemma": (
        "RecurrentGemmaConfig",
        {
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 3,
            "num_attention_heads": 4,
            "lru_width": 32,
            "attention_window_size": 16,
        },
    ),
    "Jamba": (
        "JambaConfig",
        {
            **WIDE,
            "num_experts": 2,
            "attn_layer_period": 2,
            "attn_layer_offset": 1,
            "mamba_d_state": 8,
            "mamba_dt_rank": 4,
            "use_mamba_kernels": False,
        },
    ),
    "Bamba": ("BambaConfig", {**WIDE, **HYBRID, "attn_layer_indices": [1]}),
    "Falcon-H1": ("FalconH1Config", {**WIDE, **HYBRID, "mamba_d_ssm": 64}),
    "xLSTM": (
        "xLSTMConfig",
        {
            "hidden_size": 64,
            "num_blocks": 2,
            "num_heads": 4,
            "qk_dim_factor": 1.0,
            "chunk_size": 16,
        },
    ),
}
"""Name → class of transformers' configuration, and its options."""


def random_model(name: str, tokenizer: Any, seed: int = 0, **options: Any) -> Any:
    """Return the architecture `name` with random weights, in evaluation mode."""
    import transformers as hf

    kind, shape = ARCHITECTURES[name]
    config = getattr(hf, kind)(
        **{**shape, "dtype": "float32", **options},
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return hf.AutoModelForCausalLM.from_config(config).float().eval()
