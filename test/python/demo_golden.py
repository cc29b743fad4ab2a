"""
Computes the demo model's table of expected numbers (server/golden/demo.json) with the stand-ins, not with this project's engine. Token ids come
from the prompts' tokens as the demo's tokenizer has them, by longest match on its vocabulary of whole words.
Run: PYTHONPATH=test/python/standins python3 test/python/demo_golden.py
"""
import json
import os
import sys

import torch
from sae_lens import SAE
from transformer_lens import HookedTransformer, HookedTransformerConfig
from transformer_lens.pretrained.weight_conversions import convert_gpt2_weights
from transformers import AutoModelForCausalLM

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
torch.set_grad_enabled(False)
with open(os.path.join(ROOT, "demo", "model", "tokenizer.json")) as f:
    VOCAB = json.load(f)["model"]["vocab"]
with open(os.path.join(ROOT, "demo", "model", "config.json")) as f:
    BOS = json.load(f)["bos_token_id"]


def ids(text):
    """Tokens of a text whose words, with the space before them, are all in the vocabulary."""
    out, at = [], text.replace(" ", "Ġ")
    words = []
    for piece in at.replace(",", " ,").replace(".", " .").replace("Ġ", " Ġ").split(" "):
        if piece:
            words.append(piece)
    for w in words:
        out.append(VOCAB[w])
    return out


