"""The ways in which people make an ONNX graph of a model."""

import inspect
import tempfile
from contextlib import contextmanager
from pathlib import Path
import onnx
import torch
from optimum.exporters.onnx import onnx_export_from_model
from optimum.exporters.onnx.model_patcher import eager_mask_without_vmap, sdpa_mask_without_vmap
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, eager_mask, sdpa_mask

OPTIMUM_TASKS = {
    "masked-lm": "fill-mask",
    "sequence-classification": "text-classification",
    "causal-lm": "text-generation",
}


def feeds_of(names, ids, mask=None):
    """Tensors [batch, sequence] of int64 for the named inputs."""
    made = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids) if mask is None else mask,
        "token_type_ids": torch.zeros_like(ids),
        "position_ids": torch.arange(ids.shape[1]).expand(ids.shape).contiguous(),
    }
    return {name: made[name] for name in names}


@contextmanager
def traceable(model, names):
    """A model of plain arguments and one plain result, its masks made without vmap, which a trace cannot follow."""
    inner = model.forward

    def forward(*arguments):
        return (inner(**dict(zip(names, arguments)), use_cache=False, return_dict=True).logits,)

    def encode(*arguments):
        return (inner(**dict(zip(names, arguments)), return_dict=True).logits,)

    model.forward = forward if "use_cache" in inspect.signature(inner).parameters else encode
    ALL_MASK_ATTENTION_FUNCTIONS.register("sdpa", sdpa_mask_without_vmap)
    ALL_MASK_ATTENTION_FUNCTIONS.register("eager", eager_mask_without_vmap)
    try:
        yield
    finally:
        del model.forward
        ALL_MASK_ATTENTION_FUNCTIONS.register("sdpa", sdpa_mask)
        ALL_MASK_ATTENTION_FUNCTIONS.register("eager", eager_mask)


def legacy(model, task, names, opset, path):
    """`torch.onnx.export(dynamo=False)`: a trace through TorchScript."""
    axes = {0: "batch", 1: "sequence"}
    sizes = {name: axes for name in names} | {"logits": {0: "batch"} if task == "sequence-classification" else axes}
    example = feeds_of(names, torch.randint(5, 90, (2, 7)))
    with traceable(model, names):
        torch.onnx.export(
            model, tuple(example.values()), str(path), dynamo=False, opset_version=opset, input_names=names,
            output_names=["logits"], dynamic_axes=sizes)


def dynamo(model, task, names, opset, path):
    """`torch.onnx.export(dynamo=True)`: a capture through torch.export."""
    model.config.use_cache = False
    batch, sequence = torch.export.Dim("batch"), torch.export.Dim("sequence")
    torch.onnx.export(
        model, (), str(path), kwargs=feeds_of(names, torch.randint(5, 90, (2, 7))), dynamo=True, opset_version=opset,
        input_names=names, output_names=["logits"], dynamic_shapes={name: {0: batch, 1: sequence} for name in names},
        external_data=False, verbose=False)
    model.config.use_cache = True


def optimum(model, task, names, opset, path, past=False):
    """`optimum-cli export onnx`: the legacy exporter with optimum's own patches, with or without a KV cache."""
    with tempfile.TemporaryDirectory() as folder:
        onnx_export_from_model(
            model, output=folder, task=OPTIMUM_TASKS[task] + ("-with-past" if past else ""), opset=opset,
            do_validation=False, slim=False)
        onnx.save(onnx.load(Path(folder) / "model.onnx"), path)


EXPORTERS = {"legacy": legacy, "dynamo": dynamo, "optimum": optimum}
