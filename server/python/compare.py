def run(t):
    sides = []
    for c in t.cases:
        logits, cache = t.cache(c["tokens"])
        features = {}
        for s in t.sites:
            acts = t.acts(s, cache)[1][-1]
            features.update({f"{s.name}/{f}": acts[f].item() for f in acts.nonzero().flatten().tolist()})
        sides.append((logits[0, -1], cache, features))
    tokens = t.data["tokens"]
    for row in t.rows("features"):
        left, right = (s[2].get(row, 0.0) for s in sides)
        t.check("features", row, left=left, right=right, difference=right - left)
    for row, token in t.data["predictions"].items():
        left, right = (s[0].softmax(-1)[token].item() for s in sides)
        t.check("predictions", row, left=left, right=right, difference=right - left)
    parts = []
    for (logits, cache, features) in sides:
        scale = cache["ln_final.hook_scale"][0, -1]
        own = {"embed": t.logit_of(cache["hook_embed"][0, -1], scale, tokens),
               "pos": t.logit_of(cache["hook_pos_embed"][0, -1], scale, tokens)}
        for s in t.sites:
            if s.kind != "residual":
                x, acts = t.acts(s, cache)
                for f, row in s.writes(x, acts, len(x) - 1).items():
                    own[f"{s.name}/{f}"] = t.logit_of(t.to_stream(s, row[None])[0], scale, tokens)
        parts.append(own)
    for row in t.rows("tree"):
        if row in ("embed", "pos") or "/" in row:
            left, right = (float(p.get(row, 0.0)) for p in parts)
            t.check("tree", row, left=left, right=right, difference=right - left)
