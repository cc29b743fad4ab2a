"""GPT-2 in PyTorch with hook points, and its Hugging Face checkpoint."""

import json
import math

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

CONFIG = {
    "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "_name_or_path": "attention-circuits-demo", "activation_function": "gelu_new", "n_layer": 4, "n_head": 4,
    "n_embd": 128, "n_positions": 128, "n_ctx": 128, "n_inner": None, "layer_norm_epsilon": 1e-5, "tie_word_embeddings": True,
    "attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0, "initializer_range": 0.02,
    "scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False,
}


class Block(nn.Module):
    def __init__(self, c):
        super().__init__()
        d = c["n_embd"]
        self.h = c["n_head"]
        self.ln_1, self.ln_2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.c_attn, self.attn_proj = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.c_fc, self.mlp_proj = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

    def attn(self, x, mask):
        b, t, d = x.shape
        q, k, v = self.c_attn(self.ln_1(x)).split(d, dim=2)
        q, k, v = (y.view(b, t, self.h, d // self.h).transpose(1, 2) for y in (q, k, v))
        a = (q @ k.transpose(-1, -2)) / math.sqrt(d // self.h)
        a = torch.softmax(a.masked_fill(mask[:t, :t], float("-inf")), -1)
        self.pattern = a
        return (a @ v).transpose(1, 2).reshape(b, t, d)

    def mlp(self, x):
        return self.mlp_proj(F.gelu(self.c_fc(self.ln_2(x)), approximate="tanh"))


class GPT2(nn.Module):
    def __init__(self, vocab, c=CONFIG):
        super().__init__()
        d, self.c = c["n_embd"], c
        self.wte, self.wpe = nn.Embedding(vocab, d), nn.Embedding(c["n_positions"], d)
        self.blocks = nn.ModuleList(Block(c) for _ in range(c["n_layer"]))
        self.ln_f = nn.LayerNorm(d)
        for name, p in self.named_parameters():
            if name.endswith("weight") and p.dim() == 2:
                nn.init.normal_(p, std=0.02 if "proj" not in name else 0.02 / math.sqrt(2 * c["n_layer"]))
            elif name.endswith("bias"):
                nn.init.zeros_(p)
        t = c["n_positions"]
        self.register_buffer("mask", torch.triu(torch.ones(t, t, dtype=torch.bool), 1))

    def forward(self, ids, hook=lambda name, x: x):
        """hook(name, x) sees and may replace hook_z, hook_mlp_out, hook_resid_pre and the last hook_resid_post."""
        x = self.wte(ids) + self.wpe.weight[: ids.shape[1]]
        for l, b in enumerate(self.blocks):
            x = hook(f"blocks.{l}.hook_resid_pre", x)
            z = hook(f"blocks.{l}.attn.hook_z", b.attn(x, self.mask))
            x = x + b.attn_proj(z)
            hook(f"blocks.{l}.hook_resid_mid", x)
            x = x + hook(f"blocks.{l}.hook_mlp_out", b.mlp(x))
        x = hook(f"blocks.{len(self.blocks) - 1}.hook_resid_post", x)
        return self.ln_f(x) @ self.wte.weight.T

    def value_bias(self, l):
        """c = b_V + beta_1 W_V: what folding removes from z."""
        b, d = self.blocks[l], self.c["n_embd"]
        wv, bv = b.c_attn.weight[2 * d:], b.c_attn.bias[2 * d:]
        return (wv @ b.ln_1.bias + bv).detach()

    def save(self, folder, bos):
        out = {"wte.weight": self.wte.weight, "wpe.weight": self.wpe.weight, "ln_f.weight": self.ln_f.weight, "ln_f.bias": self.ln_f.bias}
        for l, b in enumerate(self.blocks):
            for ours, theirs in (("ln_1", "ln_1"), ("ln_2", "ln_2"), ("c_attn", "attn.c_attn"), ("attn_proj", "attn.c_proj"),
                                 ("c_fc", "mlp.c_fc"), ("mlp_proj", "mlp.c_proj")):
                m = getattr(b, ours)
                w = m.weight.T if isinstance(m, nn.Linear) else m.weight
                out[f"h.{l}.{theirs}.weight"], out[f"h.{l}.{theirs}.bias"] = w, m.bias
        save_safetensors(f"{folder}/model.safetensors", {k: v.detach() for k, v in out.items()})
        with open(f"{folder}/config.json", "w") as f:
            json.dump({**self.c, "vocab_size": self.wte.weight.shape[0], "bos_token_id": bos, "eos_token_id": bos}, f, indent=2)


def save_safetensors(path, tensors):
    header, offset, blobs = {"__metadata__": {"format": "pt"}}, 0, []
    for name, t in tensors.items():
        data = np.ascontiguousarray(t.cpu().numpy().astype("<f4")).tobytes()
        header[name] = {"dtype": "F32", "shape": list(t.shape), "data_offsets": [offset, offset + len(data)]}
        offset += len(data)
        blobs.append(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little"))
        f.write(text)
        for b in blobs:
            f.write(b)
