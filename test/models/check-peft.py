"""What PyTorch makes of an exported adapter. `check-peft.py losses NAME FOLDER` prints the losses of a zoo model's records without
and with the PEFT adapter of a folder; `save NAME FOLDER` writes the model's weights as transformers has them, and `merged NAME FOLDER`
prints the losses with other weights of that form; `modules` prints the shapes of all linear modules of all models, as modules.json
has them. Needs torch, transformers and peft."""

import contextlib
import io
import json
import logging
import sys
import warnings
import zlib
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "make"))
sys.dont_write_bytecode = True
warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

import torch  # noqa: E402
from transformers.pytorch_utils import Conv1D  # noqa: E402
from architectures import CLASSES as LABELS, tiny_model  # noqa: E402
from vocabulary import ids_of  # noqa: E402

LAYERS = 2


def model_of(entry):
    """The model that a folder of the zoo was exported from: its seed is its name."""
    architecture, task = entry["architecture"], entry["task"]
    tokens = ids_of(architecture)
    if task == "sequence-classification":
        tokens["num_labels"] = LABELS
        if tokens["pad_token_id"] is None:
            tokens["pad_token_id"] = tokens["eos_token_id"]
    if entry["past"] and architecture == "llama":
        tokens |= {"head_dim": 16}
    return tiny_model(architecture, task, tokens, LAYERS, zlib.crc32(entry["name"].encode()), entry["attention"])


@torch.no_grad()
def losses_of(model, task, expected):
    losses = []
    for record in expected["records"]:
        ids, bucket = record["ids"], record["bucket"]
        padded = torch.tensor([ids + [expected["pad"]] * (bucket - len(ids))])
        mask = torch.tensor([[1] * len(ids) + [0] * (bucket - len(ids))])
        logits = model(input_ids=padded, attention_mask=mask).logits[0].double()
        rows = logits.unsqueeze(0) if task == "sequence-classification" else logits[record["positions"]]
        each = torch.nn.functional.cross_entropy(rows, torch.tensor(record["targets"]), reduction="none")
        losses.append(float((each * torch.tensor(record["weights"], dtype=torch.float64)).sum()))
    return losses


def linears_of(model):
    shapes = {}
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear):
            shapes[name] = [module.in_features, module.out_features]
        if isinstance(module, Conv1D):
            shapes[name] = [module.nx, module.nf]
    return shapes


def main():
    zoo = {entry["name"]: entry for entry in json.loads((HERE / "zoo" / "zoo.json").read_text())}
    torch.set_num_threads(1)
    if sys.argv[1] == "modules":
        lines = [f" {json.dumps(name)}: {json.dumps(linears_of(model_of(entry)))}" for name, entry in zoo.items()]
        print("{\n" + ",\n".join(lines) + "\n}")
        return
    _, _, name, folder = sys.argv
    entry = zoo[name]
    expected = json.loads((HERE / "zoo" / name / "expected.json").read_text())
    model = model_of(entry)
    if sys.argv[1] == "save":
        model.save_pretrained(folder)
        return
    if sys.argv[1] == "merged":
        from safetensors.torch import load_file

        missing, odd = model.load_state_dict(load_file(f"{folder}/model.safetensors"), strict=False)
        # A tied head is stored once.
        assert not odd and all(key.endswith(("decoder.weight", "decoder.bias", "lm_head.weight", "vocab_projector.weight")) for key in missing), (missing, odd)
        model.tie_weights()
        print(json.dumps({"merged": losses_of(model, entry["task"], expected)}))
        return
    from peft import PeftModel

    base = losses_of(model, entry["task"], expected)
    with contextlib.redirect_stdout(io.StringIO()):
        adapted = PeftModel.from_pretrained(model, folder).eval()
    print(json.dumps({"base": base, "adapted": losses_of(adapted, entry["task"], expected)}))


main()
