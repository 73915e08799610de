#!/usr/bin/env bash
# What do the methods gain where a GPU trains them, and how fast is a step and an image there?
#     DATA=../shared/data bash benchmarks/gpu.sh               all parts; each goes on where it stopped
#     DATA=../shared/data bash benchmarks/gpu.sh part fakd     one part, MINUTES=8 of it; the same command goes on
#     bash benchmarks/gpu.sh list                              the parts, and which of them are done
#     bash benchmarks/gpu.sh wheels                            what pip has to bring to a machine that has jax alone
#     SMOKE=1 bash benchmarks/gpu.sh                           tiny sizes, on any machine: every line runs, every table is written
# Needs images, benchmarks and weights below DATA; a part that misses some says which, and the others go on. OUT=runs/gpu has
# <part>.txt, and table.txt at the end.
set -uo pipefail
cd "$(dirname "$0")/.."
export KDSR_DATA=${DATA:-../shared/data}
small=${SMOKE:+yes}
out=${OUT:-runs/gpu${small:+_smoke}}
parts=(steps inference teacher fakd transforms srgan esrgan data_free narrow)
mkdir -p "$out"

if [ "$small" ]; then
    sets=$KDSR_DATA/benchmarks/Set5
    tiny=(--seeds=0 --nocosts --config.batch_size=4 --config.eval_every=6 --config.save_every=6 --config.log_every=2)
    repeats=--repeats=1
else
    sets=$KDSR_DATA/benchmarks/Set5,$KDSR_DATA/benchmarks/Set14,$KDSR_DATA/benchmarks/B100
    tiny=() repeats=--repeats=7
fi
threads=--config.data.threads=$(nproc)
pick() { [ "$small" ] && echo "$2" || echo "$1"; } # FULL SMALL
study() { # EXPERIMENT NAME ...
    local config=$1 name=$2
    shift 2
    python -m kdsr.study --config="experiments/$config" --out="$out/$name" "$threads" "$@" "${tiny[@]}"
}
taught() { # NAME FILE MODEL: a converted teacher
    [ -e "teachers/$1" ] || python -m kdsr.convert "$KDSR_DATA/weights/$2" --model="$3" --out="teachers/$1"
}
needs() { # what has to be there below DATA
    for path; do
        [ -e "$KDSR_DATA/$path" ] || { echo "left out: $KDSR_DATA/$path is not there"; exit 3; }
    done
}

part_steps() {
    python benchmarks/train_step.py $repeats --case="$(pick all edsr)"
    python benchmarks/affinity.py $repeats
}
part_inference() {
    python benchmarks/inference.py $repeats --size="$(pick 180x320 24x32)" --case="$(pick all student)" "$(pick --compile --nocompile)"
}
part_teacher() {
    needs train_images benchmarks/Set5
    python -m kdsr.main --config="experiments/teacher.py:$(pick strong smoke)" --workdir="$out/teacher" "$threads"
    python -m kdsr.evaluate --model="$out/teacher" --data="$sets"
}
part_fakd() {
    needs train_images benchmarks/Set5
    [ -e "$out/teacher/export" ] || { echo 'left out: its teacher is the part before it'; exit 3; }
    study fakd.py fakd --steps="$(pick 20000 6)" --benchmarks="$sets" --config.teacher="$out/teacher" --config.patch="$(pick 48 16)" \
        --config.batch_size=16 --config.eval_every=2000 --config.save_every=2000 --arms="$(pick '' alone,fakd)"
}
part_transforms() {
    needs train_images benchmarks/Set5
    [ -e "$out/teacher/export" ] || { echo 'left out: its teacher is two parts before it'; exit 3; }
    study fakd.py transforms --steps="$(pick 2000 6)" --seeds=0 --benchmarks="$sets" --config.teacher="$out/teacher" \
        --config.patch="$(pick 48 16)" --config.batch_size=16 --config.eval_every=2000 --config.save_every=2000 \
        --arms="$(pick alone,output,spatial,channel,instance,fsp,attention,fitnet,pooled_spatial,rbf,mmd alone,fsp)"
    python benchmarks/transforms.py --runs="$out/transforms" $repeats
}
part_srgan() {
    needs train_images benchmarks/Set5 weights/srgan_generator_x4_krasserm.npz weights/srresnet_x4_krasserm.npz
    taught srgan srgan_generator_x4_krasserm.npz srresnet
    taught srresnet srresnet_x4_krasserm.npz srresnet
    for seed in $(pick '0 1 2' 0); do
        first=$out/srgan_pretrain_$seed
        python -m kdsr.main --config="experiments/srgan_kd.py:$(pick pretrain pretrain_cpu)" --config.seed="$seed" --workdir="$first" \
            "$threads" $([ "$small" ] && echo --config.steps=6)
        study srgan_kd.py:"$(pick study study_cpu)" "srgan_$seed" --benchmarks="$sets" --config.student_init="$first" \
            --seeds="$seed" $([ "$small" ] && echo --steps=6 --arms=gan2g)
    done
}
part_esrgan() {
    needs train_images benchmarks/Set5 weights/rrdb23_realsr_df2k_x4_fp16.npz
    taught rrdb23 rrdb23_realsr_df2k_x4_fp16.npz rrdb
    python -m kdsr.teach teachers/rrdb23 --data="$sets" --out="$out/rrdb23"
    local of
    of=$(tr ',' '\n' <<< "$sets" | xargs -n 1 basename | sed "s|.*|$out/rrdb23/&_teacher|" | paste -sd ,)
    study compressed_esrgan.py esrgan --steps="$(pick 20000 6)" --seeds=0 --config.batch_size=16 --config.eval_every=5000 \
        --benchmarks="$sets,$of" $([ "$small" ] && echo --arms=corrected)
}
part_data_free() {
    needs benchmarks/Set5 weights/vdsr_official_multiscale_Y.npz
    taught vdsr vdsr_official_multiscale_Y.npz vdsr
    study data_free.py data_free --seeds=0 --benchmarks="$sets" --config.batch_size=128 --steps="$(pick 9600 12)" \
        --config.method.growth.every="$(pick 320 2)" --config.log_every=40 --config.eval_every=960 --config.save_every=960 \
        --arms="$(pick noise,generator,random,whole,released noise,generator)"
    study data_free.py data_free_real --seeds=0 --benchmarks="$sets" --config.batch_size=128 --steps="$(pick 48000 12)" \
        --config.method.growth.every="$(pick 1600 2)" --config.log_every=200 --config.eval_every=4800 --config.save_every=4800 \
        --arms="$(pick data_kd,data data)" --against=data
}
part_narrow() {
    python benchmarks/narrow.py $repeats --parts="$(pick 1,2,4,8 8)"
}

