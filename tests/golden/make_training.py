"""Twenty steps of full fine-tuning with torch and transformers, for the trainer to repeat.

usage: make_training.py OUT.json        (`make_training.py training.json`, beside the folder `tiny`)
Every parameter of a tiny model, AdamW with decay on matrices only, cosine schedule with warm-up, clipped gradients, padded
batches of unequal lengths in the order given, loss on answers only. OUT holds the rows, and losses and norms (before
clipping) of each step.
Versions that made the file here: torch 2.15, transformers 5.24.
"""
import json, os, random, sys

import torch
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

def run(family, data):
    model = AutoModelForCausalLM.from_pretrained(f"{here}/tiny/{family}", attn_implementation="eager").float().eval()
    matrices = [p for p in model.parameters() if p.dim() >= 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    optimiser = torch.optim.AdamW([dict(params=matrices, weight_decay=DECAY), dict(params=others, weight_decay=0.0)], lr=RATE)
    schedule = get_cosine_schedule_with_warmup(optimiser, WARMUP, STEPS)
    losses, norms = [], []
    for step in range(STEPS):
        start = step * BATCH % len(data)
        loss = model(**batch(data[start:start + BATCH])).loss
        optimiser.zero_grad(); loss.backward()
        norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)))
        losses.append(loss.item())
        optimiser.step(); schedule.step()
    return dict(losses=losses, norms=norms)

here = os.path.dirname(os.path.abspath(__file__))
data = rows(40)
made = dict(rows=[dict(prompt=p, answer=a) for p, a in data], families={f: run(f, data) for f in ["llama", "gpt2"]})
with open(sys.argv[1], "w") as f:
    json.dump(made, f)
    f.write("\n")
