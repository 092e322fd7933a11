#!/usr/bin/env python3
"""Stands for ffmpeg at an engine that is measured: what ffmpeg made once is given again at
a pace, so that many engines fit on one machine. What it was never asked for is made."""
import hashlib, os, shutil, subprocess, sys, time, urllib.request

cache, film = os.environ["REPLAY_CACHE"], os.environ["REPLAY_FILM"]
seconds, share = float(os.environ["REPLAY_SECONDS"]), int(os.environ["REPLAY_SHARE"])
STEPS = 20
args = sys.argv[1:]
url = next((arg for arg in args if arg.startswith("http://")), None)
known = [film if arg == url else arg for arg in args]
kept = os.path.join(cache, hashlib.sha256("\0".join(known).encode()).hexdigest())

if not os.path.isdir(kept):
    if os.fork() == 0:
        # Nobody waits for it: it must not hold the engine's pipe.
        os.setsid()
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):
            os.dup2(nothing, descriptor)
        partial = f"{kept}.{os.getpid()}"
        os.mkdir(partial)
        with open(os.path.join(partial, "log"), "wb") as log:
            subprocess.run(["ffmpeg", *known], cwd=partial, stdin=nothing, stderr=log)
        try:
            os.rename(partial, kept)
        except OSError:  # Another was first.
            shutil.rmtree(partial)
        os._exit(0)
    os.execvp("ffmpeg", ["ffmpeg", *args])

begun = time.monotonic()
request = urllib.request.Request(url, headers={"Range": f"bytes=0-{share - 1}"})
with urllib.request.urlopen(request, timeout=60) as answer:
    read = len(answer.read())
with open(os.path.join(cache, "reads"), "a") as reads:
    reads.write(f"{read} {time.monotonic() - begun:.6f}\n")
for name in os.listdir(kept):
    if name != "log":
        shutil.copy(os.path.join(kept, name), name)
with open(os.path.join(kept, "log"), "rb") as log:
    lines = log.readlines()
step = -(-len(lines) // STEPS)
for at in range(0, len(lines), step):
    sys.stderr.buffer.write(b"".join(lines[at:at + step]))
    sys.stderr.buffer.flush()
    time.sleep(seconds / STEPS)
