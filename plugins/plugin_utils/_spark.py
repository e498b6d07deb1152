# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands in the way of a Spark, and the files that configure it. Private to the collection.

``settings`` is what role spark was told, its variables without C(spark_).
"""

from __future__ import annotations

import re
import shlex
from typing import Any

from ansible_collections.gpufleet.workstation.plugins.plugin_utils._hadoop import SECRET_VALUE, site_xml, value_text
from ansible_collections.gpufleet.workstation.plugins.plugin_utils._versions import number

HEAD = "# Written by role gpufleet.workstation.spark; the next run overwrites what is changed here.\n"
# Spark's own rule for what its web pages must not show (spark.redaction.regex), and Hive's key for the same.
USER = "${user.name}"  # as Hadoop and Hive read it
SECRET = re.compile(r"secret|password|token|access[.]?key", re.IGNORECASE)
UNITS = "/etc/systemd/system"
COMMANDS = ("spark-submit", "spark-shell", "spark-sql", "spark-class", "pyspark", "beeline", "spark-python")
# name: what the unit is called, and what it runs
SERVICES = {
    "master": "standalone master",
    "worker": "standalone worker",
    "history-server": "history server",
    "thrift-server": "thrift server",
}


def release(version: str, data: dict[str, Any]) -> dict[str, Any]:
    """Return the row of a release; for one that is newer than the data, the row of its series."""
    rows = data["spark"]
    series = version.split(".")[:2]
    for row in [*(row for row in rows if row["version"] == version), *rows]:
        if row["version"].split(".")[:2] == series:
            return row
    known = ", ".join(dict.fromkeys(".".join(row["version"].split(".")[:2]) for row in rows))
    raise ValueError(
        f"Spark {version} is of a series that the compatibility data does not know (it knows {known}); choose another"
    )


def refusals(settings: dict[str, Any], gpus: list[dict[str, Any]], data: dict[str, Any]) -> list[str]:
    """Return one sentence for each thing that cannot work, with the way out; known before anything is changed."""
    try:
        row = release(settings["version"], data)
    except ValueError as error:
        return [str(error)]
    name, master, found = f"Spark {settings['version']}", settings["master"], []
    java, python = settings["java_version"], settings["python_version"]
    if java and java not in row["java"]:
        needed = " or ".join(row["java"])
        found.append(f"{name} runs on Java {needed} and not on {java}; correct spark_java_version or spark_version")
    if re.match(r"\d+\.\d+", python) and number(python) < number(row["python"]):
        found.append(
            f"{name} needs Python {row['python']} or newer and was given {python}; "
            "correct spark_python_version or spark_version"
        )
    if not re.match(r"local(\[.+\])?$|yarn$|spark://|k8s://", master):
        found.append(f"spark_master is {master!r}; it can be local[*], yarn, spark://HOST:7077 or k8s://...")
    if master == "yarn" and not settings["hadoop_config_dir"]:
        found.append(
            "spark_master is yarn, and spark_hadoop_config_dir does not say where the cluster's configuration is"
        )
    if "worker" in settings["services"] and not master.startswith("spark://"):
        found.append(f"a worker needs a master, and spark_master is {master!r}; set it to spark://HOST:7077")
    if {"master", "worker"} & set(settings["services"]) and settings["local_ip"].startswith("127."):
        found.append(
            f"spark_local_ip is {settings['local_ip']}, where no other host reaches a master or a worker; this "
            "host's facts have no address (ip, of iproute2, tells it), so name one"
        )
    metastore = settings["hive_metastore"]
    if metastore not in ("", "embedded") and not metastore.startswith("thrift://"):
        found.append(f"spark_hive_metastore is {metastore!r}; it can be embedded, thrift://HOST:9083 or empty")
    if "${" in settings["warehouse"].replace(USER, ""):
        found.append(f"spark_warehouse is {settings['warehouse']}; of what stands in ${{}}, only {USER} has a meaning")
    return found + rapids_refusals(settings, gpus, data)


def rapids_refusals(settings: dict[str, Any], gpus: list[dict[str, Any]], data: dict[str, Any]) -> list[str]:
    """Return what stands in the way of the RAPIDS accelerator."""
    version, cuda = settings["rapids_version"], str(settings["rapids_cuda"])
    if not version:
        return []
    row = next((row for row in data["rapids"] if row["version"] == version), None)
    if row is None:
        known = ", ".join(row["version"] for row in data["rapids"])
        return [f"RAPIDS {version} is not in the compatibility data (it knows {known}); correct spark_rapids_version"]
    found = []
    if settings["version"] not in row["spark"]:
        found.append(
            f"RAPIDS {version} has no build for Spark {settings['version']}; the newest that it has is for "
            f"{max(row['spark'], key=number)}. Choose that in spark_version, or empty spark_rapids_version"
        )
    if not settings["rapids_jar"]:
        found.append(
            "the RAPIDS jar is nowhere to be had; name it in spark_rapids_jar, or a Maven repository in spark_maven_url"
        )
    least = row["cuda"].get(cuda)
    if least is None:
        offered = " and ".join(row["cuda"])
        found.append(f"RAPIDS {version} is built for CUDA {offered} and not for {cuda}; correct spark_rapids_cuda")
    for gpu in gpus if least else []:
        capability = gpu.get("compute_capability")
        if capability and number(capability) < number(least):
            found.append(
                f"RAPIDS {version} for CUDA {cuda} starts at compute capability {least}, and this host has "
                f"{gpu.get('model') or 'a GPU'} ({capability}); choose another spark_rapids_cuda, or empty "
                "spark_rapids_version"
            )
    return list(dict.fromkeys(found))


def plan(settings: dict[str, Any], gpus: list[dict[str, Any]], java_home: str, data: dict[str, Any]) -> dict[str, Any]:
    """Return what stands in the way; or where nothing does, the Javas that will do, and the files."""
    told = refusals(settings, gpus, data)
    nothing = {"java": [], "folders": [], "files": [], "absent": []}
    units = [unit_name(name) for name in SERVICES if name in settings["services"]]
    if told:
        return {"refusals": told, **nothing, "units": units}
    row = release(settings["version"], data)
    java = [settings["java_version"]] if settings["java_version"] else row["java"]
    return {"refusals": [], "java": java, **files(settings, java_home, gpus), "units": units}


# The files


def files(settings: dict[str, Any], java_home: str, gpus: list[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return the C(folders), C(files) and C(absent) of the module config_files."""
    conf, data, user = settings["config_dir"], settings["data"], settings["service_user"]
    units = [name for name in SERVICES if name in settings["services"]]
    defaults = spark_defaults(settings, gpus)
    # Whoever is in the group of that user may read the files that hold a secret, also where nothing runs as a service.
    written = [
        _file(f"{conf}/spark-defaults.conf", properties(defaults), _secret(defaults), user),
        _file(f"{conf}/spark-env.sh", spark_env(settings, java_home), _secret(settings["environment"]), user),
        _file(f"{conf}/log4j2.properties", log4j2(settings)),
    ]
    hive = hive_site(settings)
    if hive:
        written.append(
            _file(f"{conf}/hive-site.xml", site_xml(hive, "spark_hive_site", HEAD[2:].strip()), _secret(hive), user)
        )
    written.append({**_file(f"{conf}/gpus.sh", GPUS), "mode": "0755"})
    commands = [f"{settings['bin_dir']}/{name}" for name in COMMANDS]  # "command" here is lost to Python 3.12.1 below
    written += [{**_file(path, command(settings)), "mode": "0755"} for path in commands]
    written += [_file(unit_path(name), unit(settings, name)) for name in units]
    shared = ["scratch", "local", "events", "warehouse", "metastore"]
    folders = [{"path": f"{data}/{name}", "mode": "1777"} for name in shared]
    folders += [{"path": f"{data}/{name}", "mode": "0750", "owner": user, "group": user} for name in ["work"] if units]
    unwanted = [unit_name(name) for name in SERVICES if name not in units]
    absent = [f"{UNITS}/{name}" for name in unwanted] + [f"{UNITS}/multi-user.target.wants/{name}" for name in unwanted]
    absent += [] if hive else [f"{conf}/hive-site.xml"]
    return {"folders": folders, "files": written, "absent": absent}


