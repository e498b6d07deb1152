#!/bin/sh
# hadoop, hdfs, mapred and yarn for the shaded client jars, installed by gpufleet.workstation.hadoop_client.
# What Apache's own commands of these names do with the client's classes, and nothing that needs a server's.
home=$(cd "$(dirname "$(readlink -f "$0")")/.." && pwd -P)
program=$(basename "$0")
conf=${HADOOP_CONF_DIR:-/etc/gpufleet/hadoop}
[ -r "$conf/hadoop-env.sh" ] && . "$conf/hadoop-env.sh"
jars=$home/share/hadoop/client

if [ ! -x "${JAVA_HOME:-}/bin/java" ]; then
    echo "$program: JAVA_HOME is '${JAVA_HOME:-}' and has no Java; $conf/hadoop-env.sh should set it" >&2
    exit 1
fi
[ $# -gt 0 ] || set -- help
word=$1
shift

case $program:$word in
hadoop:fs | hdfs:dfs) class=org.apache.hadoop.fs.FsShell ;;
*:version) class=org.apache.hadoop.util.VersionInfo ;;
hadoop:jar | yarn:jar) class=org.apache.hadoop.util.RunJar ;;
hadoop:key) class=org.apache.hadoop.crypto.key.KeyShell ;;
hadoop:credential) class=org.apache.hadoop.security.alias.CredentialShell ;;
hadoop:dtutil) class=org.apache.hadoop.security.token.DtUtilShell ;;
hadoop:conftest) class=org.apache.hadoop.util.ConfTest ;;
mapred:job) class=org.apache.hadoop.mapred.JobClient ;;
yarn:application | yarn:app) class=org.apache.hadoop.yarn.client.cli.ApplicationCLI ;;
yarn:node) class=org.apache.hadoop.yarn.client.cli.NodeCLI ;;
yarn:queue) class=org.apache.hadoop.yarn.client.cli.QueueCLI ;;
yarn:logs) class=org.apache.hadoop.yarn.client.cli.LogsCLI ;;
*:classpath)
    if [ "${1:-}" = --glob ]; then
        path=$conf
        for jar in "$jars"/*.jar; do path=$path:$jar; done
        echo "$path${HADOOP_CLASSPATH:+:$HADOOP_CLASSPATH}"
    else
        echo "$conf:$jars/*${HADOOP_CLASSPATH:+:$HADOOP_CLASSPATH}"
    fi
    exit 0
    ;;
[a-z]*:org.* | [a-z]*:com.*) class=$word ;;
*)
    echo "$program: '$word' is not among the commands of the shaded client jars." >&2
    echo "hadoop: fs jar version classpath key credential dtutil conftest; hdfs: dfs version classpath;" >&2
    echo "mapred: job version classpath; yarn: application node queue logs jar version classpath; or a class by its" >&2
    echo "full name. The rest needs Apache's archive: hadoop_client_distribution: full" >&2
    exit 1
    ;;
esac

case $word in application | app) set -- application "$@" ;; esac # ApplicationCLI wants its own name first
# shellcheck disable=SC2086 # options are several words
exec "$JAVA_HOME/bin/java" ${HADOOP_HEAPSIZE_MAX:+-Xmx$HADOOP_HEAPSIZE_MAX} \
    -Dorg.slf4j.simpleLogger.defaultLogLevel="${HADOOP_LOGLEVEL:-warn}" \
    -Dorg.slf4j.simpleLogger.log.org.apache.hadoop.util.NativeCodeLoader=error \
    ${HADOOP_OPTS:-} ${HADOOP_CLIENT_OPTS:-} \
    -cp "$conf:$jars/*${HADOOP_CLASSPATH:+:$HADOOP_CLASSPATH}" "$class" "$@"
