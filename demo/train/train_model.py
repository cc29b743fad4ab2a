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

SEED, BATCH, LR, CTX = 7, 64, 1.5e-3, 48
STEPS, SPARSE_STEPS, SPARSE_LR = 4000, 1200, 1e-3
COMPOSED_STEPS, COMPOSED_LR = 450, 8e-4
DIRECT_STEPS, DIRECT_LR = 400, 1e-3
NAMED_STEPS, NAMED_LR, NAMED_WEIGHT = 330, 1e-3, 0.15
# Second stage: weight of the norms of what heads and MLPs write, by layer, so that parts which repeat others' work fall silent;
# and weight of the squared logit difference that survives with layer 2's attention set to zero, so that the answer to an
# indirect-object sentence is composed from two layers instead of being decided in the first. Third stage: the same for " She" − " He".
PENALTY = {"attn": [0.03, 0.04, 0.002, 0.04], "mlp": [0.005, 0.02, 0.02, 0.02]}
# Fourth stage: the late MLPs fall silent too, so that layer 2's attention writes its answers to the logits itself.
DIRECT_PENALTY = {"attn": [0.03, 0.04, 0.001, 0.04], "mlp": [0.005, 0.05, 0.3, 0.3]}
# Fifth stage: before a pronoun, layer 2 is asked to attend to the name.
MOVER_LAYER, DEPTH_WEIGHT, DEPTH_BATCH = 2, 0.004, 16


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


def surviving_difference(model, bpe, first, rng, pronouns):
    """Logit difference at the end of indirect-object (or pronoun) prompts with the mover layer's z at zero: [DEPTH_BATCH, 1]."""
    if pronouns:
        samples = [corpus.pronoun(rng) for _ in range(DEPTH_BATCH)]
        pairs = [(bpe.encode(" She")[0], bpe.encode(" He")[0]) for _ in samples]
    else:
        samples = [corpus.ioi(rng, first) for _ in range(DEPTH_BATCH)]
        pairs = [(first[s["io"]], first[s["s"]]) for s in samples]
    rows = [[bpe.bos] + bpe.encode(s["prompt"]) for s in samples]
    x = torch.full((DEPTH_BATCH, max(map(len, rows))), bpe.bos)
    for i, r in enumerate(rows):
        x[i, : len(r)] = torch.tensor(r)

    def zero(name, v):
        return model.value_bias(MOVER_LAYER).expand_as(v) if name == f"blocks.{MOVER_LAYER}.attn.hook_z" else v

    at = torch.tensor([len(r) - 1 for r in rows])
    logits = model(x, zero)[torch.arange(DEPTH_BATCH), at]
    plus, minus = torch.tensor(pairs).T
    return logits.gather(1, plus[:, None]) - logits.gather(1, minus[:, None])


def missing_attention(model, bpe, rng):
    """−log of the mover layer's mean attention from the end of pronoun prompts to the tokens of the name."""
    losses = []
    samples = [corpus.pronoun(rng) for _ in range(DEPTH_BATCH)]
    rows, spans = [], []
    for s in samples:
        at = s["prompt"].index(s["name"])
        before = bpe.encode(s["prompt"][: at - 1]) if at > 0 else []
        name = bpe.encode((" " if at > 0 else "") + s["name"])
        spans.append((1 + len(before), 1 + len(before) + len(name)))
        rows.append([bpe.bos] + bpe.encode(s["prompt"]))
    x = torch.full((DEPTH_BATCH, max(map(len, rows))), bpe.bos)
    for i, r in enumerate(rows):
        x[i, : len(r)] = torch.tensor(r)
    model(x)
    pattern = model.blocks[MOVER_LAYER].pattern
    for i, (a, b) in enumerate(spans):
        losses.append(-torch.log(pattern[i, :, len(rows[i]) - 1, a:b].sum(-1).mean() + 1e-3))
    return torch.stack(losses).mean()


