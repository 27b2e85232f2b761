"""Runs one configuration by promptfoo and by incontext: are the verdicts the same, and what do they take?

usage: python promptfoo.py INCONTEXT NODE_MODULES [--delay MS] [--jobs N] [--rounds N] [--prompts N] [--cases N]

NODE_MODULES is where `npm install promptfoo@0.119` put it. Both ask the same endpoint, a process of its own here, that
waits so many milliseconds and says what stands behind `Reply: ` in the prompt; asked as `judge`, it passes what has
`good` in it. First every assertion that both have, also with `not-`, is held against outputs of all kinds, and verdicts are
compared test by test. Then a larger configuration is run by both in turn; times and the memory of the largest process are
medians of the rounds. promptfoo is kept from calling home, and neither uses its cache.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

OUTPUTS = [
    "Paris", "paris", "In Paris, France, 1887.", "42", "1.5", "true", "[1, 2]", "{\"a\": 1}", "{\"b\": [\"x\", null]}",
    "see {\"a\": 1} and {\"b\": 2}", "} no {", "a good answer", "was 12.05.1999", "a.b", "ÉTÉ à Paris", "{}",
]
ASSERTS = [
    {"type": "equals", "value": "Paris"}, {"type": "equals", "value": 42}, {"type": "equals", "value": "{{reply}}"},
    {"type": "contains", "value": "Paris"}, {"type": "icontains", "value": "pARIS"}, {"type": "icontains", "value": "été"},
    {"type": "contains-all", "value": ["Paris", "France"]}, {"type": "contains-all", "value": "Paris, 1887"},
    {"type": "icontains-all", "value": ["PARIS", "in"]}, {"type": "contains-any", "value": ["42", "Lyon", "{{word}}"]},
    {"type": "contains-any", "value": "\"Paris, France\", true"}, {"type": "icontains-any", "value": ["FRANCE", "GOOD"]},
    {"type": "starts-with", "value": "In "}, {"type": "starts-with", "value": "{"},
    {"type": "regex", "value": "^[Pp]aris$"}, {"type": "regex", "value": "\\d{2}\\.\\d{2}"}, {"type": "regex", "value": "a.b"},
    {"type": "is-json"}, {"type": "is-json", "value": {"type": "object", "required": ["a"]}}, {"type": "contains-json"},
    {"type": "contains-json", "value": {"required": ["b"], "type": "object"}}, {"type": "latency", "threshold": 60000},
    {"type": "latency", "threshold": 0}, {"type": "llm-rubric", "value": "It says that {{word}} is well."},
]


def answer(request):
    text = request["messages"][-1]["content"]
    everything = json.dumps(request["messages"], ensure_ascii=False)
    if request["model"] == "judge":
        good = "a good answer" in everything
        return json.dumps({"pass": good, "score": float(good), "reason": "It is so."})
    return text.split("Reply: ", 1)[1].strip()


def response(request, said):
    usage = {"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19}
    head = "HTTP/1.1 200 OK\r\nContent-Type: "
    if not request.get("stream"):
        choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        body = json.dumps({"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage}).encode()
        return f"{head}application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    deltas = [({"role": "assistant", "content": said}, None), ({}, "stop")]
    events = [{"choices": [{"index": 0, "delta": delta, "finish_reason": end}]} for delta, end in deltas]
    events = [json.dumps(event) for event in [*events, {"choices": [], "usage": usage}]] + ["[DONE]"]
    body = "".join(f"data: {event}\n\n" for event in events).encode()
    chunk = f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"
    return f"{head}text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n".encode() + chunk


def serve(port, connections, delay):
    async def client(reader, writer):
        with connections.get_lock():
            connections.value += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lines = head.decode().lower().split("\r\n")
                length = next(int(line.split(":")[1]) for line in lines if line.startswith("content-length:"))
                request = json.loads(await reader.readexactly(length))
                await asyncio.sleep(delay / 1000)
                writer.write(response(request, answer(request)))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def main():
        server = await asyncio.start_server(client, "127.0.0.1", 0, backlog=256)
        port.value = server.sockets[0].getsockname()[1]
        await server.serve_forever()

    asyncio.run(main())


def measured(command, cwd, env):
    start = time.perf_counter()
    with open(cwd / "log", "w") as log:
        child = subprocess.Popen(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode not in (0, 100):
        sys.exit(f"{command[:3]} ended with {child.returncode}:\n{(cwd / 'log').read_text()[-3000:]}")
    return time.perf_counter() - start, usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime


def theirs(main, jobs, cwd, env):
    command = ["node", main, "eval", "-c", "pf.json", "-o", "out.json", "-j", str(jobs), "--no-cache", "--no-table"]
    figures = measured([*command, "--no-progress-bar"], cwd, env)
    results = json.loads((cwd / "out.json").read_text())["results"]["results"]
    return figures, {(row["promptIdx"], row["testIdx"]): row["success"] for row in results}


def ours(program, cwd, env):
    subprocess.run([program, "experiment", "import", "pf.json", "--replace", "-q"], cwd=cwd, env=env, check=True)
    subprocess.run(["rm", "-rf", cwd / "pf/results"], check=True)
    figures = measured([program, "experiment", "run", "pf/pf.toml", "--no-cache", "-q"], cwd, env)
    verdicts = {}
    for line in (cwd / "pf/results/pf/rows.jsonl").read_text().splitlines():
        row = json.loads(line)
        key = (int(row["cell"][1:]) - 1, int(row["item"]) - 1)
        verdicts[key] = row["metrics"].get("passed", 1.0) == 1.0 and "error" not in row
    return figures, verdicts


def config(prompts, tests, jobs):
    return json.dumps({
        "prompts": prompts, "providers": ["openai:chat:mock"], "tests": tests,
        "evaluateOptions": {"maxConcurrency": jobs},
    })


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program", type=Path)
    parser.add_argument("modules", type=Path)
    for name, usual in [("delay", 5), ("jobs", 4), ("rounds", 3), ("prompts", 10), ("cases", 500)]:
        parser.add_argument(f"--{name}", type=int, default=usual)
    given = parser.parse_args()
    port, connections = multiprocessing.Value("i", 0), multiprocessing.Value("i", 0)
    server = multiprocessing.Process(target=serve, args=(port, connections, given.delay), daemon=True)
    server.start()
    while not port.value:
        time.sleep(0.01)
    url = f"http://127.0.0.1:{port.value}/v1"
    program, script = str(given.program.resolve()), str(given.modules.resolve() / "promptfoo/dist/src/main.js")
    with tempfile.TemporaryDirectory() as folder:
        cwd = Path(folder)
        env = os.environ | {
            "OPENAI_BASE_URL": url, "OPENAI_API_KEY": "none", "PROMPTFOO_CONFIG_DIR": str(cwd / "home"),
            "PROMPTFOO_DISABLE_TELEMETRY": "1", "PROMPTFOO_DISABLE_UPDATE": "1", "PROMPTFOO_CACHE_ENABLED": "false",
            "PROMPTFOO_DISABLE_REMOTE_GENERATION": "1", "PROMPTFOO_DISABLE_SHARING": "1", "NO_COLOR": "1",
        }
        (cwd / ".incontext").mkdir()
        tests = []
        for assertion in ASSERTS:
            for kind in (assertion["type"], f"not-{assertion['type']}"):
                # promptfoo has no schema of what is not to be JSON.
                if kind.startswith("not-") and "json" in kind and "value" in assertion:
                    continue
                one = assertion | {"type": kind}
                if "rubric" in kind:
                    one["provider"] = "openai:chat:judge"
                tests += [{"vars": {"reply": out, "word": "true"}, "assert": [one]} for out in OUTPUTS]
        (cwd / "pf.json").write_text(config(["Reply: {{reply}}", "Now then.\nReply: {{ reply }}"], tests, given.jobs))
        (_, peer), (_, mine) = theirs(script, given.jobs, cwd, env), ours(program, cwd, env)
        differ = [key for key in sorted(peer | mine) if peer.get(key) != mine.get(key)]
        print(f"verdicts: {len(peer)} by promptfoo, {len(mine)} by incontext, {len(differ)} differ; "
              f"{sum(peer.values())} passed")
        for prompt, test in differ[:20]:
            case = tests[test]
            print(f"  {case['assert'][0]} on {case['vars']['reply']!r}: "
                  f"promptfoo {peer.get((prompt, test))}, incontext {mine.get((prompt, test))}")
        tests = [{
            "vars": {"reply": f"In Paris, {number}.", "word": str(number)},
            "assert": [{"type": "contains", "value": "{{word}}"}, {"type": "not-icontains", "value": "london"},
                       {"type": "regex", "value": "\\d\\."}],
        } for number in range(given.cases)]
        prompts = [f"You are number {number}. Reply: {{{{reply}}}}" for number in range(given.prompts)]
        (cwd / "pf.json").write_text(config(prompts, tests, given.jobs))
        seen = {"promptfoo": [], "incontext": []}
        for _ in range(given.rounds):
            before = connections.value
            figures, peer = theirs(script, given.jobs, cwd, env)
            seen["promptfoo"].append((*figures, connections.value - before))
            before = connections.value
            figures, mine = ours(program, cwd, env)
            seen["incontext"].append((*figures, connections.value - before))
            assert peer == mine and len(mine) == given.prompts * given.cases, (len(peer), len(mine))
        print(f"{given.prompts} prompts x {given.cases} cases, {given.jobs} at a time, an answer takes {given.delay} ms:")
        for name, rounds in seen.items():
            wall, memory, cpu, opened = (statistics.median(of) for of in zip(*rounds))
            print(f"  {name:<10} {wall:7.2f} s {memory:7.0f} MB {cpu:7.2f} s of processor {opened:6.0f} connections")
    server.terminate()


main()
