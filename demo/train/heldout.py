"""Writes the held-out sentences that `npm run demo:quality` reads: python3 heldout.py OUT. Name pairs are those kept out of training."""

import json
import random
import sys

import corpus
from bpe import Bpe

ORDERS = ["ABBA", "BABA"]


def main(out):
    spec = json.load(open(f"{out}/model/tokenizer.json", encoding="utf-8"))
    bpe = Bpe([tuple(m.split(" ")) for m in spec["model"]["merges"]])
    first = {n: bpe.encode(" " + n)[0] for n in corpus.NAMES}
    rng = random.Random(2026)
    with open(f"{out}/heldout.jsonl", "w") as f:
        for i in range(1000):
            s = corpus.ioi(rng, first, want_held_out=True, order=ORDERS[i % 2], conjunction=corpus.CONJUNCTIONS[(i // 2) % 5])
            f.write(json.dumps({"kind": "ioi", **s}) + "\n")
        for i in range(200):
            f.write(json.dumps({"kind": "pronoun", **corpus.pronoun(rng, name=corpus.NAMES[i % len(corpus.NAMES)], template=i % 6)}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
