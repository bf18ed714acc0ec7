"""Transformers that the transformers library builds from a small configuration: the structure of the real ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import transformers
from builders.torch_export import Inputs, Net
from torch import nn

VOCABULARY, WIDTH, HEADS, LAYERS, INNER, LENGTH = 1000, 128, 4, 2, 512, 24

BERT: dict[str, Any] = {
    "vocab_size": VOCABULARY, "hidden_size": WIDTH, "num_attention_heads": HEADS, "num_hidden_layers": LAYERS,
    "intermediate_size": INNER, "max_position_embeddings": 64,
}  # fmt: skip
LLAMA = {**BERT, "num_key_value_heads": 2, "head_dim": WIDTH // HEADS, "pad_token_id": 0}
VISION = {"hidden_size": WIDTH, "num_attention_heads": HEADS, "num_hidden_layers": LAYERS, "intermediate_size": INNER,
          "image_size": 32, "patch_size": 8}  # fmt: skip
CONV = {"num_channels": 3, "depths": [1, 1, 2, 1], "hidden_sizes": [32, 64, 96, 128], "num_labels": 10}

TEXTS: dict[str, tuple[str, dict[str, Any]]] = {
    "bert_classifier": ("BertForSequenceClassification", BERT),
    "bert_base_model": ("BertModel", BERT),
    "bert_masked_lm": ("BertForMaskedLM", BERT),
    "roberta_classifier": ("RobertaForSequenceClassification", BERT),
    "distilbert_classifier": (
        "DistilBertForSequenceClassification",
        {"vocab_size": VOCABULARY, "dim": WIDTH, "n_heads": HEADS, "n_layers": LAYERS, "hidden_dim": INNER},
    ),
    "electra_classifier": ("ElectraForSequenceClassification", {**BERT, "embedding_size": 64}),
    "albert_classifier": ("AlbertForSequenceClassification", {**BERT, "embedding_size": 64}),
    "deberta_v2_classifier": (
        "DebertaV2ForSequenceClassification",
        {**BERT, "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 32,
         "norm_rel_ebd": "layer_norm", "share_att_key": True},
    ),
    "modernbert_classifier": ("ModernBertForSequenceClassification", {**BERT, "pad_token_id": 0}),
    "gpt2_lm": (
        "GPT2LMHeadModel",
        {"vocab_size": VOCABULARY, "n_embd": WIDTH, "n_head": HEADS, "n_layer": LAYERS, "n_positions": 64},
    ),
    "gpt_neox_lm": ("GPTNeoXForCausalLM", BERT),
    "opt_lm": (
        "OPTForCausalLM",
        {"vocab_size": VOCABULARY, "hidden_size": WIDTH, "num_attention_heads": HEADS, "num_hidden_layers": LAYERS,
         "ffn_dim": INNER, "max_position_embeddings": 64, "word_embed_proj_dim": WIDTH},
    ),
    "bloom_lm": ("BloomForCausalLM", {"vocab_size": VOCABULARY, "hidden_size": WIDTH, "n_head": HEADS, "n_layer": 2}),
    "llama_lm": ("LlamaForCausalLM", LLAMA),
    "llama_tied_lm": ("LlamaForCausalLM", {**LLAMA, "tie_word_embeddings": True}),
    "mistral_lm": ("MistralForCausalLM", {**LLAMA, "sliding_window": 16}),
    "qwen2_lm": ("Qwen2ForCausalLM", LLAMA),
    "qwen3_lm": ("Qwen3ForCausalLM", LLAMA),
    "gemma2_lm": ("Gemma2ForCausalLM", LLAMA),
    "phi_lm": ("PhiForCausalLM", {**BERT, "partial_rotary_factor": 0.5}),
    "phi3_lm": ("Phi3ForCausalLM", LLAMA),
    "mixtral_lm": ("MixtralForCausalLM", {**LLAMA, "num_local_experts": 4, "num_experts_per_tok": 2}),
    "mamba_lm": ("MambaForCausalLM", {"vocab_size": VOCABULARY, "hidden_size": 64, "num_hidden_layers": 2}),
    "t5_encoder": ("T5EncoderModel", {"vocab_size": VOCABULARY, "d_model": WIDTH, "d_kv": 32, "num_heads": HEADS,
                                      "num_layers": LAYERS, "d_ff": INNER}),
}  # fmt: skip
"""Models of token ids: class, and the arguments of its configuration."""

IMAGES: dict[str, tuple[str, dict[str, Any]]] = {
    "vit_classifier": ("ViTForImageClassification", VISION),
    "vit_base_model": ("ViTModel", {**VISION, "add_pooling_layer": False}),
    "deit_classifier": ("DeiTForImageClassification", VISION),
    "dinov2_classifier": ("Dinov2ForImageClassification", {**VISION, "mlp_ratio": 4}),
    "dinov2_backbone": ("Dinov2Model", {**VISION, "mlp_ratio": 4}),
    "beit_classifier": ("BeitForImageClassification", {**VISION, "use_relative_position_bias": True}),
    "clip_vision": ("CLIPVisionModelWithProjection", {**VISION, "projection_dim": 64}),
    "siglip_vision": ("SiglipVisionModel", VISION),
    "swin_classifier": (
        "SwinForImageClassification",
        {"image_size": 64, "patch_size": 4, "embed_dim": 32, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4},
    ),
    "swinv2_classifier": (
        "Swinv2ForImageClassification",
        {"image_size": 64, "patch_size": 4, "embed_dim": 32, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4},
    ),
    "segformer_classifier": ("SegformerForImageClassification", {"hidden_sizes": [16, 32, 64, 96], "depths": [1] * 4}),
    "segformer_segmentation": (
        "SegformerForSemanticSegmentation",
        {"hidden_sizes": [16, 32, 64, 96], "depths": [1] * 4, "decoder_hidden_size": 64},
    ),
    "mobilevit_classifier": (
        "MobileViTForImageClassification",
        {"image_size": 64, "hidden_sizes": [48, 64, 80], "neck_hidden_sizes": [16, 16, 32, 48, 64, 80, 160]},
    ),
    "mobilevitv2_classifier": ("MobileViTV2ForImageClassification", {"image_size": 64, "width_multiplier": 0.5}),
    "convnext_classifier": ("ConvNextForImageClassification", CONV),
    "convnextv2_classifier": ("ConvNextV2ForImageClassification", CONV),
    "poolformer_classifier": (
        "PoolFormerForImageClassification",
        {"depths": [1, 1, 2, 1], "hidden_sizes": [32, 64, 96, 128]},
    ),
    "pvt_v2_classifier": (
        "PvtV2ForImageClassification",
        {"image_size": 64, "hidden_sizes": [16, 32, 64, 96], "depths": [1] * 4, "num_attention_heads": [1, 2, 4, 6]},
    ),
    "resnet_transformers": ("ResNetForImageClassification", {"embedding_size": 32, "hidden_sizes": [32, 64, 96, 128],
                                                           "depths": [1, 1, 2, 1]}),
    "dpt_depth": ("DPTForDepthEstimation", {**VISION, "num_hidden_layers": 4, "backbone_out_indices": [0, 1, 2, 3],
                                            "neck_hidden_sizes": [32, 48, 64, 64], "fusion_hidden_size": 48}),
}  # fmt: skip
"""Models of pictures."""

SOUNDS: dict[str, tuple[str, dict[str, Any], tuple[int, ...]]] = {
    "whisper_encoder": (
        "WhisperModel",
        {"vocab_size": VOCABULARY, "d_model": WIDTH, "encoder_layers": LAYERS, "decoder_layers": 1,
         "encoder_attention_heads": HEADS, "decoder_attention_heads": HEADS, "encoder_ffn_dim": INNER,
         "decoder_ffn_dim": INNER, "max_source_positions": 32, "pad_token_id": 0, "bos_token_id": 1,
         "eos_token_id": 2, "decoder_start_token_id": 1},
        (2, 80, 64),
    ),
    "wav2vec2_ctc": (
        "Wav2Vec2ForCTC",
        {"vocab_size": 32, "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
         "intermediate_size": INNER, "conv_dim": [64] * 4, "conv_kernel": [10, 3, 3, 2], "conv_stride": [5, 2, 2, 2],
         "num_conv_pos_embedding_groups": 8, "num_conv_pos_embeddings": 32},
        (2, 1600),
    ),
    "wav2vec2_conformer": (
        "Wav2Vec2ConformerForCTC",
        {"vocab_size": 32, "hidden_size": WIDTH, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
         "intermediate_size": INNER, "conv_dim": [64] * 4, "conv_kernel": [10, 3, 3, 2], "conv_stride": [5, 2, 2, 2],
         "position_embeddings_type": "rotary"},
        (2, 1600),
    ),
    "audio_spectrogram": ("ASTForAudioClassification", {**VISION, "max_length": 64, "num_mel_bins": 32},
                          (2, 64, 32)),
}  # fmt: skip
"""Models of sound: class, configuration, shape of the input."""


class _Called(nn.Module):
    """A model of transformers called by keyword, which returns tensors alone."""

    def __init__(self, model: nn.Module, names: tuple[str, ...], **fixed: Any) -> None:
        super().__init__()
        self.model, self.names, self.fixed = model, names, fixed

    def forward(self, *given: torch.Tensor) -> torch.Tensor:
        return self.model(**dict(zip(self.names, given, strict=True)), **self.fixed, return_dict=True)[0]


def transformer_nets() -> list[Net]:
    """All of them."""
    tokens = {"input_ids": {0: "batch", 1: "sequence"}, "attention_mask": {0: "batch", 1: "sequence"}}
    # A scan that is unrolled while it is exported has the example's length.
    nets = [_net(n, partial(_text, *entry), {} if "mamba" in n else tokens) for n, entry in TEXTS.items()]
    nets.append(_net("bert_eager", partial(_text, *TEXTS["bert_classifier"], attention="eager"), tokens))
    nets.append(_net("llama_eager", partial(_text, *TEXTS["llama_lm"], attention="eager"), tokens))
    nets += [_net(name, partial(_image, *entry), {"x": {0: "batch"}}) for name, entry in IMAGES.items()]
    nets += [_net(name, partial(_sound, *entry), {"x": {0: "batch"}}) for name, entry in SOUNDS.items()]
    return [*nets, _net("t5_seq2seq", _translation, {}), _net("clip_both", _clip, {})]


def _net(name: str, build: Callable[[], tuple[nn.Module, Inputs]], free: dict[str, dict[int, str]]) -> Net:
    return Net(name, build, family="transformer", free=free)


def _model(kind: str, arguments: dict[str, Any], attention: str = "sdpa") -> nn.Module:
    cls = getattr(transformers, kind)
    config = cls.config_class(**arguments)
    extra = {"add_pooling_layer": False} if arguments.get("add_pooling_layer") is False else {}
    config._experts_implementation = "eager"
    try:
        config._attn_implementation = attention
        return cls(config, **extra)
    except (ValueError, ImportError):
        config._attn_implementation = "eager"
        return cls(config, **extra)


def _text(kind: str, arguments: dict[str, Any], attention: str = "sdpa") -> tuple[nn.Module, Inputs]:
    ids = torch.randint(3, VOCABULARY, (2, LENGTH))
    model = _model(kind, arguments, attention)
    if "Mamba" in kind:
        return _Called(model, ("input_ids",), use_cache=False), {"input_ids": ids}
    fixed = {"use_cache": False} if hasattr(model.config, "use_cache") and "LM" in kind and "Masked" not in kind else {}
    names = ("input_ids", "attention_mask")
    return _Called(model, names, **fixed), {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def _image(kind: str, arguments: dict[str, Any]) -> tuple[nn.Module, Inputs]:
    size = arguments.get("image_size", 64)
    return _Called(_model(kind, arguments), ("pixel_values",)), {"x": torch.randn(2, 3, size, size)}


def _sound(kind: str, arguments: dict[str, Any], shape: tuple[int, ...]) -> tuple[nn.Module, Inputs]:
    model = _model(kind, arguments)
    name = "input_features" if "Whisper" in kind else "input_values"
    if "Whisper" in kind:
        model = model.encoder
    return _Called(model, (name,)), {"x": torch.randn(*shape)}


def _translation() -> tuple[nn.Module, Inputs]:
    model = _model("T5ForConditionalGeneration", {**TEXTS["t5_encoder"][1], "decoder_start_token_id": 0})
    ids = torch.randint(3, VOCABULARY, (2, LENGTH))
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "decoder_input_ids": ids[:, :12].clone()}
    return _Called(model, tuple(inputs), use_cache=False), inputs


def _clip() -> tuple[nn.Module, Inputs]:
    text = {**BERT, "projection_dim": 64, "eos_token_id": 2}
    model = transformers.CLIPModel(
        transformers.CLIPConfig(text_config=text, vision_config={**VISION, "projection_dim": 64}, projection_dim=64)
    )
    ids = torch.randint(3, VOCABULARY, (2, LENGTH))
    inputs = {"input_ids": ids, "pixel_values": torch.randn(2, 3, 32, 32), "attention_mask": torch.ones_like(ids)}
    return _Called(model, tuple(inputs)), inputs
