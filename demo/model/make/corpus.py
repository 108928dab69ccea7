"""Public mail as token ids, and the batches that pretraining sees."""

import json
import numpy as np
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PAD, UNK, CLS, SEP, MASK = range(5)
TEMPLATE = "about [MASK] : "
FRONT = 2  # position of the template's mask: [CLS] about [MASK] :


def read_texts(path):
    """Texts only: the labels in the file are never read."""
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line)["text"] for line in lines]


def train_tokenizer(texts, size):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=40))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=size, min_frequency=2, special_tokens=SPECIAL, limit_alphabet=120)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)]
    )
    return tokenizer


class Batches:
    """Prompts of random windows of mails, with masked words in the text and a word to guess at the front mask."""

    def __init__(self, tokenizer, texts, length, seed, whole):
        self.whole = whole
        self.random = np.random.default_rng(seed)
        self.length = length
        self.vocab = tokenizer.get_vocab_size()
        names = [tokenizer.id_to_token(i) for i in range(self.vocab)]
        self.continues = np.array([name.startswith("##") for name in names])
        self.head = tokenizer.encode(TEMPLATE, add_special_tokens=False).ids
        self.head = [CLS] + self.head
        assert self.head[FRONT] == MASK
        self.mails = [np.array(tokenizer.encode(text, add_special_tokens=False).ids) for text in texts]
        self.mails = [mail for mail in self.mails if len(mail) >= 8]
        self.weight = self._content_weight(names)
        self.words = [self._content(mail) for mail in self.mails]

    def _whole(self, ids):
        """True where a token is a whole word by itself."""
        after = np.append(self.continues[ids[1:]], False)
        return ~self.continues[ids] & ~after

    def _content_weight(self, names):
        """Inverse document frequency for whole words that are neither rare nor everywhere; 0 for the rest."""
        count = np.zeros(self.vocab)
        for mail in self.mails:
            count[np.unique(mail[self._whole(mail)])] += 1
        word = np.array([name.isalpha() and len(name) >= 3 for name in names])
        usable = word & (count >= 4) & (count <= 0.2 * len(self.mails))
        return np.where(usable, np.log(len(self.mails) / np.maximum(count, 1)) ** 0.5, 0)

    def _content(self, mail):
        ids = np.unique(mail[self._whole(mail)])
        return ids[self.weight[ids] > 0]

    def _mask(self, ids):
        """Masks 15 % of the words, every piece and every occurrence of a chosen word's first piece."""
        starts = ~self.continues[ids]
        word = np.cumsum(starts) - 1
        distinct = np.unique(ids[starts])
        chosen = distinct[self.random.random(len(distinct)) < 0.15]
        hidden = np.isin(ids, chosen) & starts
        return hidden[np.flatnonzero(starts)][np.maximum(word, 0)] if starts.any() else hidden

    def _window(self, mail, room):
        size = min(len(mail), room)
        start = 0 if self.random.random() < 0.5 else int(self.random.integers(0, len(mail) - size + 1))
        return mail[start : start + size]

    def _prompt_text(self, room):
        """Windows of one to three mails in a row, and the content words of those mails. Mixing mails keeps the front
        mask from learning the thousand mails by heart: it has to add up what it reads."""
        count = int(self.random.choice([1, 2, 3], p=[0.5, 0.3, 0.2]))
        chosen = self.random.integers(0, len(self.mails), count)
        window = np.concatenate([self._window(self.mails[index], room // count) for index in chosen])
        return window, [self.words[index] for index in chosen]

    def batch(self, size):
        """ids, labels [size, width] (-100 = not scored), front [size, vocab], a distribution over words, and the
        place of each window by latent semantics [size, hidden]."""
        # One width per batch, so that short prompts cost little; a third of all batches are of the full width.
        width = self.length if self.random.random() < 0.33 else int(self.random.integers(self.length // 4, self.length))
        room = width - len(self.head) - 1
        ids = np.full((size, width), PAD)
        labels = np.full((size, width), -100)
        front = np.zeros((size, self.vocab), dtype=np.float32)
        places = []
        for row in range(size):
            window, mails = self._prompt_text(int(self.random.integers(room // 2, room + 1)))
            # Some prompts are whole, as prompts are in use.
            whole = self.random.random() < self.whole
            hidden = np.zeros(len(window), dtype=bool) if whole else self._mask(window)
            places.append(self.semantics.sketch(window))
            end = len(self.head) + len(window)
            ids[row, : end + 1] = [*self.head, *np.where(hidden, MASK, window), SEP]
            labels[row, len(self.head) : end] = np.where(hidden, window, -100)
            # The front mask guesses the content words of the window, shown or masked, and less so of the rest.
            here = self._content(window)
            front[row, here] = self.weight[here]
            for words in mails:
                away = np.setdiff1d(words, here)
                front[row, away] += 0.3 * self.weight[away] * len(here) / max(len(away) * len(mails), 1)
            front[row] /= max(front[row].sum(), 1e-9)
        return ids, labels, front, np.stack(places)


class Semantics:
    """Latent semantic analysis of the mails: 'words' [vocab, width] places every token, sketch() places a text."""

    def __init__(self, batches, width, seed):
        self.vocab = batches.vocab
        rows = batches.mails + [mail[: batches.length] for mail in batches.mails]
        seen = sum(np.bincount(np.unique(row), minlength=self.vocab) for row in rows)
        self.idf = np.log((len(rows) + 1) / np.maximum(seen, 1)).astype(np.float32)
        counts = np.stack([self._counts(row) for row in rows])
        _, scale, terms = np.linalg.svd(counts, full_matrices=False)
        self.basis = terms[:width].T
        places = counts @ self.basis
        self.mean, self.scale = places.mean(0), places.std(0)
        words = self.basis * scale[:width] ** 0.5
        words += 0.3 * words.std() * np.random.default_rng(seed).standard_normal(words.shape)
        self.words = words / np.linalg.norm(words, axis=1, keepdims=True)

    def _counts(self, ids):
        row = np.log1p(np.bincount(ids, minlength=self.vocab).astype(np.float32)) * self.idf
        return row / max(np.linalg.norm(row), 1e-9)

    def sketch(self, ids):
        return (self._counts(ids) @ self.basis - self.mean) / self.scale
