"""Tiny models with random weights of the architectures that AutoModelForSequenceClassification knows."""

from pathlib import Path
from typing import Any

import torch
from encoder_cases import tiny_tokenizer
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    CONFIG_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 64,
    "head_dim": 8,
    "embedding_size": 16,
    "type_vocab_size": 2,
    "hidden_dropout_prob": 0.0,
    "initializer_range": 0.3,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 3,
}
_MLA = {
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 4,
    "v_head_dim": 8,
    "kv_lora_rank": 8,
    "q_lora_rank": 8,
    "head_dim": 4,
}
_EXPERTS = {
    "moe_intermediate_size": 8,
    "shared_expert_intermediate_size": 8,
    "n_routed_experts": 4,
    "num_experts": 4,
    "num_local_experts": 4,
    "num_experts_per_tok": 2,
    "n_group": 1,
    "topk_group": 1,
    "first_k_dense_replace": 1,
}
_LINEAR = {
    "layer_types": ["linear_attention", "full_attention"],
    "linear_num_value_heads": 2,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
}
_MAMBA = {
    "num_hidden_layers": 4,
    "layer_types": ["mamba", "hybrid"] * 2,
    "use_mamba_kernels": False,
    "n_mamba_heads": 2,
    "attention_hidden_size": 32,
    "attention_head_dim": 16,
}
_T5 = {"d_ff": 24, "d_kv": 8, "num_layers": 2, "num_decoder_layers": 1, "decoder_start_token_id": 0}
_BART = {
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 24,
    "decoder_ffn_dim": 24,
    "encoder_layers": 2,
    "decoder_layers": 1,
    "init_std": 0.3,
}
OF: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("t5", "mt5", "umt5"), _T5),
    **dict.fromkeys(("bart", "mbart", "mvp", "plbart"), _BART),
    "bigbird_pegasus": _BART | {"attention_type": "original_full"},
    "axk1": _MLA | _EXPERTS,
    "axk2": _MLA | _EXPERTS,
    "canine": {"num_hash_buckets": 64},
    "cohere_compass_text": {
        "layer_types": ["sliding_attention", "full_attention"],
        "rope_parameters": {
            kind: {"rope_type": "default", "rope_theta": 10000.0} for kind in ("sliding_attention", "full_attention")
        },
    },
    "ctrl": {"dff": 24},
    "deepseek_v2": _MLA | _EXPERTS,
    "deepseek_v3": _MLA | _EXPERTS,
    "distilbert": {"dim": 16, "hidden_dim": 24},
    "flaubert": {"embed_init_std": 0.3},
    "xlm": {"embed_init_std": 0.3},
    "falcon": {"head_dim": None, "num_kv_heads": 2},
    "funnel": {
        "num_hidden_layers": None,
        "d_model": 16,
        "n_head": 2,
        "d_head": 8,
        "d_inner": 24,
        "block_sizes": [1, 1],
    },
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "num_layers": 2},
    "gpt_oss": _EXPERTS,
    "gptj": {"rotary_dim": 4},
    "jamba": _EXPERTS
    | {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "use_mamba_kernels": False},
    "jetmoe": _EXPERTS | {"kv_channels": 8},
    "lilt": {"hidden_size": 24, "channel_shrink_ratio": 2},
    "minicpm3": _MLA,
    "mistral4": _MLA | _EXPERTS,
    "opt": {"ffn_dim": 24, "word_embed_proj_dim": 16},
    "qwen2_moe": _EXPERTS,
    "qwen3_5_text": _LINEAR,
    "qwen3_moe": _EXPERTS,
    "qwen3_next": _EXPERTS | _LINEAR,
    "reformer": {
        "attention_head_size": 8,
        "axial_pos_embds_dim": [8, 8],
        "axial_pos_shape": [8, 8],
        "attn_layers": ["local", "lsh"],
        "feed_forward_size": 24,
        "num_hashes": 1,
    },
    "rembert": {"input_embedding_size": 16, "output_embedding_size": 16},
    "roc_bert": {"pronunciation_vocab_size": 20, "shape_vocab_size": 20},
    "xlnet": {"max_position_embeddings": None, "d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 24, "d_head": 8},
    "xmod": {"languages": ["en_XX"], "default_language": "en_XX"},
    "zamba": _MAMBA,
    "zamba2": _MAMBA
    | {"layer_types": None, "layers_block_type": ["mamba", "hybrid"] * 2, "num_mem_blocks": 1, "mamba_headdim": 16},
}


def _has(config: PretrainedConfig, name: str) -> bool:
    try:
        return hasattr(config, name)
    except NotImplementedError:
        return False


def tiny_config(model_type: str, **options: Any) -> PretrainedConfig:
    kind = CONFIG_MAPPING[model_type]
    default = kind()
    given = {**SIZES, "vocab_size": len(tiny_tokenizer()), **OF.get(model_type, {})}
    known = {name: value for name, value in given.items() if value is not None and _has(default, name)}
    return kind(**{**known, **options})


def tiny(model_type: str, **options: Any) -> PreTrainedModel:
    config = tiny_config(model_type, **options)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[type(config)](config).eval()


def save_tiny(model_type: str, folder: Path, tokenizer: PreTrainedTokenizerFast | None = None, **options: Any) -> Path:
    """A folder as `--model` takes it: the classifier and its tokenizer."""
    tokenizer = tokenizer or tiny_tokenizer()
    special = {}
    if tokenizer.eos_token is not None:
        special = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("pad", "bos", "eos")}
    tiny(model_type, vocab_size=len(tokenizer), **{**special, **options}).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def byte_tokenizer(ends: bool = False, pad: str | None = None) -> PreTrainedTokenizerFast:
    """A byte-level tokenizer as GPT-2's, without a padding token unless one is given; with `ends` it ends each text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = ["<|endoftext|>", *([pad] if pad else [])]
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(["the film is good", "the plot is bad", "great cast and dull plot"] * 3, trainer)
    if ends:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="$A <|endoftext|>", special_tokens=[("<|endoftext|>", 0)]
        )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|endoftext|>", pad_token=pad)


def piece_tokenizer() -> PreTrainedTokenizerFast:
    """A tokenizer of SentencePiece's, as Llama 2 and Mistral have it: nothing splits a text into words."""
    pieces = [
        "<unk>",
        "<s>",
        "</s>",
        "▁",
        *"abcdefghijklmnopqrstuvwxyz",
        "▁t",
        "▁th",
        "▁the",
        "▁g",
        "▁go",
        "▁goo",
        "▁good",
    ]
    merges = [("▁", "t"), ("▁t", "h"), ("▁th", "e"), ("▁", "g"), ("▁g", "o"), ("▁go", "o"), ("▁goo", "d")]
    vocabulary = {piece: i for i, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>")
