"""Real tokenizers of at most 96 tokens: WordPiece for BERT and DistilBERT, byte-level pairs for the others but Llama,
whose pairs work on text with a sign for each space and one before all. A character outside the few below is the
unknown token, or nothing where the architecture has none (real ones know all 256 bytes)."""

import json
import string
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

LETTERS = list(string.ascii_lowercase)
MARKS = list(".,:;!?'-<>|/0123")
WORDS = ["good", "bad", "great", "yes", "no"]
QWEN_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TURNS = (
    "{{ bos_token }}{% for message in messages %}{{ '<' + message['role'] + '>' + message['content'] + eos_token }}"
    "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
)
# Of each architecture: the special tokens in the order of their ids, their parts, and the chat template.
SPECIALS = {
    "bert": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
    "distilbert": ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"],
    "roberta": ["<s>", "<pad>", "</s>", "<unk>", "<mask>"],
    "gpt2": ["<|endoftext|>"],
    "opt": ["<s>", "<pad>", "</s>", "<unk>"],
    "llama": ["<unk>", "<s>", "</s>"],
    "qwen2": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
    "qwen3": ["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
}
PARTS = {
    "bert": {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"},
    "distilbert": {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"},
    "roberta": {"bos": "<s>", "eos": "</s>", "cls": "<s>", "sep": "</s>", "pad": "<pad>", "unk": "<unk>",
                "mask": "<mask>"},
    "gpt2": {"bos": "<|endoftext|>", "eos": "<|endoftext|>"},
    "opt": {"bos": "</s>", "eos": "</s>", "pad": "<pad>", "unk": "<unk>"},
    "llama": {"bos": "<s>", "eos": "</s>", "unk": "<unk>"},
    "qwen2": {"eos": "<|im_end|>", "pad": "<|endoftext|>"},
    "qwen3": {"eos": "<|im_end|>", "pad": "<|endoftext|>"},
}
CHAT = {"gpt2": TURNS, "opt": TURNS, "llama": TURNS, "qwen2": CHATML, "qwen3": CHATML}


def pairs_of(space):
    """Characters, and the merges that make each word of WORDS, with and without a space before it, one token."""
    tokens = [space, *LETTERS, *MARKS]
    merges = []
    for word in WORDS:
        steps = [(word[:end], word[end]) for end in range(1, len(word))] + [(space, word)]
        merges += [step for step in steps if step not in merges]
    return list(dict.fromkeys([*tokens, *("".join(step) for step in merges)])), merges


def wordpiece(specials):
    words = [*specials, *MARKS, *LETTERS, *(f"##{letter}" for letter in LETTERS), *WORDS, "the", "movie", "was", "it"]
    tokenizer = Tokenizer(models.WordPiece({word: at for at, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    around = [("[CLS]", specials.index("[CLS]")), ("[SEP]", specials.index("[SEP]"))]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=around)
    return tokenizer


def byte_pairs(architecture, specials):
    tokens, merges = pairs_of("\u0120")
    words = [*specials, "\u010a", *tokens]
    unknown = "<unk>" if "<unk>" in specials else None
    tokenizer = Tokenizer(models.BPE({word: at for at, word in enumerate(words)}, merges, unk_token=unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    if architecture == "roberta":
        tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), add_prefix_space=False)
    if architecture == "opt":
        tokenizer.post_processor = processors.TemplateProcessing(single="</s> $A", special_tokens=[("</s>", 2)])
    if architecture.startswith("qwen"):
        tokenizer.normalizer = normalizers.NFC()
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
            pre_tokenizers.Split(Regex(QWEN_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    return tokenizer


def spaced_pairs(specials):
    tokens, merges = pairs_of("\u2581")
    words = [*specials, "\n", *tokens]
    tokenizer = Tokenizer(models.BPE({word: at for at, word in enumerate(words)}, merges, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return tokenizer


def tokenizer_of(architecture):
    specials = SPECIALS[architecture]
    if architecture in ("bert", "distilbert"):
        tokenizer = wordpiece(specials)
    elif architecture == "llama":
        tokenizer = spaced_pairs(specials)
    else:
        tokenizer = byte_pairs(architecture, specials)
    tokenizer.add_special_tokens([
        AddedToken(name, special=True, normalized=False, lstrip=name == "<mask>") for name in specials])
    return tokenizer


def ids_of(architecture):
    """`pad_token_id` and the like, for the model's configuration."""
    at = {name: place for place, name in enumerate(SPECIALS[architecture])}
    ids = {f"{part}_token_id": at[PARTS[architecture][part]]
           for part in ("bos", "eos", "pad") if part in PARTS[architecture]}
    return ids if "pad_token_id" in ids else {**ids, "pad_token_id": None}


TEXTS = ["it was a good movie, yes!", "no|bad<great>  twice", "a\nb <mask>[MASK]</s><|im_end|>"]
MESSAGES = [
    {"role": "system", "content": "be good"}, {"role": "user", "content": "was it bad?"},
    {"role": "assistant", "content": "no, great."},
]


def expected_texts(folder):
    """Ids of some texts with and without special tokens, and a conversation by the chat template, whole and less its
    last message: as the library itself makes them of the written files."""
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    result = {"texts": [
        {"text": text, "ids": tokenizer.encode(text), "bare": tokenizer.encode(text, add_special_tokens=False)}
        for text in TEXTS]}
    if tokenizer.chat_template:
        whole = tokenizer.apply_chat_template(MESSAGES, tokenize=False)
        prompt = tokenizer.apply_chat_template(MESSAGES[:-1], tokenize=False, add_generation_prompt=True)
        result["chat"] = {"messages": MESSAGES, "prompt": prompt, "whole": whole}
    return result


def write_tokenizer(architecture, folder):
    tokenizer = tokenizer_of(architecture)
    tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
    settings = {f"{part}_token": name for part, name in PARTS[architecture].items()}
    settings |= {"model_max_length": 64, "tokenizer_class": "PreTrainedTokenizerFast"}
    settings |= {"clean_up_tokenization_spaces": False}
    if architecture in CHAT:
        settings["chat_template"] = CHAT[architecture]
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n")
