"""Trains the demo's SAEs and transcoders on activations of the processed model, and writes SAELens folders.

Usage: python3 train_dictionaries.py OUT (after train_model.py OUT). BatchTopK in training, saved as JumpReLU. Seeded; two cores.
Inputs are those of TransformerLens' default processing: z without value bias, centred residuals, LayerNorm output without its
weight and bias, centred MLP output.
"""

import json
import os
import random
import sys
import time

import torch

import corpus
from bpe import Bpe
from model import GPT2, save_safetensors
from train_model import batch

SEED, DOCS, STEPS, BATCH, LR = 11, 10000, 1200, 1024, 2e-3
K = 12
WIDTH = {"attn": 512, "resid": 640, "mlp": 512}
SPARE = 128


def load(out):
    spec = json.load(open(f"{out}/model/tokenizer.json", encoding="utf-8"))
    bpe = Bpe([tuple(m.split(" ")) for m in spec["model"]["merges"]])
    model = GPT2(len(bpe.vocab))
    model.load_state_dict(torch.load(f"{out}/named.pt"))
    model.eval()
    return bpe, model


def sites(n_layers):
    for l in range(n_layers):
        yield "resid", f"blocks.{l}.hook_resid_pre", l
        yield "attn", f"blocks.{l}.attn.hook_z", l
        yield "mlp", f"blocks.{l}.hook_mlp_out", l
    yield "resid", f"blocks.{n_layers - 1}.hook_resid_post", n_layers - 1


def centre(x):
    return x - x.mean(-1, keepdim=True)


