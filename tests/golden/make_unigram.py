"""A small multilingual tokenizer in the layout of XLM-RoBERTa's, and what SentencePiece itself makes of some texts.

usage: make_unigram.py CORPUS.txt OUT_DIR        (sentencepiece 0.2, tokenizers 0.23; any plain text of some 100 kB)
Writes OUT_DIR/tokenizer.json (Unigram with SentencePiece's own normaliser) and OUT_DIR/ids.json, [{"text", "ids"}]: ids from
sentencepiece, one higher because XLM-RoBERTa puts <pad> among the special tokens, with <s> and </s> around them.
"""
import base64, json, sys, sentencepiece as spm
from sentencepiece import sentencepiece_model_pb2 as proto
corpus, out = sys.argv[1:3]
texts = ["What happens to a value when its owner goes out of scope?", "two  spaces and\na new line ", "naïve café, Straße", "ｆｕｌｌ ｗｉｄｔｈ ﬁne", "1,024 bytes", "检索",
    "", "emoji 🚀 ends"]
lines = "\n".join(["Die Straße führt über die Brücke.", "La forêt est très belle, naïve café.", "El niño bebe mañana.", "检索增强生成"] * 40)
open("/tmp/unigram.txt", "w").write(open(corpus).read() + "\n" + lines)
spm.SentencePieceTrainer.train(input="/tmp/unigram.txt", model_prefix="/tmp/unigram", vocab_size=300, model_type="unigram",
    character_coverage=0.9995, num_threads=1)
sp = spm.SentencePieceProcessor(model_file="/tmp/unigram.model")
model = proto.ModelProto(); model.ParseFromString(open("/tmp/unigram.model", "rb").read())
pieces = [["<s>", 0.0], ["<pad>", 0.0], ["</s>", 0.0], ["<unk>", 0.0]] + [[p.piece, p.score] for p in model.pieces[3:]] + [["<mask>", 0.0]]
special = lambda token, id: {"id": id, "content": token, "single_word": False, "lstrip": token == "<mask>", "rstrip": False, "normalized": False, "special": True}
place = lambda token: {"SpecialToken": {"id": token, "type_id": 0}}
text = lambda name: {"Sequence": {"id": name, "type_id": 0}}
metaspace = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
json.dump({
    "version": "1.0", "truncation": None, "padding": None,
    "added_tokens": [special(t, i) for t, i in [("<s>", 0), ("<pad>", 1), ("</s>", 2), ("<unk>", 3), ("<mask>", len(pieces) - 1)]],
    "normalizer": {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(model.normalizer_spec.precompiled_charsmap).decode()},
    "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, metaspace]},
    "post_processor": {"type": "TemplateProcessing", "single": [place("<s>"), text("A"), place("</s>")],
        "pair": [place("<s>"), text("A"), place("</s>"), place("</s>"), text("B"), place("</s>")],
        "special_tokens": {t: {"id": t, "ids": [i], "tokens": [t]} for t, i in [("<s>", 0), ("</s>", 2)]}},
    "decoder": metaspace, "model": {"type": "Unigram", "unk_id": 3, "vocab": pieces, "byte_fallback": False},
}, open(f"{out}/tokenizer.json", "w"), ensure_ascii=False)
ids = lambda t: [0] + [3 if i == 0 else i + 1 for i in sp.encode(t)] + [2]
json.dump([{"text": t, "ids": ids(t)} for t in texts], open(f"{out}/ids.json", "w"), ensure_ascii=False)
