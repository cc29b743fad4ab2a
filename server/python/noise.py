HOOKS = {
    "attn_out": "blocks.{}.hook_attn_out",
    "z": "blocks.{}.attn.hook_z",
    "mlp_out": "blocks.{}.hook_mlp_out",
    "resid_pre": "blocks.{}.hook_resid_pre",
}


def run(t):
    """The corrupted prompts, where the role stands in them and in the clean ones, are those of the tool."""
    names = [HOOKS[t.values["hook"]].format(l) for l in t.data["layers"]]
    sums = {"clean": [], "patched": [], "zeroed": []}
    for c, other in zip(t.cases, t.data["others"]):
        _, cache = t.cache(other["tokens"])

        def patch(value, hook):
            value[:, other["to"]] = cache[hook.name][:, other["at"]]
            return value

        def zero(value, hook):
            value[:, other["to"]] = 0
            return value

        found = {
            "clean": t.ld(t.logits(c), c).item(),
            "patched": t.ld(t.logits(c, [(n, patch) for n in names]), c).item(),
            "zeroed": t.ld(t.logits(c, [(n, zero) for n in names]), c).item(),
        }
        t.check("prompts", c["name"], **found)
        for k, v in found.items():
            sums[k].append(v)
    for k, v in sums.items():
        t.check("runs", k, ld=mean(v))
