def run(t):
    """A feature's dashboard: its activations at the examples shown, its heads, its effect on logits, its residual lens."""
    site, feature = t.site(t.data["site"]), t.data["feature"]
    for i, e in enumerate(t.data["examples"]):
        _, cache = t.cache(e["tokens"])
        t.check("examples", str(i), activation=t.acts(site, cache)[1][e["position"], feature].item())
    row = site.sae.W_dec[feature]
    written = t.to_stream(site, row[None])[0]
    if site.kind == "attention":
        norms = row.reshape(t.model.cfg.n_heads, -1).norm(dim=-1)
        for h, share in enumerate((norms / norms.sum()).tolist()):
            t.check("heads", str(h), share=share)
    effects = t.norm(t.model.ln_final, written, 1.0) @ t.model.W_U
    for token in t.rows("logits"):
        t.check("logits", token, effect=effects[int(token)].item())
    for name in t.rows("lens"):
        reader, f = split(name)
        t.check("lens", name, weight=(written @ t.site(reader).sae.W_enc[:, f]).item())
