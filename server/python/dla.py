def run(t):
    model = t.model
    sums = {}
    add = lambda table, row, value: sums.setdefault((table, row), []).append(float(value))
    for c in t.cases:
        logits, cache = t.cache(c["tokens"])
        tokens = [c["answer"] if c["answer"] is not None else logits[0, -1].argmax().item()]
        if c["distractor"] is not None:
            tokens.append(c["distractor"])
        scale = cache["ln_final.hook_scale"][0, -1]
        part = lambda u: t.logit_of(u, scale, tokens)
        add("components", "embedding", part(cache["hook_embed"][0, -1]))
        add("components", "position", part(cache["hook_pos_embed"][0, -1]))
        for l in range(model.cfg.n_layers):
            add("components", f"attention {l}", part(cache[f"blocks.{l}.hook_attn_out"][0, -1]))
            add("components", f"MLP {l}", part(cache[f"blocks.{l}.hook_mlp_out"][0, -1]))
            z, w = cache[f"blocks.{l}.attn.hook_z"][0, -1], model.blocks[l].attn.W_O
            for h in range(model.cfg.n_heads):
                add("heads", f"head {l}.{h}", part(z[h] @ w[h]))
        for s in t.sites:
            if s.kind != "residual":
                x, acts = t.acts(s, cache)
                for f, row in s.writes(x, acts, len(x) - 1).items():
                    add("features", f"{s.name}/{f}", part(t.to_stream(s, row[None])[0]))
        for l in range(model.cfg.n_layers + 1):
            x = cache[f"blocks.{l}.hook_resid_pre"] if l < model.cfg.n_layers else cache[f"blocks.{l - 1}.hook_resid_post"]
            out = model.unembed(model.ln_final(x))[0, -1, tokens]
            add("lens", str(l), out[0] - out[1] if len(tokens) > 1 else out[0])
    for table in ("components", "heads", "features", "lens"):
        for row in t.rows(table):
            if (table, row) in sums:
                t.check(table, row, mean=sum(sums[table, row]) / len(t.cases))
