# Report: one table of every number, one of runs beside their controls, what it cost, and a page to read.


rule collect_metrics:
    """Gather every metric of the suite, after checking that no shape stands where it must not."""
    input:
        metrics=TARGETS.tasks,
        manifests=[GRAPH.manifest(dataset) for dataset in GRAPH.datasets_used],
        quarantines=[
            f"results/manifest/{dataset}.quarantine.csv"
            for dataset in GRAPH.datasets_used
        ],
        views=TARGETS.views,
        duplicates=GRAPH.all_duplicates(),
    output:
        summary=f"results/report/{SUITE}/summary.csv",
        leaderboard=f"results/report/{SUITE}/leaderboard.csv",
        ladder=f"results/report/{SUITE}/ladder.csv",
        cost=f"results/report/{SUITE}/cost.csv",
        quarantine=f"results/report/{SUITE}/quarantine.csv",
    log:
        f"results/logs/collect_metrics/{SUITE}.log",
    benchmark:
        f"results/benchmarks/collect_metrics/{SUITE}.tsv"
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        settings=JOBS.collect_metrics(),
        code=JOBS.code("collect_metrics"),
        duplicates=JOBS.arguments(duplicates=GRAPH.all_duplicates()),
    message:
        "Collecting the metrics of suite {SUITE}"
    shell:
        "printf %s {params.settings:q} | python workflow_scripts/collect_metrics.py --settings - --metrics {input.metrics:q}"
        " --manifests {input.manifests:q} --quarantines {input.quarantines:q} --views {input.views:q} {params.duplicates:q}"
        " --summary {output.summary:q} --leaderboard {output.leaderboard:q} --ladder {output.ladder:q}"
        " --cost {output.cost:q} --quarantine {output.quarantine:q} > {log:q} 2>&1"


rule draw_report:
    """Draw the page: the table with its spread, training curves, renders, quarantine, cost, provenance."""
    input:
        summary=f"results/report/{SUITE}/summary.csv",
        leaderboard=f"results/report/{SUITE}/leaderboard.csv",
        ladder=f"results/report/{SUITE}/ladder.csv",
        cost=f"results/report/{SUITE}/cost.csv",
        quarantine=f"results/report/{SUITE}/quarantine.csv",
        histories=GRAPH.histories(),
        metrics=TARGETS.tasks,
        views=TARGETS.views,
        manifests=[GRAPH.manifest(dataset) for dataset in GRAPH.datasets_used],
        duplicates=GRAPH.all_duplicates(),
    output:
        page=f"results/report/{SUITE}/report.html",
    log:
        f"results/logs/draw_report/{SUITE}.log",
    benchmark:
        f"results/benchmarks/draw_report/{SUITE}.tsv"
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        settings=JOBS.draw_report(),
        code=JOBS.code(
            "draw_report",
            files=[
                "reporting/templates/report.html.j2",
                "reporting/templates/ladder.html.j2",
                "reporting/templates/ladder.css.j2",
                "reporting/reported.csv",
            ],
        ),
        duplicates=JOBS.arguments(duplicates=GRAPH.all_duplicates()),
    message:
        "Drawing the report of suite {SUITE}"
    shell:
        "printf %s {params.settings:q} | python workflow_scripts/draw_report.py --settings - --summary {input.summary:q}"
        " --leaderboard {input.leaderboard:q} --ladder {input.ladder:q} --cost {input.cost:q}"
        " --quarantine {input.quarantine:q}"
        " --history {input.histories:q} --metrics {input.metrics:q} --views {input.views:q} --manifests {input.manifests:q}"
        " {params.duplicates:q} --output {output.page:q} > {log:q} 2>&1"


rule write_model_cards:
    """Write what every run's students are, how they were made, on whose terms, and what was measured: one page each."""
    input:
        metrics=TARGETS.tasks,
        weights=TARGETS.students,
    output:
        cards=GRAPH.model_cards(),
    log:
        f"results/logs/write_model_cards/{SUITE}.log",
    benchmark:
        f"results/benchmarks/write_model_cards/{SUITE}.tsv"
    conda:
        "../envs/networks.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        settings=JOBS.write_model_cards(),
        code=JOBS.code(
            "write_model_cards",
            *(
                ("students", GRAPH.config.runs[run].student)
                for run in GRAPH.config.chosen.runs
            ),
        ),
    message:
        "Writing the model cards of suite {SUITE}"
    shell:
        "printf %s {params.settings:q} | python workflow_scripts/write_model_cards.py --settings - --metrics {input.metrics:q}"
        " --weights {input.weights:q} --output {output.cards:q} > {log:q} 2>&1"


rule audit_duplicates:
    """Show which test shapes stand in what is trained on: `snakemake audit_duplicates`. Nothing else asks for it."""
    input:
        manifests=[GRAPH.manifest(dataset) for dataset in audit_datasets(GRAPH)],
        duplicates=audit_files(GRAPH),
    output:
        table=f"results/report/{SUITE}/duplicates.csv",
    log:
        f"results/logs/audit_duplicates/{SUITE}.log",
    benchmark:
        f"results/benchmarks/audit_duplicates/{SUITE}.tsv"
    conda:
        "../envs/tables.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        settings=JOBS.audit_duplicates(),
        code=JOBS.code("audit_duplicates"),
        now=str(time.time()),  # a table to look at: shown whenever it is asked for
    message:
        "Counting the test shapes of suite {SUITE} that stand in what it is trained on"
    shell:
        "python workflow_scripts/audit_duplicates.py --settings {params.settings:q} --manifests {input.manifests:q}"
        " --duplicates {input.duplicates:q} --output {output.table:q} 2> {log:q}"
