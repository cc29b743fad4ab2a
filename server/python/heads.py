def run(t):
    n_heads = t.model.cfg.n_heads
    shares, dfa = {}, {}
    for s in t.of_kind("attention"):
        norms = s.sae.W_dec.reshape(s.sae.W_dec.shape[0], n_heads, -1).norm(dim=-1)
        shares[s.name] = norms / norms.sum(-1, keepdim=True).clamp(min=1e-30)
        for c in t.cases:
            _, cache = t.cache(c["tokens"])
            x, acts = t.acts(s, cache)
            for p, f in (acts > 0).nonzero().tolist():
                # Over all sources a head's DFA is its own part of z along the encoder.
                parts = (x[p] * s.direction(x, p, f)).reshape(n_heads, -1).sum(-1).abs()
                dfa[f"{s.name}/{f}"] = dfa.get(f"{s.name}/{f}", 0) + parts
    for row in t.rows("heads"):
        head, rank = row.split(" ")
        layer, h = (int(n) for n in head.split("."))
        column = shares[f"blocks.{layer}.attn.hook_z"][:, h]
        t.check("heads", row, share=column.sort(descending=True).values[int(rank) - 1].item())
    for row in t.rows("shares"):
        feature, head = row.split(" ")
        name, f = split(feature)
        h = int(head.split(".")[1])
        t.check("shares", row, weight=shares[name][f, h].item(), dfa=(dfa[feature] / dfa[feature].sum())[h].item())
