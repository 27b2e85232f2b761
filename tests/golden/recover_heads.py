"""Solves the classification head that AdapterHub's bottlenecks over BERT were computed under and that was not saved with them.

usage: recover_heads.py TINY_DIR        (the files beside this script: `recover_heads.py tiny`)
For TINY_DIR/bert/adapters/{houlsby,pfeiffer,parallel}_hub writes model_head.safetensors. Logits are linear in the head, and so are
gradients once the logits are given: dL/d(pooled) = (softmax - y) W / B. The head is the least-squares solution for the logits and
the gradients of the last layer's bottleneck; what is printed is how well it explains those of the layers below. Adding one row
to all rows of W changes no gradient of a trunk and no class: of those solutions it is the shortest.
"""
import json, sys
import torch
from safetensors.torch import load_file, save_file
from transformers import BertForSequenceClassification

root = sys.argv[1] + "/bert"
curves = {"relu": torch.relu, "swish": torch.nn.functional.silu}
for name in ("houlsby", "pfeiffer", "parallel"):
    d = f"{root}/adapters/{name}_hub"
    config = json.load(open(f"{d}/adapter_config.json"))["config"]
    own = {k: v.clone().requires_grad_(True) for k, v in load_file(f"{d}/adapter.safetensors").items()}
    ref = load_file(f"{d}/io.safetensors")
    model = BertForSequenceClassification.from_pretrained(root, attn_implementation="eager").eval()
    for p in model.parameters(): p.requires_grad_(False)

    def insert(module, path):
        path = f"bert.encoder.layer.{path}.adapters.task."
        def f(z):
            z = curves[config["non_linearity"]](z @ own[path + "adapter_down.0.weight"].T + own[path + "adapter_down.0.bias"])
            return config["scaling"] * (z @ own[path + "adapter_up.weight"].T + own[path + "adapter_up.bias"])
        def forward(hidden_states, input_tensor):
            x, h = input_tensor, module.dense(hidden_states)
            z = x if config["is_parallel"] else module.LayerNorm(x + h) if config["original_ln_before"] else h
            return module.LayerNorm(x + h + f(z))
        module.forward = forward
    for i, layer in enumerate(model.bert.encoder.layer):
        if config["mh_adapter"]: insert(layer.attention.output, f"{i}.attention.output")
        insert(layer.output, f"{i}.output")
    pooled = model.bert(input_ids=ref["input_ids"], attention_mask=ref["attention_mask"]).pooler_output   # (B, H)
    logits, y = ref["cls_logits"], ref["y"]
    B, C, H = *logits.shape, pooled.shape[1]
    g = (torch.softmax(logits, -1) - torch.nn.functional.one_hot(y, C).float()) / B

    keys = sorted(own); columns = {k: [] for k in keys}
    for unit in torch.eye(C * H):
        grads = torch.autograd.grad(pooled, [own[k] for k in keys], grad_outputs=g @ unit.reshape(C, H), retain_graph=True)
        for k, v in zip(keys, grads): columns[k].append(v.flatten())
    A = {k: torch.stack(v, 1).double() for k, v in columns.items()}
    given = {k: next(v for q, v in ref.items() if q.startswith("grad.") and k in q).flatten().double() for k in keys}
    fitted = [k for k in keys if k.startswith("bert.encoder.layer.2.output")]
    rows = [torch.cat([A[k], torch.zeros(len(given[k]), C)], 1) / given[k].norm() for k in fitted]
    sides = [given[k] / given[k].norm() for k in fitted]
    outputs = torch.cat([torch.kron(torch.eye(C).double(), pooled.detach().double()), torch.kron(torch.eye(C).double(), torch.ones(B, 1).double())], 1)
    rows.append(outputs / logits.norm()); sides.append(logits.T.flatten().double() / logits.norm())
    head = torch.linalg.lstsq(torch.cat(rows), torch.cat(sides)[:, None], driver="gelsd", rcond=1e-6).solution[:, 0]
    others = [((A[k] @ head[: C * H] - given[k]).norm() / given[k].norm()).item() for k in keys if k not in fitted]
    error = ((outputs @ head - logits.T.flatten()).norm() / logits.norm()).item()
    print(f"{name}: logits {error:.1e}, the other layers' {len(others)} gradients at worst {max(others):.1e}")
    save_file({"classifier.weight": head[: C * H].reshape(C, H).float().contiguous(), "classifier.bias": head[C * H :].float().contiguous()},
        f"{d}/model_head.safetensors")
