"""Reference numbers from PEFT for adapters over the tiny models, and of bottlenecks as AdapterHub computes them.

usage: make_adapters.py TINY_DIR SEED [CASE...]    (the files beside this script: `make_adapters.py tiny 11`)
Reads TINY_DIR/<family>; writes TINY_DIR/<family>/adapters/<name>/{adapter_config.json,adapter_model.safetensors,io.safetensors}.
Every trained tensor is random, none is zero. io holds input_ids, attention_mask, labels or y, logits or cls_logits, loss,
grad.<parameter> for every trained parameter and, where a network writes the adapter's values, param.<parameter>.
Versions that made the files here: torch 2.15, transformers 5.24, peft 0.21.2.
"""
import json, os, shutil, sys
import torch
from peft import (AdaptionPromptConfig, IA3Config, LoraConfig, PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig,
    get_peft_model)
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification

root, seed, chosen = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
V = 307
torch.manual_seed(seed)
ids = torch.randint(3, V, (2, 7)); mask = torch.ones_like(ids); mask[1, 4:] = 0
labels = ids.clone(); labels[mask == 0] = -100; labels[:, :2] = -100
y = torch.tensor([2, 0])
LM, CLS, HID = "CAUSAL_LM", "SEQ_CLS", "FEATURE_EXTRACTION"
classes = {LM: AutoModelForCausalLM, CLS: AutoModelForSequenceClassification, HID: AutoModel}

def lora(task=LM, **more): return LoraConfig(task_type=task, **{"r": 3, "lora_alpha": 5, "lora_dropout": 0.0, **more})
def ia3(task=LM, **more): return IA3Config(task_type=task, **more)
gpt2 = dict(target_modules=["c_attn", "c_proj", "c_fc"], layers_to_transform=[0, 2], fan_in_fan_out=True)

cases = {
    # LoRA over every family, and its settings
    "qwen2/lora": lora(layers_to_transform=[1],
        target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]),
    "qwen2/dora": lora(use_dora=True, target_modules=["q_proj", "v_proj", "down_proj"]),
    "qwen2/lora_biases": lora(bias="lora_only", target_modules=["q_proj", "k_proj"]),
    "qwen3/lora": lora(target_modules=["q_proj", "o_proj"], layers_to_transform=[0, 2], layers_pattern="layers"),
    "gemma3/lora": lora(target_modules=["q_proj", "k_proj", "v_proj", "up_proj"]),
    "llama/lora_patterns": lora(target_modules=["q_proj", "k_proj", "v_proj"], rank_pattern={"k_proj": 2, "layers.1.self_attn.v_proj": 5},
        alpha_pattern={"v_proj": 7, "layers.0.self_attn.q_proj": 2}),
    "llama/lora_regex": lora(target_modules=r".*\.(0|2)\.mlp\.(up|gate)_proj"),
    "llama/lora_exclude": lora(target_modules=["q_proj", "v_proj"], exclude_modules=r".*\.1\..*"),
    "llama/lora_f16": lora(target_modules=["o_proj"]),
    "llama/lora_named": lora(target_modules=["v_proj"]),
    "llama/lora_embedding": lora(target_modules=["q_proj", "embed_tokens"]),
    "llama_untied/lora_embedding": lora(target_modules=["v_proj", "embed_tokens"], rank_pattern={"embed_tokens": 5}),
    "gemma3/lora_embedding": lora(target_modules=["k_proj", "embed_tokens"], use_rslora=True),
    "gpt2/lora": lora(**gpt2),
    "gpt2/dora": lora(use_dora=True, **gpt2),
    "gpt2/ia3": ia3(target_modules=["c_attn", "mlp.c_proj"], feedforward_modules=["mlp.c_proj"], fan_in_fan_out=True),
    "bert/lora": lora(CLS, target_modules=["query", "value"]),
    "bert/lora_hidden": lora(HID, target_modules=["query", "value"]),
    "bert/lora_pooler": lora(CLS, target_modules=["query", "dense"]),      # `dense` is the pooler's name as well
    "bert/lora_hidden_biases": lora(HID, target_modules=["key"], bias="lora_only"),
    "bert/ia3": ia3(CLS, target_modules=["key", "value", "output.dense"], feedforward_modules=["output.dense"]),
    "distilbert/lora": lora(CLS, target_modules=["q_lin", "v_lin", "lin1", "lin2"], layers_to_transform=[2]),
    "distilbert/ia3": ia3(CLS, target_modules=["k_lin", "v_lin", "lin2"], feedforward_modules=["lin2"]),
    # virtual tokens
    "qwen2/prompt": PromptTuningConfig(task_type=LM, num_virtual_tokens=3),
    "qwen2/prefix": PrefixTuningConfig(task_type=LM, num_virtual_tokens=3),
    "qwen2/p_tuning": PromptEncoderConfig(task_type=LM, num_virtual_tokens=3, encoder_hidden_size=9),
    "gpt2/prompt": PromptTuningConfig(task_type=LM, num_virtual_tokens=3),
    "gpt2/prefix": PrefixTuningConfig(task_type=LM, num_virtual_tokens=3),
    "gpt2/p_tuning": PromptEncoderConfig(task_type=LM, num_virtual_tokens=3, encoder_hidden_size=9),
    # Under a classifier PEFT reads the class off the first virtual token, so hidden states are what can be compared; and this
    # transformers gives PEFT no prefix over BERT.
    "bert/prompt": PromptTuningConfig(task_type=HID, num_virtual_tokens=3),
    "bert/p_tuning": PromptEncoderConfig(task_type=HID, num_virtual_tokens=3, encoder_hidden_size=9),
    "gemma3/prefix": PrefixTuningConfig(task_type=LM, num_virtual_tokens=3),
    "qwen3/prefix_mlp": PrefixTuningConfig(task_type=LM, num_virtual_tokens=3, prefix_projection=True, encoder_hidden_size=9),
    "llama_untied/llama_adapter": AdaptionPromptConfig(task_type=LM, adapter_len=3, adapter_layers=2),
}

