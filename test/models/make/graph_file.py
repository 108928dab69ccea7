"""ONNX files: written small, run by onnxruntime."""

import numpy as np
import onnx
import onnxruntime as ort

# Exporters note the source line behind each node, with the paths of the machine they ran on. The module behind it is
# kept where a weight is read: for a graph made by dynamo it is all that says which product a weight belongs to.
NOTED = ("doc_string", "metadata_props")
MODULE = "pkg.torch.onnx.name_scopes"


def graphs_of(graph):
    """The graph and those inside its If and Loop nodes."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs]:
                if inner.node:
                    yield from graphs_of(inner)


def shorten(model):
    """Drops notes and inferred shapes, and gives values between nodes short names; nodes, weights, inputs and outputs
    keep the exporter's own."""
    outer = {value.name for value in [*model.graph.input, *model.graph.output, *model.graph.initializer]}
    weights = {value.name for value in model.graph.initializer}
    short = {}
    for graph in graphs_of(model.graph):
        outer |= {value.name for value in [*graph.output, *graph.initializer, *graph.input]}
    for field in NOTED:
        for owner in (model, model.graph, *model.graph.initializer, *model.graph.input, *model.graph.output):
            owner.ClearField(field)
    for graph in graphs_of(model.graph):
        del graph.value_info[:]
        for node in graph.node:
            module = [note for note in node.metadata_props if note.key == MODULE and weights & set(node.input)]
            for field in NOTED:
                node.ClearField(field)
            node.metadata_props.extend(module)
            for names in (node.input, node.output):
                for at, name in enumerate(names):
                    if name and name not in outer:
                        names[at] = short.setdefault(name, f"v{len(short)}")
    assert not model.functions, "functions of the model would keep their notes"
    return model


def run(path, feeds, optimize=True):
    """The first output of a graph. Inputs the graph does not have are left out."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    # Or DequantizeLinear and MatMul become one product that rounds its activations to 8 bits as well.
    options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", "1")
    if not optimize:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    known = {entry.name: entry for entry in session.get_inputs()}
    given = {name: value for name, value in feeds.items() if name in known}
    batch = len(next(iter(feeds.values())))
    for name, entry in known.items():
        if name not in given:  # a past of no tokens: [batch, heads, 0, width]
            shape = [batch if at == 0 else size if isinstance(size, int) else 0 for at, size in enumerate(entry.shape)]
            given[name] = np.zeros(shape, np.float16 if entry.type == "tensor(float16)" else np.float32)
    return session.run(["logits"], given)[0]


def save(model, path, **external):
    onnx.checker.check_model(model)
    onnx.save(model, path, **external)
