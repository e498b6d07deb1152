#!/bin/sh
# Run one scenario; its output goes to a file and is shown only if it fails, because scenarios run side by side.
log=.cache/molecule/$1.log
start=$(date +%s)
if molecule test -s "$1" >"$log" 2>&1; then
    grep -E '[0-9]+ passed' "$log" | sed "s/^/$1: /"
    echo "molecule $1: passed in $(($(date +%s) - start)) s"
else
    tail -n 120 "$log"
    echo "molecule $1: FAILED after $(($(date +%s) - start)) s; the whole output: $log"
    exit 1
fi
