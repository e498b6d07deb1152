#!/bin/sh
# Run one scenario; its output goes to a file and is shown only if it fails, because scenarios run side by side.
# What failed is also kept in NAME.failed, for the end of a run's output, which may be all that is left of it.
mkdir -p .cache/molecule
log=.cache/molecule/$1.log
failed=.cache/molecule/$1.failed
rm -f "$failed"
start=$(date +%s)
if molecule test -s "$1" >"$log" 2>&1; then
    grep -E '[0-9]+ passed' "$log" | sed "s/^/$1: /"
    echo "molecule $1: passed in $(($(date +%s) - start)) s"
else
    tail -n 120 "$log"
    {
        echo "molecule $1: FAILED after $(($(date +%s) - start)) s; the whole output: $log"
        sed 's/\x1b\[[0-9;]*m//g; s/^ *│ //' "$log" |
            grep -E -A 4 '^\[ERROR\]: Task failed|^CRITICAL|^E   |^FAILED ' | cut -c 1-240 | head -n 16
    } >"$failed"
    cat "$failed"
    exit 1
fi
