"""Other graphs of a model, beside its `model.onnx`: half precision, quantised, fused."""

import tempfile
from pathlib import Path
import numpy as np
import onnx
from expected import check_graph, loss_of, padded
from fused import FUSED
from graph_file import run, shorten
from onnx import helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static,
)
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from onnxruntime.transformers.float16 import convert_float_to_float16


def feeds_for(record, names, pad, exported):
    """A record's tensors, and a past of no tokens where the graph takes one."""
    feeds = {name: value.numpy() for name, value in padded(names, record, pad, record["bucket"]).items()}
    for value in exported.graph.input:
        if value.name not in feeds:
            dims = [d.dim_value for d in value.type.tensor_type.shape.dim]
            feeds[value.name] = np.zeros([1, dims[1], 0, dims[3]], np.float32)
    return feeds


class Records(CalibrationDataReader):
    """The records themselves, to measure the ranges of activations with."""

    def __init__(self, exported, expected):
        self.left = iter([
            feeds_for(record, expected["inputs"], expected["pad"], exported) for record in expected["records"]])

    def get_next(self):
        return next(self.left, None)


def half(path, model, expected):
    exported = onnx.load(path)
    # A model with a cache is converted with logits of float32, as generation wants them; another one whole.
    keep = ["logits"] if model.config.model_type == "llama" else False
    return convert_float_to_float16(exported, keep_io_types=keep)


def dynamic(path, model, expected):
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "model.onnx"
        quantize_dynamic(path, out, weight_type=QuantType.QInt8)
        return onnx.load(out)


def static(path, model, expected):
    exported = onnx.load(path)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "model.onnx"
        quantize_static(
            path, out, Records(exported, expected), quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, op_types_to_quantize=["MatMul"])
        return onnx.load(out)


def quantised(values, signed):
    """Columns of W [inputs, outputs] as 8-bit integers, each with a scale; signed ones are symmetric, without zeros."""
    if signed:
        scales = np.abs(values).max(0) / np.float32(127)
        return np.rint(values / scales).astype(np.int8), scales, None
    low, high = np.minimum(values.min(0), 0), np.maximum(values.max(0), 0)
    scales = (high - low) / np.float32(255)
    zeros = np.rint(-low / scales).astype(np.uint8)
    return np.clip(np.rint(values / scales) + zeros, 0, 255).astype(np.uint8), scales, zeros


def weights_only(path, model, expected):
    """Every constant matrix of a product through DequantizeLinear: signed for BERT, with zero points for Llama."""
    exported = onnx.load(path)
    weights = {weight.name: weight for weight in exported.graph.initializer}
    for node in [n for n in exported.graph.node if n.op_type == "MatMul" and n.input[1] in weights]:
        name = node.input[1]
        parts = quantised(numpy_helper.to_array(weights[name]), model.config.model_type == "bert")
        exported.graph.initializer.remove(weights[name])
        names = [f"{name}_{part}" for part in ("quantized", "scale", "zero_point")]
        made = [numpy_helper.from_array(part, label) for part, label in zip(parts, names) if part is not None]
        exported.graph.initializer.extend(made)
        at = list(exported.graph.node).index(node)
        exported.graph.node.insert(at, helper.make_node(
            "DequantizeLinear", [part.name for part in made], [f"{name}_dequantized"],
            name=f"{name}_DequantizeLinear", axis=1))
        exported.graph.node[at + 1].input[1] = f"{name}_dequantized"
    return exported


def four_bits(path, model, expected):
    quantizer = MatMulNBitsQuantizer(
        onnx.load(path), bits=4, block_size=32, is_symmetric=model.config.model_type == "bert", accuracy_level=0)
    quantizer.process()
    return quantizer.model.model


def fused(path, model, expected):
    return FUSED[model.config.model_type](path, model)


VARIANTS = {
    "fp16": ("float16 weights and activations (onnxruntime's `convert_float_to_float16`)", half),
    "int8": ("dynamic: scales of activations are taken over the whole batch (`quantize_dynamic`)", dynamic),
    "int8_weights": ("weights alone, by column: DequantizeLinear before each product", weights_only),
    "int8_static": ("QDQ, scales of activations fixed beforehand (`quantize_static`)", static),
    "q4": ("weights alone, blocks of 32: MatMulNBits (`MatMulNBitsQuantizer`)", four_bits),
    "fused": ("fused operators of com.microsoft: onnxruntime's optimizer (BERT), GroupQueryAttention (Llama)", fused),
}


