# Copyright (c) 2026, The gpufleet authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration files of a Hadoop client, made from what the inventory says. Private to the collection."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

FAILOVER = "org.apache.hadoop.hdfs.server.namenode.ha.ConfiguredFailoverProxyProvider"
TABLE_MAPPING = "org.apache.hadoop.net.TableMapping"
WRITTEN = "Written by the role gpufleet.workstation.hadoop_client; a change by hand is undone by its next run."
COMMANDS = ("hadoop", "hdfs", "mapred", "yarn")

# What Hadoop itself hides, by hadoop.security.sensitive-config-keys.
SENSITIVE = re.compile(
    r"(secret|password|keystore\.pass|credential)$|secret[._-]?(access[._-]?)?key|account\.key(\.|$)|encryption\.key$"
    r"|oauth.*token",
    re.IGNORECASE,
)
# In a value only what is one: an option of Java's, a part of a JDBC URL, a login in a URL.
SECRET_VALUE = re.compile(r"(secret|password|token|access[._]?key)\w*=\S|://[^/\s]*:[^/\s]*@", re.IGNORECASE)

_HOST_PORT = re.compile(r"(\[[0-9A-Fa-f:]+\]|[^\s:/]+):\d+$")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*$")
_RACK = re.compile(r"(/[^\s/]+)+$")
_CONTROL = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f]")


class Contradiction(ValueError):
    """What the inventory says cannot be; the text names the variable, the value and the way out."""


def value_text(value: Any) -> str:
    """Return a value as Hadoop writes it: true and false, lists with commas."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return ",".join(value_text(one) for one in value)
    return str(value)


def sensitive(properties: Mapping[str, Any]) -> bool:
    """Say whether properties are not for a log, by their names or by an option or a login in a value."""
    return any(
        SENSITIVE.search(str(name)) or SECRET_VALUE.search(value_text(value)) for name, value in properties.items()
    )


def site_xml(properties: Mapping[str, Any], title: str, written: str = WRITTEN) -> str:
    """Return a C(*-site.xml) of Hadoop or Hive; a property without a value is left out."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f"<!-- {written} -->", "<configuration>"]
    for name in sorted(properties):
        value = properties[name]
        if value is None:
            continue
        if isinstance(value, Mapping):
            raise Contradiction(f"{title}: {name} has a dictionary for a value; Hadoop's properties are flat")
        if _CONTROL.search(value_text(value)):
            raise Contradiction(f"{title}: the value of {name} has a control character, which XML cannot hold")
        lines += [
            "  <property>",
            f"    <name>{escape(str(name))}</name>",
            f"    <value>{escape(value_text(value))}</value>",
            "  </property>",
        ]
    return "\n".join([*lines, "</configuration>", ""])


