"""Stand-in for SAELens' SAE: standard and skip-less transcoder folders with ReLU, TopK or JumpReLU, flat inputs."""
import json
import os

import torch
from transformers import read_safetensors


class SAE:
    @classmethod
    def load_from_disk(cls, path, device="cpu"):
        out = cls()
        with open(os.path.join(path, "cfg.json")) as f:
            out.cfg = json.load(f)
        for name, value in read_safetensors(os.path.join(path, "sae_weights.safetensors")).items():
            setattr(out, name, value.float())
        if out.cfg.get("normalize_activations", "none") != "none":
            raise NotImplementedError(out.cfg["normalize_activations"])
        return out

    def eval(self):
        return self

    def turn_off_forward_pass_hook_z_reshaping(self):
        pass

    def encode(self, x):
        subtract = self.cfg.get("apply_b_dec_to_input", "transcoder" not in self.cfg.get("architecture", "standard"))
        pre = (x - self.b_dec if subtract else x) @ self.W_enc + self.b_enc
        if self.cfg.get("architecture", "").startswith("jumprelu"):
            return pre * (pre > self.threshold)
        if self.cfg.get("architecture") == "topk":
            values, indices = pre.topk(self.cfg["k"], dim=-1)
            return torch.zeros_like(pre).scatter(-1, indices, values.relu())
        return pre.relu()

    def decode(self, acts):
        return acts @ self.W_dec + self.b_dec
