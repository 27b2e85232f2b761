"""BLEU, chrF and ROUGE of awkward texts, by the programs whose numbers everybody compares with.

usage: make_text_metrics.py OUT.json       (sacrebleu 2.6.0, rouge-score 0.1.2)
Writes {"pairs": [{"said", "references", "bleu": {tokenizer: sentence BLEU}, "chrf", "rouge1": [precision, recall, f], ...}],
"corpus": {"bleu": {tokenizer: ...}, "chrf"}}. Sentence BLEU uses the effective order, as sacrebleu's `sentence_bleu` does;
ROUGE of several references is that of the best, without stemming.
"""
import json, sys
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF

pairs = [
    ("The cat sat on the mat.", ["The cat sat on the mat."]),
    ("", ["The cat sat on the mat."]),
    ("The cat sat on the mat.", [""]),
    ("", [""]),
    ("the the the the the the the", ["The cat is on the mat.", "There is a cat on the mat."]),
    ("It is a guide to action which ensures that the military always obeys the commands of the party.",
     ["It is a guide to action that ensures that the military will forever heed Party commands.",
      "It is the guiding principle which guarantees the military forces always being under the command of the Party.",
      "It is the practical guide for the army always to heed the directions of the party."]),
    ("It is to insure the troops forever hearing the activity guidebook that party direct.",
     ["It is a guide to action that ensures that the military will forever heed Party commands."]),
    ("Adapters hold 1,000.5 weights, not 1.000,5.", ["Adapters hold 1,000.5 weights; not 1,000 5."]),
    ("In 1999-2000, prices rose by 3.5%-4%.", ["In 1999 - 2000 prices rose by 3.5 % - 4 %."]),
    ("\"Quoted,\" she said.", ["&quot;Quoted,&quot; she said."]),
    ("\u201cCurly quotes\u201d \u2014 em dash\u2026 ellipsis", ["\"Curly quotes\" - em dash... ellipsis"]),
    ("R&amp;D costs &lt;5 &gt; 3", ["R&D costs <5 > 3", "R & D cost less"]),
    ("don't can't it's I'll", ["do not can not it is I will", "don't can 't it's I will"]),
    ("Wait... what?!, no,, .5 and 5. or ,,a", ["Wait ... what ? ! no , , .5 and 5 . or , a"]),
    ("\u68c0\u7d22\u589e\u5f3a\u7684\u4e0a\u4e0b\u6587\u5b66\u4e60\u5f15\u64ce\u3002",
     ["\u68c0\u7d22\u589e\u5f3a\u7684\u4e0a\u4e0b\u6587\u5b66\u4e60\u3002", "\u5fae\u8c03\u5927\u578b\u8bed\u8a00\u6a21\u578b"]),
    ("\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8", ["\u65e5\u672c\u8a9e\u306e\u6587\u7ae0\u30c6\u30ad\u30b9\u30c8\u3067\u3059"]),
    ("\ud55c\uad6d\uc5b4 \ud14d\uc2a4\ud2b8 \uc785\ub2c8\ub2e4", ["\ud55c\uad6d\uc5b4 \ud14d\uc2a4\ud2b8"]),
    ("na\u00efve caf\u00e9 r\u00e9sum\u00e9", ["naive cafe resume", "nai\u0308ve cafe\u0301 re\u0301sume\u0301"]),
    ("line one\nline two", ["line one line two", "line one\n\nline two\n"]),
    ("hyphen-\nated word <skipped>here", ["hyphenated word here"]),
    ("  leading and trailing  \t", ["leading and trailing"]),
    ("no\u00a0break\u2003and\u200bzero width", ["no break and zero width"]),
    ("Paris", ["Paris."]),
    ("Paris is the capital of France", ["Paris"]),
    ("a b c d e f g", ["g f e d c b a"]),
    ("the quick brown fox jumps over the lazy dog", ["the quick brown dog jumps on the log"]),
    ("one two", ["one two three"]),
    ("one two three", ["one two"]),
    ("one two three four", ["one two three", "one two three four five", "one two"]),
    ("short", ["a much longer reference that shares nothing with it at all"]),
    ("UPPER lower MiXeD", ["upper LOWER mixed"]),
    ("snake_case and v1.2.3-rc4 at https://example.org/a/b?c=d&e=f#g",
     ["snake case and v1.2.3 rc4 at https://example.org/a/b?c=d"]),
    ("{\"key\": [1, 2.5, null]}", ["{\"key\":[1,2.5,null]}"]),
    ("emoji \U0001f680 ends \U0001f469\u200d\U0001f469\u200d\U0001f467", ["emoji \U0001f680 ends"]),
    ("\u0130stanbul and \u212aelvin", ["istanbul and kelvin"]),
    ("running runs ran runner", ["run running run"]),
    ("a", ["a"]),
    ("ab", ["ba"]),
    ("...", ["."]),
    ("!!! ??? ;;;", ["! ? ;"]),
    ("-5 - 5--5 5-", ["-5 - 5 -5 5 -"]),
    ("x.y.z 1.2.3, a,b,c 1,2,3", ["x . y . z 1.2.3 , a , b , c 1,2,3"]),
    ("a\x1cb\x1fc d", ["a b c d"]),
    ("one word cut-\n\x1d", ["one word cut -"]),
    ("The gate refuses 41 of 100 questions; 7 wrongly.", ["Of 100 questions the gate refuses 41, 7 of them wrongly."]),
    ("the cat the cat the cat", ["the cat", "the cat the dog the cat"]),
]
tokenizers = ["13a", "char", "none"]
names = ["rouge1", "rouge2", "rougeL"]
rouge = RougeScorer(names, use_stemmer=False)
sentence = {name: BLEU(tokenize=name, effective_order=True) for name in tokenizers}
rows = []
for said, references in pairs:
    row = {"said": said, "references": references, "chrf": CHRF().sentence_score(said, references).score}
    row["bleu"] = {name: sentence[name].sentence_score(said, references).score for name in tokenizers}
    row |= {name: list(score) for name, score in rouge.score_multi(references, said).items()}
    rows.append(row)
said = [said for said, _ in pairs]
most = max(len(references) for _, references in pairs)
streams = [[(references + [None] * most)[at] for _, references in pairs] for at in range(most)]
corpus = {"bleu": {name: BLEU(tokenize=name).corpus_score(said, streams).score for name in tokenizers},
    "chrf": CHRF().corpus_score(said, streams).score}
json.dump({"pairs": rows, "corpus": corpus}, open(sys.argv[1], "w"), ensure_ascii=False, indent=1)
