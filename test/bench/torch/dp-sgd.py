"""DP-SGD (Abadi et al. 2016) on the head of a model of export-sentences.py: Poisson sampling, per-example gradients of all tensors of
the head clipped as one vector, Gaussian noise, the expected batch as divisor. For the bench of test/bench/utility alone: its
randomness is PyTorch's, which no privacy claim may rest on.
Usage: python dp-sgd.py JOB.json   (prints {"accuracy": share})"""

import json
import sys
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper

NAMES = ["dense.weight", "dense.bias", "out_proj.weight", "out_proj.bias"]


def opened(folder):
    """Tensors of the head, and the sentence vector of each text."""
    graph = onnx.load(folder / "onnx" / "model.onnx").graph
    known = {each.name: torch.tensor(numpy_helper.to_array(each)) for each in graph.initializer}
    vocabulary = json.loads((folder / "tokenizer.json").read_text())["model"]["vocab"]
    table = known["embeddings.weight"]
    return [known[f"classifier.{name}"] for name in NAMES], lambda texts: table[[vocabulary[text] for text in texts]]


def logits_of(head, vectors):
    dense, shift, rows, bias = head
    hidden = torch.tanh(vectors @ dense + shift)
    return hidden, hidden @ rows + bias


def clipped_sum(head, vectors, labels, clip):
    """Sum of the clipped gradients. An example's gradient of a layer is the outer product of its input and its error, so that
    the norms need no gradient of its own (Goodfellow 2015)."""
    hidden, logits = logits_of(head, vectors)
    error = torch.softmax(logits, 1) - torch.nn.functional.one_hot(labels, logits.shape[1])
    inner = (error @ head[2].T) * (1 - hidden ** 2)
    squares = (1 + hidden.square().sum(1)) * error.square().sum(1) + (1 + vectors.square().sum(1)) * inner.square().sum(1)
    share = (clip / squares.sqrt().clamp(min=1e-12)).clamp(max=1).unsqueeze(1)
    error, inner = error * share, inner * share
    return [vectors.T @ inner, inner.sum(0), hidden.T @ error, error.sum(0)]


def check(head, vectors, labels):
    """The sum without clipping is what autograd says."""
    leaves = [tensor.clone().requires_grad_() for tensor in head]
    loss = torch.nn.functional.cross_entropy(logits_of(leaves, vectors)[1], labels, reduction="sum")
    wanted = torch.autograd.grad(loss, leaves)
    for made, autograd in zip(clipped_sum(head, vectors, labels, 1e9), wanted):
        assert torch.allclose(made, autograd, atol=1e-3), "gradients differ from autograd's"


def main():
    job = json.loads(Path(sys.argv[1]).read_text())
    torch.set_num_threads(job["threads"])
    head, vectors_of = opened(Path(job["model"]))
    train, held = job["train"], job["held"]
    vectors, labels = vectors_of(train["texts"]), torch.tensor(train["labels"])
    check(head, vectors[:8], labels[:8])
    rate, clip, expected = job["samplingRate"], job["clip"], job["samplingRate"] * len(labels)
    for _ in range(job["rounds"]):
        batch = torch.rand(len(labels)) < rate
        for tensor, total in zip(head, clipped_sum(head, vectors[batch], labels[batch], clip)):
            noised = total + torch.randn_like(total) * (job["noiseMultiplier"] * clip)
            tensor -= job["learningRate"] / expected * noised
    right = logits_of(head, vectors_of(held["texts"]))[1].argmax(1) == torch.tensor(held["labels"])
    print(json.dumps({"accuracy": right.float().mean().item()}))


if __name__ == "__main__":
    main()
