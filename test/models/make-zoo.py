"""Writes the models in zoo/: tiny models of real architectures with random weights, exported as people export them.
Usage: python make-zoo.py [--out FOLDER] [NAME ...]"""

import argparse
import json
import logging
import platform
import shutil
import sys
import tempfile
import warnings
import zlib
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "make"))
sys.dont_write_bytecode = True
warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

import onnx  # noqa: E402
import torch  # noqa: E402
from architectures import CLASSES as LABELS, inputs_of, tiny_model  # noqa: E402
from expected import check_graph, expected_of  # noqa: E402
from exporters import EXPORTERS  # noqa: E402
from graph_file import save, shorten  # noqa: E402
from variants import VARIANTS, add_variant  # noqa: E402
from vocabulary import expected_texts, ids_of, write_tokenizer  # noqa: E402

MASKED, CLASSES, CAUSAL = "masked-lm", "sequence-classification", "causal-lm"
QUANTISED = ["fp16", "int8", "int8_weights", "int8_static", "q4", "fused"]
# architecture, task, exporter, opset, attention, and what is special
ZOO = [
    ("bert", MASKED, "optimum", 14, "sdpa", {"variants": QUANTISED}),
    ("bert", CLASSES, "dynamo", 23, "sdpa", {}),
    ("roberta", MASKED, "dynamo", 22, "sdpa", {}),
    ("roberta", CLASSES, "legacy", 12, "eager", {}),
    ("distilbert", MASKED, "legacy", 11, "eager", {}),
    ("distilbert", CLASSES, "dynamo", 19, "sdpa", {}),
    ("gpt2", CAUSAL, "optimum", 13, "eager", {"past": True}),
    ("gpt2", CLASSES, "dynamo", 21, "sdpa", {}),
    ("opt", CAUSAL, "legacy", 15, "eager", {}),
    ("opt", CAUSAL, "dynamo", 18, "sdpa", {}),
    # GroupQueryAttention wants heads of 16 values; so these are wider than the hidden size shared among them.
    ("llama", CAUSAL, "optimum", 16, "sdpa",
     {"past": True, "head_dim": 16, "variants": [kind for kind in QUANTISED if kind != "int8_static"]}),
    ("llama", CAUSAL, "dynamo", 23, "sdpa", {}),
    ("llama", CLASSES, "dynamo", 20, "eager", {}),
    ("qwen2", CAUSAL, "legacy", 17, "sdpa", {"external": "model.onnx_data"}),
    ("qwen3", CAUSAL, "dynamo", 22, "eager", {"external": "model.onnx.data"}),
]
LAYERS = 2
TOOLS = ["torch", "transformers", "optimum", "optimum-onnx", "accelerate", "tokenizers", "onnx", "onnxscript",
         "onnxruntime", "numpy"]


def name_of(architecture, task, exporter, opset, rest):
    short = {MASKED: "masked", CLASSES: "classes", CAUSAL: "past" if rest.get("past") else "causal"}[task]
    return f"{architecture}-{short}-{exporter}-{opset}"


def rounded(value):
    """Losses to 9 digits: more than float32 holds, and the same text from every machine with the same bits."""
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    return [rounded(part) for part in value] if isinstance(value, list) else value


def written(value):
    """JSON with one line for each record, moved weight, graph and text."""
    lines = []
    for key, part in value.items():
        rows = isinstance(part, list) and part and isinstance(part[0], dict)
        text = "[\n  " + ",\n  ".join(json.dumps(row) for row in part) + "\n ]" if rows else json.dumps(part)
        lines.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def make(out, architecture, task, exporter, opset, attention, rest):
    """Writes one model folder and returns its entry in zoo.json."""
    name = name_of(architecture, task, exporter, opset, rest)
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "onnx").mkdir(parents=True)
    seed = zlib.crc32(name.encode())
    tokens = ids_of(architecture)
    if task == CLASSES:
        tokens["num_labels"] = LABELS
        if tokens["pad_token_id"] is None:
            tokens["pad_token_id"] = tokens["eos_token_id"]  # the head reads the last token that is not padding
    tokens |= {"head_dim": rest["head_dim"]} if "head_dim" in rest else {}
    model = tiny_model(architecture, task, tokens, LAYERS, seed, attention)
    names, path = inputs_of(architecture, task), folder / "onnx" / "model.onnx"
    with tempfile.TemporaryDirectory() as scratch:
        raw = Path(scratch) / "model.onnx"
        EXPORTERS[exporter](model, task, names, opset, raw, **({"past": True} if rest.get("past") else {}))
        exported = shorten(onnx.load(raw))
    found = next(entry.version for entry in exported.opset_import if entry.domain == "")
    assert found == opset, (name, found)
    external = rest.get("external")
    save(exported, path, **({"save_as_external_data": True, "location": external} if external else {}))
    exported = onnx.load(path)
    names = [name for name in names if name in {value.name for value in exported.graph.input}]
    expected = expected_of(model, architecture, task, names, seed, exported)
    losses = [record["loss"] for record in expected["records"]]
    check_graph(path, names, expected["records"], expected["pad"], losses)
    expected["variants"] = [add_variant(kind, path, model, expected) for kind in rest.get("variants", [])]
    (folder / "config.json").write_text(model.config.to_json_string())
    write_tokenizer(architecture, folder)
    expected |= expected_texts(folder)
    (folder / "expected.json").write_text(written(rounded(expected)))
    return {"name": name, "architecture": architecture, "task": task, "exporter": exporter, "opset": opset,
            "attention": attention, "past": bool(rest.get("past")), "external": external}


def readme(entries):
    tools = ", ".join(f"{tool} {version(tool)}" for tool in TOOLS)
    rows = [
        f"| {e['name']} | {e['task']} | {e['exporter']} | {e['opset']} | {e['attention']} | "
        + ("KV cache" if e["past"] else f"weights in {e['external']}" if e["external"] else "") + " |"
        for e in entries
    ]
    return "\n".join([
        "# The models", "", "Written by `make-zoo.py` (see ../README.md); nothing here is edited by hand.", "",
        f"Made with Python {platform.python_version()}, {tools}.", "",
        "| folder | task | exporter | opset | attention | besides |", "|---|---|---|---|---|---|", *rows, "",
        "| file beside `model.onnx` | what it is |", "|---|---|",
        *(f"| `model_{kind}.onnx` | {VARIANTS[kind][0]} |" for kind in QUANTISED), "",
    ])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE / "zoo")
    parser.add_argument("names", nargs="*", help="only these models; the list of all is left as it is")
    options = parser.parse_args()
    torch.set_num_threads(1)
    entries = []
    for line in ZOO:
        name = name_of(*line[:4], line[5])
        if options.names and name not in options.names:
            continue
        entries.append(make(options.out, *line))
        size = sum(file.stat().st_size for file in (options.out / name).rglob("*") if file.is_file())
        print(f"{name}: {size} bytes", flush=True)
    if not options.names:
        (options.out / "zoo.json").write_text(json.dumps(entries, indent=1) + "\n")
        (options.out / "README.md").write_text(readme(entries))


if __name__ == "__main__":
    main()
