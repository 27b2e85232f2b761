"""The cases of `cargo bench --bench generation` that llama.cpp can run, on 2 threads.

usage: python generate.py MODEL.gguf
needs: pip install llama-cpp-python
"""

import os
import statistics
import sys
import time

from llama_cpp import Llama

threads = int(os.environ.get("THREADS", "2"))
model = Llama(sys.argv[1], n_ctx=2048, n_batch=1024, n_threads=threads, n_threads_batch=threads, verbose=False)


def timed(run, runs=7):
    seconds = []
    for _ in range(runs + 1):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def prefill(tokens):
    ids = [10 + (((i * 2654435761) & (2**64 - 1)) >> 7) % (2**32) % 47990 for i in range(tokens)]

    def run():
        model.reset()
        model.eval(ids)

    print(f"prefill {tokens}: {tokens / timed(run):.1f} tokens/s", flush=True)


WRITTEN = 64
PROMPT = (
    "<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
    "<|im_start|>user\nTell me a story about a lighthouse keeper and a storm.<|im_end|>\n<|im_start|>assistant\n"
)


def decode():
    """A whole answer less its first token, so less the reading of the prompt: greedy, decoded to text."""
    ids = model.tokenize(PROMPT.encode(), add_bos=False, special=True)

    def write(most):
        start = time.perf_counter()
        model.reset()
        text, written = b"", 0
        for token in model.generate(ids, temp=0.0, reset=True):
            text += model.detokenize([token])
            written += 1
            if written == most:
                break
        return time.perf_counter() - start

    write(1)
    rates = [WRITTEN / (write(WRITTEN + 1) - write(1)) for _ in range(7)]
    print(f"decode {WRITTEN}: {statistics.median(rates):.1f} tokens/s", flush=True)


prefill(256)
prefill(1024)
decode()
