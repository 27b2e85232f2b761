"""All layers of an encoder on a classification task, by PyTorch and transformers, on 2 threads, with the recipe of `tune full`.

usage: python finetune.py ROWS.jsonl MODEL_DIR [--limit N] [--epochs 3] [--dropout 0.0]
needs: pip install torch transformers

ROWS.jsonl (may be gzipped) has `text`, `label` and `split` (`train`, `validation` or `val`, `test`). AdamW at 5e-5, batches of 16, 6 % of
warm-up, linear to zero, weight decay of 0.01 on matrices, gradients clipped to 1, texts cut at 256 tokens. Batches are padded to
their longest row and sorted by length within 20 of them, as is usual. Prints accuracy on validation after each epoch and on test
at the end, with seconds and the most memory.
"""

import argparse
import gzip
import json
import random
import resource
import time

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, get_linear_schedule_with_warmup

BATCH, LENGTH, RATE, DECAY, WARMUP = 16, 256, 5e-5, 0.01, 0.06


def read(path, limit):
    opened = gzip.open(path, "rt") if path.endswith(".gz") else open(path)
    splits = {}
    with opened as lines:
        for line in lines:
            row = json.loads(line)
            splits.setdefault(row["split"], []).append((row["text"], str(row["label"])))
    return {name: rows[:limit] for name, rows in splits.items()}


def batches(lengths, shuffled):
    order = list(range(len(lengths)))
    if shuffled:
        random.shuffle(order)
    for at in range(0, len(order), 20 * BATCH):
        order[at:at + 20 * BATCH] = sorted(order[at:at + 20 * BATCH], key=lambda row: lengths[row])
    groups = [order[at:at + BATCH] for at in range(0, len(order), BATCH)]
    if shuffled:
        random.shuffle(groups)
    return groups


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("rows")
    parser.add_argument("model")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--dropout", type=float, default=0.0)
    args = parser.parse_args()
    torch.set_num_threads(2)
    torch.manual_seed(0)
    random.seed(0)
    splits = read(args.rows, args.limit)
    labels = sorted({label for _, label in splits["train"]})
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForSequenceClassification.from_pretrained(
        args.model, num_labels=len(labels), hidden_dropout_prob=args.dropout, attention_probs_dropout_prob=args.dropout)
    encoded = {
        name: [(tokenizer(text, truncation=True, max_length=LENGTH)["input_ids"], labels.index(label)) for text, label in rows]
        for name, rows in splits.items()
    }

    def batch(rows):
        padded = tokenizer.pad({"input_ids": [ids for ids, _ in rows]}, return_tensors="pt")
        return padded, torch.tensor([label for _, label in rows])

    def accuracy(name):
        model.eval()
        rows, right = encoded[name], 0
        with torch.no_grad():
            for group in batches([len(ids) for ids, _ in rows], False):
                inputs, targets = batch([rows[at] for at in group])
                right += (model(**inputs).logits.argmax(-1) == targets).sum().item()
        return 100 * right / len(rows)

    held_out = "validation" if "validation" in encoded else "val"
    rows = encoded["train"]
    matrices = [p for p in model.parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if p.ndim != 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}], lr=RATE)
    steps = args.epochs * ((len(rows) + BATCH - 1) // BATCH)
    schedule = get_linear_schedule_with_warmup(optimizer, int(WARMUP * steps), steps)
    start = time.time()
    for epoch in range(args.epochs):
        model.train()
        for group in batches([len(ids) for ids, _ in rows], True):
            inputs, targets = batch([rows[at] for at in group])
            loss = torch.nn.functional.cross_entropy(model(**inputs).logits, targets)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        print(f"epoch {epoch + 1}: validation {accuracy(held_out):.1f} %, {time.time() - start:.0f} s", flush=True)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(f"test {accuracy('test'):.1f} %, {time.time() - start:.0f} s, {memory:.0f} MB")


main()
