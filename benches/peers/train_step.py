"""The cases of `cargo bench --bench training`, by PyTorch and PEFT, on 2 threads.

usage: python train_step.py METHOD BATCH LENGTH|ROWS.jsonl MODEL_DIR
       python train_step.py curve ROWS.jsonl FOLDER MODEL_DIR
       python train_step.py reward FOLDER MODEL_DIR
needs: pip install torch transformers peft

METHOD as in the benchmark. ROWS.jsonl are rows that the benchmark wrote: their batches are padded on the right to the longest
of each, labels are -100 wherever nothing is learned, and a second counts tokens, not padding. `curve` trains the adapter in FOLDER
that the benchmark's `curve` began with on the same batches, and holds the losses against its own; `reward` does so for its
`reward`, a reward model that learns pairs of answers. MODEL_DIR is a Hugging Face directory of the model, in 32-bit floats; one of a GGUF file is made by
`python train_step.py convert FOLDER FILE.gguf MODEL_DIR` (pip install gguf). A bottleneck adapter (Houlsby) is not among PEFT's
methods, so it is written out here: two linears and SiLU behind attention and behind the MLP, H / 16 wide.
"""

import json
import os
import resource
import statistics
import sys
import time

import peft
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

STEPS, REAL_STEPS = 5, 20


class Bottleneck(torch.nn.Module):
    def __init__(self, inner, width):
        super().__init__()
        self.inner = inner
        self.down = torch.nn.Linear(width, width // 16)
        self.up = torch.nn.Linear(width // 16, width)
        torch.nn.init.zeros_(self.up.weight)
        torch.nn.init.zeros_(self.up.bias)

    def forward(self, *args, **kwargs):
        out = self.inner(*args, **kwargs)
        h, rest = (out[0], out[1:]) if isinstance(out, tuple) else (out, None)
        h = h + self.up(torch.nn.functional.silu(self.down(h)))
        return h if rest is None else (h, *rest)


def houlsby(model):
    model.requires_grad_(False)
    width = model.config.hidden_size
    for layer in model.model.layers:
        layer.self_attn = Bottleneck(layer.self_attn, width)
        layer.mlp = Bottleneck(layer.mlp, width)
    return model


def adapted(model, method):
    kind = {"task_type": "CAUSAL_LM"}
    if method == "full":
        return model
    if method == "houlsby":
        return houlsby(model)
    config = {
        "lora": lambda: peft.LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], **kind),
        "lora-all": lambda: peft.LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", **kind),
        "soft-prompt": lambda: peft.PromptTuningConfig(num_virtual_tokens=20, **kind),
        "prefix": lambda: peft.PrefixTuningConfig(num_virtual_tokens=20, **kind),
        "llama-adapter": lambda: peft.AdaptionPromptConfig(adapter_len=10, adapter_layers=28, **kind),
        "llama-adapter-10": lambda: peft.AdaptionPromptConfig(adapter_len=10, adapter_layers=10, **kind),
        "ia3": lambda: peft.IA3Config(**kind),
    }[method]()
    return peft.get_peft_model(model, config)


def read_rows(path):
    with open(path) as lines:
        return [json.loads(line) for line in lines]


def padded(rows):
    """Ids, mask and labels of a batch, as people train: every row as long as the longest."""
    longest = max(len(row["ids"]) for row in rows)
    ids, mask, labels = (torch.full((len(rows), longest), fill) for fill in (0, 0, -100))
    for at, row in enumerate(rows):
        length = len(row["ids"])
        ids[at, :length] = torch.tensor(row["ids"])
        mask[at, :length] = 1
        labels[at, length - row["learned"] : length] = ids[at, length - row["learned"] : length]
    return ids, mask, labels