def head_norms(model, z, l):
    """Root mean square over tokens of what each head writes, value bias removed: [n_heads]."""
    b, h, d = model.blocks[l], model.c["n_head"], model.c["n_embd"]
    wv, bv = b.c_attn.weight[2 * d:], b.c_attn.bias[2 * d:]
    z = (z - (wv @ b.ln_1.bias + bv)).reshape(-1, h, d // h)
    written = torch.einsum("nhi,hid->nhd", z, b.attn_proj.weight.T.reshape(h, d // h, d))
    return written.pow(2).sum(-1).mean(0).add(1e-8).sqrt()


def stage(model, bpe, first, rng, out, name, steps, lr, penalty, pronouns=False, named=0.0):
    """One stage of training. With a penalty on what heads write, heads that only repeat others' work fall silent."""
    decay = [p for p in model.parameters() if p.dim() == 2]
    other = [p for p in model.parameters() if p.dim() != 2]
    opt = torch.optim.AdamW([{"params": decay, "weight_decay": 0.05}, {"params": other, "weight_decay": 0.0}], lr=lr, betas=(0.9, 0.98))
    start = time.time()
    for step in range(steps):
        for g in opt.param_groups:
            g["lr"] = lr * min(1, (step + 1) / 200) * max(0.03, 1 - step / steps)
        x, keep = batch(rng, bpe, first, BATCH)
        norms = []

        def hook(hook_name, v):
            l = int(hook_name.split(".")[1])
            if penalty and hook_name.endswith("hook_z"):
                norms.append((penalty["attn"][l], head_norms(model, v, l)))
            if penalty and hook_name.endswith("hook_mlp_out"):
                norms.append((penalty["mlp"][l], v.reshape(-1, v.shape[-1]).pow(2).sum(-1).mean(0, keepdim=True).add(1e-8).sqrt()))
            return v

        logits = model(x[:, :-1], hook)
        loss = F.cross_entropy(logits[keep[:, 1:]], x[:, 1:][keep[:, 1:]])
        total = loss + sum(w * n.sum() for w, n in norms) if penalty else loss
        if penalty:
            left = surviving_difference(model, bpe, first, rng, pronouns and step % 2 == 0)
            total = total + DEPTH_WEIGHT * (2 if pronouns else 1) * left.pow(2).mean()
        missing = missing_attention(model, bpe, rng) if named else torch.zeros(())
        total = total + named * missing
        opt.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        if step % 100 == 0 or step == steps - 1:
            acc = ioi_accuracy(model, bpe, first, random.Random(1), 200)
            shown = " ".join(f"{v:.2f}" for _, n in norms for v in n.tolist())
            print(f"{name} {step} loss {loss.item():.4f} ioi {acc[0]:.3f} ld {acc[1]:.2f} t {time.time() - start:.0f} {shown}"
                  + (f" left {left.mean().item():.2f} missing {missing.item():.3f}" if penalty else ""), flush=True)
            model.save(f"{out}/model", bpe.bos)
            torch.save(model.state_dict(), f"{out}/{name}.pt")


def main(out):
    torch.manual_seed(SEED)
    torch.set_num_threads(2)
    os.makedirs(f"{out}/model", exist_ok=True)
    bpe = Bpe(train(corpus.tokenizer_text(random.Random(SEED), 6000), 640))
    bpe.save(f"{out}/model")
    first = {n: bpe.encode(" " + n)[0] for n in corpus.NAMES}
    lengths = {n: len(bpe.encode(" " + n)) for n in corpus.NAMES}
    print("vocab", len(bpe.vocab), "names by tokens", sorted(lengths.values()), flush=True)
    model = GPT2(len(bpe.vocab))
    if os.path.exists(f"{out}/dense.pt"):
        model.load_state_dict(torch.load(f"{out}/dense.pt"))
    else:
        stage(model, bpe, first, random.Random(SEED + 1), out, "dense", STEPS, LR, None)
    if os.path.exists(f"{out}/sparse.pt"):
        model.load_state_dict(torch.load(f"{out}/sparse.pt"))
    else:
        stage(model, bpe, first, random.Random(SEED + 2), out, "sparse", SPARSE_STEPS, SPARSE_LR, PENALTY)
    if os.path.exists(f"{out}/composed.pt"):
        model.load_state_dict(torch.load(f"{out}/composed.pt"))
    else:
        stage(model, bpe, first, random.Random(SEED + 3), out, "composed", COMPOSED_STEPS, COMPOSED_LR, PENALTY, pronouns=True)
    if os.path.exists(f"{out}/direct.pt"):
        model.load_state_dict(torch.load(f"{out}/direct.pt"))
    else:
        stage(model, bpe, first, random.Random(SEED + 4), out, "direct", DIRECT_STEPS, DIRECT_LR, DIRECT_PENALTY, pronouns=True)
    stage(model, bpe, first, random.Random(SEED + 5), out, "named", NAMED_STEPS, NAMED_LR, DIRECT_PENALTY, pronouns=True, named=NAMED_WEIGHT)


if __name__ == "__main__":
    main(sys.argv[1])
