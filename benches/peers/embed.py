"""The cases of `cargo bench --bench embedding`, by sentence-transformers on PyTorch, on 2 threads.

usage: python embed.py MODEL_DIR       (PASSAGES=FILE.jsonl adds its first 1,000 texts)
needs: pip install torch sentence-transformers
"""

import json
import os
import statistics
import sys
import time

import torch
from sentence_transformers import SentenceTransformer

torch.set_num_threads(int(os.environ.get("THREADS", "2")))
model = SentenceTransformer(sys.argv[1], device="cpu")
model.max_seq_length = 256


def report(case, texts, runs):
    limit = {"truncation": True, "max_length": 256}
    tokens = sum(len(ids) for ids in model.tokenizer(texts, **limit)["input_ids"])
    seconds = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        model.encode(texts, batch_size=32, show_progress_bar=False, normalize_embeddings=True)
        seconds.append(time.perf_counter() - start)
    print(f"{case}: {tokens / statistics.median(seconds[1:]):.1f} tokens/s", flush=True)


WORDS = ["water", "house", "letter", "music", "road", "paper", "light", "story"]
for texts, tokens in [(32, 128), (32, 256), (1, 16), (1, 32)]:
    made = [" ".join(WORDS[(i * 7 + t) % 8] for i in range(2, tokens)) for t in range(texts)]
    report(f"embed {texts} x {tokens}", made, 101 if texts == 1 else 7)
if "PASSAGES" in os.environ:
    with open(os.environ["PASSAGES"], encoding="utf-8") as lines:
        rows = [json.loads(line) for _, line in zip(range(1000), lines)]
    made = [f"{row.get('title', '')} {row.get('text', '')}".strip() for row in rows]
    report("embed 1,000 passages", made, 1)
