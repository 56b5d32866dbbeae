# Tasks: finetune where the task trains, then judge. Test splits are opened here and nowhere else.


rule finetune_student:
    """Train student and head on the task's train split; a joint run adds its distillation loss."""
    input:
        manifest="results/manifest/{dataset}.csv",
        points=lambda wildcards: GRAPH.shard_files("points", wildcards.dataset),
        visibility=lambda wildcards: GRAPH.joint_files(
            wildcards.run, wildcards.dataset, "visibility"
        ),
        features=lambda wildcards: GRAPH.joint_files(
            wildcards.run, wildcards.dataset, "features"
        ),
        tokens=lambda wildcards: GRAPH.joint_files(
            wildcards.run, wildcards.dataset, "tokens"
        ),
        weights=SEED_JOBS.files("results/students/{run}/seed{seed}/weights.safetensors"),
    output:
        predictions=SEED_JOBS.files(
            "results/finetuned/{run}/{task}/{dataset}/{protocol}/seed{seed}/predictions.safetensors"
        ),
        weights=SEED_JOBS.files(
            "results/finetuned/{run}/{task}/{dataset}/{protocol}/seed{seed}/weights.safetensors"
        ),
        history=SEED_JOBS.files(
            "results/finetuned/{run}/{task}/{dataset}/{protocol}/seed{seed}/history.jsonl"
        ),
    log:
        f"results/logs/finetune_student/{{run}}.{{task}}.{{dataset}}.{{protocol}}{SEED_JOBS.word}.log",
    benchmark:
        f"results/benchmarks/finetune_student/{{run}}.{{task}}.{{dataset}}.{{protocol}}{SEED_JOBS.word}.tsv"
    wildcard_constraints:
        run=GRAPH.named("runs", replays=False),
    conda:
        "../envs/networks.yaml"
    threads: 1
    resources:
        gpu=GPUS,
        mem_mb=8000,
        runtime=720,
    params:
        settings=lambda wildcards: JOBS.finetune_student(
            wildcards.run, wildcards.task, wildcards.dataset
        ),
        seeds=lambda wildcards, output: SEED_JOBS.of(wildcards),
        code=lambda wildcards: JOBS.task_code(
            "finetune_student", wildcards.task, wildcards.dataset, wildcards.run
        ),
        inputs=lambda wildcards, input: JOBS.arguments(
            points=input.points,
            visibility=input.visibility,
            features=input.features,
            tokens=input.tokens,
        ),
        job="{run}.{task}.{dataset}.{protocol}",
    message:
        "Finetuning run {wildcards.run} for {wildcards.task} on {wildcards.dataset}, seed {params.seeds}"
    shell:
        "python workflow_scripts/finetune_student.py --settings {params.settings:q} --manifest {input.manifest:q}"
        " {params.inputs:q} --seeds {params.seeds} --weights {input.weights:q} --threads {threads} --code {params.code}"
        " --checkpoints results/checkpoints/finetune_student/{params.job:q}"
        " --curves results/tensorboard/finetune_student/{params.job:q}"
        " --output {output.predictions:q} > {log:q} 2>&1"


rule replay_student:
    """Ask a classifier that others released about the test split, by its own head. Nothing is trained."""
    input:
        manifest="results/manifest/{dataset}.csv",
        points=lambda wildcards: GRAPH.shard_files("points", wildcards.dataset),
        released=lambda wildcards: GRAPH.source_weights(wildcards.run),
    output:
        predictions=SEED_JOBS.files(
            "results/finetuned/{run}/{task}/{dataset}/{protocol}/seed{seed}/predictions.safetensors"
        ),
        weights=SEED_JOBS.files(
            "results/finetuned/{run}/{task}/{dataset}/{protocol}/seed{seed}/weights.safetensors"
        ),
    log:
        f"results/logs/replay_student/{{run}}.{{task}}.{{dataset}}.{{protocol}}{SEED_JOBS.word}.log",
    benchmark:
        f"results/benchmarks/replay_student/{{run}}.{{task}}.{{dataset}}.{{protocol}}{SEED_JOBS.word}.tsv"
    wildcard_constraints:
        run=GRAPH.named("runs", replays=True),
    conda:
        "../envs/networks.yaml"
    threads: 1
    resources:
        gpu=GPUS,
        mem_mb=8000,
        runtime=240,
    params:
        settings=lambda wildcards: JOBS.replay_student(wildcards.run),
        code=lambda wildcards: JOBS.run_code("replay_student", wildcards.run),
    message:
        "Replaying run {wildcards.run}: {wildcards.task} on {wildcards.dataset}"
    shell:
        "python workflow_scripts/replay_student.py --settings {params.settings:q} --manifest {input.manifest:q}"
        " --points {input.points:q} --released {input.released:q} --threads {threads}"
        " --output {output.predictions:q} > {log:q} 2>&1"


rule draw_episodes:
    """Draw few-shot episodes of a dataset: `snakemake results/episodes/lpsb/5w10s.json`. No suite asks for them."""
    input:
        manifest="results/manifest/{dataset}.csv",
    output:
        episodes="results/episodes/{dataset}/{episodes}.json",
    log:
        "results/logs/draw_episodes/{dataset}.{episodes}.log",
    benchmark:
        "results/benchmarks/draw_episodes/{dataset}.{episodes}.tsv"
    wildcard_constraints:
        episodes="[0-9a-z-]+",
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=30,
    params:
        settings=lambda wildcards: JOBS.draw_episodes(
            wildcards.dataset, wildcards.episodes
        ),
        code=lambda wildcards: JOBS.code("draw_episodes"),
    message:
        "Drawing episodes {wildcards.episodes} of {wildcards.dataset}"
    shell:
        "python workflow_scripts/draw_episodes.py --settings {params.settings:q} --manifest {input.manifest:q}"
        " --output {output.episodes:q} > {log:q} 2>&1"


rule evaluate_task:
    """Turn predictions or frozen embeddings into metrics, all seeds of a run in one job."""
    input:
        manifest="results/manifest/{dataset}.csv",
        answers=lambda wildcards: GRAPH.answers(
            wildcards.run, wildcards.task, wildcards.dataset
        ),
        prompts=lambda wildcards: GRAPH.prompts(
            wildcards.run, wildcards.task, wildcards.dataset
        ),
    output:
        metrics=[
            f"results/metrics/{{run}}/{{task}}/{{dataset}}/{{protocol}}/seed{seed}.json"
            for seed in SEEDS
        ],
    log:
        "results/logs/evaluate_task/{run}.{task}.{dataset}.{protocol}.log",
    benchmark:
        "results/benchmarks/evaluate_task/{run}.{task}.{dataset}.{protocol}.tsv"
    conda:
        "../envs/networks.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        settings=lambda wildcards: JOBS.evaluate_task(
            wildcards.run, wildcards.task, wildcards.dataset
        ),
        code=lambda wildcards: JOBS.task_code(
            "evaluate_task", wildcards.task, wildcards.dataset
        ),
        answers=lambda wildcards: (
            "predictions"
            if GRAPH.finetunes(wildcards.task, wildcards.dataset)
            else "embeddings"
        ),
        prompts=lambda wildcards, input: JOBS.arguments(prompts=input.prompts),
    message:
        "Evaluating run {wildcards.run}: {wildcards.task} on {wildcards.dataset}"
    shell:
        "python workflow_scripts/evaluate_task.py --settings {params.settings:q} --manifest {input.manifest:q}"
        " --{params.answers} {input.answers:q} {params.prompts:q} --output {output.metrics:q} > {log:q} 2>&1"
