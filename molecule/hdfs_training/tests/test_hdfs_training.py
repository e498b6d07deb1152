"""What was trained on came out of a real HDFS, and the programs of docs/hdfs.md run as they stand there."""

import base64
import json
import os
import re
from pathlib import Path

import pytest

testinfra_hosts = ["ansible://workstations"]

PYTHON = "/opt/gpufleet/envs/tensorflow/current/bin/python"
PAGE = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"]) / "docs" / "hdfs.md"


def program(title):
    """Return the program that the page has under a title."""
    return re.search(rf"## {title}.*?```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL).group(1)


def test_the_training_read_its_data_from_the_cluster(host):
    training = json.loads(host.file("/opt/gpufleet/training.json").content_string)
    assert "hdfs://hdfs-training-bed:8020/datasets/cifar-10-python.tar.gz" in json.dumps(training)
    assert training["result"] == "passed"


@pytest.mark.parametrize("title", ["TensorFlow"])
def test_the_program_of_the_page_reads_the_cluster(host, title):
    host.check_output("for n in 1 2 3; do printf 'a%s\\nb%s\\n' $n $n | hdfs dfs -put -f - /datasets/part-$n.txt; done")
    encoded = base64.b64encode(program(title).encode()).decode()
    host.check_output(f"echo {encoded} | base64 -d > /root/program.py")
    said = host.check_output(
        f"HADOOP_CONF_DIR=/etc/gpufleet/hadoop {PYTHON} /root/program.py 'hdfs:///datasets/part-*.txt'"
    )
    assert sorted(said.split()) == ["a1", "a2", "a3", "b1", "b2", "b3"]
