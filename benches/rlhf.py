"""Learning from judgements on a real model: `docs/tuning/rlhf.md` shows what it printed.

usage: python rlhf.py reward PREFERENCES.jsonl FOLDER    a reward model, and how it does on the test rows, source by source
       python rlhf.py ppo FOLDER SOURCE [UPDATES]        PPO against it on the prompts of one source, three seeds; curves.svg
       python rlhf.py grounding FOLDER DOCUMENTS QUESTIONS.jsonl [UPDATES]    GRPO by what passages support of an answer
needs: the `incontext` binary on the PATH and the default generator; nothing else

PREFERENCES (may be gzipped) has rows of `prompt`, `chosen`, `rejected`, `source` and `split` (train, val, test). Training rows are
taken source by source, the smallest first, until about 300,000 tokens are full. PPO begins as an SFT policy that learned of SOURCE
each rejected answer twice and each chosen one once, so that it is rather rude than polite and can move; test prompts are held out.
QUESTIONS has rows of `question`, `answers` (none where nothing in DOCUMENTS answers it) and `split`; `grounding` begins as LoRA on
the training questions and asks those of test before and after.
In FOLDER what is there already is not done again.
"""

import gzip
import json
import os
import random
import subprocess
import sys

BUDGET, SEEDS, HELD_OUT, MOST = 300_000, (0, 1, 2), 64, 24
# Five updates at the usual 5e-5 moved an answer by 0.1 nats and its score not at all.
RATE = "2e-4"


def incontext(*words, where):
    done = subprocess.run(["incontext", *words], cwd=where, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"incontext {' '.join(words)}: exit {done.returncode}")
    return done.stdout


def write(path, rows):
    with open(path, "w") as out:
        out.writelines(json.dumps(row) + "\n" for row in rows)


def tokens(row):
    """About as many as a pair has: its prompt is read twice, each time with the marks and the first turn of a chat."""
    return (2 * len(row["prompt"]) + len(row["chosen"]) + len(row["rejected"])) / 4.2 + 64


def chosen(rows):
    """Training rows within the budget, in an order of chance."""
    sources = {}
    for row in rows:
        sources.setdefault(row["source"], []).append(row)
    draw, taken, left = random.Random(0), [], BUDGET
    for _, of in sorted(sources.items(), key=lambda one: sum(map(tokens, one[1]))):
        draw.shuffle(of)
        for row in of:
            if tokens(row) <= left:
                taken.append(row)
                left -= tokens(row)
    draw.shuffle(taken)
    return taken


def reward(path, folder, without=("autoj",)):
    os.makedirs(folder, exist_ok=True)
    opened = gzip.open(path, "rt") if path.endswith(".gz") else open(path)
    with opened as lines:
        rows = [row for row in map(json.loads, lines) if row["source"] not in without]
    split = lambda name: [row for row in rows if row["split"] == name]
    write(os.path.join(folder, "judged.jsonl"), chosen(split("train")) + split("val") + split("test"))
    if not os.path.exists(os.path.join(folder, ".incontext/adapters/reward")):
        words = ["--data", "judged.jsonl", "--split", "train", "--validation-split", "val", "--out", "reward", "--json"]
        print(incontext("rlhf", "reward", *words, where=folder))
    words = ["--adapter", "reward", "--data", "judged.jsonl", "--split", "test", "--by", "source", "--plot", "sure.svg"]
    print(incontext("eval", "reward", *words, where=folder))


def ppo(folder, source, updates="20"):
    with open(os.path.join(folder, "judged.jsonl")) as lines:
        rows = [row for row in map(json.loads, lines) if row["source"] == source]
    short = lambda text: len(text) / 4.2 < MOST - 2
    learned = [
        {"prompt": row["prompt"], "completion": row[which]}
        for row in rows
        for which in ("chosen", "rejected", "rejected")
        if row["split"] == "train" and short(row[which])
    ]
    write(os.path.join(folder, "sft.jsonl"), learned)
    prompts = [row for split in ("train", "test") for row in rows if row["split"] == split]
    held = sum(row["split"] == "test" for row in prompts)
    write(os.path.join(folder, "prompts.jsonl"), [{"prompt": row["prompt"]} for row in prompts][: len(prompts) - held + HELD_OUT])
    if not os.path.exists(os.path.join(folder, ".incontext/adapters/sft")):
        incontext("rlhf", "sft", "--data", "sft.jsonl", "--epochs", "1", "--out", "sft", where=folder)
    for seed in SEEDS:
        kept = os.path.join(folder, f"ppo-{seed}.json")
        if not os.path.exists(kept):
            words = ["--data", "prompts.jsonl", "--from", "sft", "--reward", "reward", "--held-out", str(HELD_OUT)]
            words += ["--max-tokens", str(MOST), "--inner-epochs", "2", "--updates", updates]
            words += ["--learning-rate", RATE, "--seed", str(seed)]
            said = incontext("rlhf", "ppo", *words, "--out", f"ppo-{seed}", "--json", where=folder)
            with open(kept, "w") as out:
                out.write(said)
        with open(kept) as file:
            outcome = json.load(file)["outcome"]
        before, after = outcome["before"], outcome["after"]
        gain = (after["mean"] - before["mean"]) / before["standard_deviation"]
        print(
            f"seed {seed}: {before['mean']:.2f} (standard deviation {before['standard_deviation']:.2f}) -> {after['mean']:.2f}, "
            f"{gain:+.2f} standard deviations, divergence {after['divergence']:.2f}, {100 * after['ended']:.0f} % ended"
        )
    with open(os.path.join(folder, "curves.svg"), "w") as out:
        out.write(curves(folder))


