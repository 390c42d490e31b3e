"""Weigh a generated dump of the Hub under three lenses, beside pandas, and print time and memory.

    python -m bench.weigh_dump [--repositories 2000000] [--seed 1] [--dump FILE.parquet]

The dump has the columns, types and rough shape of the public ones (hub-stats): few repositories
have most of the downloads, few publishers are known, tags carry the base model. Each contender runs
in a process of its own and reports its wall time, with the import of its library, and its peak
memory; both must come to the same totals. pandas is not a dependency of wazn:
pip install pandas pyarrow.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from wazn.cli.console import print_table

DAY = date(2026, 9, 5)
LENSES = ("hub-language-cumulative", "hub-all-panel", "hub-language-lineage")

Totals = dict[str, dict[str, int]]

GENERATED = """
COPY (
    WITH publishers AS (
        SELECT row_number() OVER () - 1 AS place, publisher
        FROM (SELECT DISTINCT publisher FROM listed ORDER BY publisher)
    ), drawn AS (
        SELECT i, random() AS a, random() AS b, random() AS c, random() AS d, random() AS e,
               CASE WHEN random() < 0.03
                    THEN (SELECT count(*) FROM publishers) * random() END AS known
        FROM range({repositories}) t(i)
    )
    SELECT coalesce(publisher, 'user' || (a * 300000)::INTEGER) || '/model-' || i
               || CASE WHEN b < 0.1 THEN '-GGUF' WHEN b < 0.12 THEN '-AWQ' ELSE '' END AS id,
           (pow(1 - c, -0.9) * 20)::BIGINT AS downloads,
           (pow(1 - c, -0.9) * 20 * (1 + 20 * d))::BIGINT AS "downloadsAllTime",
           CASE WHEN b < 0.45 THEN 'text-generation' WHEN b < 0.5 THEN 'image-text-to-text'
                WHEN b < 0.9 THEN 'feature-extraction' END AS pipeline_tag,
           TIMESTAMP '2022-03-02' + to_days((1640 * e)::INTEGER) AS "createdAt",
           CASE WHEN d < 0.4 THEN ['license:mit', 'base_model:Qwen/Qwen3-' || (9 * a)::INTEGER,
                                   'base_model:quantized:Qwen/Qwen3-' || (9 * a)::INTEGER]
                WHEN d < 0.6 THEN ['base_model:meta-llama/Llama-' || (9 * a)::INTEGER]
                ELSE ['license:apache-2.0'] END AS tags
    FROM drawn LEFT JOIN publishers ON place = floor(known)
) TO '{path}' (FORMAT parquet)
"""


def generate(path: Path, repositories: int, seed: int) -> None:
    """Write a dump; the same seed gives the same dump."""
    from wazn.weigh.attribution import create_tables
    from wazn.weigh.store import new_connection

    connection = new_connection()
    create_tables(connection, DAY)
    connection.execute("CREATE TABLE listed AS SELECT publisher FROM publishers WHERE region <> ''")
    connection.execute("SET threads = 1; SELECT setseed(?)", [seed / 2**31])
    connection.execute(GENERATED.format(repositories=repositories, path=path))


def weigh_with_wazn(path: Path) -> Totals:
    """Totals by country under each lens, by wazn."""
    from wazn.weigh.dump import line_of_dump, require_one_row_each
    from wazn.weigh.lens import load_lenses
    from wazn.weigh.store import new_connection

    lenses = load_lenses()
    connection = new_connection()
    require_one_row_each(connection, path)
    totals = {}
    for name in LENSES:
        line = line_of_dump(connection, path, lenses[name], "country", DAY)
        assert line is not None
        groups = line.snapshots[-1].groups
        totals[name] = {region: int(group.total) for region, group in groups.items()}
    return totals


def weigh_with_pandas(path: Path) -> Totals:
    """The same by pandas, as one would write it: the definitions of the lenses by hand."""
    import pandas

    frame = pandas.read_parquet(path)
    assert frame["id"].is_unique
    names = frame["id"].str.lower()
    names_only = names.str.rsplit("/", n=1).str[-1]
    regions = _regions()
    fixtures = names.str.contains(
        r"^[^/]*-internal-testing/|/tiny-random[-_]|/tiny-[a-z0-9]+for[a-z]"
    )
    frame = frame.assign(
        region=names.str.split("/", n=1).str[0].map(regions).fillna("UNKNOWN"), fixture=fixtures
    )
    texts = frame["pipeline_tag"].isin(["text-generation", "image-text-to-text"])
    excluded = "gguf|mlx|onnx|gptq|awq|embed|rerank|reward|guard|-prm|classifier"
    first_party = (
        texts
        & ~fixtures
        & ~names_only.str.contains(excluded)
        & (frame["region"] != "UNKNOWN")
        & (frame["createdAt"].dt.date > date(2022, 11, 30))
    )
    tags = frame["tags"].map(" ".join)
    base = tags.str.extract(r"base_model:(?:[a-z]+:)?([^\s/]+)/")[0].str.lower()
    lineage = base.map(regions).where(base.isna(), base.map(regions).fillna("UNKNOWN"))
    frame["lineage"] = lineage.where(base.notna(), frame["region"])
    results = (
        (LENSES[0], frame[first_party].groupby("region")["downloadsAllTime"].sum()),
        (LENSES[1], frame[~fixtures].groupby("region")["downloads"].sum()),
        (LENSES[2], frame[texts & ~fixtures].groupby("lineage")["downloads"].sum()),
    )
    return {name: {str(k): int(v) for k, v in sums.items() if v} for name, sums in results}


def _regions() -> dict[str, str]:
    from wazn.weigh.attribution import create_tables
    from wazn.weigh.store import new_connection

    connection = new_connection()
    create_tables(connection, DAY)
    rows = connection.execute("SELECT publisher, region FROM publishers WHERE namespace = 'hf'")
    return dict(rows.fetchall())


CONTENDERS: dict[str, Callable[[Path], Totals]] = {
    "wazn": weigh_with_wazn,
    "pandas": weigh_with_pandas,
}


def run(contender: str, path: Path) -> None:
    """Run one contender in this process and print what it took as JSON."""
    started = time.perf_counter()
    totals = CONTENDERS[contender](path)
    seconds = time.perf_counter() - started
    used = resource.getrusage(resource.RUSAGE_SELF)
    measured = {
        "seconds": seconds,
        "cpu_seconds": used.ru_utime + used.ru_stime,
        "peak_bytes": used.ru_maxrss * 1024,
        "totals": totals,
    }
    print(json.dumps(measured))


def main() -> None:
    """Generate the dump, run both, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repositories", type=int, default=2_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--dump", type=Path, help="weigh this file instead of a generated one")
    parser.add_argument("--run", choices=CONTENDERS, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.run:
        return run(given.run, given.dump)
    with tempfile.TemporaryDirectory() as folder:
        path = given.dump or Path(folder) / "models.parquet"
        if given.dump is None:
            generate(path, given.repositories, given.seed)
        print(f"{given.repositories:,} repositories, {path.stat().st_size / 1e6:.0f} MB of Parquet")
        results = {name: _measured(name, path) for name in CONTENDERS}
    rows = [
        (
            *(name, f"{one['seconds']:.2f}", f"{one['cpu_seconds']:.2f}"),
            f"{one['peak_bytes'] / 1e9:.2f}",
        )
        for name, one in results.items()
    ]
    print_table(("contender", "seconds", "CPU seconds", "peak GB"), rows)
    if results["wazn"]["totals"] != results["pandas"]["totals"]:
        sys.exit(f"the totals differ: {json.dumps(results, indent=1)}")
    print("both come to the same totals under " + ", ".join(LENSES))


def _measured(contender: str, path: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench.weigh_dump", "--run", contender, "--dump", str(path)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    measured: dict[str, Any] = json.loads(done.stdout)
    return measured


if __name__ == "__main__":
    main()