def unpacked(node, weights):
    """W [inputs, outputs] of a MatMulNBits node of 4 bits: low half of a byte first, blocks along the inputs."""
    attributes = {attribute.name: attribute.i for attribute in node.attribute}
    inputs, outputs, block = attributes["K"], attributes["N"], attributes["block_size"]
    packed = weights[node.input[1]].reshape(outputs, -1)
    values = np.stack([packed & 15, packed >> 4], -1).reshape(outputs, -1, block).astype(np.float32)
    scales = weights[node.input[2]].reshape(outputs, -1, 1)
    if len(node.input) > 3:
        zeros = weights[node.input[3]].reshape(outputs, -1)
        zeros = np.stack([zeros & 15, zeros >> 4], -1).reshape(outputs, -1)[:, : scales.shape[1], None]
    else:
        zeros = np.full_like(scales, 8)
    return ((values - zeros) * scales).reshape(outputs, -1)[:, :inputs].T


def with_plain_weights(variant):
    """The same graph with its quantised weights as float32 constants, computed here."""
    plain = onnx.ModelProto()
    plain.CopyFrom(variant)
    weights = {weight.name: numpy_helper.to_array(weight) for weight in plain.graph.initializer}
    nodes = []
    for node in plain.graph.node:
        name = f"{node.name}_plain"
        if node.op_type == "MatMulNBits":
            plain.graph.initializer.append(numpy_helper.from_array(unpacked(node, weights), name))
            node = helper.make_node("MatMul", [node.input[0], name], node.output, name=node.name)
        elif node.op_type == "DequantizeLinear" and node.input[0] in weights:
            values, scales, *zeros = [weights[name].astype(np.float32) for name in node.input]
            values = (values - zeros[0] if zeros else values) * scales
            plain.graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
            continue
        nodes.append(node)
    del plain.graph.node[:]
    plain.graph.node.extend(nodes)
    return plain


def losses_by(path, expected, twin=None):
    """Losses of the graph as written, one record a call; with a `twin` record beside each where one is given."""
    losses = []
    for record in expected["records"]:
        alone = padded(expected["inputs"], record, expected["pad"], record["bucket"])
        feeds = {name: value.numpy() for name, value in alone.items()}
        if twin is not None:
            mate = padded(expected["inputs"], {**record, "ids": twin}, expected["pad"], record["bucket"])
            feeds = {name: np.concatenate([value, mate[name].numpy()]) for name, value in feeds.items()}
        losses.append(loss_of(run(path, feeds, optimize=False)[:1].astype(np.float32), record))
    return losses


def check_variant(kind, path, variant, expected, losses):
    """What must hold of each kind, so that a test on it means something."""
    exact = [record["loss"] for record in expected["records"]]
    far = max(abs(found - true) for found, true in zip(losses, exact))
    assert far < {"fp16": 0.05, "fused": 1e-5}.get(kind, 3), (kind, far)
    if kind in ("int8_weights", "q4"):
        assert far > 1e-3, (kind, "is not quantised")
        with tempfile.TemporaryDirectory() as folder:
            plain = Path(folder) / "model.onnx"
            onnx.save(with_plain_weights(variant), plain)
            check_graph(plain, expected["inputs"], expected["records"], expected["pad"], losses)
    if kind in ("int8_weights", "q4", "fused"):
        check_graph(path, expected["inputs"], expected["records"], expected["pad"], losses)
    moved = max(abs(a - b) for a, b in zip(losses_by(path, expected, twin=[7, 8, 9]), losses))
    assert (moved > 1e-4) == (kind == "int8"), (kind, "a record moved by its batch mate", moved)


def add_variant(kind, path, model, expected):
    """Writes one graph beside `model.onnx` and returns its entry in expected.json."""
    file = f"model_{kind}.onnx"
    variant = shorten(VARIANTS[kind][1](path, model, expected))
    onnx.save(variant, path.parent / file)
    losses = losses_by(path.parent / file, expected)
    check_variant(kind, path.parent / file, variant, expected, losses)
    return {"kind": kind, "file": file, "losses": losses}
