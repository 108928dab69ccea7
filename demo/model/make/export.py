"""Writes the trained model in Hugging Face layout with an ONNX graph.
Usage: python export.py MODELDIR OUTDIR PUBLIC.jsonl"""

import json
import shutil
import sys
from pathlib import Path
import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from tokenizers import Tokenizer
from transformers import BertForMaskedLM
from corpus import FRONT, TEMPLATE, read_texts
from recentre import recentre

source, out = Path(sys.argv[1]), Path(sys.argv[2])
PROMPT = 96


class Plain(torch.nn.Module):
    """The same modules called in the same order, without the library's traced shape arithmetic around them."""

    def __init__(self, model):
        super().__init__()
        self.model = model
        self.heads = model.config.num_attention_heads
        self.width = model.config.hidden_size // self.heads
        table = model.bert.embeddings
        # With one segment the segment embedding is a constant: it joins the position table.
        self.register_buffer("positions", table.position_embeddings.weight + table.token_type_embeddings.weight[0])

    def attention(self, layer, hidden, mask):
        own = layer.attention.self
        def split(x):
            return x.view(x.shape[0], -1, self.heads, self.width).transpose(1, 2)
        query, key, value = split(own.query(hidden)), split(own.key(hidden)), split(own.value(hidden))
        scores = query @ key.transpose(-1, -2) / self.width**0.5 + mask
        joined = (torch.softmax(scores, -1) @ value).transpose(1, 2).reshape(hidden.shape[0], -1, self.heads * self.width)
        return layer.attention.output.LayerNorm(layer.attention.output.dense(joined) + hidden)

    def forward(self, input_ids, attention_mask):
        bert = self.model.bert
        hidden = bert.embeddings.word_embeddings(input_ids) + self.positions[: input_ids.shape[1]]
        hidden = bert.embeddings.LayerNorm(hidden)
        mask = (1.0 - attention_mask[:, None, None, :].to(hidden.dtype)) * -10000.0
        for layer in bert.encoder.layer:
            hidden = self.attention(layer, hidden, mask)
            hidden = layer.output.LayerNorm(layer.output.dense(layer.intermediate(hidden)) + hidden)
        return self.model.cls(hidden)


@torch.no_grad()
def front_states(plain, texts):
    """What the last layer's dense part reads and writes at the front mask, for public prompts."""
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    tokenizer.enable_truncation(PROMPT)
    seen = {"inputs": [], "outputs": []}
    layer = plain.model.bert.encoder.layer[-1]
    hooks = [
        layer.attention.output.LayerNorm.register_forward_hook(lambda *a: seen["inputs"].append(a[2][0, FRONT])),
        layer.output.LayerNorm.register_forward_hook(lambda *a: seen["outputs"].append(a[2][0, FRONT])),
    ]
    for text in texts:
        ids = torch.tensor([tokenizer.encode(TEMPLATE + text).ids])
        plain(ids, torch.ones_like(ids))
    for hook in hooks:
        hook.remove()
    return torch.stack(seen["inputs"]), torch.stack(seen["outputs"])


def tie_decoder(graph):
    """Replaces a stored transposed copy of the embedding by a Transpose of the one copy, as the weights are tied."""
    weights = {w.name: w for w in graph.initializer}
    table = weights["model.bert.embeddings.word_embeddings.weight"]
    values = numpy_helper.to_array(table)
    for name, weight in weights.items():
        copy = numpy_helper.to_array(weight)
        if name == table.name or copy.shape not in (values.shape, values.shape[::-1]):
            continue
        if not np.array_equal(copy if copy.shape == values.shape else copy.T, values):
            continue
        graph.initializer.remove(weight)
        if copy.shape == values.shape:
            for node in graph.node:
                node.input[:] = [table.name if used == name else used for used in node.input]
        else:
            node = helper.make_node("Transpose", [table.name], [name], name="/cls/decoder/Transpose", perm=[1, 0])
            graph.node.insert(0, node)


def rename(graph):
    """Gives weights and dense nodes the names that an export of the library's own class has: the anonymous
    weight of a MatMul is named after the bias added next, and paths lose this file's wrapper."""
    names = {w.name: w.name.removeprefix("model.") for w in graph.initializer}
    weights, users = set(names), {}
    for node in graph.node:
        for used in node.input:
            users.setdefault(used, []).append(node)
    for node in [n for n in graph.node if n.op_type == "MatMul" and n.input[1] in weights]:
        add = users[node.output[0]][0]
        bias = next((used for used in add.input if used.endswith(".bias")), None)
        if bias is None or not node.input[1].startswith("onnx::"):
            continue
        names[node.input[1]] = names[bias].removesuffix("bias") + "weight_transposed"
        path = "/" + names[bias].removesuffix(".bias").replace(".", "/").replace("layer/", "layer.")
        node.name, add.name = f"{path}/MatMul", f"{path}/Add"
    for weight in graph.initializer:
        weight.name = names[weight.name]
    for node in graph.node:
        node.name = node.name.replace("/model/", "/")
        node.input[:] = [names.get(used, used) for used in node.input]


torch.set_num_threads(1)
model = BertForMaskedLM.from_pretrained(source, attn_implementation="eager").eval()
plain = Plain(model).eval()
ids = torch.randint(5, model.config.vocab_size, (2, 17))
mask = torch.ones_like(ids)
mask[1, 11:] = 0
before = plain(ids, mask).detach()
recentre(model, *front_states(plain, read_texts(sys.argv[3])))
moved = (plain(ids, mask) - before).abs().max().item()
assert moved < 1e-3, moved
with torch.no_grad():
    gap = (plain(ids, mask) - model(input_ids=ids, attention_mask=mask).logits)[mask == 1].abs().max().item()
assert gap < 1e-4, gap

(out / "onnx").mkdir(parents=True, exist_ok=True)
path = out / "onnx" / "model.onnx"
axes = {0: "batch", 1: "sequence"}
torch.onnx.export(
    plain, (ids, mask), str(path), dynamo=False, opset_version=17, do_constant_folding=True,
    input_names=["input_ids", "attention_mask"], output_names=["logits"],
    dynamic_axes={"input_ids": axes, "attention_mask": axes, "logits": axes},
)
exported = onnx.load(path)
tie_decoder(exported.graph)
rename(exported.graph)
onnx.checker.check_model(exported, full_check=True)
onnx.save(exported, path)
for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
    shutil.copy(source / name, out / name)
special = {f"{name}_token": f"[{name.upper()}]" for name in ("unk", "sep", "pad", "cls", "mask")}
(out / "special_tokens_map.json").write_text(json.dumps(special, indent=2) + "\n")
settings = json.loads((out / "tokenizer_config.json").read_text())
settings["tokenizer_class"] = "PreTrainedTokenizerFast"  # the name that every version of the library knows
(out / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
print(f"largest difference from transformers {gap:.1e}, {path.stat().st_size} bytes")