def spark_defaults(settings: dict[str, Any], gpus: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what spark-defaults.conf says; the owner's own properties have the last word."""
    data, master, services = settings["data"], settings["master"], settings["services"]
    # Native libraries (Snappy, Zstandard) are unpacked there and loaded, which a /tmp often forbids.
    scratch = f"-Djava.io.tmpdir={data}/scratch -Dorg.xerial.snappy.tempdir={data}/scratch"
    scratch += " -Dderby.stream.error.file=/dev/null"  # or every folder that a job starts in gets a derby.log
    values: dict[str, Any] = {"spark.master": master, "spark.driver.defaultJavaOptions": scratch}
    if master != "yarn" and not master.startswith("k8s://"):  # there, executors run on hosts that are not ours
        values["spark.executor.defaultJavaOptions"] = scratch
    if master.startswith("spark://"):
        values["spark.pyspark.python"] = settings["python"]
    if not master.startswith("local") and not settings["local_ip"].startswith("127."):
        # Executors call the driver back. Its name, which Spark would take, need not be known to their hosts.
        values["spark.driver.host"] = settings["local_ip"]
    if settings["hive_metastore"]:
        values["spark.sql.catalogImplementation"] = "hive"
    if USER not in settings["warehouse"]:
        values["spark.sql.warehouse.dir"] = settings["warehouse"]
    events = settings["event_log_dir"] or (f"file://{data}/events" if "history-server" in services else "")
    if events:
        values |= {
            "spark.eventLog.enabled": True,
            "spark.eventLog.dir": events,
            "spark.history.fs.logDirectory": events,
        }
        values |= {"spark.eventLog.rolling.enabled": True, "spark.history.fs.cleaner.enabled": True}
    if "master" in services:
        values["spark.master.rest.enabled"] = False  # a second door, port 6066, that asks nobody for the secret
    if "worker" in services:
        values["spark.worker.cleanup.enabled"] = True
        if gpus:
            values["spark.worker.resource.gpu.amount"] = len(gpus)
            values["spark.worker.resource.gpu.discoveryScript"] = f"{settings['config_dir']}/gpus.sh"
    if gpus:
        values["spark.executor.resource.gpu.discoveryScript"] = f"{settings['config_dir']}/gpus.sh"
    if settings["secret"]:
        values |= {"spark.authenticate": True, "spark.authenticate.secret": settings["secret"]}
        values["spark.network.crypto.enabled"] = True
    if settings["rapids_version"]:
        values["spark.jars"] = settings["rapids_jar"]
        values["spark.plugins"] = "com.nvidia.spark.SQLPlugin"
    return _given({**values, **settings["properties"]})


def spark_env(settings: dict[str, Any], java_home: str) -> str:
    """Return spark-env.sh, which every command and every service reads."""
    data = settings["data"]
    # On YARN and on workers the cluster says where; this is for the driver and for local masters.
    fixed = {
        "JAVA_HOME": java_home,
        "SPARK_LOCAL_IP": settings["local_ip"],
        "HADOOP_CONF_DIR": settings["hadoop_config_dir"],
        "SPARK_LOCAL_DIRS": f"{data}/local",
        "SPARK_DAEMON_JAVA_OPTS": f"-Djava.io.tmpdir={data}/scratch",
        "SPARK_LOG_DIR": f"{data}/log",
        "SPARK_WORKER_DIR": f"{data}/work",
        "SPARK_WORKER_CORES": int(settings["worker_cores"]) or "",
        "SPARK_WORKER_MEMORY": settings["worker_memory"],
        **settings["environment"],
    }
    lines = [f"export {name}={shlex.quote(value_text(value))}" for name, value in _given(fixed).items() if value != ""]
    # What a unit has set for its service stands, and what a user has set for one job.
    lines.append(f"export SPARK_DAEMON_MEMORY=${{SPARK_DAEMON_MEMORY:-{settings['daemon_memory']}}}")
    lines.append(f"export PYSPARK_PYTHON=${{PYSPARK_PYTHON:-{settings['python']}}}")
    return HEAD + "\n".join(lines) + "\n"


def log4j2(settings: dict[str, Any]) -> str:
    """Return log4j2.properties: everything goes to standard error, and so to the terminal or the journal."""
    values = {
        "rootLogger.level": settings["log_level"],
        "rootLogger.appenderRef.stderr.ref": "console",
        "appender.console.type": "Console",
        "appender.console.name": "console",
        "appender.console.target": "SYSTEM_ERR",
        "appender.console.layout.type": "PatternLayout",
        "appender.console.layout.pattern": "%d{yy/MM/dd HH:mm:ss} %p %c{1}: %m%n%ex",
        # Harmless: there is a Java fallback for everything that the native library does.
        "logger.native.name": "org.apache.hadoop.util.NativeCodeLoader",
        "logger.native.level": "error",
        **settings["log4j2"],
    }
    return HEAD + "".join(f"{name} = {_property(value)}\n" for name, value in _given(values).items())


def hive_site(settings: dict[str, Any]) -> dict[str, Any]:
    """Return what hive-site.xml says; empty where it has nothing to say."""
    metastore = settings["hive_metastore"]
    # Spark takes its own spark.sql.warehouse.dir as it stands; Hadoop's reader of this file knows the user.
    values: dict[str, Any] = (
        {"hive.metastore.warehouse.dir": settings["warehouse"]} if USER in settings["warehouse"] else {}
    )
    if metastore == "embedded":
        # Derby lets one process in, and belongs to whoever made it: each user has one.
        place = f"{settings['data']}/metastore/{USER}"
        values |= {
            "javax.jdo.option.ConnectionURL": f"jdbc:derby:;databaseName={place};create=true",
            "datanucleus.schema.autoCreateAll": True,
            "hive.metastore.schema.verification": False,
        }
    elif metastore:
        values["hive.metastore.uris"] = metastore
    if "thrift-server" in settings["services"]:
        values["hive.server2.thrift.bind.host"] = "127.0.0.1"  # it asks nobody for a password
    return {**values, **settings["hive_site"]}


def command(settings: dict[str, Any]) -> str:
    """Return the program that stands for each of Spark's commands and finds the release in use by itself."""
    if settings["method"] == "tarball":
        home = f"SPARK_HOME={settings['root']}/spark/current"
    else:
        home = f"for SPARK_HOME in {settings['root']}/envs/spark/current/lib/python*/site-packages/pyspark; do :; done"
    return COMMAND.format(head=HEAD.strip(), home=home, conf=settings["config_dir"])


def unit_name(name: str) -> str:
    """Return the name of a service's unit."""
    return f"gpufleet-spark-{name}.service"


def unit_path(name: str) -> str:
    """Return where a service's unit lies."""
    return f"{UNITS}/{unit_name(name)}"


def unit(settings: dict[str, Any], name: str) -> str:
    """Return a service's unit."""
    host, port = settings["local_ip"], settings["master_port"]
    programs = {
        "master": f"spark-class org.apache.spark.deploy.master.Master --host {host} --port {port}",
        "worker": f"spark-class org.apache.spark.deploy.worker.Worker --host {host} {settings['master']}",
        "history-server": "spark-class org.apache.spark.deploy.history.HistoryServer",
        "thrift-server": (
            "spark-submit --class org.apache.spark.sql.hive.thriftserver.HiveThriftServer2 "
            '--name "Thrift JDBC/ODBC Server" spark-internal'
        ),
    }
    return UNIT.format(
        head=HEAD.strip(),
        what=SERVICES[name],
        user=settings["service_user"],
        data=settings["data"],
        program=f"{settings['bin_dir']}/{programs[name]}",
        # It is a driver too, which needs more than a service that only watches.
        memory=settings["properties"].get("spark.driver.memory", "1g")
        if name == "thrift-server"
        else settings["daemon_memory"],
    )


def properties(values: dict[str, Any]) -> str:
    """Return a file of Java properties, the names in their order."""
    width = max(map(len, values))
    return HEAD + "".join(f"{name:<{width}} {_property(value)}\n" for name, value in values.items())


def _file(path: str, content: str, secret: bool = False, group: str = "root") -> dict[str, Any]:
    return {
        "path": path,
        "content": content,
        "mode": "0640" if secret else "0644",
        "group": group if secret else "root",
        "secret": secret,
    }


def _secret(values: dict[str, Any]) -> bool:
    return any(
        (SECRET.search(name) and not name.endswith(("enabled", ".renewal.interval")))
        or SECRET_VALUE.search(value_text(value))
        for name, value in values.items()
    )


def _given(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _property(value: Any) -> str:
    text = re.sub("^(?=[=:])", r"\\", value_text(value).replace("\\", "\\\\"))
    if "\n" in text or "\r" in text:
        raise ValueError("a property of Spark or of its log has a line break in its value; write it in one line")
    return text


COMMAND = """\
#!/bin/sh
{head}
{home}
if [ ! -x "$SPARK_HOME/bin/spark-class" ]; then
    echo "$0: there is no Spark at $SPARK_HOME; run role spark" >&2
    exit 127
fi
SPARK_HOME=$(readlink -f "$SPARK_HOME") # Java opens jars late: what runs stays with its release when current moves on
export SPARK_HOME
export SPARK_CONF_DIR="${{SPARK_CONF_DIR:-{conf}}}"
name=$(basename "$0")
if [ "$name" != spark-python ]; then
    exec "$SPARK_HOME/bin/$name" "$@"
fi
# The Python of the workers, where a program makes its own SparkSession.
. "$SPARK_CONF_DIR/spark-env.sh"
for py4j in "$SPARK_HOME"/python/lib/py4j-*-src.zip; do
    export PYTHONPATH="$SPARK_HOME/python:$py4j${{PYTHONPATH:+:$PYTHONPATH}}"
done
exec "$PYSPARK_PYTHON" "$@"
"""

UNIT = """\
{head}
[Unit]
Description=Spark {what}
After=network-online.target
Wants=network-online.target
StartLimitIntervalSec=600
StartLimitBurst=5

[Service]
User={user}
WorkingDirectory={data}/work
Environment=SPARK_DAEMON_MEMORY={memory}
ExecStart={program}
SuccessExitStatus=143
Restart=on-failure
RestartSec=5
LimitNOFILE=65536
OOMPolicy=continue
TimeoutStopSec=60

[Install]
WantedBy=multi-user.target
"""

# Spark's GPU scheduling asks this program what there is; MIG devices count where a GPU is cut into them.
GPUS = """\
#!/bin/sh
# Written by role gpufleet.workstation.spark; the next run overwrites what is changed here.
list=$(nvidia-smi -L) || exit 1
printf '%s\\n' "$list" | awk '
    function done() { if (gpu != "" && !mig) found = found sep "\\"" gpu "\\""; if (gpu != "" && !mig) sep = "," }
    /^GPU [0-9]+:/ { done(); gpu = $2; sub(":", "", gpu); mig = 0 }
    /^ +MIG / { mig = 1; match($0, /MIG-[^)]*/); found = found sep "\\"" substr($0, RSTART, RLENGTH) "\\""; sep = "," }
    END { done(); print "{\\"name\\": \\"gpu\\", \\"addresses\\": [" found "]}" }'
"""
