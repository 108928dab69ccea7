"""Records and what PyTorch makes of them: losses, and losses with one weight moved."""

import copy
import random
import numpy as np
import onnx
import torch
from architectures import CLASSES, MOVED, VOCABULARY
from exporters import feeds_of
from graph_file import run

LENGTHS = [(5, 16), (9, 16), (16, 16), (21, 32), (32, 32)]  # tokens, bucket
STEP = 0.01
LABEL_TOKENS = [40, 41]
AROUND = {  # special tokens before and after a text, and the mask
    "bert": ([2], [3], 4), "distilbert": ([2], [3], 4), "roberta": ([0], [2], 4), "opt": ([2], [], None),
    "llama": ([1], [], None),
}
FIRST_ORDINARY = 5


def record_of(architecture, task, length, bucket, rng):
    before, after, mask = AROUND.get(architecture, ([], [], None))
    inside = length - len(before) - len(after)
    ids = [*before, *(rng.randrange(FIRST_ORDINARY, VOCABULARY) for _ in range(inside)), *after]
    if task == "masked-lm":
        positions = [rng.randrange(len(before), len(before) + inside)]
        ids[positions[0]] = mask
        targets = [rng.choice(LABEL_TOKENS)]
    elif task == "sequence-classification":
        positions, targets = [0], [rng.randrange(CLASSES)]
    else:
        completion = rng.randrange(1, min(8, length - 2) + 1)
        positions = list(range(length - completion - 1, length - 1))
        targets = [ids[position + 1] for position in positions]
    weights = [1 / len(positions)] * len(positions)
    return {"ids": ids, "bucket": bucket, "positions": positions, "targets": targets, "weights": weights}


def records_of(architecture, task, seed):
    rng = random.Random(seed)
    return [record_of(architecture, task, length, bucket, rng) for length, bucket in LENGTHS]


def padded(names, record, pad, bucket):
    """Tensors [1, bucket] of a record padded on the right; the padding is masked."""
    ids, room = record["ids"], bucket - len(record["ids"])
    mask = torch.tensor([[1] * len(ids) + [0] * room])
    return feeds_of(names, torch.tensor([ids + [pad] * room]), mask)


def loss_of(logits, record, only=None):
    """Weighted cross-entropy in float64 of logits [1, sequence, vocabulary] or [1, classes], over all or `only` some
    tokens."""
    rows = torch.as_tensor(np.array(logits))[0].double()
    rows = rows[record["positions"]] if rows.dim() == 2 else rows[None]
    targets = record["targets"]
    if only:
        rows, targets = rows[:, only], [only.index(target) for target in targets]
    each = torch.nn.functional.cross_entropy(rows, torch.tensor(targets), reduction="none")
    return float(each @ torch.tensor(record["weights"], dtype=torch.float64))


@torch.no_grad()
def losses_of(model, names, records, pad, only=None):
    return [loss_of(model(**padded(names, r, pad, r["bucket"])).logits, r, only) for r in records]


def check_padding(model, names, records, pad, losses):
    """Padding must not be seen, and float32 must be enough: a float64 model has the same losses."""
    exact = copy.deepcopy(model).double()
    for record, loss in zip(records, losses):
        with torch.no_grad():
            bare = padded(names, record, pad, len(record["ids"]))
            near, true = (loss_of(any_model(**bare).logits, record) for any_model in (model, exact))
        assert abs(near - loss) < 1e-5, ("padding changes a loss", near, loss)
        assert abs(true - loss) < 1e-5, ("float32 is not enough", true, loss)


def check_graph(path, names, records, pad, losses, tolerance=1e-5):
    """The graph gives PyTorch's losses, padded or not, alone or in a batch."""
    for record, loss in zip(records, losses):
        for bucket in (record["bucket"], len(record["ids"])):
            alone = {name: value.numpy() for name, value in padded(names, record, pad, bucket).items()}
            twice = {name: np.concatenate([value, value]) for name, value in alone.items()}
            for logits in (run(path, alone), run(path, twice), run(path, alone, optimize=False)):
                found = loss_of(logits[:1].astype(np.float32), record)
                assert abs(found - loss) < tolerance, (str(path), found, loss)


def pattern(rows, columns):
    """E[i, j] = ((31 i + 17 j) mod 7 - 3) / 3."""
    i, j = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
    return (((i * 31 + j * 17) % 7 - 3) / 3).float()


def found_in(exported, values):
    """Weights of the graph that hold these values, as they are or transposed, and the nodes that read them."""
    found = []
    for weight in exported.graph.initializer:
        stored = onnx.numpy_helper.to_array(weight)
        same = stored.shape == values.shape and np.array_equal(stored, values)
        turned = stored.shape == values.shape[::-1] and np.array_equal(stored, values.T)
        if same or turned:
            nodes = [node.name for node in exported.graph.node if weight.name in node.input]
            found.append({"tensor": weight.name, "transposed": not same, "nodes": nodes})
    return found


@torch.no_grad()
def moved(model, module, names, records, pad, exported):
    """Losses with W + STEP E and W - STEP E, W [inputs, outputs]; of the table of tokens [vocabulary, hidden]."""
    owner = model.get_submodule(module)
    weight = owner.weight
    # torch keeps a Linear as [outputs, inputs]; GPT-2's Conv1D and the table are the other way round.
    turned = isinstance(owner, torch.nn.Linear)
    rows, columns = weight.shape[::-1] if turned else weight.shape
    change = STEP * pattern(rows, columns)
    before = weight.clone()
    entry = {
        "module": module, "inputs": rows, "outputs": columns,
        "stored": found_in(exported, (before.T if turned else before).numpy()),
    }
    assert entry["stored"], f"the graph does not hold {module}"
    for side, sign in (("plus", 1), ("minus", -1)):
        weight.copy_(before + sign * (change.T if turned else change))
        entry[side] = losses_of(model, names, records, pad)
    weight.copy_(before)
    return entry


def expected_of(model, architecture, task, names, seed, exported):
    pad = model.config.pad_token_id or 0
    records = records_of(architecture, task, seed)
    losses = losses_of(model, names, records, pad)
    check_padding(model, names, records, pad, losses)
    for record, loss in zip(records, losses):
        record["loss"] = loss
    result = {"pad": pad, "inputs": names, "records": records}
    if task == "masked-lm":
        result["labelTokens"] = LABEL_TOKENS
        for record, loss in zip(records, losses_of(model, names, records, pad, LABEL_TOKENS)):
            record["labelLoss"] = loss
    table = next(name for name, part in model.named_modules() if isinstance(part, torch.nn.Embedding))
    head = model.get_output_embeddings()
    result["step"] = STEP
    result["moved"] = [moved(model, m, names, records, pad, exported) for m in [*MOVED[architecture], table]]
    result["tied"] = head is not None and head.weight is model.get_submodule(table).weight
    return result
