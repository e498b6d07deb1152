"""What was trained on came out of a real HDFS, and the programs of docs/hdfs.md run as they stand there."""

import base64
import json
import os
import re
from pathlib import Path

import pytest

testinfra_hosts = ["ansible://workstations"]

PAGE = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"]) / "docs" / "hdfs.md"


def program(title):
    """Return the program that the page has under a title."""
    return re.search(rf"## {title}.*?```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL).group(1)


def test_both_trained_on_all_of_cifar10_from_the_cluster(host):
    kept = json.loads(host.file("/opt/gpufleet/training.json").content_string)
    assert kept["result"] == "passed", kept["reason"]
    for framework in ("pytorch", "tensorflow"):
        data = kept[framework]["data"]
        assert (data["name"], data["train_images"], data["test_images"]) == ("cifar10", 50000, 10000)
        assert kept[framework]["accuracy"] >= kept[framework]["minimum_accuracy"] == 0.5


@pytest.mark.parametrize("framework, title", [("pytorch", "PyTorch"), ("tensorflow", "TensorFlow")])
def test_the_program_of_the_page_reads_the_cluster(host, framework, title):
    host.check_output("for n in 1 2 3; do printf 'a%s\\nb%s\\n' $n $n | hdfs dfs -put -f - /datasets/part-$n.txt; done")
    encoded = base64.b64encode(program(title).encode()).decode()
    host.check_output(f"echo {encoded} | base64 -d > /root/program.py")
    python = f"/opt/gpufleet/envs/{framework}/current/bin/python"
    said = host.check_output(
        f"HADOOP_CONF_DIR=/etc/gpufleet/hadoop {python} /root/program.py 'hdfs:///datasets/part-*.txt'"
    )
    assert sorted(said.split()) == ["a1", "a2", "a3", "b1", "b2", "b3"]
