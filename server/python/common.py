def flat(x):
    """[1, S, ...] without its batch, heads side by side."""
    return x[0].reshape(x.shape[1], -1)


class Site:
    """A dictionary at its hook: reads hook_in, stands for hook_out."""

    def __init__(self, spec):
        self.name, self.kind, self.layer = spec["site"], spec["kind"], spec["layer"]
        self.hook_in = self.name
        self.hook_out = f"blocks.{self.layer}.hook_mlp_out" if self.kind == "transcoder" else self.name
        self.sae = SAE.load_from_disk(spec["path"], device="cpu").eval()
        # Heads are flattened here, so the dictionary must not do it as well.
        if hasattr(self.sae, "turn_off_forward_pass_hook_z_reshaping"):
            self.sae.turn_off_forward_pass_hook_z_reshaping()

    def encode(self, x):
        return self.sae.encode(x)

    def decode(self, acts):
        return self.sae.decode(acts)

    def without(self, x, acts, feature):
        """What the output loses when a feature is zero: [S, d_out]. The dictionary's normalisation is that of x."""
        zeroed = acts.clone()
        zeroed[:, feature] = 0
        self.sae.encode(x)
        return self.decode(zeroed) - self.decode(acts)

    def writes(self, x, acts, position):
        """What each active feature adds to the output at a position: {feature: [d_out]}."""
        active = acts[position].nonzero().flatten().tolist()
        one = torch.zeros(len(active) + 1, acts.shape[1])
        for i, f in enumerate(active):
            one[i, f] = acts[position, f]
        row = x[position : position + 1].expand(len(active) + 1, -1)
        self.sae.encode(row)
        out = self.decode(one)
        return {f: out[i] - out[-1] for i, f in enumerate(active)}

    def direction(self, x, position, feature):
        """The direction on the site along which the feature's pre-activation grows, normalisation frozen, up to the input's scale."""
        return self.sae.W_enc[:, feature]


class Tool:
    """The model, the dictionaries, the prompts, and the numbers that Attention Circuits found."""

    def __init__(self, spec):
        self.values, self.cases, self.data = spec["values"], spec["cases"], spec["data"]
        self.expected, self.tolerance = spec["expected"], spec["tolerance"]
        self.compared, self.worst, self.missed = 0, 0.0, 0
        self.model = self.load_model(spec["model"])
        self.sites = [Site(s) for s in spec["sites"]]

    def load_model(self, spec):
        hf = AutoModelForCausalLM.from_pretrained(spec["path"])
        c, process = hf.config, spec["contract"]
        cfg = HookedTransformerConfig(
            d_model=c.n_embd, n_layers=c.n_layer, n_heads=c.n_head, d_head=c.n_embd // c.n_head,
            d_mlp=c.n_inner or 4 * c.n_embd, n_ctx=c.n_positions, d_vocab=c.vocab_size, act_fn="gelu_new",
            eps=c.layer_norm_epsilon, normalization_type="LNPre" if process["fold_ln"] else "LN",
            original_architecture="GPT2LMHeadModel", device="cpu",
        )
        model = HookedTransformer(cfg)
        model.load_and_process_state_dict(
            convert_gpt2_weights(hf, cfg), fold_ln=process["fold_ln"], center_unembed=process["center_unembed"],
            center_writing_weights=process["center_writing_weights"], fold_value_biases=process["fold_value_biases"],
        )
        return model.eval()

    # The prompts

    def cache(self, tokens):
        return self.model.run_with_cache(torch.tensor([tokens]))

    def logits(self, case, hooks=()):
        return self.model.run_with_hooks(torch.tensor([case["tokens"]]), fwd_hooks=list(hooks))[0]

    def ld(self, logits, case):
        return logits[-1, case["answer"]] - logits[-1, case["distractor"]]

    def loss(self, logits, tokens):
        if len(tokens) < 2:
            return float("nan")
        log_p = logits[:-1].log_softmax(-1)
        return -log_p[range(len(tokens) - 1), tokens[1:]].mean().item()

    # The dictionaries

    def site(self, name):
        name = str(name).strip()
        name = f"blocks.{name}.attn.hook_z" if name.isdigit() else name
        return next(s for s in self.sites if s.name == name)

    def of_kind(self, kind):
        return sorted((s for s in self.sites if s.kind == kind), key=lambda s: s.layer)

    def acts(self, site, cache):
        x = flat(cache[site.hook_in])
        return x, site.encode(x)

    def splice(self, sites):
        """Hooks that put reconstructions in the place of activations."""
        seen, hooks = {}, []
        for s in sites:
            def read(value, hook, s=s):
                seen[s.name] = flat(value)

            def write(value, hook, s=s):
                x = seen[s.name] if s.hook_in != s.hook_out else flat(value)
                return s.decode(s.encode(x)).reshape(value.shape)

            if s.hook_in != s.hook_out:
                hooks.append((s.hook_in, read))
            hooks.append((s.hook_out, write))
        return hooks

    def add(self, site, delta):
        """A hook that adds [S, d_out] to a site's output."""
        return (site.hook_out, lambda value, hook: value + delta.reshape(value.shape))

    def to_stream(self, site, rows):
        """What rows [n, d_out] of a site's output are on the residual stream [n, d_model]."""
        if site.kind != "attention":
            return rows
        w = self.model.blocks[site.layer].attn.W_O
        return torch.einsum("nhd,hdm->nm", rows.reshape(len(rows), *w.shape[:2]), w)

    # The stream

    def norm(self, ln, u, scale):
        """A part of the stream through a frozen LayerNorm, constant left out."""
        out = (u - u.mean(-1, keepdim=True)) / scale
        return out * ln.w if hasattr(ln, "w") else out

    def logit_of(self, u, scale, tokens):
        """A part of the final stream as a part of a logit, or of a logit difference."""
        out = self.norm(self.model.ln_final, u, scale) @ self.model.W_U[:, tokens]
        return out[..., 0] - out[..., 1] if len(tokens) > 1 else out[..., 0]

    # The comparison

    def rows(self, table):
        return [r for r in self.expected.get(table, {})]

    def check(self, table, row, **values):
        """Compares columns of a row with what the tool found."""
        for column, value in values.items():
            ours = self.expected.get(table, {}).get(row, {}).get(column)
            if ours is None or value is None:
                continue
            value = float(value)
            miss = abs(value - ours)
            fits = miss <= self.tolerance * max(1.0, abs(ours))
            self.compared += 1
            self.worst = max(self.worst, miss)
            self.missed += not fits
            print(f"{table:12} {row:44} {column:14} {value:12.5f}  tool {ours:12.5f}{'' if fits else '   <- differs'}")

    def finish(self):
        print(f"{self.compared} numbers compared, largest difference {self.worst:.2e}, {self.missed} beyond the tolerance")
        sys.exit(1 if self.missed or not self.compared else 0)


def mean(x):
    x = [float(v) for v in x]
    return sum(x) / len(x) if x else float("nan")


def split(feature):
    site, index = feature.rsplit("/", 1)
    return site, int(index)
