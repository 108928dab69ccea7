"""A plain PyTorch loop of DPZero (one direction) and DP-AggZO (K directions), to compare the engine with.

Usage: python3 dpzero.py JOB.json        prints one JSON object

JOB: {"model": folder in Hugging Face layout with a BERT sequence classifier,
      "batch": {"ids": [B][T], "present": [B] tokens that are no padding, "labels": [B]},
      "radius": number, "directions": K, "threads": n, "repeats": n,
      "time": names of the rates to measure: "dpzero", "aggzo", "given",
      "given": {"file": path, "sites": [{"weights": [names], "inputs", "rank", "outputs", "scale"}]} or
               {"file": path, "tensors": [names]}, optional}
The file of given directions holds, one after another: float32 centre [d], int8 z [K, d], and for sites int8 V
[rank, outputs] each. A site's weights are parts of W [inputs, outputs] side by side, perturbed to
W + scale (centre +- radius z) V; a tensor's are perturbed to W + centre +- radius z, in the model file's own layout.

Answer: {"directionSequencesPerSecond": {name: rate}, "differences"?: [B][K]}: directions times records over seconds of
perturbing and forwards, updates left out.
"""

import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import torch
from torch.nn import functional as F


class Encoder(torch.nn.Module):
    """BERT with a pooled classifier. Linear weights are [outputs, inputs]; `turned` names those that the file turns."""

    def __init__(self, folder):
        super().__init__()
        config = json.loads((folder / "config.json").read_text())
        self.layers, self.heads = config["num_hidden_layers"], config["num_attention_heads"]
        self.epsilon = config["layer_norm_eps"]
        self.turned = set()
        graph = onnx.load(folder / "onnx" / "model.onnx").graph
        products = {node.input[1] for node in graph.node if node.op_type == "MatMul"}
        self.weights = {}
        for initializer in graph.initializer:
            values = torch.tensor(onnx.numpy_helper.to_array(initializer))
            if initializer.name in products:
                self.turned.add(initializer.name)
                values = values.T.contiguous()
            self.weights[initializer.name] = values

    def linear(self, x, path):
        return F.linear(x, self.weights[path + ".weight"], self.weights[path + ".bias"])

    def norm(self, x, path):
        return F.layer_norm(x, x.shape[-1:], self.weights[path + ".weight"], self.weights[path + ".bias"], self.epsilon)

    def layer(self, x, mask, path):
        split = lambda part: part.view(*x.shape[:2], self.heads, -1).transpose(1, 2)
        query, key, value = (split(self.linear(x, f"{path}.attention.self.{n}")) for n in ("query", "key", "value"))
        joined = F.scaled_dot_product_attention(query, key, value, attn_mask=mask).transpose(1, 2).reshape(x.shape)
        attended = self.norm(self.linear(joined, f"{path}.attention.output.dense") + x, f"{path}.attention.output.LayerNorm")
        wide = F.gelu(self.linear(attended, f"{path}.intermediate.dense"))
        return self.norm(self.linear(wide, f"{path}.output.dense") + attended, f"{path}.output.LayerNorm")

    def forward(self, ids, mask):
        table = lambda name: self.weights[f"bert.embeddings.{name}_embeddings.weight"]
        words = table("word")[ids] + table("token_type")[0] + table("position")[: ids.shape[1]]
        x = self.norm(words, "bert.embeddings.LayerNorm")
        for i in range(self.layers):
            x = self.layer(x, mask, f"bert.encoder.layer.{i}")
        return self.linear(torch.tanh(self.linear(x[:, 0], "bert.pooler.dense")), "classifier")


class Batch:
    def __init__(self, batch):
        self.ids, self.labels = torch.tensor(batch["ids"]), torch.tensor(batch["labels"])
        present = torch.arange(self.ids.shape[1])[None, :] < torch.tensor(batch["present"])[:, None]
        # No record is padded: no mask, so that PyTorch takes its fastest attention.
        self.mask = None if present.all() else torch.zeros(present.shape).masked_fill(~present, -3.4e38)[:, None, None, :]

    def losses(self, model):
        return F.cross_entropy(model(self.ids, self.mask), self.labels, reduction="none")


