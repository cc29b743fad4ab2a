def separation(a, b):
    """P(a > b) + P(a = b)/2."""
    return sum((x > y) + 0.5 * (x == y) for x in a for y in b) / (len(a) * len(b))


def run(t):
    """The generated prompts are those of the tool."""
    role = t.values["role"]
    for g, group in enumerate(t.data["groups"]):
        cases = [c for c in group if role in c["roles"] and c["template"] != "all"]
        caches = [t.cache(c["tokens"])[1] for c in cases]
        for row in t.rows("features"):
            name, feature = split(row)
            of = {"ABBA": [], "BABA": []}
            for c, cache in zip(cases, caches):
                of[c["template"]].append(t.acts(t.site(name), cache)[1][c["roles"][role], feature].item())
            if not any(of["ABBA"] + of["BABA"]):
                continue
            t.check("features", row, **{f"g{g}": separation(of["ABBA"], of["BABA"])})
            if g == 0:
                t.check("features", row, abba=mean(of["ABBA"]), baba=mean(of["BABA"]))
