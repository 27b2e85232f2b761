"""Runs two benchmarks in turn, several times, and prints the median of each case and their ratio.

usage: python compare.py [--rounds N] OURS -- PEER

Each command prints lines `case: value unit`. Alternating keeps a machine that grows slower or busier from favouring one of
the two; the ratio is the median of the rounds' own ratios.

    python benches/peers/compare.py cargo bench --bench embedding -- python benches/peers/embed.py MODEL_DIR
"""

import re
import statistics
import subprocess
import sys

LINE = re.compile(r"^(?P<case>[^:]+): (?P<value>[0-9.]+) (?P<unit>tokens/s|ms|s|MB)\b")


def measured(command):
    out = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    found = (LINE.match(line) for line in out.splitlines())
    return {match["case"]: (float(match["value"]), match["unit"]) for match in found if match}


def main():
    words = sys.argv[1:]
    rounds = 5
    if words[:1] == ["--rounds"]:
        rounds, words = int(words[1]), words[2:]
    # The last `--` parts the two commands; `cargo bench` may have one of its own.
    part = len(words) - 1 - words[::-1].index("--")
    ours, peer = words[:part], words[part + 1 :]
    seen = []
    for _ in range(rounds):
        seen.append((measured(ours), measured(peer)))
    cases = [case for case in seen[0][0] if case in seen[0][1]]
    print(f"{'case':<24} {'ours':>10} {'peer':>10}  {'ratio':>5}   unit, medians of {rounds} rounds")
    for case in cases:
        a, b = ([round_[side][case][0] for round_ in seen] for side in (0, 1))
        ratio = statistics.median(x / y for x, y in zip(a, b))
        unit = seen[0][0][case][1]
        print(f"{case:<24} {statistics.median(a):>10.1f} {statistics.median(b):>10.1f}  {ratio:>5.2f}   {unit}")


main()
