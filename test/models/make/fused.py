"""Graphs of fused operators, as onnxruntime's optimizer and the model builder of onnxruntime-genai write them."""

import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.transformers.optimizer import optimize_model


def fused_bert(path, model):
    """onnxruntime's own optimizer: EmbedLayerNormalization, Attention, SkipLayerNormalization, BiasGelu."""
    config = model.config
    return optimize_model(
        str(path), "bert", num_heads=config.num_attention_heads, hidden_size=config.hidden_size, opt_level=0).model


class Builder:
    """Nodes and weights of a graph in the making. A node is named after its place, its output `v` and a number."""

    def __init__(self):
        self.nodes, self.weights = [], []

    def add(self, kind, inputs, name, outputs=None, domain="", **attributes):
        outputs = outputs or [f"v{len(self.nodes)}"]
        self.nodes.append(helper.make_node(kind, inputs, outputs, name=name, domain=domain, **attributes))
        return outputs[0]

    def weight(self, name, values):
        self.weights.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def product(self, x, path, linear):
        name = f"{path.removeprefix('/').replace('/', '.')}.MatMul.weight"
        return self.add("MatMul", [x, self.weight(name, linear.weight.detach().numpy().T)], f"{path}/MatMul")


def rotation(model):
    """Cosines and sines [positions, width / 2]."""
    positions = torch.arange(model.config.max_position_embeddings)
    angles = positions[:, None] * model.model.rotary_emb.inv_freq[None]
    return angles.cos().numpy(), angles.sin().numpy()


def lengths(build):
    """Of each record the index of its last token, and of all the longest length, both int32."""
    one = build.weight("one", np.array([1], np.int64))
    total = build.add("ReduceSum", ["attention_mask", one], "/model/attn_mask/ReduceSum", keepdims=0)
    last = build.add("Sub", [total, one], "/model/attn_mask/Sub")
    shape = build.add("Shape", ["attention_mask"], "/model/attn_mask/Shape")
    second = build.weight("second", np.array(1, np.int64))
    longest = build.add("Gather", [shape, second], "/model/attn_mask/Gather", axis=0)
    return [build.add("Cast", [value], f"/model/attn_mask/Cast_{at}", to=TensorProto.INT32)
            for at, value in enumerate((last, longest))]


def attention(build, x, part, at, config, shared):
    path = f"/model/layers.{at}/attn"
    projections = [build.product(x, f"{path}/{name}", getattr(part, name)) for name in ("q_proj", "k_proj", "v_proj")]
    outputs = [f"{path}/output", f"present.{at}.key", f"present.{at}.value"]
    past = [f"past_key_values.{at}.key", f"past_key_values.{at}.value"]
    joined = build.add(
        "GroupQueryAttention", [*projections, *past, *shared], f"{path}/GroupQueryAttention", outputs, "com.microsoft",
        num_heads=config.num_attention_heads, kv_num_heads=config.num_key_value_heads, do_rotary=1)
    return build.product(joined, f"{path}/o_proj", part.o_proj)


def gated(build, x, part, at):
    path = f"/model/layers.{at}/mlp"
    gate = build.product(x, f"{path}/gate_proj", part.gate_proj)
    gate = build.add("Mul", [gate, build.add("Sigmoid", [gate], f"{path}/act_fn/Sigmoid")], f"{path}/act_fn/Mul")
    up = build.product(x, f"{path}/up_proj", part.up_proj)
    return build.product(build.add("Mul", [gate, up], f"{path}/Mul"), f"{path}/down_proj", part.down_proj)


def fused_llama(path, model):
    """GroupQueryAttention with its own rotation, SimplifiedLayerNormalization alone and with the sum before it."""
    config, build = model.config, Builder()
    cosines, sines = rotation(model)
    shared = [*lengths(build), build.weight("cos_cache", cosines), build.weight("sin_cache", sines)]
    table = build.weight("model.embed_tokens.weight", model.model.embed_tokens.weight.detach().numpy())
    stream = build.add("Gather", [table, "input_ids"], "/model/embed_tokens/Gather")
    added = None

    def norm(part, name):
        """Norm of the stream with what was last added to it; also moves the stream on."""
        nonlocal stream
        scale = build.weight(f"{name.removeprefix('/').replace('/', '.')}.weight", part.weight.detach().numpy())
        if added is None:
            return build.add(
                "SimplifiedLayerNormalization", [stream, scale], f"{name}/LayerNorm", epsilon=part.variance_epsilon,
                axis=-1, stash_type=1)
        outputs = [f"{name}/output_0", "", "", f"{name}/output_3"]
        normed = build.add(
            "SkipSimplifiedLayerNormalization", [stream, added, scale], f"{name}/SkipLayerNorm", outputs,
            "com.microsoft", epsilon=part.variance_epsilon)
        stream = outputs[3]
        return normed

    for at, layer in enumerate(model.model.layers):
        name = f"/model/layers.{at}"
        normed = norm(layer.input_layernorm, f"{name}/input_layernorm")
        added = attention(build, normed, layer.self_attn, at, config, shared)
        added = gated(build, norm(layer.post_attention_layernorm, f"{name}/post_attention_layernorm"), layer.mlp, at)
    logits = build.product(norm(model.model.norm, "/model/norm"), "/lm_head", model.lm_head)
    build.nodes[-1].output[0] = "logits"
    assert logits != "logits"
    return finished(build, config)


def finished(build, config):
    width = config.head_dim
    value = helper.make_tensor_value_info
    caches = [(at, part) for at in range(config.num_hidden_layers) for part in ("key", "value")]
    long = ["batch", config.num_key_value_heads, "past", width]
    inputs = [value("input_ids", TensorProto.INT64, ["batch", "sequence"]),
              value("attention_mask", TensorProto.INT64, ["batch", "past + sequence"])]
    inputs += [value(f"past_key_values.{at}.{part}", TensorProto.FLOAT, long) for at, part in caches]
    outputs = [value("logits", TensorProto.FLOAT, ["batch", "sequence", config.vocab_size])]
    long = [*long[:2], "past + sequence", width]
    outputs += [value(f"present.{at}.{part}", TensorProto.FLOAT, long) for at, part in caches]
    graph = helper.make_graph(build.nodes, "main_graph", inputs, outputs, build.weights)
    domains = [helper.make_opsetid("", 16), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=domains, ir_version=8)


FUSED = {"bert": fused_bert, "llama": fused_llama}
