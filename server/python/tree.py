def run(t):
    """A tree, or the path to one node: every contribution from the model's own activations, downwards from the root."""
    tokens = t.cases[0]["tokens"]
    logits, cache = t.cache(tokens)
    model, acts, written = t.model, {}, {}

    def at(name, position):
        return cache[name][0, position]

    def features(name):
        if name not in acts:
            acts[name] = t.acts(t.site(name), cache)
        return acts[name]

    def write(name, feature, position):
        """What a feature adds to the stream at a position."""
        if (name, position) not in written:
            x, a = features(name)
            written[name, position] = t.site(name).writes(x, a, position)
        return t.to_stream(t.site(name), written[name, position][feature][None])[0]

    def through(ln, direction, scale):
        """The direction on the stream that a direction behind a frozen LayerNorm is."""
        g = direction * ln.w if hasattr(ln, "w") else direction
        return (g - g.mean()) / scale

    def open_feature(name, feature, position):
        s = t.site(name)
        w = s.sae.W_enc[:, feature]
        if s.kind == "attention":
            return ("attention", s.layer, position, w.reshape(model.cfg.n_heads, -1))
        if s.kind == "residual":
            return ("stream", position, w)
        return ("stream", position, (w - w.mean()) / at(f"blocks.{s.layer}.ln2.hook_scale", position))

    def open_source(layer, destination, direction, source, heads):
        a = model.blocks[layer].attn
        weight = cache[f"blocks.{layer}.attn.hook_pattern"][0, :, destination, source]
        g = sum(weight[h] * (a.W_V[h] @ direction[h]) for h in heads)
        return ("stream", source, through(model.blocks[layer].ln1, g, at(f"blocks.{layer}.ln1.hook_scale", source)))

    def in_stream(n, position, g):
        """A child of a direction on the stream: its contribution, and how it opens."""
        kind, layer = n["kind"], n.get("layer")
        if kind == "token-embedding":
            return g @ at("hook_embed", position), None
        if kind == "position-embedding":
            return g @ at("hook_pos_embed", position), None
        if kind == "mlp":
            return g @ at(f"blocks.{layer}.hook_mlp_out", position), None
        if kind == "attn":
            w = torch.einsum("hdm,m->hd", model.blocks[layer].attn.W_O, g)
            return g @ at(f"blocks.{layer}.hook_attn_out", position), ("attention", layer, position, w)
        if kind.endswith("-feature"):
            return g @ write(n["site"], n["feature"], position), open_feature(n["site"], n["feature"], position)
        return None, None

    def in_attention(n, layer, destination, direction):
        """A child of a direction on z: a source token, or one head's part of it."""
        if n["kind"] not in ("source-token", "head-source"):
            return None, None
        heads = [n["head"]] if n["kind"] == "head-source" else range(model.cfg.n_heads)
        v, source = at(f"blocks.{layer}.attn.hook_v", n["position"]), n["position"]
        pattern = cache[f"blocks.{layer}.attn.hook_pattern"][0, :, destination, source]
        return sum(pattern[h] * (v[h] @ direction[h]) for h in heads), open_source(layer, destination, direction, source, heads)

    def walk(node, opening):
        if opening is None:
            return
        for n in node["children"]:
            value, below = in_stream(n, *opening[1:]) if opening[0] == "stream" else in_attention(n, *opening[1:])
            t.check("tree", n["id"], contribution=value)
            walk(n, below)

    root, spec = t.data["tree"], t.data["root"]
    p = spec["position"]
    if spec["type"] == "feature":
        x, a = features(spec["site"])
        if a[p, spec["feature"]] > 0:
            t.check("tree", root["id"], contribution=a[p, spec["feature"]])
        walk(root, open_feature(spec["site"], spec["feature"], p))
        return
    column = model.W_U[:, spec["tokens"][0]]
    value = logits[0, p, spec["tokens"][0]]
    if len(spec["tokens"]) > 1:
        column, value = column - model.W_U[:, spec["tokens"][1]], value - logits[0, p, spec["tokens"][1]]
    t.check("tree", root["id"], contribution=value)
    walk(root, ("stream", p, through(model.ln_final, column, at("ln_final.hook_scale", p))))