wheels() { # everything that kdsr needs here and jax does not, with the versions that are installed
    python - <<'PYTHON'
import importlib.metadata as installed
import re

def needed(name, found):
    for line in installed.requires(name) or ():
        other, mark = re.match(r'[\w.-]+', line)[0].lower().replace('_', '-'), line.partition(';')[2]
        if 'extra' not in mark and other not in found:
            try:
                found[other] = installed.version(other)
            except installed.PackageNotFoundError:
                continue  # of another platform or Python
            needed(other, found)
    return found

own, jax = needed('kdsr', {}), needed('jax', {'jax': ''})
print(*(f'{name}=={own[name]}' for name in sorted(own.keys() - jax.keys())), sep='\n')
PYTHON
}

one() { # NAME: up to MINUTES of a part
    echo "== $1"
    timeout --kill-after=60 "$((60 * ${MINUTES:-8}))" bash "$0" now "$1" 2>&1 | tee "$out/$1.txt"
    case ${PIPESTATUS[0]} in
        0) touch "$out/$1.done" ;;
        3) ;; # it said what is missing
        124 | 137) echo "$1: not done yet, the same command goes on" && return 1 ;;
        *) echo "$1 failed" && return 1 ;;
    esac
}
case ${1:-all} in
    now) trap 'exit 124' TERM && set -e && "part_$2" ;; # the trap: what is running saves first
    part)
        [[ ${2:-} =~ ^[1-9][0-9]*$ ]] && name=${parts[$(($2 - 1))]:-} || name=${2:-}
        [[ " ${parts[*]} " == *" ${name:-none} "* ]] || { echo "parts: ${parts[*]}" && exit 2; }
        one "$name"
        ;;
    list) for name in "${parts[@]}"; do echo "$name$([ -e "$out/$name.done" ] && echo ' (done)')"; done ;;
    wheels) wheels ;;
    all)
        python -c 'import jax; print(jax.__version__, *jax.devices())'
        failed=()
        for name in "${parts[@]}"; do MINUTES=${MINUTES:-100000} one "$name" || failed+=("$name"); done
        for name in "${parts[@]}"; do echo "== $name" && cat "$out/$name.txt"; done > "$out/table.txt"
        echo "$out/table.txt"
        [ ${#failed[@]} -eq 0 ] || { echo "failed: ${failed[*]}" && exit 1; }
        ;;
    *) echo "gpu.sh [all | part NAME | list | wheels]" && exit 2 ;;
esac
