"""Runs the README's shell blocks in order, as a newcomer would, and then looks whether it is true.

Each block is preceded by a comment that says how: `<!-- ci: host -->` starts it in the background on a free port,
`<!-- ci: run -->` runs it to its end, `<!-- ci: elsewhere … -->` and `<!-- ci: skip … -->` leave it to somebody
else. A block without a comment is an error.
"""

import re
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from host import ask, free_port, start, stop, wait_until  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"(?:<!-- ci: (?P<how>[^>]*?) -->\n)?```sh\n(?P<code>.*?)```", re.DOTALL)


def main():
    blocks = [(match["how"], match["code"]) for match in BLOCK.finditer((ROOT / "README.md").read_text())]
    unmarked = [code for how, code in blocks if how is None]
    if unmarked:
        raise SystemExit(f"a README block does not say how CI runs it:\n{unmarked[0]}")

    subprocess.run(["cargo", "build", "--locked"], cwd=ROOT, check=True)
    with tempfile.TemporaryDirectory(prefix="ledgerline-readme-") as data_dir:
        port = free_port()
        base = f"http://127.0.0.1:{port}"
        # Only the port and the data directory differ from what a newcomer types.
        place = f"--data-dir {data_dir}/data"

        def adapted(code):
            code = code.replace("http://127.0.0.1:3000", base)
            code = re.sub(r"^cargo run$", f"cargo run -- {place} --port {port}", code, flags=re.MULTILINE)
            return re.sub(r"cargo run --quiet -- (token|verify|rebuild|reconcile|quarantine list|dead-letters list|diagnose|resync|import)", rf"cargo run --quiet -- \1 {place}", code)

        def serve():
            process = start(f"cd {ROOT} && exec cargo run -- {place} --port {port}")
            wait_until("healthz", lambda: ask(f"{base}/healthz")[0] == 200, process=process)
            return process

        host = serve()
        try:
            shell = "set -euo pipefail\n" + "\n".join(adapted(code) for how, code in blocks if how == "run")
            print(shell, flush=True)
            subprocess.run(["bash", "-c", shell], cwd=ROOT, check=True)
            print()

            token = subprocess.run(
                ["bash", "-c", f"cargo run --quiet -- token {place} --tenant acme --role editor"],
                cwd=ROOT, check=True, capture_output=True, text=True,
            ).stdout.strip()
            wait_until("the price in Postgres", lambda: listed_price(base, token) == "1199.90")
            stop(host)
            print("stopped; starting again on the same data", flush=True)

            host = serve()
            if listed_price(base, token) != "1199.90":
                raise SystemExit("the product is not in Postgres after a restart")

            status, _ = ask(f"{base}/api/v1/products", token, "POST", {"sk": "late", "code": "L", "name": "Late"})
            if status != 201:
                raise SystemExit(f"a create answered {status}")
            stop(host, signal.SIGKILL)
            print("killed right after an accepted create; starting again", flush=True)

            host = serve()
            wait_until("the last product in Postgres", lambda: "late" in listed(base, token))
        finally:
            stop(host)
            (ROOT / "rings.csv").unlink(missing_ok=True)
    print("README: every command did what it says, and nothing was forgotten over a restart and a kill.")


def listed(base, token):
    _, body = ask(f"{base}/api/v1/products?limit=100", token)
    return {item["sk"]: item for item in (body or {}).get("data", [])}


def listed_price(base, token):
    return listed(base, token).get("ring-7", {}).get("attributes", {}).get("price")


if __name__ == "__main__":
    main()
