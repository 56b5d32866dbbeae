"""Mistakes of runs: what a method reads, what an arm may be called, where a run starts, and who can be asked what."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pointlift import rooms
from pointlift.contracts.blocks import MethodSettings, RunSettings, StudentSettings, SuiteSettings
from pointlift.contracts.image_weights import IMAGE_ARMS
from pointlift.contracts.rig_blocks import CameraRigSettings
from pointlift.contracts.settings import Settings
from pointlift.geometry.cameras import num_views
from pointlift.released_mistakes import network_mistakes

if TYPE_CHECKING:
    from pointlift.configuration import Config


def run_mistakes(config: Config, name: str, run: RunSettings) -> list[str]:
    """What is wrong with one run, beside blocks that do not exist."""
    return [
        *_reading_mistakes(config, name, run),
        *_arm_mistakes(config, name, run),
        *_start_mistakes(config, name, run),
        *_image_mistakes(config, name, run),
        *network_mistakes(config, name, run),
    ]


def _reading_mistakes(config: Config, name: str, run: RunSettings) -> list[str]:
    """A run names a teacher and a rig where its method reads them, and only there."""
    method = config.methods.get(run.method) if run.method else None
    if method is None:
        return []
    reads = method.reads()
    wanted = {"teacher": bool(set(reads) - {"visibility"}), "rig": bool(reads)}
    told = f"method {run.method!r} (kind {method.kind!r}) reads"
    found = []
    for key, needed in wanted.items():
        given = getattr(run, key) is not None
        if needed and not given:
            found.append(f"runs.{name}.{key}: missing; {told} {', '.join(reads)}")
        elif given and not needed:
            found.append(f"runs.{name}.{key}: {getattr(run, key)!r} is not used: {told} {', '.join(reads) or 'points'}")
    if run.form == "transfer" and getattr(method, "weight", 1.0) == 0:
        found.append(f"runs.{name}.method: {run.method!r} has weight 0: nothing would be learned; arm scratch has none")
    found += _view_mistakes(config, name, run, method)
    student = config.students.get(run.student)
    found += _head_mistakes(name, run, method, student)
    if method.hides() and student is not None and not student.can_hide():
        found.append(
            f"runs.{name}.student: {run.student!r} (kind {student.kind!r}) cannot be shown part of a cloud, and method "
            f"{run.method!r} hides some; use kind point_transformer"
        )
    if run.form == "joint" and method.hides():
        found.append(f"runs.{name}.form: joint is not for method {run.method!r}: it hides part of each cloud")
    return found


def _head_mistakes(name: str, run: RunSettings, method: MethodSettings, student: StudentSettings | None) -> list[str]:
    """Heads that do not divide what they attend to, where the blocks say how wide that is."""
    width, heads = student.width_of_tokens() if student is not None else None, method.heads_over_tokens()
    if width is None or heads is None or width % heads == 0:
        return []
    return [
        f"runs.{name}.method: {run.method!r} has {heads} heads, which do not divide the {width} numbers of a token of "
        f"student {run.student!r}; say other heads, or a width that they divide"
    ]


def _view_mistakes(config: Config, name: str, run: RunSettings, method: MethodSettings) -> list[str]:
    """Views that the rig has not, and clouds that turn while the cameras a method reads stay."""
    found, rig = [], config.rigs.get(run.rig) if run.rig else None
    asked = getattr(method, "num_views", None)
    held = num_views(rig.cameras) if isinstance(rig, CameraRigSettings) else 1  # frames: the one each cloud came with
    if asked is not None and rig is not None and asked > held:
        found.append(
            f"runs.{name}.rig: {run.rig!r} has {held} views, and method {run.method!r} asks for "
            f"{asked} (num_views); ask for fewer, or null for all"
        )
    turned = run.recipe is not None and run.recipe.augmentation.rotation != "none"
    if "cameras" in method.reads() and (turned or run.form == "joint"):
        found.append(
            f"runs.{name}.method: {run.method!r} reads where cameras stand, which do not turn with an augmented cloud; "
            "use form transfer and recipe.augmentation.rotation none"
        )
    return found


def _arm_mistakes(config: Config, name: str, run: RunSettings) -> list[str]:
    """An arm says what its method does. Arm random_teacher is the one with an untrained teacher: under another name it
    would be its own control."""
    method = config.methods.get(run.method) if run.method else None
    allowed = method.arms() if method is not None else None
    if allowed is not None and run.arm not in allowed:
        return [f"runs.{name}.arm: {run.arm!r} is not what method {run.method!r} does: {', '.join(allowed)}"]
    found, block = [], config.datasets.get(run.dataset) if run.dataset else None
    if run.arm == "same_class_shuffled" and getattr(block, "unlabelled", False):
        found.append(f"runs.{name}.arm: 'same_class_shuffled' needs classes, and dataset {run.dataset!r} is unlabelled")
    teacher = config.teachers.get(run.teacher) if run.teacher else None
    initialisation = getattr(teacher, "initialisation", None)
    untrained = initialisation == "random" and teacher is not None and teacher.training is None
    if initialisation is None or run.arm == "control" or untrained == (run.arm == "random_teacher"):
        return found
    return [
        *found,
        f"runs.{name}.arm: {run.arm!r} does not go with teacher {run.teacher!r}, whose initialisation is "
        f"{initialisation!r}; arm random_teacher takes a random one, every other arm a trained one",
    ]


def _start_mistakes(config: Config, name: str, run: RunSettings) -> list[str]:
    """A run starts from a masked autoencoder with the same student and distillation set, which starts from scratch."""
    start = config.runs.get(run.init) if run.init else None
    if start is None:
        return []
    key = f"runs.{name}.init"
    if start.arm != "point_mae":
        return [f"{key}: {run.init!r} is arm {start.arm!r}; arm init_point_mae starts from a run of arm point_mae"]
    return [
        f"{key}: {run.init!r} has {what} {getattr(start, what)!r}, this run {getattr(run, what)!r}; they must be one"
        for what in ("student", "dataset")
        if getattr(start, what) != getattr(run, what)
    ]


def _image_mistakes(config: Config, name: str, run: RunSettings) -> list[str]:
    """2D weights come from a source that has them, into a student that takes just those; regimes need its stages."""
    student = config.students.get(run.student)
    if run.arm not in IMAGE_ARMS or student is None:
        return []
    wanted, told = student.image_source(), f"student {run.student!r} (kind {student.kind!r})"
    if wanted is None:
        return [f"runs.{name}.student: {told} has no stages of a 2D network, which arm {run.arm!r} needs; {_taking()}"]
    if run.inflation is None or run.inflation.source not in config.teachers:
        return []  # nothing to fill, or told as a missing block
    key, source = f"runs.{name}.inflation", config.teachers[run.inflation.source]
    held, found = source.image_source(), []
    if held != wanted:
        has = f"holds stages of {held}" if held else f"(kind {source.kind!r}) holds no stages of a 2D network"
        found.append(f"{key}.source: {run.inflation.source!r} {has}, and {told} takes those of {wanted}")
    if run.inflation.shortcut not in student.shortcuts():
        fitting = ", ".join(student.shortcuts())
        found.append(f"{key}.shortcut: {run.inflation.shortcut!r} does not fit {told}, whose shortcuts take {fitting}")
    stages = getattr(student, "num_stages", None)
    if stages is not None and (unknown := sorted(set(run.inflation.excluded_stages) - set(range(1, stages() + 1)))):
        found.append(f"{key}.excluded_stages: {told} has stages 1 to {stages()}, not {', '.join(map(str, unknown))}")
    return found


def _taking() -> str:
    kinds = [kind for kind in rooms.available("students") if _takes_weights(rooms.settings_class("students", kind))]
    return f"these kinds have: {', '.join(kinds) or 'none'}"


def _takes_weights(settings: type[Settings]) -> bool:
    return getattr(settings, "image_source", None) is not StudentSettings.image_source


def frozen_mistakes(config: Config, name: str, suite: SuiteSettings) -> list[str]:
    """A task that freezes the whole student leaves nothing to the regime of a run."""
    return [
        f"suites.{name}.tasks: {task_name!r} keeps the student frozen, and run {run_name!r} is of regime "
        f"{config.runs[run_name].regime}, which trains some of it; write {{task: {task_name}, runs: [...]}} without it"
        for task_name in suite.task_names()
        if getattr(config.tasks[task_name], "regime", None) == "frozen"
        for run_name in suite.runs_of(task_name)
        if run_name in suite.runs and config.runs[run_name].arm in IMAGE_ARMS
    ]


def missing_starts(config: Config, name: str, suite: SuiteSettings) -> list[str]:
    """Runs that start from one outside the suite."""
    return [
        f"suites.{name}.runs: {run_name!r} starts from {start!r}, which is not among them; name it too: its cost and "
        "curves belong to the same report"
        for run_name in suite.runs
        if (start := config.runs[run_name].init) is not None and start not in suite.runs
    ]


def matching_mistakes(config: Config, name: str, suite: SuiteSettings) -> list[str]:
    """Runs that are trained for longer to match another: with it in the suite, and on tasks that say how much."""
    found = []
    for run_name in suite.runs:
        run = config.runs[run_name]
        if run.matches is None:
            continue
        key, other = f"suites.{name}.runs: {run_name!r} matches {run.matches!r}", config.runs.get(run.matches)
        if other is None or run.matches not in suite.runs:
            found.append(f"{key}, which is not among them; name it too")
        elif (other.student, other.form) != (run.student, "transfer") or other.method is None:
            found.append(f"{key}, which must be a transfer run that distils the same student ({run.student})")
        for task_name in [one for one in suite.task_names() if run_name in suite.runs_of(one)]:
            task = config.tasks[task_name]
            if task.kind not in run.longer:
                found.append(
                    f"{key} on tasks {', '.join(sorted(run.longer))}, and meets one of kind {task.kind}; add it to "
                    f"runs.{run_name}.longer where it finetunes, else write {{task: ..., runs: [...]}} without the run"
                )
            elif not task.finetunes:
                found.append(f"{key} on {task.kind}, which trains no student: nothing is longer there")
            elif run.matches in suite.runs and run.matches not in suite.runs_of(task_name):
                found.append(
                    f"{key}, which does not meet {task_name!r}: there is no time to match; name both or neither"
                )
    return found


def idle_mistakes(config: Config, name: str, suite: SuiteSettings) -> list[str]:
    """Runs that no task of the suite meets, and that no other run starts from."""
    tasks = [(config.tasks[task], suite.runs_of(task)) for task in suite.task_names()]
    starts = {config.runs[run].init for run in suite.runs}
    return [
        f"suites.{name}.runs: no task meets {run!r}; take it out, or name it among the runs of a task"
        for run in suite.runs
        if run not in starts and config.runs[run].form == "transfer" and not any(run in met for _, met in tasks)
    ]


def projection_mistakes(config: Config, name: str, suite: SuiteSettings) -> list[str]:
    """Runs that a suite's task cannot ask: without a head into the teacher's space, or with a teacher without words."""
    found, key = [], f"suites.{name}.tasks"
    for task_name in suite.task_names():
        task = config.tasks[task_name]
        for run_name in suite.runs_of(task_name):
            if run_name not in suite.runs:
                found.append(f"{key}: {task_name!r} names run {run_name!r}, which is not among the suite's runs")
            elif config.runs[run_name].form == "transfer" and task.reads_projected():
                reason = _why_not(config, config.runs[run_name], task.reads_prompts)
                if reason:
                    told = f"write {{task: {task_name}, runs: [...]}} with the runs that can be asked"
                    found.append(f"{key}: {task_name!r} cannot be asked of run {run_name!r}: {reason}; {told}")
    return found


def order_mistakes(config: Config, key: str, run: RunSettings, dataset: str) -> list[str]:
    """A student that takes a cloud's first points as its centres needs clouds whose first points are farthest ones."""
    block = config.datasets.get(dataset)
    first = getattr(config.students.get(run.student), "centres", "farthest") == "first"
    if not first or block is None or block.order == "farthest_first":
        return []
    return [
        f"{key}: student {run.student!r} takes the first points as centres (centres: first), and dataset {dataset!r} "
        f"is stored as {block.order}; say order: farthest_first in the dataset, or centres: farthest in the student"
    ]


def _why_not(config: Config, run: RunSettings, in_words: bool) -> str | None:
    method, teacher = config.methods.get(str(run.method)), config.teachers.get(str(run.teacher))
    if method is None or not method.projects():
        return "it has no head into a teacher's space"
    if in_words and teacher is not None and not teacher.reads_text():
        return f"its teacher {run.teacher!r} (kind {teacher.kind!r}) knows images only, no words"
    return None
