"""A byte-level BPE in the GPT-2 manner: training, encoding, and the Hugging Face tokenizer.json."""

import collections
import json
import re

# GPT-2's pattern for ASCII text (the corpus is ASCII).
PATTERN = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+")
EOT = "<|endoftext|>"


def byte_symbols():
    keep = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    table, extra = {}, 0
    for b in range(256):
        if b in keep:
            table[b] = chr(b)
        else:
            table[b] = chr(256 + extra)
            extra += 1
    return table


SYMBOLS = byte_symbols()


def symbols(piece):
    return tuple(SYMBOLS[b] for b in piece.encode("utf-8"))


def merge(word, a, b):
    out, i = [], 0
    while i < len(word):
        if i + 1 < len(word) and word[i] == a and word[i + 1] == b:
            out.append(a + b)
            i += 2
        else:
            out.append(word[i])
            i += 1
    return tuple(out)


def train(texts, n_merges):
    counts = collections.Counter(p for t in texts for p in PATTERN.findall(t))
    words = {w: [symbols(w), c] for w, c in counts.items()}
    merges = []
    for _ in range(n_merges):
        pairs = collections.Counter()
        for syms, c in words.values():
            for x in zip(syms, syms[1:]):
                pairs[x] += c
        if not pairs:
            break
        a, b = max(pairs.items(), key=lambda kv: (kv[1], kv[0]))[0]
        merges.append((a, b))
        for entry in words.values():
            entry[0] = merge(entry[0], a, b)
    return merges


class Bpe:
    def __init__(self, merges):
        self.merges = merges
        self.rank = {m: i for i, m in enumerate(merges)}
        base = [SYMBOLS[b] for b in range(256)]
        self.vocab = {}
        for s in base + [a + b for a, b in merges] + [EOT]:
            if s not in self.vocab:
                self.vocab[s] = len(self.vocab)
        self.bos = self.vocab[EOT]
        self.cache = {}

    def piece(self, p):
        if p not in self.cache:
            word = symbols(p)
            while len(word) > 1:
                ranked = [(self.rank.get(x, 1 << 30), x) for x in zip(word, word[1:])]
                r, (a, b) = min(ranked)
                if r == 1 << 30:
                    break
                word = merge(word, a, b)
            self.cache[p] = [self.vocab[s] for s in word]
        return self.cache[p]

    def encode(self, text):
        return [i for p in PATTERN.findall(text) for i in self.piece(p)]

    def save(self, folder):
        added = {"id": self.bos, "content": EOT, "single_word": False, "lstrip": False, "rstrip": False,
                 "normalized": False, "special": True}
        doc = {
            "version": "1.0", "truncation": None, "padding": None, "added_tokens": [added], "normalizer": None,
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
            "post_processor": None,
            "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                      "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "vocab": self.vocab,
                      "merges": [f"{a} {b}" for a, b in self.merges]},
        }
        with open(f"{folder}/tokenizer.json", "w", encoding="utf-8") as f:
            json.dump(doc, f, ensure_ascii=False)
        with open(f"{folder}/tokenizer_config.json", "w", encoding="utf-8") as f:
            json.dump({"tokenizer_class": "GPT2Tokenizer", "add_prefix_space": False, "bos_token": EOT, "eos_token": EOT,
                       "unk_token": EOT, "model_max_length": 128}, f)
