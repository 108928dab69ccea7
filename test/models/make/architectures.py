"""Tiny models of real architectures: configurations of `transformers`, random weights."""

import torch
from transformers import (
    AutoModelForCausalLM, AutoModelForMaskedLM, AutoModelForSequenceClassification, BertConfig, DistilBertConfig,
    GPT2Config, LlamaConfig, OPTConfig, Qwen2Config, Qwen3Config, RobertaConfig,
)

VOCABULARY, HIDDEN, HEADS, KV_HEADS, INNER, POSITIONS, CLASSES = 96, 32, 4, 2, 64, 64, 3
SPREAD = 0.2  # of the weights: wide enough that the losses of two records differ visibly

LOADERS = {
    "masked-lm": AutoModelForMaskedLM,
    "sequence-classification": AutoModelForSequenceClassification,
    "causal-lm": AutoModelForCausalLM,
}
# Two weights of a middle place, by module path, that are moved for the finite differences, and the table of tokens.
MOVED = {
    "bert": ["bert.encoder.layer.1.attention.self.value", "bert.encoder.layer.0.output.dense"],
    "roberta": ["roberta.encoder.layer.1.attention.self.value", "roberta.encoder.layer.0.output.dense"],
    "distilbert": ["distilbert.transformer.layer.1.attention.v_lin", "distilbert.transformer.layer.0.ffn.lin2"],
    "gpt2": ["transformer.h.1.attn.c_attn", "transformer.h.0.mlp.c_proj"],
    "opt": ["model.decoder.layers.1.self_attn.v_proj", "model.decoder.layers.0.fc2"],
    "llama": ["model.layers.1.self_attn.v_proj", "model.layers.0.mlp.down_proj"],
    "qwen2": ["model.layers.1.self_attn.v_proj", "model.layers.0.mlp.down_proj"],
    "qwen3": ["model.layers.1.self_attn.v_proj", "model.layers.0.mlp.down_proj"],
}


def encoder(kind, tokens, layers, **rest):
    return kind(
        vocab_size=VOCABULARY, hidden_size=HIDDEN, num_attention_heads=HEADS, num_hidden_layers=layers,
        intermediate_size=INNER, initializer_range=SPREAD, **tokens, **rest,
    )


def rotary(kind, tokens, layers, **rest):
    return encoder(kind, tokens, layers, max_position_embeddings=POSITIONS, num_key_value_heads=KV_HEADS, **rest)


def configuration(architecture, tokens, layers):
    """The configuration of a tiny model; `tokens` gives `pad_token_id` and what else differs from model to model."""
    build = {
        "bert": lambda: encoder(BertConfig, tokens, layers, max_position_embeddings=POSITIONS),
        # RoBERTa counts positions from the padding token on, so two rows of its table are never used.
        "roberta": lambda: encoder(
            RobertaConfig, tokens, layers, max_position_embeddings=POSITIONS + 2, type_vocab_size=1),
        "distilbert": lambda: DistilBertConfig(
            vocab_size=VOCABULARY, dim=HIDDEN, n_heads=HEADS, n_layers=layers, hidden_dim=INNER,
            max_position_embeddings=POSITIONS, initializer_range=SPREAD, **tokens),
        "gpt2": lambda: GPT2Config(
            vocab_size=VOCABULARY, n_embd=HIDDEN, n_head=HEADS, n_layer=layers, n_inner=INNER, n_positions=POSITIONS,
            initializer_range=SPREAD, **tokens),
        "opt": lambda: OPTConfig(
            vocab_size=VOCABULARY, hidden_size=HIDDEN, num_attention_heads=HEADS, num_hidden_layers=layers,
            ffn_dim=INNER, max_position_embeddings=POSITIONS, word_embed_proj_dim=HIDDEN, init_std=SPREAD, **tokens),
        "llama": lambda: rotary(LlamaConfig, tokens, layers, tie_word_embeddings=False),
        "qwen2": lambda: rotary(Qwen2Config, tokens, layers, tie_word_embeddings=True),
        "qwen3": lambda: rotary(Qwen3Config, tokens, layers, head_dim=HIDDEN // HEADS, tie_word_embeddings=True),
    }
    return build[architecture]()


@torch.no_grad()
def tiny_model(architecture, task, tokens, layers, seed, attention):
    """A model in evaluation mode. Biases and norms are random too, or a graph that lost one would go unnoticed."""
    torch.manual_seed(seed)
    config = configuration(architecture, tokens, layers)
    model = LOADERS[task].from_config(config, attn_implementation=attention).eval()
    for name, parameter in model.named_parameters():
        if parameter.dim() == 1:
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.config.architectures = [type(model).__name__]
    return model


def inputs_of(architecture, task):
    """Names of the graph's inputs, in the order in which the model's own exports have them."""
    if architecture == "bert":
        return ["input_ids", "attention_mask", "token_type_ids"]
    if architecture in ("roberta", "distilbert"):
        return ["input_ids", "attention_mask"]
    return ["input_ids", "attention_mask", "position_ids"]
