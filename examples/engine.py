#!/usr/bin/env python3
"""An engine for reelraft in a few lines: see docs/engines.md.

    REELRAFT_ENGINE_TOKEN=rre_… SSL_CERT_FILE=ca.pem python3 engine.py https://node1:8401 BUILD

BUILD is what `reelraft engine --show-build` prints on a machine with the same ffmpeg and
processor features.
"""
import hashlib, json, os, subprocess, sys, tempfile, threading, time, urllib.error, urllib.request

server, build = sys.argv[1].rstrip("/"), sys.argv[2]
if not server.startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
    sys.exit("a token is not sent in clear to another machine: ask by https://")
running = {}  # task -> what its thread looks at


def ask(path, body=None, method="POST", token=None):
    data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
    request = urllib.request.Request(f"{server}/api/v1/engines/{path}", data, method=method)
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read() or b"{}")


def run(task, told):
    base, sent = f"tasks/{task['task']}", 0
    with tempfile.TemporaryDirectory() as folder:
        args = [server + task["input"] if arg == "{input}" else arg for arg in task["args"]]
        ffmpeg = subprocess.Popen([os.environ.get("FFMPEG", "ffmpeg"), *args], cwd=folder,
                                  stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE, env={**os.environ, "AV_LOG_FORCE_NOCOLOR": "1"})
        stopped = False
        try:
            while part := ffmpeg.stderr.read1(256 << 10):
                state = ask(f"{base}/log?offset={sent}", part)
                sent = state["log_bytes"]
                if (state["stop"] or told["stop"]) and not stopped:
                    stopped = True
                    ffmpeg.kill()
            exit = 0 if ffmpeg.wait() == 0 or stopped else 1
            at, hashed = 0, hashlib.sha256()
            if exit == 0:
                with open(os.path.join(folder, task["output"]), "rb") as file:
                    while part := file.read(8 << 20):
                        hashed.update(part)
                        at = ask(f"{base}/output?offset={at}", part, "PUT")["output_bytes"]
            ask(f"{base}/complete", {"exit": exit, "bytes": at, "log_bytes": sent,
                                     "sha256": hashed.hexdigest()})
        except (urllib.error.URLError, OSError) as error:  # Over, or lost: the member sees to it.
            print(f"{task['attempt']}: {error}", file=sys.stderr)
        finally:
            ffmpeg.kill()
            ffmpeg.wait()
            running.pop(task["task"], None)


token, session = os.environ["REELRAFT_ENGINE_TOKEN"], None
while True:
    try:
        if not session:
            session = ask("register", {"build": build, "slots": 1}, token=token)["session"]
        told = ask("beat", {"session": session, "running": list(running), "wait_s": 1 if running else 5}, token=token)
    except (urllib.error.URLError, OSError) as error:
        print(error, file=sys.stderr)
        session = None
        time.sleep(2)
        continue
    for task in told["begin"]:
        if task["task"] not in running:
            running[task["task"]] = {"stop": False}
            threading.Thread(target=run, args=(task, running[task["task"]])).start()
    for task in told["stop"] + told["cancel"]:
        if task in running:
            running[task]["stop"] = True
    time.sleep(told["again_in_ms"] / 1000)