def collect(model, bpe, rng, first, docs):
    """Activations of every site, in processed terms: name -> (input, target)."""
    data = {}

    def keep_rows(name, x, keep):
        data.setdefault(name, []).append(x[keep].clone())

    with torch.no_grad():
        for _ in range(docs // 64):
            ids, keep = batch(rng, bpe, first, 64)

            def hook(name, x):
                l = int(name.split(".")[1])
                if name.endswith("hook_z"):
                    keep_rows(name, x - model.value_bias(l), keep)
                elif name.endswith("hook_resid_mid"):
                    b = model.blocks[l].ln_2
                    keep_rows(name, (x - x.mean(-1, keepdim=True)) / torch.sqrt(x.var(-1, unbiased=False, keepdim=True) + b.eps), keep)
                else:
                    keep_rows(name, centre(x), keep)
                return x

            model(ids, hook)
    return {k: torch.cat(v) for k, v in data.items()}


def train_one(x, y, width, gen):
    """A BatchTopK dictionary from x to y (x = y for SAEs). Returns tensors in the scale of the data."""
    d_in, d_out = x.shape[1], y.shape[1]
    sx, sy = (d_in ** 0.5 / x.norm(dim=1).mean()).item(), (d_out ** 0.5 / y.norm(dim=1).mean()).item()
    x, y = x * sx, y * sy
    same = x is y or torch.equal(x[:100], y[:100])
    keep, width = width, width + SPARE
    W_dec = torch.randn(width, d_out, generator=gen)
    W_dec /= W_dec.norm(dim=1, keepdim=True)
    W_enc = (W_dec.T.clone() if same else torch.randn(d_in, width, generator=gen) / d_in ** 0.5)
    b_enc, b_dec = torch.zeros(width), y.mean(0).clone()
    params = [W_enc, b_enc, W_dec, b_dec]
    for p in params:
        p.requires_grad_(True)
    opt = torch.optim.Adam(params, lr=LR, betas=(0.9, 0.999))
    quiet = torch.zeros(width)
    theta = 0.0
    for step in range(STEPS):
        for g in opt.param_groups:
            g["lr"] = LR * min(1, (step + 1) / 100) * max(0.02, min(1, (STEPS - step) / (0.4 * STEPS)))
        i = torch.randint(0, x.shape[0], (BATCH,), generator=gen)
        xi, yi = x[i], y[i]
        pre = torch.relu((xi - b_dec if same else xi) @ W_enc + b_enc)
        with torch.no_grad():
            # The batch's K-per-row threshold, from every 16th row.
            some = pre[::16]
            cut = torch.topk(some.flatten(), K * some.shape[0], sorted=False).values.min().item()
            theta = cut if step == 0 else 0.99 * theta + 0.01 * cut
        acts = pre * (pre >= max(cut, 1e-6))
        out = acts @ W_dec + b_dec
        error = yi - out
        loss = error.pow(2).sum(1).mean()
        with torch.no_grad():
            quiet += 1
            quiet[acts.sum(0) > 0] = 0
        dead = quiet > 40
        if step % 4 == 0 and dead.any():
            n = int(min(64, dead.sum()))
            h = torch.relu((xi - b_dec if same else xi) @ W_enc[:, dead] + b_enc[dead] + 0.05)
            v, j = torch.topk(h, n, dim=1)
            aux = torch.zeros_like(h).scatter(1, j, v) @ W_dec[dead]
            loss = loss + (error.detach() - aux).pow(2).sum(1).mean() / 4
        opt.zero_grad()
        loss.backward()
        opt.step()
        with torch.no_grad():
            W_dec /= W_dec.norm(dim=1, keepdim=True)
    with torch.no_grad():
        fvu = (error.pow(2).sum(1).mean() / y.var(0).sum()).item()
        # The features that fire most often are kept.
        fires = sum(((xs - b_dec if same else xs) @ W_enc + b_enc > theta).float().sum(0) for xs in x[:65536].split(8192))
        best = fires.topk(keep).indices.sort().values
        print(f"  dropped features fire on {fires[~torch.isin(torch.arange(width), best)].sum() / len(x[:65536]):.4f} of a row", flush=True)
        W_enc, b_enc, W_dec, width = W_enc[:, best], b_enc[best], W_dec[best], keep
        # Back to the data's scale: activations in units of y.
        e = W_enc * (sx / sy)
        return {"W_enc": e, "b_enc": b_enc / sy, "W_dec": W_dec, "b_dec": b_dec / sy,
                "threshold": torch.full((width,), theta / sy)}, fvu, same


def write(out, name, kind, l, tensors, same):
    hook = name if kind != "mlp" else f"blocks.{l}.ln2.hook_normalized"
    folder = f"{out}/saes/{hook}"
    os.makedirs(folder, exist_ok=True)
    width = tensors["b_enc"].shape[0]
    meta = {"sae_lens_version": "6.18.0", "model_name": "attention-circuits-demo", "hook_name": hook, "hook_head_index": None,
            "prepend_bos": True, "context_size": 48,
            "model_from_pretrained_kwargs": {"fold_ln": True, "center_writing_weights": True, "center_unembed": True, "fold_value_biases": True}}
    cfg = {"architecture": "jumprelu_transcoder" if kind == "mlp" else "jumprelu", "d_in": 128, "d_sae": width, "dtype": "float32",
           "device": "cpu", "apply_b_dec_to_input": bool(same), "normalize_activations": "none",
           "reshape_activations": "hook_z" if kind == "attn" else "none"}
    if kind == "mlp":
        cfg["d_out"], meta["hook_name_out"] = 128, f"blocks.{l}.hook_mlp_out"
    with open(f"{folder}/cfg.json", "w") as f:
        json.dump({**cfg, "metadata": meta}, f, indent=1)
    save_safetensors(f"{folder}/sae_weights.safetensors", {k: v.detach() for k, v in tensors.items()})


def main(out):
    torch.manual_seed(SEED)
    torch.set_num_threads(2)
    start = time.time()
    bpe, model = load(out)
    first = {n: bpe.encode(" " + n)[0] for n in corpus.NAMES}
    data = collect(model, bpe, random.Random(SEED), first, DOCS)
    print("activations", data["blocks.0.hook_resid_pre"].shape, round(time.time() - start), flush=True)
    gen = torch.Generator().manual_seed(SEED)
    for kind, name, l in sites(len(model.blocks)):
        y = data[name]
        x = data[f"blocks.{l}.hook_resid_mid"] if kind == "mlp" else y
        tensors, fvu, same = train_one(x, y, WIDTH[kind], gen)
        write(out, name, kind, l, tensors, same)
        print(f"{name} unexplained {fvu:.4f} theta {tensors['threshold'][0]:.3f} t {time.time() - start:.0f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
