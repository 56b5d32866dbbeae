# Views: pictures of every shape (its mesh, or its points) from a rig's cameras, and which points each camera sees.
# Datasets of posed frames come with their pictures: one rule reads them and says what they show.


rule render_views:
    """Render the shapes of one shard: meshes, or points as discs. Over EGL, in a process without torch."""
    input:
        shapes=lambda wildcards: GRAPH.drawn_shard(
            wildcards.dataset, wildcards.rig, wildcards.shard
        ),
    output:
        views="results/views/{dataset}/{rig}/{shard}.safetensors",
    log:
        "results/logs/render_views/{dataset}.{rig}.{shard}.log",
    benchmark:
        "results/benchmarks/render_views/{dataset}.{rig}.{shard}.tsv"
    wildcard_constraints:
        rig=GRAPH.named("rigs", reads_frames=False),
    conda:
        "../envs/rendering.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=120,
    params:
        settings=lambda wildcards: JOBS.render_views(wildcards.rig),
        code=lambda wildcards: JOBS.code("render_views", ("rigs", wildcards.rig)),
    message:
        "Rendering {wildcards.dataset} with rig {wildcards.rig}, shard {wildcards.shard}"
    shell:
        "python workflow_scripts/render_views.py --settings {params.settings:q} --shapes {input.shapes:q}"
        " --output {output.views:q} > {log:q} 2>&1"


rule compute_visibility:
    """Say for every point which cameras of the rig see it."""
    input:
        shapes=lambda wildcards: GRAPH.drawn_shard(
            wildcards.dataset, wildcards.rig, wildcards.shard
        ),
        points="results/points/{dataset}/{shard}.safetensors",
    output:
        visibility="results/visibility/{dataset}/{rig}/{shard}.safetensors",
    log:
        "results/logs/compute_visibility/{dataset}.{rig}.{shard}.log",
    benchmark:
        "results/benchmarks/compute_visibility/{dataset}.{rig}.{shard}.tsv"
    wildcard_constraints:
        rig=GRAPH.named("rigs", reads_frames=False),
    conda:
        "../envs/rendering.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=120,
    params:
        settings=lambda wildcards: JOBS.compute_visibility(wildcards.rig),
        code=lambda wildcards: JOBS.code("compute_visibility", ("rigs", wildcards.rig)),
    message:
        "Computing visibility: {wildcards.dataset} with rig {wildcards.rig}, shard {wildcards.shard}"
    shell:
        "python workflow_scripts/compute_visibility.py --settings {params.settings:q} --shapes {input.shapes:q}"
        " --points {input.points:q} --output {output.visibility:q} > {log:q} 2>&1"


rule read_views:
    """Read the pictures that come with the clouds of one shard, cut them square, and say which points they show."""
    input:
        index=lambda wildcards: listed_index(GRAPH, wildcards.dataset),
        points="results/points/{dataset}/{shard}.safetensors",
    output:
        views="results/views/{dataset}/{rig}/{shard}.safetensors",
        visibility="results/visibility/{dataset}/{rig}/{shard}.safetensors",
    log:
        "results/logs/read_views/{dataset}.{rig}.{shard}.log",
    benchmark:
        "results/benchmarks/read_views/{dataset}.{rig}.{shard}.tsv"
    wildcard_constraints:
        rig=GRAPH.named("rigs", reads_frames=True),
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=120,
    params:
        settings=lambda wildcards: JOBS.read_views(
            wildcards.dataset, wildcards.rig, wildcards.shard
        ),
        code=lambda wildcards: JOBS.code(
            "read_views", ("datasets", wildcards.dataset), ("rigs", wildcards.rig)
        ),
        folder=lambda wildcards: JOBS.arguments(folder=GRAPH.folders(wildcards.dataset)),
    message:
        "Reading pictures: {wildcards.dataset} with rig {wildcards.rig}, shard {wildcards.shard}"
    shell:
        "python workflow_scripts/read_views.py --settings {params.settings:q} {params.folder:q}"
        " --points {input.points:q} --views {output.views:q} --visibility {output.visibility:q} > {log:q} 2>&1"