def randomise(model):
    for name, p in model.named_parameters():
        if not p.requires_grad: continue
        with torch.no_grad():
            if "gate" in name and "adaption" in name: p.fill_(0.7)
            elif "ia3_l" in name: p.normal_(1.0, 0.2)
            elif "magnitude" in name: p.mul_(1.0 + 0.1 * torch.randn_like(p))
            else: p.normal_(0, 0.2)

def write(d, family, task, model, output, trained, written):
    # The numbers of a model without a head are its hidden states, and there is no loss to differentiate.
    t = {"input_ids": ids, "attention_mask": mask}
    if task == HID:
        t["hidden"] = output.last_hidden_state.detach()
    else:
        output.loss.backward()
        t |= {"labels": labels, "logits": output.logits.detach()} if task == LM else {"y": y, "cls_logits": output.logits.detach()}
        t["loss"] = output.loss.detach().reshape(1)
        for n, p in trained:
            if p.grad is not None: t["grad." + n] = p.grad.clone()
            if written: t["param." + n] = p.detach().clone()
    save_file({k: v.contiguous().clone() for k, v in t.items()}, f"{d}/io.safetensors")

def run(model, task):
    more = {LM: {"labels": labels}, CLS: {"labels": y}, HID: {}}[task]
    return model(input_ids=ids, attention_mask=mask, **more)

def rename(d, family):
    """No path of this machine in what is kept."""
    j = json.load(open(f"{d}/adapter_config.json"))
    j["base_model_name_or_path"] = f"tiny-{family}"
    for k in ("target_modules", "feedforward_modules"):
        if isinstance(j.get(k), list): j[k] = sorted(j[k])
    json.dump(j, open(f"{d}/adapter_config.json", "w"), indent=1, sort_keys=True)

