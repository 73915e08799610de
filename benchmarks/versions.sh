#!/usr/bin/env bash
# Do the oldest versions work, and the newest? Those that requirements.txt declares (every >= read as ==) and the newest that there
# are, on each Python: FAKD's smoke run, the same stopped by SIGTERM and gone on with (it must end in the same bytes), and the tests
# of all rooms that lean on a package. Prints one table; status 1 if anything failed. OUT keeps logs and environments (1.3 GB each).
#     PYTHONS="python3.11 python3.12 python3.13" KDSR_DATA=../shared/data bash benchmarks/versions.sh [OUT]
set -uo pipefail
cd "$(dirname "$0")/.."
mkdir -p "${1:-runs/versions}"
out=$(cd "${1:-runs/versions}" && pwd)
export JAX_PLATFORMS=cpu PYTHONPATH=$PWD
tests=(tests/test_{losses,steps,models,house,gan,data,pictures,convert,export,report}.py)
if bare=$(grep -v '>=' requirements.txt); then
    echo "requirements.txt declares no minimum for: $bare" >&2
    exit 1
fi
sed 's/>=/==/' requirements.txt > "$out/minimum.txt"
cp requirements.txt "$out/newest.txt"

install() { # PYTHON VENV KIND
    [ -x "$2/bin/python" ] || "$1" -m venv "$2" || return
    "$2/bin/python" -m pip install --upgrade --upgrade-strategy eager -r "$out/$3.txt" && "$2/bin/python" -m pip check
}

smoke() { # VENV WORKDIR: the run's own status
    "$1/bin/python" -m kdsr.main --config=experiments/fakd.py:smoke --workdir="$2" > "$2.log" 2>&1
}

stopped() { # VENV WORKDIR: SIGTERM after the first step; says why if the run did not stop in the middle
    "$1/bin/python" -m kdsr.main --config=experiments/fakd.py:smoke --workdir="$2" > "$2.log" 2>&1 &
    local pid=$!
    until grep -q 'first step after' "$2.log" || ! kill -0 $pid 2> /dev/null; do sleep 0.02; done
    kill -TERM $pid 2> /dev/null
    wait $pid
    [ $? = 143 ] || { echo 'was not stopped' && return 1; }
}

resumes() { # VENV LOGS: "ok", or what failed
    smoke "$1" "$2/whole" || { echo 'smoke failed' && return; }
    stopped "$1" "$2/stopped" || return
    smoke "$1" "$2/stopped" || { echo 'resume failed' && return; }
    grep -q 'resumed at step' "$2/stopped.log" || { echo 'began anew' && return; }
    for file in export/student/weights.safetensors metrics.jsonl; do
        cmp -s "$2"/{whole,stopped}/"$file" || { echo "other $(basename "$file")" && return; }
    done
    echo ok
}

row() { printf '| %-7s | %-7s | %-8s | %-7s | %-7s | %-6s | %-15s | %-22s |\n' "$@"; }

table=$(row Python set jax flax orbax numpy smoke+resume tests)$'\n'$(row ------- ------- -------- ------- ------- ------ --------------- ----------------------)
failed=0
for python in ${PYTHONS:-python3.11 python3.12 python3.13}; do
    for kind in minimum newest; do
        logs=$out/$(basename "$python")-$kind
        venv=$logs/venv
        mkdir -p "$logs"
        rm -rf "$logs"/{whole,stopped}
        echo "== $python, $kind" >&2
        if ! install "$python" "$venv" "$kind" > "$logs/install.log" 2>&1; then
            failed=1 table+=$'\n'$(row "$(basename "$python")" "$kind" '' '' '' '' 'not installed' "$(tail -1 "$logs/install.log" | cut -c 1-22)")
            continue
        fi
        read -r -a versions < <("$venv/bin/python" -c "
import platform
from importlib.metadata import version
print(platform.python_version(), *map(version, ('jax', 'flax', 'orbax-checkpoint', 'numpy')))")
        export KDSR_CACHE=$out/cache-${versions[1]}
        smoke=$(resumes "$venv" "$logs")
        "$venv/bin/python" -m pytest -o addopts= -q -m 'not slow' "${tests[@]}" > "$logs/tests.log" 2>&1 || failed=1
        [ "$smoke" = ok ] || failed=1
        table+=$'\n'$(row "${versions[0]}" "$kind" "${versions[@]:1}" "$smoke" "$(tail -1 "$logs/tests.log" | sed 's/ in .*//; s/, [0-9]* deselected//')")
        printf '%s\n' "${table##*$'\n'}" >&2
    done
done
printf '\n%s\n' "$table" | tee "$out/table.md"
exit $failed
