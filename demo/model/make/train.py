"""Pretrains the encoder on public mail without labels. Usage: python train.py PUBLIC.jsonl OUTDIR [--minutes 15]"""

import argparse
import math
import time
from pathlib import Path
import torch
from tokenizers import Tokenizer
from torch.nn import functional as F
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast
from corpus import FRONT, PAD, Batches, Semantics, read_texts, train_tokenizer

parser = argparse.ArgumentParser()
parser.add_argument("public")
parser.add_argument("out")
parser.add_argument("--start", help="a model of an earlier run to go on with")
parser.add_argument("--extra", nargs="*", default=[])
parser.add_argument("--minutes", type=float, default=15)
parser.add_argument("--vocab", type=int, default=6144)
parser.add_argument("--hidden", type=int, default=128)
parser.add_argument("--layers", type=int, default=3)
parser.add_argument("--length", type=int, default=96)
parser.add_argument("--batch", type=int, default=48)
parser.add_argument("--rate", type=float, default=1e-3)
parser.add_argument("--dropout", type=float, default=0.1)
parser.add_argument("--words", type=float, default=0.5, help="weight of the masked words' loss")
parser.add_argument("--whole", type=float, default=0.0, help="share of prompts without masked words")
parser.add_argument("--front", type=float, default=1.0, help="weight of the front mask's loss")
parser.add_argument("--spread", type=float, default=1.0, help="length of a word vector at the start")
parser.add_argument("--holdout", type=int, default=0, help="mails kept for measuring")
parser.add_argument("--place", type=float, default=2.0, help="weight of the distance to the window's place")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--seed", type=int, default=1)
args = parser.parse_args()

torch.manual_seed(args.seed)
torch.set_num_threads(args.threads)
texts = read_texts(args.public)
extra = [text for path in args.extra for text in read_texts(path)]
# Training the tokenizer twice does not give the same order of equally frequent pieces.
tokenizer = Tokenizer.from_file(f"{args.start}/tokenizer.json") if args.start else train_tokenizer(texts + extra, args.vocab)
batches = Batches(tokenizer, texts[args.holdout :] + extra, args.length, args.seed, args.whole)
held = Batches(tokenizer, texts[: args.holdout] or texts, args.length, args.seed, args.whole)
held.weight, held.words = batches.weight, [batches._content(mail) for mail in held.mails]
config = BertConfig(
    vocab_size=tokenizer.get_vocab_size(), hidden_size=args.hidden, num_hidden_layers=args.layers,
    num_attention_heads=4, intermediate_size=4 * args.hidden, max_position_embeddings=128, type_vocab_size=1,
    hidden_dropout_prob=args.dropout, attention_probs_dropout_prob=args.dropout, pad_token_id=PAD,
    attn_implementation="eager",
)
model = BertForMaskedLM(config)
# A start from word statistics of the same text: a thousand mails are few for finding them by gradient.
semantics = Semantics(batches, args.hidden, args.seed)
batches.semantics = held.semantics = semantics
model.bert.embeddings.word_embeddings.weight.data.copy_(torch.from_numpy(semantics.words) * args.spread)
if args.start:
    model = BertForMaskedLM.from_pretrained(
        args.start, attn_implementation="eager",
        hidden_dropout_prob=args.dropout, attention_probs_dropout_prob=args.dropout,
    )
place = torch.nn.Linear(args.hidden, args.hidden)  # thrown away after training
table = model.bert.embeddings.word_embeddings.weight
decay = [p for p in model.parameters() if p.ndim == 2 and p is not table]
decay += [place.weight]
plain = [p for p in model.parameters() if p.ndim != 2] + [place.bias]
optimizer = torch.optim.AdamW(
    [
        {"params": decay, "weight_decay": 0.01, "share": 1.0},
        {"params": plain, "weight_decay": 0.0, "share": 1.0},
        {"params": [table], "weight_decay": 0.0, "share": 0.2},  # stays near what the statistics gave
    ],
    lr=args.rate, betas=(0.9, 0.98),
)


def save():
    model.save_pretrained(args.out)
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]", model_max_length=128, clean_up_tokenization_spaces=False,
    ).save_pretrained(args.out)


def losses(ids, labels, front, places):
    """Cross-entropy of the masked words and of the front mask's words, and the part of the place left unexplained."""
    hidden = model.bert(input_ids=ids, attention_mask=(ids != PAD).long()).last_hidden_state
    scored = labels != -100
    words = F.cross_entropy(model.cls(hidden[scored]), labels[scored])
    guess = F.cross_entropy(model.cls(hidden[:, FRONT]), front)
    return words, guess, F.mse_loss(place(hidden[:, FRONT]), places.float())


start, step, shown = time.time(), 0, [0.0, 0.0, 0.0]
model.train()
Path(args.out).mkdir(parents=True, exist_ok=True)
while (part := (time.time() - start) / (60 * args.minutes)) < 1:
    # One cycle by the clock: the machine's speed decides the number of steps, the schedule always ends.
    rate = args.rate * min(1, (step + 1) / 200) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * part)))
    for group in optimizer.param_groups:
        group["lr"] = rate * group["share"]
    words, front, far = losses(*(torch.from_numpy(x) for x in batches.batch(args.batch)))
    optimizer.zero_grad()
    (args.words * words + args.front * front + args.place * far).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    step += 1
    shown = [0.98 * s + 0.02 * v.item() for s, v in zip(shown, (words, front, far))]
    if step % 200 == 0:
        fix = 1 - 0.98**step
        model.eval()
        with torch.no_grad():
            other = [losses(*(torch.from_numpy(x) for x in held.batch(128))) for _ in range(2 if args.holdout else 0)]
        model.train()
        other = [f"{sum(x).item() / len(x):.3f}" for x in zip(*other)]
        print(f"{step} {time.time() - start:.0f}s words {shown[0] / fix:.3f} front {shown[1] / fix:.3f} place {shown[2] / fix:.3f} held {other}", flush=True)
        save()
model.eval()
save()
