"""Stand-in for transformers: a GPT-2 folder's configuration and tensors, read without any package but torch."""
import json
import os
import struct
from types import SimpleNamespace

import torch

DTYPES = {"F32": torch.float32, "F64": torch.float64, "F16": torch.float16, "I64": torch.int64}


def read_safetensors(path):
    with open(path, "rb") as f:
        (n,) = struct.unpack("<Q", f.read(8))
        header, data = json.loads(f.read(n)), bytearray(f.read())
    out = {}
    for name, t in header.items():
        if name != "__metadata__":
            a, b = t["data_offsets"]
            out[name] = torch.frombuffer(data[a:b], dtype=DTYPES[t["dtype"]]).reshape(t["shape"]).clone()
    return out


class AutoModelForCausalLM:
    @staticmethod
    def from_pretrained(path):
        config = {"n_inner": None, "layer_norm_epsilon": 1e-5}
        with open(os.path.join(path, "config.json")) as f:
            config.update(json.load(f))
        tensors = read_safetensors(os.path.join(path, "model.safetensors"))
        return SimpleNamespace(config=SimpleNamespace(**config), tensors={k.replace("transformer.", ""): v for k, v in tensors.items()})
