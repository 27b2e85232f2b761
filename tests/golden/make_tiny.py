"""Reference numbers from transformers on tiny seeded models, for parity tests.

usage: make_tiny.py OUT_DIR SEED        (the files beside this script: `make_tiny.py tiny 7`)
Writes OUT_DIR/<family>/{config.json,model.safetensors,io.safetensors,tokenizer.json}: io holds input_ids, attention_mask,
labels, logits, loss and grad.<parameter> for every parameter (encoders: y, hidden, mean_pooled, cls_logits).
Versions that made the files here: torch 2.15, transformers 5.23.
"""
import json, os, sys

def save_tokenizer(d, pair=None):
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
            "pair": pair or [text("A", 0), text("B", 1)], "special_tokens": {t: special(t) for t in ["[CLS]", "[SEP]"]}},
        "model": {"type": "WordLevel", "vocab": {w: i for i, w in enumerate(words)}, "unk_token": "[UNK]"},
    }, open(f"{d}/tokenizer.json", "w"))

out = sys.argv[1]
if sys.argv[2] == "tokenizers":                       # nothing but these, which need no torch
    for family in sorted(os.listdir(out)):
        if family != "xlm_roberta": save_tokenizer(f"{out}/{family}")
    sys.exit()

import torch
from safetensors.torch import save_file
from transformers import (BertConfig, BertForSequenceClassification, DistilBertConfig, DistilBertForSequenceClassification,
    Gemma3ForCausalLM, Gemma3TextConfig, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, Qwen2Config,
    Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM, XLMRobertaConfig, XLMRobertaForSequenceClassification)

seed = int(sys.argv[2])
torch.manual_seed(seed)
torch.set_default_dtype(torch.float32)

def randomise(m, scale=0.05):
    for n, p in m.named_parameters():
        with torch.no_grad():
            if p.dim() >= 2: p.normal_(0, scale)
            elif "norm" in n.lower() and n.endswith("weight") or "ln" in n and n.endswith("weight"): p.normal_(1.0, 0.1)
            else: p.normal_(0, scale)

def save_model(m, d, pair=None):
    os.makedirs(d, exist_ok=True)
    m.config.save_pretrained(d)
    seen, sd = {}, {}
    for k, v in m.state_dict().items():
        if v.data_ptr() in seen and v.numel(): continue
        seen[v.data_ptr()] = k; sd[k] = v.contiguous().clone()
    save_file(sd, f"{d}/model.safetensors", metadata={"format": "pt"})
    if not d.endswith("xlm_roberta"): save_tokenizer(d, pair)  # that one's is make_unigram.py's

V = 307
ids = torch.randint(3, V, (3, 11)); mask = torch.ones_like(ids)
mask[1, 8:] = 0; mask[2, 5:] = 0                      # right padded rows
labels = ids.clone(); labels[mask == 0] = -100; labels[:, :4] = -100   # loss only on the answer part

common = dict(vocab_size=V, hidden_size=48, num_hidden_layers=3, num_attention_heads=6, num_key_value_heads=2,
    intermediate_size=80, max_position_embeddings=128, pad_token_id=0, bos_token_id=1, eos_token_id=2, attn_implementation="eager")