def grounding(folder, documents, questions, updates="100"):
    os.makedirs(folder, exist_ok=True)
    documents, questions = map(os.path.abspath, (documents, questions))
    with open(questions) as lines:
        test = [row for row in map(json.loads, lines) if row["split"] == "test"]
    write(os.path.join(folder, "test.jsonl"), test)
    there = lambda name: os.path.exists(os.path.join(folder, ".incontext/adapters", name))
    of = ["--data", questions, "--split", "train", "--json"]
    incontext("ingest", documents, "-c", "grounding", "--quiet", where=folder)
    if not there("sft"):
        words = ["--template", "qa/grounded", "--collection", "grounding", "--epochs", "1", "--max-length", "1024"]
        incontext("tune", "lora", *of, *words, "--out", "sft", where=folder)
    if not there("grounded"):
        words = ["-c", "grounding", "--from", "sft", "--updates", updates, "--max-tokens", str(MOST), "--micro-tokens", "2048"]
        incontext("rlhf", "grpo", *of, *words, "--out", "grounded", where=folder)
    for name in ("sft", "grounded"):
        words = ["--questions", "test.jsonl", "-c", "grounding", "--adapter", name, "--json"]
        scores = json.loads(incontext("eval", "qa", *words, where=folder))["scores"]
        shares = [f"{what} {100 * scores[key]['mean']:.1f}" for what, key in (("F1", "f1"), ("written and grounded", "generated"))]
        print(f"{name}: {', '.join(shares)}, refusal F1 {100 * scores['refusal_f1']:.1f}")


def curves(folder):
    """Mean score and divergence of each update, a line a seed."""
    runs = []
    for seed in SEEDS:
        with open(os.path.join(folder, f".incontext/runs/ppo-{seed}/metrics.jsonl")) as lines:
            runs.append([json.loads(line)["metrics"] for line in lines])
    panels = [("objective/scores", "mean score"), ("objective/kl", "divergence from the SFT policy, nats an answer")]
    svg = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 860 330" font-family="sans-serif" font-size="12">\n'
    svg += "<title>Mean score and divergence of each update of PPO, three seeds</title>\n"
    svg += '<rect width="860" height="330" fill="#fff"/>\n'
    for panel, (name, title) in enumerate(panels):
        left, top, wide, high = 60 + 420 * panel, 40, 350, 230
        values = [metrics[name] for run in runs for metrics in run]
        low, most = min(values), max(values)
        x = lambda at: left + wide * at / max(max(map(len, runs)) - 1, 1)
        y = lambda value: top + high * (1 - (value - low) / max(most - low, 1e-9))
        svg += f'<text x="{left}" y="24">{title}</text><path d="M{left} {top}V{top + high}H{left + wide}" fill="none" stroke="#888"/>\n'
        for value in (low, (low + most) / 2, most):
            svg += f'<text x="{left - 6}" y="{y(value) + 4:.1f}" text-anchor="end" fill="#555">{value:.2f}</text>\n'
        svg += f'<text x="{left + wide / 2}" y="{top + high + 28}" text-anchor="middle">update</text>\n'
        for seed, run, colour in zip(SEEDS, runs, ("#0b5cad", "#c4501b", "#006b54")):
            svg += f'<text x="{left + 12 + 52 * seed}" y="{top + 14}" fill="{colour}">seed {seed}</text>\n'
            points = " ".join(f"{x(at):.1f},{y(metrics[name]):.1f}" for at, metrics in enumerate(run))
            svg += f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>\n'
    return svg + "</svg>\n"


if __name__ == "__main__":
    {"reward": reward, "ppo": ppo, "grounding": grounding}[sys.argv[1]](*sys.argv[2:])
