# Raw data: fetched or unpacked where the licence allows it, asked for where it does not, checked always.


rule download_data:
    """Fetch a dataset's files, or take its local archive; make its folder of them; the index says what came out."""
    input:
        archive=lambda wildcards: GRAPH.archives(wildcards.folder),
    output:
        index=f"{GRAPH.config.paths.data}/{{folder}}/index.json",
    log:
        "results/logs/download_data/{folder}.log",
    benchmark:
        "results/benchmarks/download_data/{folder}.tsv"
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=1440,
    params:
        settings=lambda wildcards: JOBS.download_data(wildcards.folder),
        code=lambda wildcards: JOBS.code("download_data"),
        archive=lambda wildcards, input: JOBS.arguments(archive=input.archive),
        folder=lambda wildcards, output: str(Path(output.index).parent),
        downloads=f"{GRAPH.config.paths.data}/{DOWNLOADS}",
    message:
        "Making {params.folder} of its raw files"
    shell:
        "python workflow_scripts/download_data.py --settings {params.settings:q} {params.archive:q}"
        " --downloads {params.downloads:q} --folder {params.folder:q} --output {output.index:q} > {log:q} 2>&1"


rule check_data:
    """See that the files which only their owner gives are there; fail, saying whom to ask, where they are not."""
    input:
        licensed=lambda wildcards: require_licensed(
            GRAPH, wildcards.dataset, keep_going=workflow.execution_settings.keep_going
        ),
    output:
        index="results/manifest/{dataset}.raw.json",
    log:
        "results/logs/check_data/{dataset}.log",
    benchmark:
        "results/benchmarks/check_data/{dataset}.tsv"
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=500,
        runtime=60,
    params:
        settings=lambda wildcards: JOBS.check_data(wildcards.dataset),
        code=lambda wildcards: JOBS.code("check_data"),
        folder=lambda wildcards: GRAPH.folders(wildcards.dataset),
    message:
        "Looking for the files of {wildcards.dataset}"
    shell:
        "python workflow_scripts/check_data.py --settings {params.settings:q} --folder {params.folder:q}"
        " --output {output.index:q} > {log:q} 2>&1"


rule data_status:
    """Show what of every dataset is there: `snakemake data_status`. Nothing else asks for this table."""
    input:
        config="config.yaml",
    output:
        table="results/data_status.csv",
    log:
        "results/logs/data_status.log",
    benchmark:
        "results/benchmarks/data_status.tsv"
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=60,
    params:
        settings=JOBS.data_status(),
        code=JOBS.code("data_status"),
        data=GRAPH.config.paths.data,
        now=str(time.time()),  # it shows the disk of this moment: made whenever it is asked for
    message:
        "Looking at the raw data of every dataset"
    shell:
        "python workflow_scripts/data_status.py --settings {params.settings:q} --data {params.data:q}"
        " --output {output.table:q} 2> {log:q}"
