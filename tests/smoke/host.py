"""Starting, asking and stopping a local host, for the smoke tests."""

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(command, env=None):
    """Starts a command in a process group of its own, so that all of it can be stopped."""
    return subprocess.Popen(command, shell=True, env=env, start_new_session=True, executable="/bin/bash")


def stop(process, sig=signal.SIGINT, patience=30):
    """Asks politely, then insists. Returns the exit status."""
    if process.poll() is None:
        os.killpg(process.pid, sig)
    try:
        return process.wait(patience)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise SystemExit(f"process {process.pid} did not stop within {patience} s")


def ask(url, token=None, method="GET", body=None, headers=None):
    """One request; returns (status, parsed body)."""
    headers = dict(headers or {})
    if token:
        headers["authorization"] = f"Bearer {token}"
    data = None
    if body is not None:
        data = json.dumps(body).encode()
        headers.setdefault("content-type", "application/json")
    request = urllib.request.Request(url, data=data, method=method, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read() or b"null")
    except (urllib.error.URLError, ConnectionError, TimeoutError):
        return 0, None


def wait_until(what, condition, patience=60, process=None):
    """Polls until `condition()` is true; gives up loudly."""
    deadline = time.monotonic() + patience
    while not condition():
        if process is not None and process.poll() is not None:
            raise SystemExit(f"gave up waiting for {what}: the process ended with {process.returncode}")
        if time.monotonic() > deadline:
            raise SystemExit(f"gave up waiting for {what} after {patience} s")
        time.sleep(0.05)
