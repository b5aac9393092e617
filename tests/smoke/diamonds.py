"""Imports ggplot2's `diamonds` (53,940 rows) through a host and the command line: once, once more, and with 500 other
prices. Then looks whether the ledger is sound and every read model shows it.

    python3 tests/smoke/diamonds.py diamonds.csv [target/release/ledgerline]

The file is not in the repository: any copy of the data set as CSV will do, such as R's `write.csv(ggplot2::diamonds)`.
"""

import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from host import ask, free_port, start, stop, wait_until  # noqa: E402

MAPPING = """
fields:
  sk: ""                                   # the row's number, in a column without a name
  code: ""
  name: cut
  attributes.category: cut
  attributes.price: price
  attributes.specification.weight: carat
"""
CHANGED = 500


def main():
    source, binary = Path(sys.argv[1]), (sys.argv[2:] or ["target/debug/ledgerline"])[0]
    rows = list(csv.reader(source.open(newline="")))
    total = len(rows) - 1
    with tempfile.TemporaryDirectory(prefix="ledgerline-diamonds-") as folder:
        data, mapping, changed = Path(folder, "data"), Path(folder, "map.yaml"), Path(folder, "changed.csv")
        mapping.write_text(MAPPING)
        price = rows[0].index("price")
        # Spread over the whole file.
        for row in rows[1 :: total // CHANGED][:CHANGED]:
            row[price] = str(int(row[price]) + 1)
        with changed.open("w", newline="") as out:
            csv.writer(out).writerows(rows)

        def ledgerline(*words):
            command = [binary, *words, "--data-dir", str(data), "--json"]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode != 0:
                raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}\n{done.stderr}")
            return json.loads(done.stdout.strip().splitlines()[-1])

        port = free_port()
        host = start(f"exec {binary} --data-dir {data} --port {port} > {folder}/host.log 2>&1")
        try:
            wait_until("healthz", lambda: ask(f"http://127.0.0.1:{port}/healthz")[0] == 200, process=host)
            for what, file, expected in [
                ("first", source, {"created": total}),
                ("again", source, {"unchanged": total}),
                (f"{CHANGED} other prices", changed, {"updated": CHANGED, "unchanged": total - CHANGED}),
            ]:
                done = ledgerline("import", "products", str(file), "--map", str(mapping), "--tenant", "acme")
                counts = {name: count for name, count in done["counts"].items() if count and name != "total"}
                seconds = done["millis"] / 1000
                print(f"{what}: {counts} in {seconds:.0f} s, {total / seconds:.0f} rows/s", flush=True)
                if done["state"] != "completed" or counts != expected:
                    raise SystemExit(f"{what}: {done}")
            verified, compared = ledgerline("verify"), ledgerline("reconcile", "--dry-run")
            print("verify:", {name: value for name, value in verified.items() if isinstance(value, int)})
            print("reconcile:", {name: value for name, value in compared["counts"].items() if value})
            if verified["versions"] != total + CHANGED:
                raise SystemExit(f"{verified['versions']} versions, not {total + CHANGED}")
        finally:
            stop(host)


if __name__ == "__main__":
    main()
