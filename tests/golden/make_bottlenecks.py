"""Bottleneck adapters and their numbers from AdapterHub's own library, on the tiny models.

usage: make_bottlenecks.py TINY_DIR SEED        (the files beside this script: `make_bottlenecks.py tiny 13`)
Reads TINY_DIR/<family>; writes TINY_DIR/<family>/adapters/hub_<name>/ as the library saves an adapter, and io.safetensors beside it:
input_ids, attention_mask, labels or y, logits, cls_logits or hidden, loss, grad.<parameter> for everything that was trained.
Every trained tensor is random, none is zero. `train_adapter` leaves a classifier trainable: here it keeps the base's values, or is
trained and saved with the adapter (`hub_head`). A head that is changed and not saved makes numbers that no reader can repeat.
Versions that made the files here: adapters 1.3.0, transformers 4.57.1, torch 2.15.
"""
import glob, json, os, shutil, sys
import torch, adapters
from adapters import DoubleSeqBnConfig, ParBnConfig, SeqBnConfig
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification

root, seed = sys.argv[1], int(sys.argv[2])
LM, CLS, HID = AutoModelForCausalLM, AutoModelForSequenceClassification, AutoModel
torch.manual_seed(seed)
ids = torch.randint(3, 307, (2, 7)); mask = torch.ones_like(ids); mask[1, 4:] = 0
labels = ids.clone(); labels[mask == 0] = -100; labels[:, :2] = -100
y = torch.tensor([2, 0])

cases = {
    "bert/houlsby": (CLS, DoubleSeqBnConfig(reduction_factor=8)),
    "bert/pfeiffer": (CLS, SeqBnConfig(reduction_factor=8)),
    "bert/parallel": (CLS, ParBnConfig(reduction_factor=8)),
    "bert/odd": (CLS, DoubleSeqBnConfig(reduction_factor=5, non_linearity="gelu", scaling=0.5)),     # 48 / 5 is 9
    "bert/head": (CLS, SeqBnConfig(reduction_factor=16)),
    "bert/hidden": (HID, SeqBnConfig(reduction_factor=16)),                                       # keys without `bert.`
    "bert/pickled": (CLS, SeqBnConfig(reduction_factor=16)),                                      # as the library saves by default
    "distilbert/houlsby": (CLS, DoubleSeqBnConfig(reduction_factor=16)),
    "distilbert/pfeiffer": (CLS, SeqBnConfig(reduction_factor=16)),
    "distilbert/parallel": (CLS, ParBnConfig(reduction_factor=16)),
    "xlm_roberta/pfeiffer": (CLS, SeqBnConfig(reduction_factor=16)),
    "gpt2/houlsby": (LM, DoubleSeqBnConfig(reduction_factor=16)),
    "gpt2/pfeiffer": (LM, SeqBnConfig(reduction_factor=16)),
    "gpt2/parallel": (LM, ParBnConfig(reduction_factor=16)),
    "llama_untied/pfeiffer": (LM, SeqBnConfig(reduction_factor=16)),
    "qwen2/houlsby": (LM, DoubleSeqBnConfig(reduction_factor=16)),
    "qwen2/parallel": (LM, ParBnConfig(reduction_factor=16)),
    "qwen3/pfeiffer": (LM, SeqBnConfig(reduction_factor=16)),
    "gemma3/houlsby": (LM, DoubleSeqBnConfig(reduction_factor=16)),
    "gemma3/parallel": (LM, ParBnConfig(reduction_factor=16)),
    "gemma3/pfeiffer": (LM, SeqBnConfig(reduction_factor=16)),
}

for name, (cls, config) in cases.items():
    family, form = name.split("/")
    d = f"{root}/{family}/adapters/hub_{form}"
    # This transformers reads rope_theta where the files' has rope_parameters.
    rope = json.load(open(f"{root}/{family}/config.json")).get("rope_parameters", {})
    rope = {"rope_theta": rope["rope_theta"]} if "rope_theta" in rope else {}
    model = cls.from_pretrained(f"{root}/{family}", attn_implementation="eager", **rope).eval()
    # Both versions must mean the same base before an adapter is held against anything.
    io = load_file(f"{root}/{family}/io.safetensors")
    with torch.no_grad(): bare = model(input_ids=io["input_ids"], attention_mask=io["attention_mask"])
    kept = io["attention_mask"].bool()
    ours, theirs = {LM: lambda: (bare.logits[kept], io["logits"][kept]), CLS: lambda: (bare.logits, io["cls_logits"]),
        HID: lambda: (bare.last_hidden_state[kept], io["hidden"][kept])}[cls]()
    assert (ours - theirs).norm() <= 1e-5 * theirs.norm(), f"{name}: this transformers computes another base"
    try:
        adapters.init(model)
    except Exception as error:
        print(f"{name}: the library has no such family ({type(error).__name__})"); continue
    shutil.rmtree(d, ignore_errors=True); os.makedirs(d)
    torch.manual_seed(seed + sum(map(ord, name)))
    model.add_adapter("task", config=config); model.train_adapter("task"); model.eval()
    trained = {n: p for n, p in model.named_parameters() if p.requires_grad and ("adapters" in n or form == "head")}
    with torch.no_grad():
        for p in trained.values(): p.normal_(0, 0.2)
    t = {"input_ids": ids, "attention_mask": mask}
    more = {LM: {"labels": labels}, CLS: {"labels": y}, HID: {}}[cls]
    output = model(input_ids=ids, attention_mask=mask, **more)
    if cls is HID:
        t["hidden"] = output.last_hidden_state.detach()
    else:
        output.loss.backward()
        t |= {"labels": labels, "logits": output.logits} if cls is LM else {"y": y, "cls_logits": output.logits}
        t |= {"loss": output.loss.reshape(1)} | {f"grad.{n}": p.grad for n, p in trained.items()}
    model.save_adapter(d, "task", with_head=form == "head", use_safetensors=form != "pickled")
    save_file({k: v.detach().contiguous().clone() for k, v in t.items()}, f"{d}/io.safetensors")
    for file in glob.glob(f"{d}/*.json"):                     # no path of this machine in what is kept
        j = json.load(open(file))
        if "model_name" in j: j["model_name"] = f"tiny-{family}"
        json.dump(j, open(file, "w"), indent=1, sort_keys=True)
    print(name, sum(os.path.getsize(f"{d}/{f}") for f in os.listdir(d)), sorted(os.listdir(d)))
