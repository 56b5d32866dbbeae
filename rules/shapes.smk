# Shapes: raw files -> normalised meshes, a manifest, and points on their surfaces; or points, where there are no meshes.


rule prepare_meshes:
    """Load, clean and normalise the meshes of one shard; what cannot be used is marked, with its reason."""
    input:
        index=lambda wildcards: listed_index(GRAPH, wildcards.dataset),
    output:
        meshes="results/meshes/{dataset}/{shard}.safetensors",
    log:
        "results/logs/prepare_meshes/{dataset}.{shard}.log",
    benchmark:
        "results/benchmarks/prepare_meshes/{dataset}.{shard}.tsv"
    wildcard_constraints:
        dataset=GRAPH.named(has_meshes=True),
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        settings=lambda wildcards: JOBS.prepare_meshes(
            wildcards.dataset, wildcards.shard
        ),
        code=lambda wildcards: JOBS.code(
            "prepare_meshes", ("datasets", wildcards.dataset)
        ),
        folder=lambda wildcards: JOBS.arguments(folder=GRAPH.folders(wildcards.dataset)),
    message:
        "Preparing meshes: {wildcards.dataset}, shard {wildcards.shard}"
    shell:
        "python workflow_scripts/prepare_meshes.py --settings {params.settings:q} {params.folder:q}"
        " --output {output.meshes:q} > {log:q} 2>&1"


rule build_manifest:
    """List every shape with its class and split, and every shape that cannot be used with its reason."""
    input:
        shards=lambda wildcards: GRAPH.first_shards(wildcards.dataset),
    output:
        manifest="results/manifest/{dataset}.csv",
        quarantine="results/manifest/{dataset}.quarantine.csv",
    log:
        "results/logs/build_manifest/{dataset}.log",
    benchmark:
        "results/benchmarks/build_manifest/{dataset}.tsv"
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        settings=lambda wildcards: JOBS.build_manifest(wildcards.dataset),
        code=lambda wildcards: JOBS.code("build_manifest"),
    message:
        "Building the manifest of {wildcards.dataset}"
    shell:
        "python workflow_scripts/build_manifest.py --settings {params.settings:q} --shards {input.shards:q}"
        " --output {output.manifest:q} --quarantine {output.quarantine:q} > {log:q} 2>&1"


rule sample_points:
    """Sample points with normals and part labels on the meshes of one shard."""
    input:
        meshes="results/meshes/{dataset}/{shard}.safetensors",
    output:
        points="results/points/{dataset}/{shard}.safetensors",
    log:
        "results/logs/sample_points/{dataset}.{shard}.log",
    benchmark:
        "results/benchmarks/sample_points/{dataset}.{shard}.tsv"
    wildcard_constraints:
        dataset=GRAPH.named(has_meshes=True),
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        settings=lambda wildcards: JOBS.sample_points(wildcards.dataset),
        code=lambda wildcards: JOBS.code("sample_points"),
    message:
        "Sampling points: {wildcards.dataset}, shard {wildcards.shard}"
    shell:
        "python workflow_scripts/sample_points.py --settings {params.settings:q} --meshes {input.meshes:q}"
        " --output {output.points:q} > {log:q} 2>&1"


rule read_points:
    """Load, check and normalise the clouds of one shard of a dataset without meshes."""
    input:
        index=lambda wildcards: listed_index(GRAPH, wildcards.dataset),
    output:
        points="results/points/{dataset}/{shard}.safetensors",
    log:
        "results/logs/read_points/{dataset}.{shard}.log",
    benchmark:
        "results/benchmarks/read_points/{dataset}.{shard}.tsv"
    wildcard_constraints:
        dataset=GRAPH.named(has_meshes=False),
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=120,
    params:
        settings=lambda wildcards: JOBS.read_points(wildcards.dataset, wildcards.shard),
        code=lambda wildcards: JOBS.code("read_points", ("datasets", wildcards.dataset)),
        folder=lambda wildcards: JOBS.arguments(folder=GRAPH.folders(wildcards.dataset)),
    message:
        "Reading points: {wildcards.dataset}, shard {wildcards.shard}"
    shell:
        "python workflow_scripts/read_points.py --settings {params.settings:q} {params.folder:q}"
        " --output {output.points:q} > {log:q} 2>&1"


rule find_duplicates:
    """List the shapes of one dataset that stand in another, whatever their pose and scale; or its own twins."""
    input:
        shapes=lambda wildcards: GRAPH.first_shards(wildcards.dataset),
        others=lambda wildcards: (
            []
            if wildcards.other == wildcards.dataset
            else GRAPH.first_shards(wildcards.other)
        ),
    output:
        duplicates="results/manifest/{dataset}.duplicates.{other}.csv",
    log:
        "results/logs/find_duplicates/{dataset}.{other}.log",
    benchmark:
        "results/benchmarks/find_duplicates/{dataset}.{other}.tsv"
    wildcard_constraints:
        other="[A-Za-z0-9_-]+",
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        settings=lambda wildcards: JOBS.find_duplicates(
            wildcards.dataset, wildcards.other
        ),
        code=lambda wildcards: JOBS.code("find_duplicates"),
        others=lambda wildcards, input: JOBS.arguments(others=input.others),
    message:
        "Looking for shapes of {wildcards.other} in {wildcards.dataset}"
    shell:
        "python workflow_scripts/find_duplicates.py --settings {params.settings:q} --shapes {input.shapes:q}"
        " {params.others:q} --output {output.duplicates:q} > {log:q} 2>&1"


rule match_shapes:
    """Find the mesh that each shape of a dataset of points names, and see whether its points were sampled from it."""
    input:
        points=lambda wildcards: GRAPH.shard_files("points", wildcards.dataset),
        meshes=lambda wildcards: GRAPH.matched_meshes(
            wildcards.dataset, wildcards.other
        ),
    output:
        matches="results/manifest/{dataset}.matches.{other}.csv",
    log:
        "results/logs/match_shapes/{dataset}.{other}.log",
    benchmark:
        "results/benchmarks/match_shapes/{dataset}.{other}.tsv"
    wildcard_constraints:
        other="[A-Za-z0-9_-]+",
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=480,
    params:
        settings="{}",
        code=lambda wildcards: JOBS.code("match_shapes"),
    message:
        "Matching shapes of {wildcards.dataset} with meshes of {wildcards.other}"
    shell:
        "python workflow_scripts/match_shapes.py --settings {params.settings:q} --points {input.points:q}"
        " --meshes {input.meshes:q} --output {output.matches:q} > {log:q} 2>&1"