hf = AutoModelForCausalLM.from_pretrained(os.path.join(ROOT, "demo", "model"))
c = hf.config
cfg = HookedTransformerConfig(d_model=c.n_embd, n_layers=c.n_layer, n_heads=c.n_head, d_head=c.n_embd // c.n_head, d_vocab=c.vocab_size, eps=c.layer_norm_epsilon)
model = HookedTransformer(cfg)
model.load_and_process_state_dict(convert_gpt2_weights(hf, cfg))


def dictionary(site):
    return SAE.load_from_disk(os.path.join(ROOT, "demo", "saes", site))


def flat(x):
    return x[0].reshape(x.shape[1], -1)


TEXT = "When John and Mary went to the shops, John gave the bag to"
OTHER = "When Mary and John went to the shops, John gave the bag to"
PROMPTS = [{"text": t, "answer": " Mary", "distractor": " John"} for t in (TEXT, OTHER)]
MARY, JOHN = VOCAB["ĠMary"], VOCAB["ĠJohn"]
Z2 = "blocks.2.attn.hook_z"
rows = []


def row(id, description, tolerance, **check):
    rows.append({"id": id, "description": description, "source": "test/python/demo_golden.py", "tolerance": tolerance, "check": check})


def ld(text, site=None):
    hooks = []
    if site:
        s = dictionary(site)
        hooks = [(site, lambda v, hook: s.decode(s.encode(flat(v))).reshape(v.shape))]
    logits = model.run_with_hooks(torch.tensor([[BOS] + ids(text)]), fwd_hooks=hooks)[0, -1]
    return (logits[MARY] - logits[JOHN]).item()


row("D1", "token ids", 0, type="tokens", text=TEXT, expected=ids(TEXT))
row("D2", "mean logit difference", 1e-3, type="logit-difference", prompts=PROMPTS, expected=(ld(TEXT) + ld(OTHER)) / 2)
spliced = (ld(TEXT, Z2) + ld(OTHER, Z2)) / 2
row("D3", "the same with the attention dictionary of layer 2 spliced", 1e-3, type="logit-difference", prompts=PROMPTS, splice=[Z2], expected=spliced)
logits, cache = model.run_with_cache(torch.tensor([[BOS] + ids(TEXT)]))
top = logits[0, -1].topk(3)
names = {v: k.replace("Ġ", " ") for k, v in VOCAB.items()}
row("D4", "next tokens", 1e-3, type="next", text=TEXT, tokens=[names[i] for i in top.indices.tolist()], logits=top.values.tolist(),
    probabilities=logits[0, -1].softmax(-1)[top.indices].tolist())
s = dictionary(Z2)
ends = [model.run_with_cache(torch.tensor([[BOS] + ids(t)]))[1] for t in (TEXT, OTHER)]
acts = sum(s.encode(flat(e[Z2]))[-1] for e in ends)
row("D5", "features of layer 2 by mean activation at the end", 0, type="top-features", site=Z2, prompts=PROMPTS, by="activation", expected=acts.topk(4).indices.tolist())
dla = 0
for e in ends:
    a = s.encode(flat(e[Z2]))[-1]
    written = torch.einsum("fhd,hdm->fm", (a[:, None] * s.W_dec).reshape(len(a), c.n_head, -1), model.blocks[2].attn.W_O)
    dla = dla + (written - written.mean(-1, keepdim=True)) @ (model.W_U[:, MARY] - model.W_U[:, JOHN]) / e["ln_final.hook_scale"][0, -1]
row("D6", "features of layer 2 by mean direct attribution at the end", 0, type="top-features", site=Z2, prompts=PROMPTS, by="attribution", expected=dla.abs().topk(4).indices.tolist())
every = s.encode(flat(cache[Z2]))
row("D7", "feature 2.74 at every position", 1e-3, type="activations", site=Z2, text=TEXT, bos=True, at=[[74, p] for p in range(len(every))], expected=every[:, 74].tolist())
norms = s.W_dec.reshape(len(s.W_dec), c.n_head, -1).norm(dim=-1)
shares = norms / norms.sum(-1, keepdim=True)
row("D8", "decoder head shares of 2.74", 1e-5, type="head-shares", site=Z2, feature=74, expected=shares[74].tolist())
row("D9", "the ten features that lie most in head 2.3", 0, type="head-features", site=Z2, head=3, expected=shares[:, 3].topk(10).indices.tolist())
at = 10
effects = 0
for p in PROMPTS:
    given = s.encode(flat(model.run_with_cache(torch.tensor([[BOS] + ids(p["text"])]))[1][Z2]))

    def without(f):
        def hook(v, hook):
            a = given.clone()
            if f is not None:
                a[at, f] = 0
            return s.decode(a).reshape(v.shape)
        out = model.run_with_hooks(torch.tensor([[BOS] + ids(p["text"])]), fwd_hooks=[(Z2, hook)])[0, -1]
        return (out[MARY] - out[JOHN]).item()

    base = without(None)
    one = torch.zeros(len(s.W_dec))
    for f in given[at].nonzero().flatten().tolist():
        one[f] = base - without(f)
    effects = effects + one
row("D10", "features of layer 2 at S2 by what the logit difference loses without them", 0, type="top-features", site=Z2, prompts=PROMPTS, by="ablation", position=at, expected=effects.topk(2).indices.tolist())
row("D11", "the special token", 0, type="tokens", text="<|endoftext|>", expected=[BOS])
reader, by = "blocks.3.ln2.hook_normalized", "blocks.0.ln2.hook_normalized"
deep, early = dictionary(reader), dictionary(by)
given = early.encode(flat(cache[by]))[14]
read = deep.encode(flat(cache[reader]))[14].argmax().item()
scale = cache["blocks.3.ln2.hook_scale"][0, 14]
written = given[:, None] * early.W_dec
direct = (written - written.mean(-1, keepdim=True)) @ deep.W_enc[:, read] / scale
strongest = direct.abs().topk(5).indices.tolist()
row("D12", "direct contributions to a transcoder feature of layer 3", 1e-5, type="contributions", site=reader, feature=read, position=14, text=TEXT, bos=True,
    of=[[by, f, 14] for f in strongest], expected=[direct[f].item() for f in strongest])
table = {"name": "the demo model", "model": {"n_layers": c.n_layer, "d_model": c.n_embd, "d_vocab": c.vocab_size}, "rows": rows}
json.dump(table, sys.stdout, indent=1)