def nameservice_properties(nameservices: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what core-site and hdfs-site say about nameservices, each with one NameNode or several.

    Several nameservices are a federation. One with several NameNodes is highly available: the client asks them in turn.
    """
    core: dict[str, Any] = {}
    hdfs: dict[str, Any] = {}
    if not nameservices:
        return core, hdfs
    hdfs["dfs.nameservices"] = list(nameservices)
    core["fs.defaultFS"] = f"hdfs://{next(iter(nameservices))}"
    for service, namenodes in nameservices.items():
        if not _NAME.match(str(service)):
            raise Contradiction(f"hadoop_client_nameservices: {service!r} cannot name a nameservice")
        if not isinstance(namenodes, Mapping) or not namenodes:
            raise Contradiction(
                f"hadoop_client_nameservices: {service} has no NameNodes; write nn1: host:8020 below it"
            )
        for name, address in namenodes.items():
            if not _NAME.match(str(name)) or not _HOST_PORT.match(str(address)):
                raise Contradiction(
                    f"hadoop_client_nameservices: {name}: {address} of {service} is no NameNode; write nn1: host:8020"
                )
        # One NameNode too: a client resolves only what has a provider, and takes other names for those of hosts.
        hdfs[f"dfs.ha.namenodes.{service}"] = list(namenodes)
        hdfs[f"dfs.client.failover.proxy.provider.{service}"] = FAILOVER
        for name, address in namenodes.items():
            hdfs[f"dfs.namenode.rpc-address.{service}.{name}"] = address
    return core, hdfs


def kerberos_properties(realm: str, namenode_principal: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what core-site and hdfs-site say to a client of a cluster with Kerberos."""
    if not realm:
        return {}, {}
    core = {"hadoop.security.authentication": "kerberos", "hadoop.security.authorization": True}
    return core, {"dfs.namenode.kerberos.principal": namenode_principal or f"nn/_HOST@{realm}"}


def proxy_user_properties(proxy_users: Mapping[str, Any]) -> dict[str, Any]:
    """Return the properties that let users act for others."""
    found = {}
    for user, limits in proxy_users.items():
        unknown = sorted(set(limits or {}) - {"hosts", "groups", "users"})
        if unknown:
            raise Contradiction(
                f"hadoop_client_proxy_users: {user} has {', '.join(unknown)}; there are hosts, groups and users"
            )
        for kind, value in (limits or {}).items():
            found[f"hadoop.proxyuser.{user}.{kind}"] = value
    return found


def krb5_conf(settings: Mapping[str, Any]) -> str:
    """Return krb5.conf; nothing is left to DNS that the inventory says."""
    realm, domains = settings["realm"], settings["domains"]
    lines = [
        f"# {WRITTEN}",
        "[libdefaults]",
        f"  default_realm = {realm}",
        f"  dns_lookup_kdc = {value_text(not settings['kdcs'])}",
        "  dns_lookup_realm = false",
        "  dns_canonicalize_hostname = false",
        "  rdns = false",
        "  ticket_lifetime = 24h",
        "  renew_lifetime = 7d",
        "  forwardable = true",
        "  udp_preference_limit = 1",
        "  default_ccache_name = FILE:/tmp/krb5cc_%{uid}",  # Java reads no keyring and asks no KCM
        "  kdc_timesync = 0",  # Java does not make up for a wrong clock as kinit would; so kinit is to say it
        "",
        "[realms]",
        f"  {realm} = {{",
        *(f"    kdc = {kdc}" for kdc in settings["kdcs"]),
    ]
    if settings["admin_server"]:
        lines.append(f"    admin_server = {settings['admin_server']}")
    lines += ["  }", "", "[domain_realm]"]
    for domain in domains:
        lines += [f"  {domain} = {realm}", f"  .{domain.lstrip('.')} = {realm}"]
    return "\n".join([*lines, ""])


def shell_word(value: Any) -> str:
    """Return a value as a shell's word that means just itself."""
    return "'" + value_text(value).replace("'", "'\\''") + "'"


def hadoop_env(settings: Mapping[str, Any]) -> str:
    """Return hadoop-env.sh: the Java by its absolute path, so that no shell's environment matters."""
    lines = [f"# {WRITTEN}", f"export JAVA_HOME={shell_word(settings['java_home'])}"]
    for name, value in settings["env"].items():
        if not re.match(r"[A-Za-z_][A-Za-z0-9_]*$", str(name)):
            raise Contradiction(f"hadoop_client_env: {name!r} cannot name an environment variable")
        if value is not None:
            lines.append(f"export {name}={shell_word(value)}")
    if settings["krb5_conf"] not in ("", "/etc/krb5.conf") and settings["realm"]:
        option = f"-Djava.security.krb5.conf={settings['krb5_conf']}"
        lines.append(f'export HADOOP_OPTS="$HADOOP_OPTS {option}"')
    return "\n".join([*lines, ""])


def command(home: str, config: str, name: str) -> str:
    """Return the program that starts one of the release's own commands, whatever the caller's environment."""
    return "\n".join(
        [
            "#!/bin/sh",
            f"# {WRITTEN}",
            # Java opens jars late: what runs stays with its release when current moves on.
            f'HADOOP_HOME="$(readlink -m {shell_word(home)})"',
            "export HADOOP_HOME",
            f'export HADOOP_CONF_DIR="${{HADOOP_CONF_DIR:-{config}}}"',
            f'exec "$HADOOP_HOME/bin/{name}" "$@"',
            "",
        ]
    )


def python_env(settings: Mapping[str, Any]) -> str:
    """Return what a shell sources before a Python that reads HDFS through libhdfs (pyarrow) or without it."""
    home = settings["home"]
    return "\n".join(
        [
            f"# {WRITTEN}",
            "# For Python: . this file. hdfs-native needs HADOOP_CONF_DIR alone, pyarrow all of it.",
            f"export HADOOP_CONF_DIR={shell_word(settings['config_dir'])}",
            f"export HADOOP_HOME={shell_word(home)}",
            f"export JAVA_HOME={shell_word(settings['java_home'])}",
            f"export ARROW_LIBHDFS_DIR={shell_word(settings['libhdfs_dir'] or home + '/lib/native')}",
            'CLASSPATH="$("$HADOOP_HOME/bin/hadoop" classpath --glob)"',
            "export CLASSPATH",
            "",
        ]
    )


def files(settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the files of a client, as the module config_files takes them."""
    folder, realm = settings["config_dir"], settings["realm"]
    core_of_services, hdfs_of_services = nameservice_properties(settings["nameservices"])
    core_of_kerberos, hdfs_of_kerberos = kerberos_properties(realm, settings["namenode_principal"])
    core: dict[str, Any] = {**core_of_services, **core_of_kerberos, **proxy_user_properties(settings["proxy_users"])}
    found = []
    if settings["rack"]:
        if not _RACK.match(settings["rack"]):
            raise Contradiction(f"hadoop_client_rack: {settings['rack']!r} is no rack; write /row/rack")
        core["net.topology.node.switch.mapping.impl"] = TABLE_MAPPING
        core["net.topology.table.file.name"] = f"{folder}/topology.table"
        table = "".join(f"{address}\t{settings['rack']}\n" for address in settings["addresses"])
        found.append({"path": f"{folder}/topology.table", "content": table})
    core.update(settings["core_site"])
    if not core.get("fs.defaultFS"):
        raise Contradiction(
            "hadoop_client_core_site: nothing says which cluster is meant; set fs.defaultFS in it to"
            " hdfs://NAMENODE:8020, or describe the cluster in hadoop_client_nameservices"
        )
    sites = {
        "core-site": core,
        "hdfs-site": {**hdfs_of_services, **hdfs_of_kerberos, **settings["hdfs_site"]},
        "yarn-site": settings["yarn_site"],
        "mapred-site": settings["mapred_site"],
    }
    for name, properties in sites.items():
        xml = site_xml(properties, f"hadoop_client_{name.replace('-', '_')}")
        found.append({"path": f"{folder}/{name}.xml", "content": xml, "secret": sensitive(properties)})
    if settings["ssl_client"]:
        secret = site_xml(settings["ssl_client"], "hadoop_client_ssl_client")
        found.append(
            {
                "path": f"{folder}/ssl-client.xml",
                "content": secret,
                "secret": True,
                "mode": "0640",
                "group": settings["ssl_client_group"],
            }
        )
    found.append(
        {
            "path": f"{folder}/hadoop-env.sh",
            "content": hadoop_env(settings),
            "secret": sensitive(settings["env"]),
        }
    )
    found.append({"path": f"{folder}/python-env.sh", "content": python_env(settings)})
    for name in COMMANDS:
        found.append(
            {
                "path": f"{settings['bin_dir']}/{name}",
                "content": command(settings["home"], folder, name),
                "mode": "0755",
            }
        )
    if realm and settings["krb5_conf"]:
        found.append({"path": settings["krb5_conf"], "content": krb5_conf(settings)})
    if settings["keytab"]:
        if not settings["principal"]:
            raise Contradiction(
                "hadoop_client_principal: there is a keytab, and nothing says whose; name the principal"
            )
        found.append(
            {
                "path": settings["keytab_path"],
                "content": settings["keytab"],
                "base64": True,
                "secret": True,
                "mode": "0400",
                "owner": settings["keytab_owner"],
                "group": "root",
            }
        )
    return found