def perturb(model, seed, step):
    """theta <- theta + step z, z from the seed, as MeZO does it: in place, the direction never stored."""
    torch.manual_seed(seed)
    for weight in model.weights.values():
        weight.add_(torch.randn_like(weight), alpha=step)


def difference(model, batch, seed, radius):
    """Finite differences [B] along one dense direction."""
    perturb(model, seed, radius)
    above = batch.losses(model)
    perturb(model, seed, -2 * radius)
    below = batch.losses(model)
    perturb(model, seed, radius)
    return (above - below) / (2 * radius)


def dpzero(model, batch, radius, seed):
    return difference(model, batch, seed, radius)[:, None]


def aggzo(model, batch, radius, seed, directions):
    return torch.stack([difference(model, batch, seed + k, radius) for k in range(directions)], 1)


class Given:
    """Directions from a file."""

    def __init__(self, given, model, directions):
        self.sites, self.tensors = given.get("sites"), given.get("tensors")
        shapes = [model.weights[name].T.shape if name in model.turned else model.weights[name].shape
                  for name in self.tensors or []]
        lengths = [site["inputs"] * site["rank"] for site in self.sites or []] or [shape.numel() for shape in shapes]
        self.shapes, self.starts = shapes, np.cumsum([0, *lengths])
        d = int(self.starts[-1])
        raw = np.fromfile(given["file"], dtype=np.int8)
        self.centre = torch.tensor(raw[: 4 * d].view(np.float32))
        self.z = torch.tensor(raw[4 * d : (4 + directions) * d]).view(directions, d)
        self.frozen, at = [], (4 + directions) * d
        for site in self.sites or []:
            count = site["rank"] * site["outputs"]
            self.frozen.append(torch.tensor(raw[at : at + count]).view(site["rank"], site["outputs"]).float())
            at += count
        names = self.tensors or [name for site in self.sites for name in site["weights"]]
        self.base = {name: model.weights[name].clone() for name in names}

    def segment(self, trained, index):
        return trained[self.starts[index] : self.starts[index + 1]]

    def write(self, model, trained):
        for index, site in enumerate(self.sites or []):
            factor = self.segment(trained, index).view(site["inputs"], site["rank"])
            change = (site["scale"] * (factor @ self.frozen[index])).T
            parts = change.split([self.base[name].shape[0] for name in site["weights"]])
            for name, part in zip(site["weights"], parts):
                torch.add(self.base[name], part, out=model.weights[name])
        for index, name in enumerate(self.tensors or []):
            change = self.segment(trained, index).view(self.shapes[index])
            torch.add(self.base[name], change.T if name in model.turned else change, out=model.weights[name])

    def differences(self, model, batch, radius):
        columns = []
        for z in self.z:
            self.write(model, self.centre + radius * z)
            above = batch.losses(model)
            self.write(model, self.centre - radius * z)
            columns.append((above - batch.losses(model)) / (2 * radius))
        return torch.stack(columns, 1)


def rate(action, sequences, repeats):
    """Direction-sequences a second: median over the repeats, after one to warm up."""
    action(0)
    seconds = []
    for repeat in range(repeats):
        started = time.perf_counter()
        action(repeat + 1)
        seconds.append(time.perf_counter() - started)
    return sequences / statistics.median(seconds)


@torch.inference_mode()
def main(path):
    job = json.loads(Path(path).read_text())
    torch.set_num_threads(job["threads"])
    model, batch = Encoder(Path(job["model"])), Batch(job["batch"])
    records, directions, radius, repeats = len(batch.labels), job["directions"], job["radius"], job["repeats"]
    answer, loops = {"directionSequencesPerSecond": {}}, {}
    # The given directions come first, while the weights are the file's own bits.
    if "given" in job:
        given = Given(job["given"], model, directions)
        answer["differences"] = given.differences(model, batch, radius).tolist()
        loops["given"] = lambda _: given.differences(model, batch, radius), records * directions
    loops["dpzero"] = lambda seed: dpzero(model, batch, radius, seed), records
    loops["aggzo"] = lambda seed: aggzo(model, batch, radius, 1000 * seed, directions), records * directions
    for name in job["time"]:
        answer["directionSequencesPerSecond"][name] = rate(*loops[name], repeats)
    print(json.dumps(answer))


main(sys.argv[1])
