"""Stand-in for TransformerLens' conversion of GPT-2 checkpoints."""


def convert_gpt2_weights(hf, cfg):
    t, H, d = hf.tensors, cfg.n_heads, cfg.d_model
    out = {"embed.W_E": t["wte.weight"], "pos_embed.W_pos": t["wpe.weight"], "unembed.W_U": t["wte.weight"].T.clone(),
           "ln_final.w": t["ln_f.weight"], "ln_final.b": t["ln_f.bias"]}
    for l in range(cfg.n_layers):
        p, b = f"h.{l}.", f"blocks.{l}."
        for ln in ("1", "2"):
            out[f"{b}ln{ln}.w"], out[f"{b}ln{ln}.b"] = t[f"{p}ln_{ln}.weight"], t[f"{p}ln_{ln}.bias"]
        weights, biases = t[p + "attn.c_attn.weight"].split(d, 1), t[p + "attn.c_attn.bias"].split(d)
        for name, w, bias in zip("QKV", weights, biases):
            out[f"{b}attn.W_{name}"] = w.reshape(d, H, -1).permute(1, 0, 2).clone()
            out[f"{b}attn.b_{name}"] = bias.reshape(H, -1).clone()
        out[b + "attn.W_O"], out[b + "attn.b_O"] = t[p + "attn.c_proj.weight"].reshape(H, -1, d), t[p + "attn.c_proj.bias"]
        out[b + "mlp.W_in"], out[b + "mlp.b_in"] = t[p + "mlp.c_fc.weight"], t[p + "mlp.c_fc.bias"]
        out[b + "mlp.W_out"], out[b + "mlp.b_out"] = t[p + "mlp.c_proj.weight"], t[p + "mlp.c_proj.bias"]
    return {k: v.float() for k, v in out.items()}
