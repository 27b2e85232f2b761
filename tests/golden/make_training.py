"""Twenty steps of training with torch, transformers and PEFT, for the trainer to repeat.

usage: make_training.py OUT.json OUT_DIR        (`make_training.py training.json training`, beside the folder `tiny`)
Every parameter of two tiny models, with decay on matrices only, a cosine schedule with warm-up and clipped gradients; and
adapters of PEFT on one of them, at a constant rate. AdamW, padded batches of unequal lengths in the order given, loss on
answers only. OUT holds the rows, and losses and norms (before clipping) of each step; OUT_DIR a folder for each method, as
PEFT saved the adapter before its first step.
Versions that made the files here: torch 2.15, transformers 5.24, peft 0.21.2.
"""
import json, os, random, shutil, sys

import torch
from peft import AdaptionPromptConfig, IA3Config, LoraConfig, PrefixTuningConfig, PromptTuningConfig, get_peft_model
from transformers import AutoModelForCausalLM, get_cosine_schedule_with_warmup

STEPS, BATCH, WARMUP, RATE, DECAY, CLIP = 20, 4, 2, 5e-3, 0.05, 1.0

def rows(count):
    """A prompt of 2 to 20 ids and an answer of 1 to 6 that it decides."""
    draw = random.Random(7)
    made = []
    for _ in range(count):
        prompt = [draw.randrange(5, 60) for _ in range(draw.randrange(2, 21))]
        made.append((prompt, [70 + (prompt[0] + i) % 7 for i in range(draw.randrange(1, 7))]))
    return made

def batch(rows):
    longest = max(len(p) + len(a) for p, a in rows)
    ids, mask, labels = [], [], []
    for p, a in rows:
        pad = longest - len(p) - len(a)
        ids.append(p + a + [0] * pad); mask.append([1] * (len(p) + len(a)) + [0] * pad)
        labels.append([-100] * len(p) + a + [-100] * pad)
    return dict(input_ids=torch.tensor(ids), attention_mask=torch.tensor(mask), labels=torch.tensor(labels))

def load(family):
    return AutoModelForCausalLM.from_pretrained(f"{here}/tiny/{family}", attn_implementation="eager").float()

def steps(model, data, optimiser, schedule):
    losses, norms = [], []
    for step in range(STEPS):
        start = step * BATCH % len(data)
        loss = model(**batch(data[start:start + BATCH])).loss
        optimiser.zero_grad(); loss.backward()
        trained = [p for p in model.parameters() if p.requires_grad]
        norms.append(torch.nn.utils.clip_grad_norm_(trained, CLIP).item())
        losses.append(loss.item())
        optimiser.step(); schedule.step()
    return dict(losses=losses, norms=norms)

def whole(family, data):
    model = load(family).eval()
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    optimiser = torch.optim.AdamW([dict(params=matrices, weight_decay=DECAY), dict(params=others, weight_decay=0.0)], lr=RATE)
    return steps(model, data, optimiser, get_cosine_schedule_with_warmup(optimiser, WARMUP, STEPS))

def adapter(method, config, data, out):
    """Values are drawn anew, so that no gate and no matrix begins at zero."""
    config.base_model_name_or_path = "llama"
    model = get_peft_model(load("llama"), config).eval()
    torch.manual_seed(11)
    for p in model.parameters():
        if p.requires_grad:
            with torch.no_grad():
                p.copy_(1.0 + 0.1 * torch.randn_like(p) if method == "ia3" else 0.1 * torch.randn_like(p).abs() if method == "dora" and p.dim() == 1
                    else 0.1 * torch.randn_like(p))
    model.peft_config["default"].base_model_name_or_path = "llama"
    shutil.rmtree(f"{out}/{method}", ignore_errors=True)
    model.save_pretrained(f"{out}/{method}")
    os.remove(f"{out}/{method}/README.md")
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.0)
    return steps(model, data, optimiser, torch.optim.lr_scheduler.ConstantLR(optimiser, 1.0))

here = os.path.dirname(os.path.abspath(__file__))
data = rows(40)
common, virtual = dict(task_type="CAUSAL_LM"), dict(task_type="CAUSAL_LM", num_virtual_tokens=3)
methods = {
    "lora": LoraConfig(r=3, lora_alpha=5, target_modules=["q_proj", "v_proj", "down_proj"], **common),
    "dora": LoraConfig(r=3, lora_alpha=5, use_dora=True, target_modules=["q_proj", "v_proj"], **common),
    "ia3": IA3Config(target_modules=["k_proj", "v_proj", "down_proj"], feedforward_modules=["down_proj"], **common),
    "prompt_tuning": PromptTuningConfig(**virtual),
    "prefix_tuning": PrefixTuningConfig(**virtual),
    "llama_adapter": AdaptionPromptConfig(adapter_len=4, adapter_layers=2, **common),
}
made = dict(rows=[dict(prompt=p, answer=a) for p, a in data], whole={f: whole(f, data) for f in ["llama", "gpt2"]},
    adapters={m: adapter(m, c, data, sys.argv[2]) for m, c in methods.items()})
with open(sys.argv[1], "w") as f:
    json.dump(made, f)
    f.write("\n")
