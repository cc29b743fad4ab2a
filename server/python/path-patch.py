def run(t):
    given = t.values["feature"]
    name, feature = split(given) if "/" in given else (given.split(".")[0], int(given.split(".")[1]))
    site, role = t.site(name), t.values["role"]
    heads = [tuple(int(n) for n in h.split(".")) for h in t.values["heads"].split(",")]
    which = {"query": "q", "key": "k", "value": "v"}[t.values["input"]]
    t.model.set_use_split_qkv_input(True)
    for c in t.cases:
        logits, cache = t.cache(c["tokens"])
        clean, position = t.ld(logits[0], c).item(), c["roles"][role]
        x, acts = t.acts(site, cache)
        if acts[position, feature] <= 0:
            t.check("prompts", c["name"], activation=0, clean=clean, patched=clean, effect=0)
            continue
        u = t.to_stream(site, site.writes(x, acts, position)[feature][None])[0]
        hooks = []
        for layer in sorted({l for l, _ in heads}):
            clean_z = cache[f"blocks.{layer}.attn.hook_z"]
            chosen = [h for l, h in heads if l == layer]

            def change(value, hook, chosen=chosen):
                value = value.clone()
                value[0, position, chosen] -= u
                return value

            # The heads' new z comes from a run in which their input alone is changed; in the last run everything after them reacts.
            with t.model.hooks(fwd_hooks=[(f"blocks.{layer}.hook_{which}_input", change)]):
                _, new = t.model.run_with_cache(torch.tensor([c["tokens"]]))
            delta = (new[f"blocks.{layer}.attn.hook_z"] - clean_z)[:, :, chosen]

            def write(value, hook, delta=delta, chosen=chosen):
                value[:, :, chosen] += delta
                return value

            hooks.append((f"blocks.{layer}.attn.hook_z", write))
        patched = t.ld(t.logits(c, hooks), c).item()
        t.check("prompts", c["name"], activation=acts[position, feature].item(), clean=clean, patched=patched,
                effect=patched - clean)
