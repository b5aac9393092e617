"""`ledgerline stack` beside `cargo lambda watch`: every event of `events/` invoked, and the path proven.

A product created by `cargo lambda invoke` has to arrive in Postgres through data-sync, which the local host
invokes on the watch server; it is read back through query-api, also on the watch server.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from host import ask, free_port, start, stop, wait_until  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
# In the order in which they make sense: the product is created, changed, deleted and restored.
COMMANDS = ["create-product", "replace-product", "update-product", "change-price", "delete-product", "restore-product"]


def invoke(port, function, case):
    """One `cargo lambda invoke`, as the README shows it; returns the function's answer."""
    answer = subprocess.run(
        ["cargo", "lambda", "invoke", "-A", "127.0.0.1", "-P", str(port), function,
         "--data-file", f"events/{function}/{case}.json"],
        cwd=ROOT, check=True, capture_output=True, text=True, timeout=120,
    ).stdout
    return json.loads(answer)


def expect(what, found, wanted):
    if found != wanted:
        raise SystemExit(f"{what}: {found!r} instead of {wanted!r}")
    print(f"  {what}: {found}", flush=True)


def main():
    # The host and the functions, so that the first invocation does not wait for a compiler.
    subprocess.run(["cargo", "build", "--locked"], cwd=ROOT, check=True)
    watch_port, port = free_port(), free_port()
    with tempfile.TemporaryDirectory(prefix="ledgerline-stack-") as data_dir:
        stack = start(
            f"cd {ROOT} && exec target/debug/ledgerline --data-dir {data_dir}/data stack "
            f"--port {port} --watch http://127.0.0.1:{watch_port}"
        )
        watch = None
        try:
            env_file = Path(data_dir, "data", "lambda.env")
            wait_until("the stack", env_file.exists, process=stack)
            watch = start(
                f"cd {ROOT} && exec cargo lambda watch -A 127.0.0.1 -P {watch_port} --env-file {env_file} --ignore-changes"
            )
            query = f"http://127.0.0.1:{watch_port}/lambda-url/query-api"
            wait_until("the watch server", lambda: ask(f"{query}/healthz")[0] == 200, patience=600, process=watch)

            for case in COMMANDS:
                answer = invoke(watch_port, "command-api", case)
                expect(f"command-api/{case}", answer["statusCode"], 201 if case == "create-product" else 200)
            expect("command-api/malformed-body", invoke(watch_port, "command-api", "malformed-body")["statusCode"], 400)
            first, again = (invoke(watch_port, "command-api", "create-product-with-key") for _ in range(2))
            expect("command-api/create-product-with-key", first["statusCode"], 201)
            expect("the same request again", (again["statusCode"], again["body"] == first["body"]), (201, True))
            expect("command-api/bulk", invoke(watch_port, "command-api", "bulk")["statusCode"], 200)
            refused = invoke(watch_port, "command-api", "bulk-atomic-refused")["statusCode"]
            expect("command-api/bulk-atomic-refused", refused >= 400, True)

            def projected():
                listed = json.loads(invoke(watch_port, "query-api", "list-products")["body"])["data"]
                versions = {item["sk"]: item["version"] for item in listed}
                return versions.get("ring-7") == len(COMMANDS) + 1  # the last change came in bulk

            wait_until("the newest version in Postgres", projected)
            print("  projected: ring-7 at version", len(COMMANDS) + 1, flush=True)
            for case in ["get-product", "product-history", "list-products", "healthz"]:
                expect(f"query-api/{case}", invoke(watch_port, "query-api", case)["statusCode"], 200)

            # The host's own schedule may have been faster; then no round is due.
            def reconciled():
                worked = invoke(watch_port, "reconcile", "schedule")
                if worked.get("round"):
                    expect("reconcile/schedule", worked["round"]["counts"]["extra"], 0)
                return not worked["unfinished"]

            wait_until("a finished round of reconcile", reconciled)
            print("  reconcile/schedule: finished", flush=True)

            for case in ["insert", "other-kinds"]:
                expect(f"event-relay/{case}", invoke(watch_port, "event-relay", case), {"batchItemFailures": []})
            failures = invoke(watch_port, "event-relay", "partial-failure")["batchItemFailures"]
            expect("event-relay/partial-failure", len(failures), 1)

            expect("data-sync/insert", invoke(watch_port, "data-sync", "insert"), {"batchItemFailures": []})
            failures = invoke(watch_port, "data-sync", "partial-failure")["batchItemFailures"]
            expect("data-sync/partial-failure", len(failures), 1)
        finally:
            if watch is not None:
                stop(watch)
            stop(stack)
    print("cargo lambda: every event was answered, and what it wrote was projected.")


if __name__ == "__main__":
    main()
