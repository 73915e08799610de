#!/usr/bin/env bash
# All that a GPU is wanted for, in one visit; every part goes on where it stopped. Needs the images and benchmarks below DATA.
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
python -m kdsr.main --config=experiments/teacher.py:strong --workdir="$out/teacher" "$threads"
python -m kdsr.evaluate --model="$out/teacher" --data="$sets" | tee "$out/teacher.txt"
shared=(--benchmarks="$sets" --set=--config.teacher="$out/teacher" --set=--config.patch=48 --set=--config.batch_size=16
    --set=--config.eval_every=2000 --set=--config.save_every=2000 --set="$threads")
python benchmarks/study.py --out="$out/study" --steps=20000 "${shared[@]}" | tee "$out/study.txt"
python benchmarks/study.py --out="$out/transforms" --steps=2000 --seeds=0 "${shared[@]}" \
    --arms=alone,output,spatial,channel,instance,fsp,attention,fitnet,pooled_spatial,rbf,mmd
python benchmarks/transforms.py --runs="$out/transforms" | tee "$out/transforms.txt"
for name in srgan srresnet; do
    weights=("$KDSR_DATA/weights/${name}"*_x4_krasserm.npz)
    [ -e "teachers/$name" ] || python -m kdsr.convert "${weights[0]}" --model=srresnet --out="teachers/$name"
done
for seed in 0 1 2; do
    first=$out/srgan_pretrain_$seed
    python -m kdsr.main --config=experiments/srgan_kd.py:pretrain,study --config.seed=$seed --workdir="$first" "$threads"
    python benchmarks/study.py --study=srgan --out="$out/srgan" --benchmarks="$sets" --seeds=$seed \
        --set=--config.student_init="$first" --set="$threads" | tee "$out/srgan.txt"
done
[ -e teachers/rrdb23 ] || python -m kdsr.convert "$KDSR_DATA/weights/rrdb23_realsr_df2k_x4_fp16.npz" --model=rrdb --out=teachers/rrdb23
python benchmarks/teacher_images.py --model=teachers/rrdb23 --data="$sets" --out="$out/rrdb23"
python benchmarks/study.py --study=esrgan --out="$out/esrgan" --steps=20000 --seeds=0 --set=--config.batch_size=16 --set="$threads" \
    --set=--config.eval_every=5000 --benchmarks="$sets,$(printf "$out/rrdb23/%s_teacher," Set5 Set14 B100 | sed 's/,$//')" | tee "$out/esrgan.txt"
[ -e teachers/vdsr ] || python -m kdsr.convert "$KDSR_DATA/weights/vdsr_official_multiscale_Y.npz" --model=vdsr --out=teachers/vdsr
free=(--study=data_free --out="$out/data_free" --seeds=0 --benchmarks="$sets" --set="$threads" --set=--config.batch_size=128)
python benchmarks/study.py "${free[@]}" --arms=noise,generator,random,whole,released --steps=9600 --set=--config.method.growth.every=320 \
    --set=--config.log_every=40 --set=--config.eval_every=960 --set=--config.save_every=960
python benchmarks/study.py "${free[@]}" --arms=data_kd,data --steps=48000 --set=--config.method.growth.every=1600 \
    --set=--config.log_every=200 --set=--config.eval_every=4800 --set=--config.save_every=4800 | tee "$out/data_free.txt"
python benchmarks/inference.py | tee "$out/inference.txt"
python benchmarks/train_step.py | tee "$out/train_step.txt"
python benchmarks/affinity.py | tee "$out/affinity.txt"
cat "$out"/{teacher,study,transforms,srgan,esrgan,data_free,inference,train_step,affinity}.txt > "$out/table.txt"
