"""pointlift: meshes -> views -> teacher embeddings -> distilled students -> downstream tasks -> one report.

`snakemake --cores all` builds the suite that config.yaml names. The rules, read in order, tell the whole method.
"""

import sys
import time
from pathlib import Path

from snakemake.exceptions import WorkflowError

sys.path.insert(0, str(Path(workflow.basedir) / "workflow_scripts"))

from pointlift.audit import audit_datasets, audit_files
from pointlift.configuration import check_yaml, read_config
from pointlift.contracts.errors import PointliftError
from pointlift.failures import explain
from pointlift.graph import Graph
from pointlift.job_environment import gpus_per_job, prepare_environment
from pointlift.jobs import Jobs
from pointlift.local_files import require_local_files
from pointlift.raw_data import DOWNLOADS, listed_index, require_licensed
from pointlift.seed_jobs import SeedJobs

try:
    check_yaml(Path("config.yaml"))
except PointliftError as error:
    raise WorkflowError(str(error)) from None


configfile: "config.yaml"


try:
    GRAPH = Graph(read_config(config))
    require_local_files(GRAPH)
    TARGETS = GRAPH.targets()
except PointliftError as error:
    raise WorkflowError(str(error)) from None

JOBS = Jobs(GRAPH)
SUITE = GRAPH.config.suite
SEEDS = GRAPH.config.chosen.seeds
SEED_JOBS = SeedJobs(GRAPH.config.chosen)
GPUS = gpus_per_job(GRAPH.config)
prepare_environment(GRAPH.config)


wildcard_constraints:
    dataset="[A-Za-z0-9_-]+",
    rig="[A-Za-z0-9_-]+",
    teacher="[A-Za-z0-9_-]+",
    run="[A-Za-z0-9_-]+",
    task="[a-z_]+",
    protocol="[^/]+",
    shard="[0-9]{4}",
    seed="[0-9]+",


localrules:
    all,
    audit_duplicates,
    data_status,
    stage_shapes,
    stage_views,
    stage_teachers,
    stage_students,
    stage_tasks,


include: "rules/data.smk"
include: "rules/shapes.smk"
include: "rules/views.smk"
include: "rules/teachers.smk"
include: "rules/students.smk"
include: "rules/tasks.smk"
include: "rules/report.smk"


rule all:
    default_target: True
    input:
        TARGETS.report,


onerror:
    sys.stderr.write(explain(*([log] if isinstance(log, str) else log)))


# The phases that dvc.yaml names: each is one target.


rule stage_shapes:
    input:
        TARGETS.shapes,


rule stage_views:
    input:
        TARGETS.views,


rule stage_teachers:
    input:
        TARGETS.teachers,


rule stage_students:
    input:
        TARGETS.students,


rule stage_tasks:
    input:
        TARGETS.tasks,
