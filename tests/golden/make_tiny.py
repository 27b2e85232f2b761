"""Reference numbers from transformers on tiny seeded models, for parity tests.

usage: make_tiny.py OUT_DIR SEED        (the files beside this script: `make_tiny.py tiny 7`)
Writes OUT_DIR/<family>/{config.json,model.safetensors,io.safetensors,tokenizer.json}: io holds input_ids, attention_mask,
labels, logits, loss and grad.<parameter> for every parameter (encoders: y, hidden, mean_pooled, cls_logits).
Versions that made the files here: torch 2.15, transformers 5.23.
"""
import json, os, sys

def save_tokenizer(d):
    """Three hundred words that mean nothing, so that the folder is a whole model; the numbers come from ids alone."""
    onsets, rimes = "bdfghklmnprstvz", "alo ami anu aro asi elu emo eni eru eso ila imo inu ira iso ola omi onu ora osi".split()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"] + [onsets[i % 15] + rimes[i // 15] for i in range(300)]
    piece = lambda token: {"SpecialToken": {"id": token, "type_id": 0}}
    text = lambda name, type_id: {"Sequence": {"id": name, "type_id": type_id}}
    special = lambda token: {"id": token, "ids": [words.index(token)], "tokens": [token]}
    json.dump({
        "version": "1.0", "truncation": None, "padding": None, "decoder": None, "added_tokens": [],
        "normalizer": {"type": "Lowercase"}, "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "TemplateProcessing", "single": [piece("[CLS]"), text("A", 0), piece("[SEP]")],
            "pair": [text("A", 0), text("B", 1)], "special_tokens": {t: special(t) for t in ["[CLS]", "[SEP]"]}},
        "model": {"type": "WordLevel", "vocab": {w: i for i, w in enumerate(words)}, "unk_token": "[UNK]"},
    }, open(f"{d}/tokenizer.json", "w"))

out = sys.argv[1]
if sys.argv[2] == "tokenizers":                       # nothing but these, which need no torch
    for family in ["bert", "llama", "llama_untied"]: save_tokenizer(f"{out}/{family}")
    sys.exit()

import torch
from safetensors.torch import save_file
from transformers import BertConfig, BertForSequenceClassification, LlamaConfig, LlamaForCausalLM

seed = int(sys.argv[2])
torch.manual_seed(seed)
torch.set_default_dtype(torch.float32)

def randomise(m, scale=0.05):
    for n, p in m.named_parameters():
        with torch.no_grad():
            if p.dim() >= 2: p.normal_(0, scale)
            elif "norm" in n.lower() and n.endswith("weight") or "ln" in n and n.endswith("weight"): p.normal_(1.0, 0.1)
            else: p.normal_(0, scale)

def save_model(m, d):
    os.makedirs(d, exist_ok=True)
    m.config.save_pretrained(d)
    seen, sd = {}, {}
    for k, v in m.state_dict().items():
        if v.data_ptr() in seen and v.numel(): continue
        seen[v.data_ptr()] = k; sd[k] = v.contiguous().clone()
    save_file(sd, f"{d}/model.safetensors", metadata={"format": "pt"})
    save_tokenizer(d)

V = 307
ids = torch.randint(3, V, (3, 11)); mask = torch.ones_like(ids)
mask[1, 8:] = 0; mask[2, 5:] = 0                      # right padded rows
labels = ids.clone(); labels[mask == 0] = -100; labels[:, :4] = -100   # loss only on the answer part

common = dict(vocab_size=V, hidden_size=48, num_hidden_layers=3, num_attention_heads=6, num_key_value_heads=2,
    intermediate_size=80, max_position_embeddings=128, pad_token_id=0, bos_token_id=1, eos_token_id=2, attn_implementation="eager")
fams = {
  "llama": lambda: LlamaForCausalLM(LlamaConfig(**common, rope_theta=10000.0, tie_word_embeddings=True, head_dim=8)),
  "llama_untied": lambda: LlamaForCausalLM(LlamaConfig(**common, rope_theta=500000.0, tie_word_embeddings=False, head_dim=8)),
}
def io(m, d, extra=None, params=False):
    m.eval(); m.zero_grad()
    o = m(input_ids=ids, attention_mask=mask, labels=labels)
    loss = o.loss; t = {"input_ids": ids, "attention_mask": mask, "labels": labels, "logits": o.logits.detach(), "loss": loss.detach().reshape(1)}
    if any(p.requires_grad for p in m.parameters()):
        loss.backward()
        for n, p in m.named_parameters():
            if p.requires_grad and p.grad is not None: t["grad." + n] = p.grad.clone()
            if params and p.requires_grad: t["param." + n] = p.detach().clone()
    t.update(extra or {})
    save_file({k: v.contiguous().clone() for k, v in t.items()}, f"{d}/io.safetensors")
    return float(loss)

for name, make in fams.items():
    m = make(); randomise(m); d = f"{out}/{name}"; save_model(m, d)
    for p in m.parameters(): p.requires_grad_(True)
    print(name, io(m, d))

# encoders
enc = dict(vocab_size=V, hidden_size=48, num_hidden_layers=3, num_attention_heads=6, intermediate_size=80, max_position_embeddings=64,
    hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, attn_implementation="eager")
y = torch.tensor([1, 0, 2])
for name, m in {"bert": BertForSequenceClassification(BertConfig(**enc, num_labels=3))}.items():
    randomise(m); m.eval(); d = f"{out}/{name}"; save_model(m, d)
    base = m.bert
    hid = base(input_ids=ids, attention_mask=mask).last_hidden_state.detach()
    mean = (hid * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)
    o = m(input_ids=ids, attention_mask=mask, labels=y); o.loss.backward()
    t = {"input_ids": ids, "attention_mask": mask, "y": y, "hidden": hid, "mean_pooled": torch.nn.functional.normalize(mean, dim=-1), "cls_logits": o.logits.detach(), "loss": o.loss.detach().reshape(1)}
    for n, p in m.named_parameters():
        if p.grad is not None: t["grad." + n] = p.grad.clone()
    save_file({k: v.contiguous().clone() for k, v in t.items()}, f"{d}/io.safetensors"); print(name, float(o.loss))
