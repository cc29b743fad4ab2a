"""
Stand-in for the part of TransformerLens 2 that the scripts use: hook names, shapes and weight processing as documented there, written
anew on torch alone. A hook gets (value, hook) and may return another value.
"""
import math
from contextlib import contextmanager
from types import SimpleNamespace

import torch


class HookedTransformerConfig(SimpleNamespace):
    pass


class HookedTransformer:
    def __init__(self, cfg):
        self.cfg, self._hooks, self._split = cfg, [], False

    def eval(self):
        return self

    def set_use_split_qkv_input(self, use):
        self._split = use

    def load_and_process_state_dict(self, sd, fold_ln=True, center_unembed=True, center_writing_weights=True, fold_value_biases=True):
        c, sd = self.cfg, dict(sd)
        sd["unembed.b_U"] = torch.zeros(c.d_vocab)
        if fold_ln:
            for l in range(c.n_layers):
                b = f"blocks.{l}."
                w, beta = sd.pop(b + "ln1.w"), sd.pop(b + "ln1.b")
                for n in "QKV":
                    W = sd[f"{b}attn.W_{n}"]
                    sd[f"{b}attn.b_{n}"] = sd[f"{b}attn.b_{n}"] + torch.einsum("hdk,d->hk", W, beta)
                    W = W * w[None, :, None]
                    sd[f"{b}attn.W_{n}"] = W - W.mean(1, keepdim=True)
                w, beta, W = sd.pop(b + "ln2.w"), sd.pop(b + "ln2.b"), sd[b + "mlp.W_in"]
                sd[b + "mlp.b_in"] = sd[b + "mlp.b_in"] + beta @ W
                W = W * w[:, None]
                sd[b + "mlp.W_in"] = W - W.mean(0, keepdim=True)
            w, beta, W = sd.pop("ln_final.w"), sd.pop("ln_final.b"), sd["unembed.W_U"]
            sd["unembed.b_U"] = sd["unembed.b_U"] + beta @ W
            W = W * w[:, None]
            sd["unembed.W_U"] = W - W.mean(0, keepdim=True)
        if center_writing_weights:
            names = ["embed.W_E", "pos_embed.W_pos"]
            names += [f"blocks.{l}.{n}" for l in range(c.n_layers) for n in ("attn.W_O", "attn.b_O", "mlp.W_out", "mlp.b_out")]
            for n in names:
                sd[n] = sd[n] - sd[n].mean(-1, keepdim=True)
        if center_unembed:
            for n in ("unembed.W_U", "unembed.b_U"):
                sd[n] = sd[n] - sd[n].mean(-1, keepdim=True)
        if fold_value_biases:
            for l in range(c.n_layers):
                b = f"blocks.{l}.attn."
                sd[b + "b_O"] = sd[b + "b_O"] + torch.einsum("hk,hkd->d", sd[b + "b_V"], sd[b + "W_O"])
                sd[b + "b_V"] = torch.zeros_like(sd[b + "b_V"])
        self._sd = sd
        part = lambda prefix: {k[len(prefix):]: v for k, v in sd.items() if k.startswith(prefix)}
        self.blocks = [
            SimpleNamespace(attn=SimpleNamespace(cfg=c, **part(f"blocks.{l}.attn.")), ln1=SimpleNamespace(**part(f"blocks.{l}.ln1.")))
            for l in range(c.n_layers)
        ]
        self.ln_final = Norm(self, "ln_final")
        self.W_U, self.b_U = sd["unembed.W_U"], sd["unembed.b_U"]

    def unembed(self, x):
        return x @ self.W_U + self.b_U

    def _at(self, name, value):
        for n, f in self._hooks:
            if n == name:
                out = f(value, SimpleNamespace(name=name))
                value = value if out is None else out
        return value

    def _norm(self, name, x):
        x = x - x.mean(-1, keepdim=True)
        scale = self._at(name + ".hook_scale", (x.pow(2).mean(-1, keepdim=True) + self.cfg.eps).sqrt())
        x = x / scale
        if name + ".w" in self._sd:
            x = x * self._sd[name + ".w"] + self._sd[name + ".b"]
        return self._at(name + ".hook_normalized", x)

    def _forward(self, tokens):
        c, sd = self.cfg, self._sd
        S = tokens.shape[1]
        x = self._at("hook_embed", sd["embed.W_E"][tokens]) + self._at("hook_pos_embed", sd["pos_embed.W_pos"][:S][None])
        for l in range(c.n_layers):
            b, a = f"blocks.{l}.", f"blocks.{l}.attn."
            x = self._at(b + "hook_resid_pre", x)
            made = {}
            whole = None if self._split else self._norm(b + "ln1", x)
            for n in "QKV":
                if self._split:
                    own = self._at(f"{b}hook_{n.lower()}_input", x[:, :, None].repeat(1, 1, c.n_heads, 1))
                    value = torch.einsum("bshd,hdk->bshk", self._norm(b + "ln1", own), sd[f"{a}W_{n}"])
                else:
                    value = torch.einsum("bsd,hdk->bshk", whole, sd[f"{a}W_{n}"])
                made[n] = self._at(f"{a}hook_{n.lower()}", value + sd[f"{a}b_{n}"])
            scores = torch.einsum("bqhk,bshk->bhqs", made["Q"], made["K"]) / math.sqrt(c.d_head)
            mask = torch.ones(S, S, dtype=torch.bool).tril()
            scores = self._at(a + "hook_attn_scores", scores.masked_fill(~mask, -math.inf))
            pattern = self._at(a + "hook_pattern", scores.softmax(-1))
            z = self._at(a + "hook_z", torch.einsum("bhqs,bshk->bqhk", pattern, made["V"]))
            out = self._at(b + "hook_attn_out", torch.einsum("bqhk,hkd->bqd", z, sd[a + "W_O"]) + sd[a + "b_O"])
            x = self._at(b + "hook_resid_mid", x + out)
            m = self._norm(b + "ln2", x) @ sd[b + "mlp.W_in"] + sd[b + "mlp.b_in"]
            m = 0.5 * m * (1 + torch.tanh(math.sqrt(2 / math.pi) * (m + 0.044715 * m**3)))
            x = x + self._at(b + "hook_mlp_out", m @ sd[b + "mlp.W_out"] + sd[b + "mlp.b_out"])
            x = self._at(b + "hook_resid_post", x)
        return self.unembed(self._norm("ln_final", x))

    @contextmanager
    def hooks(self, fwd_hooks=()):
        before = self._hooks
        self._hooks = before + list(fwd_hooks)
        try:
            yield self
        finally:
            self._hooks = before

    def run_with_hooks(self, tokens, fwd_hooks=()):
        with self.hooks(fwd_hooks):
            return self._forward(tokens)

    def run_with_cache(self, tokens):
        cache = {}

        def keep(name, value, at=self._at):
            value = at(name, value)
            cache[name] = value
            return value

        self._at = keep
        try:
            return self._forward(tokens), cache
        finally:
            del self._at


class Norm:
    def __init__(self, model, name):
        self._model, self._name = model, name
        for n in ("w", "b"):
            if f"{name}.{n}" in model._sd:
                setattr(self, n, model._sd[f"{name}.{n}"])

    def __call__(self, x):
        return self._model._norm(self._name, x)
