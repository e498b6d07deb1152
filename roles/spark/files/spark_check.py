#!/usr/bin/env python3
# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prove that this host's Spark works: jobs, a Hive table through SQL, and a stream from files to a table.

spark-submit spark_check.py [--path hdfs://NAMENODE/tmp]

Everything is made below a folder of its own in that path, and removed again. The last line of the output is the result.
"""

import argparse
import json
import os
import platform
import socket
import sys
import time
import traceback
import uuid

ROWS = 1000
STREAM_FILES = 3
STREAM_ROWS = 30
MARK = "gpufleet-spark-check: "
STEP = "gpufleet-spark-check is at "


class Wrong(Exception):
    """Carries a sentence about a result that is not what it should be."""


def expect(what, found, expected):
    """Stop where a number is not the right one."""
    if found != expected:
        raise Wrong(
            f"{what}: {found} came back where {expected} were written; if the executors run on other hosts, "
            "spark_check_path has to be a folder that all of them share"
        )


def look_at_worker(_rows):
    """Run on an executor: say which Python this is, and where."""
    versions = {}
    for name in ("numpy", "pandas", "pyarrow"):
        try:
            versions[name] = __import__(name).__version__
        except ImportError:
            versions[name] = None
    yield {"python": platform.python_version(), "executable": sys.executable, "host": socket.gethostname(), **versions}


def run_jobs(spark, _place):
    """Run Python on the executors."""
    numbers = spark.sparkContext.parallelize(range(ROWS), 4)
    expect("the sum of a job", numbers.map(lambda one: one * 2).sum(), ROWS * (ROWS - 1))
    return {}


def look_at_workers(spark, _place):
    """See which executors there are; the first job may have begun when one of them had come."""
    context = spark.sparkContext
    workers = context.parallelize(range(4), 4).mapPartitions(look_at_worker).collect()
    return {
        "worker": {name: workers[0][name] for name in ("python", "executable", "numpy", "pandas", "pyarrow")},
        "hosts": sorted({one["host"] for one in workers}),
    }


def make_database(spark, place):
    """Make the folder and, in it, the database that the next steps work in."""
    hadoop = spark.sparkContext._jvm.org.apache.hadoop.fs
    folder = hadoop.Path(place)
    folder.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration()).mkdirs(folder)
    name = place.rpartition("/")[2]
    spark.sql(f"CREATE DATABASE {name} LOCATION '{place}/tables'")
    spark.sql(f"USE {name}")
    return {}


def use_hive(spark, place):
    """Write a table with Hive's own classes and ask it through SQL."""
    if spark.conf.get("spark.sql.catalogImplementation") != "hive":
        return {"hive_rows": None}
    spark.sql("CREATE TABLE numbers (id BIGINT, parity STRING) ROW FORMAT DELIMITED STORED AS TEXTFILE")
    spark.range(ROWS).selectExpr("id", "IF(id % 2 = 0, 'even', 'odd') AS parity").createOrReplaceTempView("fresh")
    spark.sql("INSERT INTO numbers SELECT * FROM fresh")
    found = {
        row.parity: row.n for row in spark.sql("SELECT parity, COUNT(*) AS n FROM numbers GROUP BY parity").collect()
    }
    expect("the rows of a Hive table", sum(found.values()), ROWS)
    expect("the even rows of a Hive table", found.get("even"), ROWS // 2)
    return {"hive_rows": ROWS}


def run_stream(spark, place):
    """Stream files into a table, then one more file: only what is new may be added."""

    def bring(first):
        fresh = spark.range(first, first + STREAM_ROWS).repartition(STREAM_FILES)
        fresh.write.mode("append").json(f"{place}/arriving")

    def stream():
        files = spark.readStream.schema("id BIGINT").option("maxFilesPerTrigger", 1).json(f"{place}/arriving")
        writer = files.writeStream.option("checkpointLocation", f"{place}/checkpoint").trigger(availableNow=True)
        query = writer.toTable("arrived")
        query.awaitTermination()
        return len({progress["batchId"] for progress in query.recentProgress})

    bring(0)
    batches = stream()
    expect("the rows of a stream", spark.table("arrived").count(), STREAM_ROWS)
    bring(STREAM_ROWS)
    batches += stream()
    expect("the rows of a stream that goes on", spark.table("arrived").distinct().count(), 2 * STREAM_ROWS)
    expect("the rows of a stream, counted twice", spark.table("arrived").count(), 2 * STREAM_ROWS)
    return {"stream_rows": 2 * STREAM_ROWS, "stream_batches": batches}


# A job that no executor takes is given up from outside, so the first step leaves nothing behind.
STEPS = (
    ("jobs", run_jobs),
    ("a database", make_database),
    ("a Hive table", use_hive),
    ("a stream", run_stream),
    ("the executors", look_at_workers),
)


def prove(spark, path):
    """Go through the steps in a database and a folder of its own; return what they found."""
    hadoop = spark.sparkContext._jvm.org.apache.hadoop.fs
    name = "gpufleet_check_" + uuid.uuid4().hex[:12]
    root = hadoop.Path(path or default_path(spark))
    files = root.getFileSystem(spark.sparkContext._jsc.hadoopConfiguration())
    root = files.makeQualified(root).toString()  # a stream's checkpoint refuses hdfs:///tmp, which names no NameNode
    place = f"{root.rstrip('/')}/{name}"
    folder = hadoop.Path(place)
    result = {"path": root, "seconds": {}}
    try:
        for step, work in STEPS:
            print(STEP + step, file=sys.stderr, flush=True)  # so that who gives up knows how far it was
            began = time.monotonic()
            result.update(work(spark, place))
            result["seconds"][step] = round(time.monotonic() - began, 1)
    except Exception as error:
        error.step = step
        raise
    finally:
        for undo in (
            lambda: spark.sql(f"DROP DATABASE IF EXISTS {name} CASCADE"),
            lambda: files.delete(folder, True),
        ):
            try:
                undo()
            except Exception:  # the first error counts
                traceback.print_exc()
    return result


def default_path(spark):
    """Return a folder on the filesystem that Spark takes where none is named."""
    if spark.sparkContext.master.startswith("local"):
        return "file://" + os.environ.get("GPUFLEET_CHECK_FOLDER", os.getcwd())
    return "/tmp"  # noqa: S108 (that of the cluster)


def main():
    """Print the result as the last line; the status says whether it is a good one."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--path", default="", help="folder that the driver and all executors reach")
    path = parser.parse_args().path
    began = time.monotonic()
    spark = None
    try:
        from pyspark.sql import SparkSession

        spark = SparkSession.builder.getOrCreate()
        spark.sparkContext.setLogLevel("WARN")
        system = spark.sparkContext._jvm.java.lang.System
        result = {
            "result": "passed",
            "reason": "",
            "spark": spark.version,
            "java": system.getProperty("java.version"),
            "python": platform.python_version(),
            "master": spark.sparkContext.master,
        }
        result["start_seconds"] = round(time.monotonic() - began, 1)
        result.update(prove(spark, path))
    except Exception as error:
        traceback.print_exc()
        result = {"result": "failed", "step": getattr(error, "step", "the session"), "reason": str(error)}
    finally:
        if spark is not None:
            spark.stop()
    print(MARK + json.dumps(result), flush=True)
    sys.exit(result["result"] != "passed")


if __name__ == "__main__":
    main()
