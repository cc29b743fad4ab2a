"""Trains the demo model and its tokenizer. Usage: python3 train_model.py OUT [steps]. Seeded; two cores."""

import json
import os
import random
import sys
import time

import torch
import torch.nn.functional as F

import corpus
from bpe import Bpe, train
from model import GPT2

SEED, BATCH, STEPS, LR, CTX = 7, 64, 4000, 1.5e-3, 48


def batch(rng, bpe, first, n):
    rows = [[bpe.bos] + bpe.encode(corpus.document(rng, first)) for _ in range(n)]
    t = min(CTX, max(map(len, rows)))
    x = torch.full((n, t), bpe.bos)
    keep = torch.zeros((n, t), dtype=torch.bool)
    for i, r in enumerate(rows):
        r = r[:t]
        x[i, : len(r)] = torch.tensor(r)
        keep[i, : len(r)] = True
    return x, keep


def ioi_accuracy(model, bpe, first, rng, n=400):
    right, ld = 0, 0.0
    with torch.no_grad():
        for _ in range(n):
            s = corpus.ioi(rng, first, want_held_out=True)
            logits = model(torch.tensor([[bpe.bos] + bpe.encode(s["prompt"])]))[0, -1]
            io, sub = bpe.encode(" " + s["io"])[0], bpe.encode(" " + s["s"])[0]
            right += int(logits.argmax() == io)
            ld += float(logits[io] - logits[sub])
    return right / n, ld / n


def main(out, steps=STEPS):
    torch.manual_seed(SEED)
    torch.set_num_threads(2)
    os.makedirs(f"{out}/model", exist_ok=True)
    bpe = Bpe(train(corpus.tokenizer_text(random.Random(SEED), 6000), 640))
    bpe.save(f"{out}/model")
    first = {n: bpe.encode(" " + n)[0] for n in corpus.NAMES}
    lengths = {n: len(bpe.encode(" " + n)) for n in corpus.NAMES}
    print("vocab", len(bpe.vocab), "names by tokens", sorted(lengths.values()), flush=True)
    model = GPT2(len(bpe.vocab))
    decay = [p for p in model.parameters() if p.dim() == 2]
    other = [p for p in model.parameters() if p.dim() != 2]
    opt = torch.optim.AdamW([{"params": decay, "weight_decay": 0.05}, {"params": other, "weight_decay": 0.0}], lr=LR, betas=(0.9, 0.98))
    rng, start = random.Random(SEED + 1), time.time()
    for step in range(steps):
        for g in opt.param_groups:
            g["lr"] = LR * min(1, (step + 1) / 200) * max(0.03, 1 - step / steps)
        x, keep = batch(rng, bpe, first, BATCH)
        logits = model(x[:, :-1])
        loss = F.cross_entropy(logits[keep[:, 1:]], x[:, 1:][keep[:, 1:]])
        opt.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        if step % 250 == 0 or step == steps - 1:
            acc = ioi_accuracy(model, bpe, first, random.Random(1), 200)
            print(f"step {step} loss {loss.item():.4f} ioi {acc[0]:.3f} ld {acc[1]:.2f} t {time.time() - start:.0f}", flush=True)
            model.save(f"{out}/model", bpe.bos)
            torch.save(model.state_dict(), f"{out}/model.pt")
    print(json.dumps({"train_seconds": round(time.time() - start)}))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else STEPS)
