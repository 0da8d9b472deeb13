r"""How the pocket model is made: each stage one command, each command resumable with `--resume`.

    make data                                                        art, packed into data/pocket
    python -m inference.training.judge_training --data data/pocket   the classifier that scores
    python -m inference.training.folder --data data/pocket --out build/untrained
    python -m inference.training.vae    --data data/pocket --base build/untrained --out build/vae
    torchrun --nproc-per-node 2 -m inference.training.raw \
        --data data/pocket --base build/vae/checkpoint --out build/raw
    torchrun --nproc-per-node 2 -m inference.training.raw --config pocket-shapes \
        --data data/pocket --base build/raw/checkpoint --out build/shapes
    python -m inference.training.turbo \
        --data data/pocket --base build/shapes/checkpoint --out build/turbo
    python -m inference.training.picture_folder --data data/pocket --out build/line
    python -m inference.training.lora   --data build/line --base build/shapes/checkpoint \
        --out build/lora
    python -m inference.training.release --raw build/shapes/checkpoint \
        --turbo build/turbo/checkpoint --adapter build/lora/adapter --out weights
    make eval                                                        scores, sheets, docs/pocket.md

Sizes and rates are in `configs/`: `pocket` is what ships (`pocket-shapes` its Raw's last stage),
`tiny` proves the code on a CPU in a minute (`--tiny`), `krea2` is the LoRA run for the 12 B model.
A stage reads the folder that the stage before wrote and writes the same kind of folder; `flow` has
the mathematics they share.
"""
