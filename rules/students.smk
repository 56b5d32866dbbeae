# Students: point encoders, distilled from cached teacher embeddings; then every shape embedded once.


rule train_student:
    """Distil a student (or, for a run without distillation, initialise it). The saved student is the deployed one."""
    input:
        points=lambda wildcards: GRAPH.distillation_files(wildcards.run, "points"),
        visibility=lambda wildcards: GRAPH.distillation_files(
            wildcards.run, "visibility"
        ),
        features=lambda wildcards: GRAPH.distillation_files(wildcards.run, "features"),
        tokens=lambda wildcards: GRAPH.distillation_files(wildcards.run, "tokens"),
        init=lambda wildcards: [
            file
            for seed in SEED_JOBS.of(wildcards)
            for file in GRAPH.initial_weights(wildcards.run, seed)
        ],
        source=lambda wildcards: GRAPH.source_weights(wildcards.run),
        manifest=lambda wildcards: GRAPH.distillation_manifests(wildcards.run),
        exclude=lambda wildcards: GRAPH.duplicates(wildcards.run),
    output:
        weights=SEED_JOBS.files("results/students/{run}/seed{seed}/weights.safetensors"),
        projector=SEED_JOBS.files(
            "results/students/{run}/seed{seed}/projector.safetensors"
        ),
        settings=SEED_JOBS.files("results/students/{run}/seed{seed}/settings.json"),
        history=SEED_JOBS.files("results/students/{run}/seed{seed}/history.jsonl"),
    log:
        f"results/logs/train_student/{{run}}{SEED_JOBS.word}.log",
    benchmark:
        f"results/benchmarks/train_student/{{run}}{SEED_JOBS.word}.tsv"
    conda:
        "../envs/networks.yaml"
    threads: 1
    resources:
        gpu=GPUS,
        mem_mb=8000,
        runtime=720,
    params:
        settings=lambda wildcards: JOBS.train_student(wildcards.run),
        seeds=lambda wildcards, output: SEED_JOBS.of(wildcards),
        code=lambda wildcards: JOBS.run_code("train_student", wildcards.run),
        inputs=lambda wildcards, input: JOBS.arguments(
            points=input.points,
            visibility=input.visibility,
            features=input.features,
            tokens=input.tokens,
            init=input.init,
            source=input.source,
            manifest=input.manifest,
            exclude=input.exclude,
        ),
    message:
        "Training student: run {wildcards.run}, seed {params.seeds}"
    shell:
        "python workflow_scripts/train_student.py --settings {params.settings:q} {params.inputs:q}"
        " --threads {threads} --code {params.code} --seeds {params.seeds} --output {output.weights:q}"
        " --projector {output.projector:q}"
        " --checkpoints results/checkpoints/train_student/{wildcards.run}"
        " --curves results/tensorboard/train_student/{wildcards.run} > {log:q} 2>&1"


rule embed_shapes:
    """Embed every shape of a dataset with a run's students, all seeds in one job."""
    input:
        weights=[
            f"results/students/{{run}}/seed{seed}/weights.safetensors"
            for seed in SEEDS
        ],
        projectors=[
            f"results/students/{{run}}/seed{seed}/projector.safetensors"
            for seed in SEEDS
        ],
        points=lambda wildcards: GRAPH.shard_files("points", wildcards.dataset),
    output:
        embeddings=[
            f"results/embeddings/{{run}}/{{dataset}}/seed{seed}.safetensors"
            for seed in SEEDS
        ],
    log:
        "results/logs/embed_shapes/{run}.{dataset}.log",
    benchmark:
        "results/benchmarks/embed_shapes/{run}.{dataset}.tsv"
    conda:
        "../envs/networks.yaml"
    threads: 1
    resources:
        gpu=GPUS,
        mem_mb=8000,
        runtime=120,
    params:
        settings=lambda wildcards: JOBS.embed_shapes(wildcards.run),
        code=lambda wildcards: JOBS.run_code("embed_shapes", wildcards.run),
    message:
        "Embedding {wildcards.dataset} with run {wildcards.run}"
    shell:
        "python workflow_scripts/embed_shapes.py --settings {params.settings:q} --weights {input.weights:q}"
        " --projector {input.projectors:q} --points {input.points:q} --threads {threads} --output {output.embeddings:q} > {log:q} 2>&1"