for name, config in cases.items():
    if chosen and name not in chosen: continue
    family, method = name.split("/")
    torch.manual_seed(seed + sum(map(ord, name)))
    d = f"{root}/{family}/adapters/{method}"
    shutil.rmtree(d, ignore_errors=True); os.makedirs(d)
    task = config.task_type
    model = get_peft_model(classes[task].from_pretrained(f"{root}/{family}", attn_implementation="eager"), config)
    randomise(model); model.eval()
    if method == "lora_f16":
        for p in model.parameters():
            if p.requires_grad: p.data = p.data.half().float()
    write(d, family, task, model, run(model, task), [(n, p) for n, p in model.named_parameters() if p.requires_grad],
        isinstance(config, PromptEncoderConfig) or getattr(config, "prefix_projection", False))
    model.save_pretrained(d)
    if os.path.exists(f"{d}/README.md"): os.remove(f"{d}/README.md")
    rename(d, family)
    file = f"{d}/adapter_model.safetensors"
    if method == "lora_f16":
        save_file({k: v.half() for k, v in load_file(file).items()}, file)
    if method == "lora_named":                        # as a state dict of the wrapped model calls them
        save_file({k.replace(".weight", ".default.weight"): v for k, v in load_file(file).items()}, file)
    print(name, sum(os.path.getsize(f"{d}/{f}") for f in os.listdir(d)))

# Bottlenecks over BERT under the base's own head: AdapterHub's forward, written out.
forms = {
    "houlsby": dict(mh_adapter=True, original_ln_before=False, is_parallel=False, non_linearity="swish", scaling=1.0),
    "pfeiffer": dict(mh_adapter=False, original_ln_before=True, is_parallel=False, non_linearity="relu", scaling=1.0),
    "parallel": dict(mh_adapter=False, original_ln_before=False, is_parallel=True, non_linearity="relu", scaling=4.0),
}
curves = {"swish": torch.nn.functional.silu, "relu": torch.nn.functional.relu}
for method, form in forms.items():
    if chosen and f"bert/{method}" not in chosen: continue
    torch.manual_seed(seed + sum(map(ord, method)))
    d = f"{root}/bert/adapters/{method}"; shutil.rmtree(d, ignore_errors=True); os.makedirs(d)
    model = AutoModelForSequenceClassification.from_pretrained(f"{root}/bert", attn_implementation="eager").eval()
    for p in model.parameters(): p.requires_grad_(False)
    own = {}
    def bottleneck(module, path, part):
        """x is the residual stream, h what the sublayer adds to it."""
        path = f"bert.encoder.layer.{path}.adapters.task"
        sizes = {"adapter_down.0.weight": (6, 48), "adapter_down.0.bias": (6,), "adapter_up.weight": (48, 6), "adapter_up.bias": (48,)}
        for k, size in sizes.items(): own[f"{path}.{k}"] = torch.nn.Parameter(torch.randn(size) * 0.2)
        def f(z):
            z = curves[form["non_linearity"]](z @ own[f"{path}.adapter_down.0.weight"].T + own[f"{path}.adapter_down.0.bias"])
            return form["scaling"] * (z @ own[f"{path}.adapter_up.weight"].T + own[f"{path}.adapter_up.bias"])
        def forward(hidden_states, input_tensor):
            x, h = input_tensor, module.dense(hidden_states)
            z = x if form["is_parallel"] else module.LayerNorm(x + h) if form["original_ln_before"] else h
            return module.LayerNorm(x + h + f(z))
        module.forward = forward
    for i, layer in enumerate(model.bert.encoder.layer):
        if form["mh_adapter"]: bottleneck(layer.attention.output, f"{i}.attention.output", "attention")
        bottleneck(layer.output, f"{i}.output", "mlp")
    write(d, "bert", CLS, model, run(model, CLS), list(own.items()), False)
    save_file({k: v.detach().clone() for k, v in own.items()}, f"{d}/adapter.safetensors")
    config = dict(form, output_adapter=True, residual_before_ln=True, original_ln_after=True, reduction_factor=8, ln_before=False,
        ln_after=False, adapter_residual_before_ln=False, use_gating=False, cross_adapter=False, phm_layer=False, inv_adapter=None,
        leave_out=[], dropout=0.0, init_weights="bert")
    json.dump({"config": config, "hidden_size": 48, "model_class": "BertForSequenceClassification", "model_name": "tiny-bert",
        "model_type": "bert", "name": "task", "version": "adapters.1.3.0"}, open(f"{d}/adapter_config.json", "w"), indent=1, sort_keys=True)
    print("bert", method)
