"""Rewrites the last layer so that what the trained factors read is centred, without changing any output.

At the front mask the hidden state is mostly one constant vector, the same for every mail. A random direction would see
that constant and little else. Every shift below is undone by the bias that follows, every scale by the weights
that follow. The statistics come from public mail."""

import torch


@torch.no_grad()
def recentre(model, inputs, outputs):
    """inputs: last layer's attention output after its LayerNorm; outputs: the layer's output. Both [mails, hidden],
    at the front mask."""
    layer = model.bert.encoder.layer[-1]
    head = model.cls.predictions.transform.dense
    # What fc1 reads also runs beside fc1 and fc2, so fc2's bias gives the shift back.
    middle = inputs.mean(0)
    layer.attention.output.LayerNorm.bias -= middle
    layer.intermediate.dense.bias += layer.intermediate.dense.weight @ middle
    layer.output.dense.bias += middle
    # Only the head reads the layer's output: it can be scaled as well.
    mean, scale = outputs.mean(0), outputs.std(0).clamp_min(0.05)
    head.bias += head.weight @ mean
    head.weight *= scale
    layer.output.LayerNorm.bias -= mean
    layer.output.LayerNorm.bias /= scale
    layer.output.LayerNorm.weight /= scale
