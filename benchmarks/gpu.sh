#!/usr/bin/env bash
# What do the methods gain where a GPU trains them, and how fast is a step and an image there? All in one visit; every part goes on
# where it stopped. Needs the images, benchmarks and weights below DATA.
#     DATA=../shared/data bash benchmarks/gpu.sh [OUT]
# A strong teacher, FAKD's arms with three seeds of 20,000 steps, the transforms, SRGAN lightening's arms with three seeds of
# 20,000 + 5,000 steps, compressed ESRGAN's students, data-free distillation, and steps and whole images beside PyTorch;
# OUT/table.txt is the end.
set -euo pipefail
cd "$(dirname "$0")/.."
out=${1:-runs/gpu}
export KDSR_DATA=${DATA:-../shared/data}
sets=$KDSR_DATA/benchmarks/Set5,$KDSR_DATA/benchmarks/Set14,$KDSR_DATA/benchmarks/B100
mkdir -p "$out"
threads=--config.data.threads=$(nproc)
study() { # EXPERIMENT NAME ...
    local config=$1 name=$2
    shift 2
    python -m kdsr.study --config="experiments/$config" --out="$out/$name" "$threads" "$@"
}
taught() { # NAME FILE ARGUMENTS: a converted teacher
    [ -e "teachers/$1" ] || python -m kdsr.convert "$KDSR_DATA/weights/$2" --model="$3" --out="teachers/$1"
}
python -m kdsr.main --config=experiments/teacher.py:strong --workdir="$out/teacher" "$threads"
python -m kdsr.evaluate --model="$out/teacher" --data="$sets" | tee "$out/teacher.txt"
shared=(--benchmarks="$sets" --config.teacher="$out/teacher" --config.patch=48 --config.batch_size=16
    --config.eval_every=2000 --config.save_every=2000)
study fakd.py fakd --steps=20000 "${shared[@]}" | tee "$out/study.txt"
study fakd.py transforms --steps=2000 --seeds=0 "${shared[@]}" \
    --arms=alone,output,spatial,channel,instance,fsp,attention,fitnet,pooled_spatial,rbf,mmd
python benchmarks/transforms.py --runs="$out/transforms" | tee "$out/transforms.txt"
taught srgan srgan_generator_x4_krasserm.npz srresnet
taught srresnet srresnet_x4_krasserm.npz srresnet
for seed in 0 1 2; do
    first=$out/srgan_pretrain_$seed
    python -m kdsr.main --config=experiments/srgan_kd.py:pretrain --config.seed=$seed --workdir="$first" "$threads"
    study srgan_kd.py:study "srgan_$seed" --benchmarks="$sets" --seeds=$seed --config.student_init="$first" | tee "$out/srgan_$seed.txt"
done
taught rrdb23 rrdb23_realsr_df2k_x4_fp16.npz rrdb
python -m kdsr.teach teachers/rrdb23 --data="$sets" --out="$out/rrdb23"
study compressed_esrgan.py esrgan --steps=20000 --seeds=0 --config.batch_size=16 --config.eval_every=5000 \
    --benchmarks="$sets,$(printf "$out/rrdb23/%s_teacher," Set5 Set14 B100 | sed 's/,$//')" | tee "$out/esrgan.txt"
taught vdsr vdsr_official_multiscale_Y.npz vdsr
free=(--seeds=0 --benchmarks="$sets" --config.batch_size=128)
study data_free.py data_free "${free[@]}" --arms=noise,generator,random,whole,released --steps=9600 \
    --config.method.growth.every=320 --config.log_every=40 --config.eval_every=960 --config.save_every=960 | tee "$out/data_free.txt"
study data_free.py data_free_real "${free[@]}" --arms=data_kd,data --against=data --steps=48000 \
    --config.method.growth.every=1600 --config.log_every=200 --config.eval_every=4800 --config.save_every=4800 | tee "$out/real.txt"
python benchmarks/inference.py | tee "$out/inference.txt"
python benchmarks/train_step.py | tee "$out/train_step.txt"
python benchmarks/affinity.py | tee "$out/affinity.txt"
cat "$out"/{teacher,study,transforms,srgan_0,srgan_1,srgan_2,esrgan,data_free,real,inference,train_step,affinity}.txt > "$out/table.txt"
