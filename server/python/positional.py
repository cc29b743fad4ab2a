def separation(a, b):
    """P(a > b) + P(a = b)/2."""
    return sum((x > y) + 0.5 * (x == y) for x in a for y in b) / (len(a) * len(b))


def run(t):
    """The generated prompts are those of the tool."""
    role = t.values["role"]

    def places(c):
        if t.values["compare"] == "order":
            return [(int(c["template"] == "BABA"), c["roles"][role])] if role in c["roles"] and c["template"] != "all" else []
        names = sorted(c["roles"][r] for r in ("IO", "S1") if r in c["roles"])
        return list(enumerate(names)) if len(names) == 2 else []

    for g, group in enumerate(t.data["groups"]):
        cases = [c for c in group if places(c)]
        caches = [t.cache(c["tokens"])[1] for c in cases]
        for row in t.rows("features"):
            name, feature = split(row)
            of = [], []
            for c, cache in zip(cases, caches):
                for side, position in places(c):
                    of[side].append(t.acts(t.site(name), cache)[1][position, feature].item())
            if not any(of[0] + of[1]):
                continue
            t.check("features", row, **{f"g{g}": separation(*of)})
            if g == 0:
                t.check("features", row, a=mean(of[0]), b=mean(of[1]))
