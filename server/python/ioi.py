def run(t):
    for c in t.cases:
        t.check("prompts", c["name"], ld=t.ld(t.logits(c), c).item())
