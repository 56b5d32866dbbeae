# Teachers: image models, trained in the graph where the suite says so, run once over every view.


rule train_teacher:
    """Train an image model on the views of its own shapes, which stand in nothing else."""
    input:
        manifest=lambda wildcards: GRAPH.manifest(
            GRAPH.training_of(wildcards.teacher).dataset
        ),
        views=lambda wildcards: GRAPH.teacher_views(wildcards.teacher),
        backbone=lambda wildcards: GRAPH.teacher_backbone(wildcards.teacher),
    output:
        weights="results/teachers/{teacher}/weights.safetensors",
        history="results/teachers/{teacher}/history.jsonl",
    log:
        "results/logs/train_teacher/{teacher}.log",
    benchmark:
        "results/benchmarks/train_teacher/{teacher}.tsv"
    conda:
        "../envs/networks.yaml"
    threads: 1
    resources:
        gpu=GPUS,
        mem_mb=8000,
        runtime=240,
    params:
        settings=lambda wildcards: JOBS.train_teacher(wildcards.teacher),
        code=lambda wildcards: JOBS.code(
            "train_teacher", ("teachers", wildcards.teacher)
        ),
        backbone=lambda wildcards, input: JOBS.arguments(backbone=input.backbone),
    message:
        "Training teacher {wildcards.teacher}"
    shell:
        "python workflow_scripts/train_teacher.py --settings {params.settings:q} --manifest {input.manifest:q}"
        " --views {input.views:q} {params.backbone:q} --threads {threads} --code {params.code}"
        " --output {output.weights:q} --history {output.history:q} --checkpoints results/checkpoints/train_teacher/{wildcards.teacher}"
        " --curves results/tensorboard/train_teacher/{wildcards.teacher} > {log:q} 2>&1"


rule extract_features:
    """Run the frozen teacher over the views of one shard and keep its embeddings."""
    input:
        views="results/views/{dataset}/{rig}/{shard}.safetensors",
        weights=lambda wildcards: GRAPH.teacher_weights(wildcards.teacher),
    output:
        features="results/features/{dataset}/{rig}/{teacher}/{shard}.safetensors",
    log:
        "results/logs/extract_features/{dataset}.{rig}.{teacher}.{shard}.log",
    benchmark:
        "results/benchmarks/extract_features/{dataset}.{rig}.{teacher}.{shard}.tsv"
    conda:
        "../envs/networks.yaml"
    threads: 1
    resources:
        gpu=GPUS,
        mem_mb=8000,
        runtime=240,
    params:
        settings=lambda wildcards: JOBS.extract_features(wildcards.teacher),
        code=lambda wildcards: JOBS.code(
            "extract_features", ("teachers", wildcards.teacher)
        ),
        weights=lambda wildcards, input: JOBS.arguments(weights=input.weights),
    message:
        "Extracting {wildcards.teacher} features: {wildcards.dataset}, {wildcards.rig}, shard {wildcards.shard}"
    shell:
        "python workflow_scripts/extract_features.py --settings {params.settings:q} --views {input.views:q}"
        " {params.weights:q} --threads {threads} --output {output.features:q} > {log:q} 2>&1"


rule extract_tokens:
    """Run the frozen teacher over the views of one shard and keep its patch tokens, where a method reads them."""
    input:
        views="results/views/{dataset}/{rig}/{shard}.safetensors",
        weights=lambda wildcards: GRAPH.teacher_weights(wildcards.teacher),
    output:
        tokens="results/tokens/{dataset}/{rig}/{teacher}/{shard}.safetensors",
    log:
        "results/logs/extract_tokens/{dataset}.{rig}.{teacher}.{shard}.log",
    benchmark:
        "results/benchmarks/extract_tokens/{dataset}.{rig}.{teacher}.{shard}.tsv"
    conda:
        "../envs/networks.yaml"
    threads: 1
    resources:
        gpu=GPUS,
        mem_mb=8000,
        runtime=240,
    params:
        settings=lambda wildcards: JOBS.extract_tokens(wildcards.teacher),
        code=lambda wildcards: JOBS.code(
            "extract_tokens", ("teachers", wildcards.teacher)
        ),
        weights=lambda wildcards, input: JOBS.arguments(weights=input.weights),
    message:
        "Extracting {wildcards.teacher} tokens: {wildcards.dataset}, {wildcards.rig}, shard {wildcards.shard}"
    shell:
        "python workflow_scripts/extract_tokens.py --settings {params.settings:q} --views {input.views:q}"
        " {params.weights:q} --threads {threads} --output {output.tokens:q} > {log:q} 2>&1"


rule encode_class_prompts:
    """Tell the frozen teacher the names of a dataset's classes, in the task's prompts."""
    input:
        manifest="results/manifest/{dataset}.csv",
        weights=lambda wildcards: GRAPH.teacher_weights(wildcards.teacher),
    output:
        prompts="results/prompts/{dataset}/{teacher}.safetensors",
    log:
        "results/logs/encode_class_prompts/{dataset}.{teacher}.log",
    benchmark:
        "results/benchmarks/encode_class_prompts/{dataset}.{teacher}.tsv"
    conda:
        "../envs/networks.yaml"
    threads: 1
    resources:
        gpu=GPUS,
        mem_mb=8000,
        runtime=60,
    params:
        settings=lambda wildcards: JOBS.encode_class_prompts(
            wildcards.teacher, wildcards.dataset
        ),
        code=lambda wildcards: JOBS.code(
            "encode_class_prompts", ("teachers", wildcards.teacher)
        ),
        weights=lambda wildcards, input: JOBS.arguments(weights=input.weights),
    message:
        "Telling {wildcards.teacher} the classes of {wildcards.dataset}"
    shell:
        "python workflow_scripts/encode_class_prompts.py --settings {params.settings:q} --manifest {input.manifest:q}"
        " {params.weights:q} --threads {threads} --output {output.prompts:q} > {log:q} 2>&1"
