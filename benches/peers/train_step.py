"""The cases of `cargo bench --bench training`, by PyTorch and PEFT, on 2 threads.

usage: python train_step.py METHOD BATCH LENGTH MODEL_DIR
needs: pip install torch transformers peft

METHOD as in the benchmark. MODEL_DIR is a Hugging Face directory of the model, in 32-bit floats; one of a GGUF file is made by
`python train_step.py convert FOLDER FILE.gguf MODEL_DIR` (pip install gguf). A bottleneck adapter (Houlsby) is not among PEFT's
methods, so it is written out here: two linears and SiLU behind attention and behind the MLP, H / 16 wide.
"""

import os
import resource
import statistics
import sys
import time

import peft
import torch
from transformers import AutoModelForCausalLM

STEPS = 5


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


def main(method, batch, length, folder):
    batch, length = int(batch), int(length)
    torch.set_num_threads(int(os.environ.get("THREADS", "2")))
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model.config.use_cache = False
    model = adapted(model, method).train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(trained, lr=1e-4)
    ids = torch.randint(10, 49000, (batch, length))
    mask = torch.ones_like(ids)
    seconds = []
    for _ in range(STEPS + 1):
        start = time.perf_counter()
        optimiser.zero_grad()
        model(input_ids=ids, attention_mask=mask, labels=ids).loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimiser.step()
        seconds.append(time.perf_counter() - start)
    rate = batch * length / statistics.median(seconds[1:])
    print(f"{method} {batch} x {length}: {rate:.1f} tokens/s  ({sum(p.numel() for p in trained)} values trained)")
    print(f"peak memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if sys.argv[1] == "convert":
    folder, file, out = sys.argv[2:]
    AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32).save_pretrained(out)
else:
    main(*sys.argv[1:])
