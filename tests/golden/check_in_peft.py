"""Loads adapters that we wrote in PEFT, warnings as errors, and compares PEFT's logits with ours.

usage: check_in_peft.py TINY_DIR ADAPTERS_DIR
ADAPTERS_DIR/<family>-<method>/ holds the adapter and ours.<i>.safetensors: ids (T,) and logits (T, V) or (1, C). Bottlenecks are
not PEFT's: with the `adapters` library installed they are loaded there, else passed over, and the last line says which.
`INCONTEXT_PEFT_PYTHON=python cargo test --release --test it peft_loads` writes the folders and runs this.
"""
import glob, json, os, sys, warnings
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification
from transformers.utils import logging
import peft
try:
    import adapters
except ImportError:
    adapters = None

# Of transformers and torch themselves, not of what is loaded.
own = [FutureWarning, DeprecationWarning, PendingDeprecationWarning]
logging.disable_progress_bar()
tiny, root = sys.argv[1], sys.argv[2]
failed, passed, over = [], 0, []
for d in sorted(glob.glob(f"{root}/*/")):
    name = os.path.basename(os.path.dirname(d))
    family = name.split("-")[0]
    config = json.load(open(f"{d}/adapter_config.json"))
    cls = AutoModelForSequenceClassification if family == "bert" else AutoModelForCausalLM
    model = cls.from_pretrained(f"{tiny}/{family}", attn_implementation="eager")
    if "peft_type" not in config and adapters is None:
        over.append(name); continue
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for kind in own: warnings.simplefilter("ignore", kind)
        try:
            if "peft_type" in config:
                model = peft.PeftModel.from_pretrained(model, d).eval()
                # A key that PEFT does not know or misses is a warning on some paths and silence on others: ask it.
                state = peft.get_peft_model_state_dict(model, save_embedding_layers=False)
                theirs = load_file(f"{d}/adapter_model.safetensors")
                odd = {k for k in set(state) ^ set(theirs) if "classifier" not in k}
                assert not odd, f"keys differ: {sorted(odd)[:4]}"
            else:
                adapters.init(model)
                head = os.path.exists(f"{d}/model_head.safetensors")
                model.load_adapter(d, set_active=True, with_head=head, use_safetensors=True); model.eval()
            worst = 0.0
            for file in sorted(glob.glob(f"{d}/ours.*.safetensors")):
                ours = load_file(file)
                ids = ours["ids"].long()[None]
                with torch.no_grad(): logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits.reshape(-1, ours["logits"].shape[-1])
                logits = logits[-ours["logits"].shape[0]:]              # without rows of virtual tokens
                worst = max(worst, ((logits - ours["logits"]).norm() / logits.norm()).item())
            assert worst <= 1e-5, f"relative error {worst}"
            passed += 1; print(f"{name}: {worst:.1e}")
        except Exception as error:
            failed.append(f"{name}: {type(error).__name__}: {error}")
print(f"{passed} adapters compute our logits; passed over: {', '.join(over) or 'none'}")
if failed: sys.exit("\n".join(failed))
