def run(t):
    clean_ld, clean_loss = {}, {}
    for c in t.cases:
        logits = t.logits(c)
        clean_ld[c["name"]], clean_loss[c["name"]] = t.ld(logits, c).item(), t.loss(logits, c["tokens"])
    for row in t.rows("sections"):
        layers = [int(l) for l in row.split(",")]
        sites = [s for s in t.of_kind(t.values["kind"]) if s.layer in layers]
        ld, loss, kl, zero_ld, zero_loss = [], [], [], [], []
        for c in t.cases:
            clean = t.logits(c)[-1].log_softmax(-1)
            # The error term is what a splice leaves out: with it nothing changes.
            out = t.logits(c, [] if t.values["error-term"] else t.splice(sites))
            zero = t.logits(c, [(s.hook_out, lambda v, hook: torch.zeros_like(v)) for s in sites])
            ld.append(t.ld(out, c).item())
            loss.append(t.loss(out, c["tokens"]))
            kl.append((clean.exp() * (clean - out[-1].log_softmax(-1))).sum().item())
            zero_ld.append(t.ld(zero, c).item())
            zero_loss.append(t.loss(zero, c["tokens"]))
        whole, whole_loss = mean(clean_ld.values()) - mean(zero_ld), mean(zero_loss) - mean(clean_loss.values())
        t.check("sections", row, ld=mean(ld), zero=mean(zero_ld), ratio=mean(ld) / mean(clean_ld.values()),
                loss=mean(loss), kl=mean(kl), recovered=(mean(ld) - mean(zero_ld)) / whole,
                lossRecovered=(mean(zero_loss) - mean(loss)) / whole_loss)
    for row in t.rows("sites"):
        site, active, errors = t.site(row), 0, []
        for c in t.cases:
            _, cache = t.cache(c["tokens"])
            x, acts = t.acts(site, cache)
            target = flat(cache[site.hook_out])
            active += (acts > 0).sum().item()
            errors += ((target - site.decode(acts)).norm(dim=-1) / target.norm(dim=-1)).tolist()
        t.check("sites", row, l0=active / len(errors), error=mean(errors))
