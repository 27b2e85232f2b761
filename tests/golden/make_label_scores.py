"""Log-probabilities of labels behind prompts, as lm-evaluation-harness computes them: one forward pass a label.

usage: make_label_scores.py OUT_FILE TINY_DIR SMOLLM2_HF_DIR     (`make_label_scores.py label_scores.json tiny DIR`)
SMOLLM2_HF_DIR: the GGUF file of the default generator expanded to 32-bit floats by transformers; without it OUT_FILE keeps the
rows it has of that model. Versions that made the file here: torch 2.15, transformers 5.24.
"""
import json, os, sys, torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

out, tiny = sys.argv[1:3]
torch.set_num_threads(2)

def encode_pair(encode, prompt, label):
    """Prompt and label cut into tokens together; white space at the prompt's end belongs to the label."""
    context = prompt.rstrip(" ")
    label = prompt[len(context):] + label if len(context) < len(prompt) else label if prompt.endswith("\n") else " " + label
    whole, ids = encode(context + label), encode(context)
    assert whole[:len(ids)] == ids, (prompt, label)
    return ids, whole[len(ids):]

def score(model, context, label):
    with torch.inference_mode():
        logits = model(torch.tensor([context + label[:-1]])).logits[0].double()
    rows = torch.log_softmax(logits, -1)[len(context) - 1:]
    chosen = rows.gather(1, torch.tensor(label)[:, None])
    return float(chosen.sum()), bool((rows.argmax(-1) == torch.tensor(label)).all())

def row(name, model, encode, start, prompt, labels, messages=None):
    pairs = [encode_pair(encode, prompt, label) for label in labels]
    scores = [score(model, *pair) for pair in pairs]
    alone = [score(model, [start], label)[0] for _, label in pairs]
    print(name, labels[max(range(len(labels)), key=lambda i: scores[i][0])])
    asked = {"messages": messages} if messages else {"prompt": prompt}
    return {"model": name, **asked, "labels": labels, "tokens": [len(label) for _, label in pairs],
            "log_probabilities": [s for s, _ in scores], "greedy": [g for _, g in scores], "unconditional": alone}

rows = []
for name in ["llama", "gpt2", "gemma3"]:
    model = AutoModelForCausalLM.from_pretrained(f"{tiny}/{name}", dtype=torch.float32, attn_implementation="eager").eval()
    tokenizer = Tokenizer.from_file(f"{tiny}/{name}/tokenizer.json")
    encode = lambda text: tokenizer.encode(text, add_special_tokens=False).ids
    labels = ["balo", "dami fenu", "dami fenu garo hasi", "dami kelu", "zosi ? zosi"]
    for prompt in ["lemo", "meni neru peso rila simo tinu vira zola", "Balo dami, fenu: balo. " * 6 + "Kelu"]:
        rows.append(row(name, model, encode, model.config.bos_token_id, prompt, labels))

demonstrations = [
    ("Which river runs through the middle of Prague?", "location"), ("Who painted the ceiling of that chapel in Rome?", "person or group"),
    ("How many strings does a cello have?", "number"), ("What does GPS stand for?", "abbreviation"),
    ("Why do leaves turn red in autumn?", "description"), ("What instrument has eighty-eight keys?", "thing or event"),
    ("In what year was the first zip fastener sold?", "number"), ("What is a palindrome?", "description")]
questions = ["Where do puffins nest in winter?", "What is the full form of HTML?", "Who wrote the first cookbook?",
    "How tall is a giraffe at birth?", "What do bees make besides honey?", "How does a sundial work?"]
labels = ["abbreviation", "thing or event", "description", "person or group", "location", "number"]
if len(sys.argv) > 3:
    name = "smollm2-135m-instruct"
    model = AutoModelForCausalLM.from_pretrained(sys.argv[3], dtype=torch.float32, attn_implementation="eager").eval()
    tokenizer = AutoTokenizer.from_pretrained(sys.argv[3])
    encode = lambda text: tokenizer(text, add_special_tokens=False).input_ids
    told = "Say what kind of thing each question asks for.\n\n"
    shown = "".join(f"Question: {q}\nKind: {label}\n\n" for q, label in demonstrations)
    for question in questions:
        rows.append(row(name, model, encode, tokenizer.bos_token_id, f"{told}{shown}Question: {question}\nKind:", labels))
    # White space that a token of the label takes in; labels that begin alike; and a chat, laid out by the model's template.
    rows.append(row(name, model, encode, tokenizer.bos_token_id, f"{shown}Question: {questions[0]}\nKind: ",
        ["a place on the map", "a place in time", "a place", "somebody"]))
    turns = [{"role": "system", "content": told.strip()}]
    for q, label in demonstrations:
        turns += [{"role": "user", "content": q}, {"role": "assistant", "content": label}]
    turns.append({"role": "user", "content": questions[2]})
    chat = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    rows.append(row(name, model, encode, tokenizer.bos_token_id, chat, labels, turns))
elif os.path.exists(out):
    rows += [kept for kept in json.load(open(out)) if kept["model"] == "smollm2-135m-instruct"]
json.dump(rows, open(out, "w"), ensure_ascii=False, indent=1)