def batches(length, batch, steps):
    """Batches, and how many tokens each holds; after the last row comes the first."""
    if length.isdigit():
        ids = torch.randint(10, 49000, (batch, int(length)))
        return [((ids, torch.ones_like(ids), ids), ids.numel())] * steps
    rows = read_rows(length)
    an_epoch = -(-len(rows) // batch)
    steps = [rows[at % an_epoch * batch :][:batch] for at in range(steps)]
    return [(padded(rows), sum(len(row["ids"]) for row in rows)) for rows in steps]


def trained(model):
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def step(model, optimiser, batch):
    ids, mask, labels = batch
    optimiser.zero_grad()
    loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(trained(model), 1.0)
    optimiser.step()
    return loss.item()


def load(folder):
    torch.set_num_threads(int(os.environ.get("THREADS", "2")))
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model.config.use_cache = False
    return model


def speed(method, batch, length, folder):
    model = adapted(load(folder), method).train()
    optimiser = torch.optim.AdamW(trained(model), lr=1e-4)
    steps = (STEPS if length.isdigit() else REAL_STEPS) + 1
    rates = []
    for inputs, tokens in batches(length, int(batch), steps):
        start = time.perf_counter()
        step(model, optimiser, inputs)
        rates.append(tokens / (time.perf_counter() - start))
    rate = statistics.median(rates[1:])
    count = sum(parameter.numel() for parameter in trained(model))
    print(f"{method} {batch} x {length}: {rate:.1f} tokens/s  ({count} values trained)")
    print(f"peak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


def curve(rows, folder, base):
    with open(os.path.join(folder, "losses.json")) as file:
        theirs = json.load(file)
    model = peft.PeftModel.from_pretrained(load(base), os.path.join(folder, "start"), is_trainable=True).train()
    optimiser = torch.optim.AdamW(trained(model), lr=5e-4, weight_decay=0.0)
    losses = [step(model, optimiser, batch) for batch, _ in batches(rows, 8, len(theirs))]
    hold(losses, theirs)


def hold(losses, theirs):
    apart = [abs(a - b) for a, b in zip(losses, theirs)]
    print(f"losses from {losses[0]:.6f} to {losses[-1]:.6f}")
    for steps in sorted({min(20, len(apart)), len(apart)}):
        print(f"{steps} steps: at most {max(apart[:steps]):.2e} apart")


def reward(folder, base):
    with open(os.path.join(folder, "losses.json")) as file:
        theirs = json.load(file)
    torch.set_num_threads(int(os.environ.get("THREADS", "2")))
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1, dtype=torch.float32)
    model.config.use_cache = False
    model = peft.PeftModel.from_pretrained(model, os.path.join(folder, "start"), is_trainable=True).train()
    optimiser = torch.optim.AdamW(trained(model), lr=1e-4, weight_decay=0.0)
    rows, losses = read_rows(os.path.join(folder, "pairs.jsonl")), []
    pad = unused(rows)
    model.config.pad_token_id = model.base_model.model.config.pad_token_id = pad
    an_epoch = -(-len(rows) // 4)
    for at in range(len(theirs)):
        pairs = [row["answers"] for row in rows[at % an_epoch * 4 :][:4]]
        answers = [answer for pair in pairs for answer in pair]
        longest = max(len(answer) for answer in answers)
        ids, mask = torch.full((len(answers), longest), pad), torch.zeros(len(answers), longest, dtype=torch.long)
        for row, answer in enumerate(answers):
            ids[row, : len(answer)] = torch.tensor(answer)
            mask[row, : len(answer)] = 1
        scores = model(input_ids=ids, attention_mask=mask).logits.view(-1, 2)
        loss = -torch.nn.functional.logsigmoid(scores[:, 0] - scores[:, 1]).mean()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained(model), 1.0)
        optimiser.step()
        losses.append(loss.item())
    hold(losses, theirs)


def unused(rows):
    """An id that no answer has: the last real token is found by it."""
    used = {id for row in rows for answer in row["answers"] for id in answer}
    return next(id for id in range(1 << 30) if id not in used)


if sys.argv[1] == "convert":
    folder, file, out = sys.argv[2:]
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32)
    # The weights are expanded: transformers would not write what it takes for quantised.
    model.hf_quantizer = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    model.save_pretrained(out)
elif sys.argv[1] == "curve":
    curve(*sys.argv[2:])
elif sys.argv[1] == "reward":
    reward(*sys.argv[2:])
else:
    speed(*sys.argv[1:])
