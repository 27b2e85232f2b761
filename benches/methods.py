"""Every tuning method on one task: what it trains, costs and brings. `docs/methods-compared.md` shows what it printed.

usage: python methods.py TASK DATA.jsonl FOLDER [METHOD...]
needs: the `incontext` binary on the PATH and the default generator; nothing else

TASK is `generate` (BLEU, ROUGE-L; 200 test rows) or `classify` (accuracy by the likelihood of labels; 500). DATA has rows of
`input`, `output` and `split` (train, test); a list of outputs means that each is right. In FOLDER a run that is there already is
not done again. Each method trains for the same number of steps of 8 rows, at the rate that `tune` takes by itself, on rows laid
out by the template that is asked with; no figure here was chosen by looking at test rows. The last lines are the table.
"""

import json
import os
import random
import subprocess
import sys

STEPS = {"generate": 48, "classify": 64}
METHODS = {
    "soft-prompt": ["soft-prompt"],
    "prefix-random": ["prefix"],
    "prefix-random-1": ["prefix", "--seed", "1"],
    "prefix-random-2": ["prefix", "--seed", "2"],
    "prefix-demos": ["prefix", "--init-demos", "demos.jsonl"],
    "houlsby": ["houlsby"],
    "llama-adapter": ["llama-adapter"],
    "lora": ["lora"],
    "lora-1": ["lora", "--seed", "1"],
    "lora-2": ["lora", "--seed", "2"],
    "ia3": ["ia3"],
    "full": ["full"],
}


def incontext(*words, where):
    """Standard output, and the seconds of processors that it took."""
    with subprocess.Popen(["incontext", *words], cwd=where, stdout=subprocess.PIPE, text=True) as child:
        said = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        sys.exit(f"incontext {' '.join(words)}: exit {child.returncode}")
    return said, usage.ru_utime + usage.ru_stime


def demonstrations(data, folder):
    """The examples that a prefix begins as: five of the training rows, drawn once."""
    with open(data) as lines:
        rows = [row for row in map(json.loads, lines) if row["split"] == "train"]
    with open(os.path.join(folder, "demos.jsonl"), "w") as out:
        for row in random.Random(5).sample(rows, 5):
            first = row["output"][0] if isinstance(row["output"], list) else row["output"]
            out.write(json.dumps({"input": row["input"], "output": first}) + "\n")


def train(task, name, data, folder):
    kept = os.path.join(folder, f"{name}.json")
    if not os.path.exists(kept):
        words = METHODS[name] + ["--data", data, "--split", "train", "--template", f"{task}/plain", "--out", name]
        words += ["--steps", str(STEPS[task]), "--save-every", "0", "--json"]
        said, seconds = incontext("tune", *words, where=folder)
        with open(kept, "w") as out:
            json.dump({**json.loads(said), "core_seconds": seconds}, out)
    with open(kept) as file:
        return json.load(file)


def score(task, adapters, data, folder):
    metrics, limit = {"generate": (["BLEU", "ROUGE-L", "ms"], 200), "classify": (["accuracy", "macro-F1", "ms"], 500)}[task]
    others = [f'{{ adapter = "{name}", demos = "random 5" }}' for name in adapters]
    with open(os.path.join(folder, f"{task}.toml"), "w") as out:
        out.write(f'''task = "{task}"
metrics = {json.dumps(metrics)}
data = {{ file = "{data}", split = "test", limit = {limit} }}
pool = {{ file = "{data}", split = "train" }}
[matrix]
prompt = ["{task}/plain"]
demos = ["none", "random 5"]
adapter = {json.dumps(["none", *adapters])}
exclude = [{", ".join(others)}]
''')
    said, _ = incontext("experiment", "run", f"{task}.toml", "--out", "results", "--json", where=folder)
    return json.loads(said)


def shown(unit, estimate):
    """An estimate with its interval, as the table writes it."""
    factor = 100 if unit == "share" else 1
    mean, low, high = (factor * estimate[key] for key in ("mean", "low", "high"))
    return f"{mean:.1f} ({low:.1f} - {high:.1f})"


def table(summary, runs):
    metrics = [(metric["name"], metric["unit"]) for metric in summary["metrics"]]
    heads = ["method", *(name for name, _ in metrics), "trained", "stored", "core-seconds", "tokens learned from", "peak memory"]
    print("|", " | ".join(heads), "|\n|", " | ".join("---" for _ in heads), "|")
    for cell in summary["cells"]:
        name = cell["axes"]["adapter"]
        figures = [shown(unit, cell["metrics"][metric]) for metric, unit in metrics]
        run = runs.get(name)
        cost = ["", "", "", "", ""]
        if run:
            memory = f"{run['peak_memory'] / 1e6:,.0f} MB" if run["peak_memory"] else ""
            trained = f"{run['outcome']['trained_parameters']:,}"
            cost = [trained, f"{run['bytes'] / 1e6:.2f} MB", f"{run['core_seconds']:.0f}", f"{run['outcome']['tokens']:,}", memory]
        print("|", " | ".join([name if run else cell["axes"]["demos"], *figures, *cost]), "|")


def main(task, data, folder, *names):
    data, names = os.path.abspath(data), names or list(METHODS)
    os.makedirs(os.path.join(folder, ".incontext"), exist_ok=True)
    demonstrations(data, folder)
    runs = {}
    for name in names:
        runs[name] = train(task, name, data, folder)
        print(name, runs[name]["outcome"], file=sys.stderr)
    table(score(task, names, data, folder), runs)


main(*sys.argv[1:])
