def run(t):
    site, role = t.site(t.values["site"]), t.values["role"]
    union = sorted({c["roles"][role] for c in t.cases}) if t.values["union"] else None
    positions = lambda c: [p for p in union if p < len(c["tokens"])] if union else [c["roles"][role]]
    effects = {}
    for c in t.cases:
        logits, cache = t.cache(c["tokens"])
        clean = t.ld(logits[0], c).item()
        x, acts = t.acts(site, cache)
        at = torch.zeros(len(x), 1)
        at[positions(c)] = 1
        for row in t.rows("features"):
            if row.startswith("error"):
                site.encode(x)
                delta = at * (site.decode(acts) - flat(cache[site.hook_out]))
            else:
                feature = split(row)[1]
                if not (acts[positions(c), feature] > 0).any():
                    effects.setdefault(row, []).append((0.0, 0.0))
                    continue
                delta = at * site.without(x, acts, feature)
            effect = t.ld(t.logits(c, [t.add(site, delta)]), c).item() - clean
            # Attribution patching: the derivative at zero.
            with torch.enable_grad():
                share = torch.zeros((), requires_grad=True)
                t.ld(t.logits(c, [t.add(site, share * delta)]), c).backward()
            effects.setdefault(row, []).append((effect, share.grad.item()))
            t.check("single", f"{row} {c['name']}", effect=effect)
    for row, found in effects.items():
        t.check("features", row, mean=mean(e for e, _ in found), estimate=mean(g for _, g in found))