fams = {
  "llama": lambda: LlamaForCausalLM(LlamaConfig(**common, rope_theta=10000.0, tie_word_embeddings=True, head_dim=8)),
  "llama_untied": lambda: LlamaForCausalLM(LlamaConfig(**common, rope_theta=500000.0, tie_word_embeddings=False, head_dim=8)),
  "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**common, tie_word_embeddings=True)),
  "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**common, tie_word_embeddings=True, head_dim=16)),
  "gemma3": lambda: Gemma3ForCausalLM(Gemma3TextConfig(**common, head_dim=8, sliding_window=4, query_pre_attn_scalar=8, layer_types=["sliding_attention","sliding_attention","full_attention"])),
  "gpt2": lambda: GPT2LMHeadModel(GPT2Config(vocab_size=V, n_embd=48, n_layer=3, n_head=6, n_positions=128, bos_token_id=1, eos_token_id=2, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, attn_implementation="eager")),
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

def causal(name, make):
    m = make(); randomise(m); d = f"{out}/{name}"; save_model(m, d)
    for p in m.parameters(): p.requires_grad_(True)
    print(name, io(m, d))

for name, make in fams.items(): causal(name, make)

# encoders
enc = dict(vocab_size=V, hidden_size=48, num_hidden_layers=3, num_attention_heads=6, intermediate_size=80, max_position_embeddings=64,
    hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, attn_implementation="eager")
y = torch.tensor([1, 0, 2])

def encoder(name, m):
    randomise(m); m.eval(); d = f"{out}/{name}"; save_model(m, d)
    base = getattr(m, m.base_model_prefix)
    hid = base(input_ids=ids, attention_mask=mask).last_hidden_state.detach()
    mean = (hid * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)
    o = m(input_ids=ids, attention_mask=mask, labels=y); o.loss.backward()
    t = {"input_ids": ids, "attention_mask": mask, "y": y, "hidden": hid, "mean_pooled": torch.nn.functional.normalize(mean, dim=-1), "cls_logits": o.logits.detach(), "loss": o.loss.detach().reshape(1)}
    for n, p in m.named_parameters():
        if p.grad is not None: t["grad." + n] = p.grad.clone()
    save_file({k: v.contiguous().clone() for k, v in t.items()}, f"{d}/io.safetensors"); print(name, float(o.loss))

# Both are made before either gets its numbers: the order of random draws is part of the weights.
for name, m in {"bert": BertForSequenceClassification(BertConfig(**enc, num_labels=3)),
    "distilbert": DistilBertForSequenceClassification(DistilBertConfig(vocab_size=V, dim=48, n_layers=3, n_heads=6, hidden_dim=80, max_position_embeddings=64, dropout=0.0, attention_dropout=0.0, seq_classif_dropout=0.0, num_labels=3, attn_implementation="eager"))}.items():
    encoder(name, m)

# Added later, each with a seed of its own.
torch.manual_seed(seed + 1)
enc["max_position_embeddings"] = 66                   # 64 and the two that RoBERTa never uses
encoder("xlm_roberta", XLMRobertaForSequenceClassification(XLMRobertaConfig(**enc, num_labels=3, type_vocab_size=1, pad_token_id=1)))

# Everything that the gemma3 above leaves at what other families have: heads wider than hidden/heads, scores divided by another
# root, stretched positions, a head of its own.
torch.manual_seed(seed + 2)
causal("gemma3_odd", lambda: Gemma3ForCausalLM(Gemma3TextConfig(**common, head_dim=12, sliding_window=3, query_pre_attn_scalar=20,
    tie_word_embeddings=False, layer_types=["sliding_attention", "full_attention", "sliding_attention"],
    rope_parameters={"full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 200000.0},
                     "sliding_attention": {"rope_type": "default", "rope_theta": 5000.0}})))

# Cross-encoders, over texts: BERT with one label and token types, XLM-RoBERTa with two labels and none. Its padding is the
# tokenizer's [PAD], which no text has: transformers gives a padding token in a text no position of its own.
import tokenizers
torch.manual_seed(seed + 3)
ce = dict(vocab_size=V, hidden_size=24, num_hidden_layers=2, num_attention_heads=4, intermediate_size=40,
    hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, attn_implementation="eager")
piece = lambda token, kind: {"SpecialToken": {"id": token, "type_id": kind}}
text = lambda name, kind: {"Sequence": {"id": name, "type_id": kind}}
question = "balo dami fenu"
passages = ["balo dami fenu", "garo hasi", "kelu lemo meni neru peso rila simo tinu", "", "dami " * 70, "Zosi balo, dami?"]
for name, m, pair in [
    ("cross_encoder", BertForSequenceClassification(BertConfig(**ce, max_position_embeddings=64, num_labels=1)),
        [piece("[CLS]", 0), text("A", 0), piece("[SEP]", 0), text("B", 1), piece("[SEP]", 1)]),
    ("cross_encoder_two_labels", XLMRobertaForSequenceClassification(XLMRobertaConfig(**ce, max_position_embeddings=65, num_labels=2, type_vocab_size=1, pad_token_id=0)),
        [piece("[CLS]", 0), text("A", 0), piece("[SEP]", 0), piece("[SEP]", 0), text("B", 0), piece("[SEP]", 0)])]:
    randomise(m, 0.3); m.eval(); d = f"{out}/{name}"; save_model(m, d, pair)
    t = tokenizers.Tokenizer.from_file(f"{d}/tokenizer.json"); t.enable_truncation(64, strategy="only_second")
    encoded = [t.encode(question, p) for p in passages]
    with torch.no_grad():
        logits = [m(input_ids=torch.tensor([e.ids]), token_type_ids=torch.tensor([e.type_ids])).logits[0].tolist() for e in encoded]
    json.dump({"question": question, "passages": passages, "logits": logits, "ids": [e.ids for e in encoded]}, open(f"{d}/pairs.json", "w"))
    print(name, logits)
