"""A small SentencePiece BPE model and what it makes of some texts, to hold the GGUF tokenizer against.

usage: make_sentencepiece.py CORPUS.txt OUT.json       (sentencepiece 0.2; any plain text of some 100 kB as corpus)
Writes {"tokens", "scores", "types", "texts": [{"text", "ids", "decoded"}]}: pieces as a GGUF file of a Llama 2 model
stores them, ids without a first token.
"""
import json, sys, sentencepiece as spm
corpus, out = sys.argv[1:3]
spm.SentencePieceTrainer.train(input=corpus, model_prefix="/tmp/spm_golden", vocab_size=600, model_type="bpe",
    byte_fallback=True, character_coverage=0.999, normalization_rule_name="identity", remove_extra_whitespaces=False,
    split_digits=True, allow_whitespace_only_pieces=True, add_dummy_prefix=True, num_threads=1)
sp = spm.SentencePieceProcessor(model_file="/tmp/spm_golden.model")
kind = lambda i: 2 if sp.is_unknown(i) else 3 if sp.is_control(i) else 6 if sp.is_byte(i) else 1
n = range(sp.get_piece_size())
texts = ["What happens to a value when its owner goes out of scope?", "two  spaces and\na new line", "1,024 bytes",
    "naïve café", "检索", "a", "", "fn main() { let x = 5; }", "emoji 🚀 ends"]
json.dump({"tokens": [sp.id_to_piece(i) for i in n], "scores": [sp.get_score(i) for i in n], "types": [kind(i) for i in n],
    "texts": [{"text": t, "ids": sp.encode(t), "decoded": sp.decode(sp.encode(t))} for t in texts]}, open(out, "w"), ensure_ascii=False)
