def run(t):
    """The random sequences are those of the tool."""
    layer, head = (int(n) for n in t.values["head"].split("."))
    scores = {}
    for s in t.data:
        _, cache = t.cache(s["tokens"])
        scores.setdefault(str(s["prefix"]), []).append(
            cache[f"blocks.{layer}.attn.hook_pattern"][0, head, s["from"], s["to"]].item())
    for row in t.rows("prefix"):
        t.check("prefix", row, mean=mean(scores[row]))
