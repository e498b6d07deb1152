"""Put a small archive in CIFAR-10's layout into HDFS, unless it is there; print its checksum: put_cifar.py NAMENODE"""

import gzip
import hashlib
import io
import pickle
import sys
import tarfile

import numpy
from hdfs_native.fsspec import HdfsFileSystem

PATH = "/datasets/cifar-10-python.tar.gz"


def archive():
    """Return the archive: 200 images in each of two batches, each image one shade that tells its class."""
    chance = numpy.random.RandomState(0)
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as tar:
        for name in ("data_batch_1", "test_batch"):
            labels = chance.randint(0, 10, 200)
            data = numpy.repeat((labels * 25)[:, None], 3072, axis=1).astype("uint8")
            content = pickle.dumps({b"data": data, b"labels": labels.tolist()}, protocol=2)
            member = tarfile.TarInfo("cifar-10-batches-py/" + name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def read(hdfs):
    """Return what is there."""
    with hdfs.open(PATH, "rb") as file:
        return file.read()


def main():
    """Do what the first line says."""
    hdfs = HdfsFileSystem(host=sys.argv[1], port=8020)
    content = archive()
    if not hdfs.exists(PATH) or read(hdfs) != content:
        hdfs.makedirs("/datasets", exist_ok=True)
        with hdfs.open(PATH, "wb") as file:
            file.write(content)
        print("put")
    print("sha256:" + hashlib.sha256(content).hexdigest())


if __name__ == "__main__":
    main()
