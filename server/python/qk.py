def run(t):
    layer, head = (int(n) for n in t.values["head"].split("."))
    block = t.model.blocks[layer]
    sides = {"query": (block.attn.W_Q[head], block.attn.b_Q[head]), "key": (block.attn.W_K[head], block.attn.b_K[head])}

    def place(c, name):
        name = str(t.values[name])
        return int(name) if name.isdigit() else c["roles"][next(r for r in c["roles"] if r.lower() == name.lower())]

    def terms(side, cache, position):
        """Parts of a query or key by what wrote them to the stream; the constant last."""
        w, b = sides[side]
        scale = cache[f"blocks.{layer}.ln1.hook_scale"][0, position]
        read = lambda u: t.norm(block.ln1, u, scale) @ w
        out = {"embed": read(cache["hook_embed"][0, position]), "pos": read(cache["hook_pos_embed"][0, position])}
        for s in t.sites:
            if s.layer < layer and s.kind != "residual":
                x, acts = t.acts(s, cache)
                for f, row in s.writes(x, acts, position).items():
                    out[f"{s.name}/{f}"] = read(t.to_stream(s, row[None])[0])
        beta = block.ln1.b @ w if hasattr(block.ln1, "b") else 0
        out["constant"] = b + beta
        return out, cache[f"blocks.{layer}.attn.hook_{'q' if side == 'query' else 'k'}"][0, position, head]

    pairs = {row: [] for row in t.rows("pairs")}
    named = lambda row: all("/" in part or part in ("embed", "pos", "constant") for part in row.split(" "))
    for c in t.cases:
        _, cache = t.cache(c["tokens"])
        D, to, minus = place(c, "from"), place(c, "to"), place(c, "minus")
        query, q = terms("query", cache, D)
        (key_to, k_to), (key_minus, k_minus) = terms("key", cache, to), terms("key", cache, minus)
        root = block.attn.cfg.d_head ** 0.5
        t.check("prompts", c["name"], total=(q @ (k_to - k_minus)).item() / root)
        zero = torch.zeros_like(q)
        for row in pairs:
            a, b = row.split(" ")
            known = a in query and (b in key_to or b in key_minus)
            value = query[a] @ (key_to.get(b, zero) - key_minus.get(b, zero)) if known else zero.sum()
            pairs[row].append(value.item() / root)
            if named(row):
                t.check("byPrompt", f"{a} × {b} {c['name']}", value=pairs[row][-1])
    for row, values in pairs.items():
        if named(row):
            t.check("pairs", row, mean=mean(values))
