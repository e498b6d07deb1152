# A stand-in for Apache's hadoop-config.sh: finds itself, reads hadoop-env.sh, insists on Java, makes the class path.
HADOOP_HOME=$(cd "$(dirname "$(readlink -f "$0")")/.." && pwd -P)
HADOOP_CONF_DIR=${HADOOP_CONF_DIR:-$HADOOP_HOME/etc/hadoop}
if [ -f "$HADOOP_CONF_DIR/hadoop-env.sh" ]; then
    . "$HADOOP_CONF_DIR/hadoop-env.sh"
fi
if [ -z "${JAVA_HOME:-}" ]; then
    echo "ERROR: JAVA_HOME is not set and could not be found." >&2
    exit 1
fi
CLASSPATH="$HADOOP_CONF_DIR:$HADOOP_HOME/share/hadoop/client/*:$HADOOP_HOME/share/hadoop/common/lib/*"
run() {
    exec "$JAVA_HOME/bin/java" -Dorg.slf4j.simpleLogger.defaultLogLevel=warn ${HADOOP_OPTS:-} ${HADOOP_CLIENT_OPTS:-} -cp "$CLASSPATH" "$@"
}
