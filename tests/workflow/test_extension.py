"""A new dataset, teacher, student, method and task: one file and one block each, and no existing file is touched."""

import textwrap

import pandas as pd

MEMBERS = {
    "datasets/toy_boxes.py": '''
        """Boxes of two proportions."""

        import hashlib
        from typing import ClassVar, Literal

        import numpy as np

        from pointlift.contracts.dataset_blocks import DatasetSettings
        from pointlift.contracts.dataset import Entry
        from pointlift.contracts.hashing import stable_seed
        from pointlift.geometry.meshes import Mesh


        class Settings(DatasetSettings):
            """How many boxes, under which name."""

            kind: Literal["toy_boxes"]
            series: str
            count: int = 8


        def list_ids(settings, folder=None):
            return tuple(f"{settings.series}-{index:03d}" for index in range(settings.count))


        def build(settings, folder=None):
            return Boxes(settings)


        class Boxes:
            class_names = ("flat", "tall")
            part_names = ()
            licence, source, up_axis = "MIT", "a test", "z"

            def __init__(self, settings):
                self.ids = list_ids(settings)

            def entry(self, shape_id):
                index = int(shape_id.rpartition("-")[2])
                sha256 = hashlib.sha256(self.load(shape_id).vertices.tobytes()).hexdigest()
                return Entry(self.class_names[index % 2], ("train", "train", "test", "test")[index % 4], "", sha256)

            def load(self, shape_id):
                index = int(shape_id.rpartition("-")[2])
                size = np.random.default_rng(stable_seed(shape_id, "box")).uniform(0.8, 1.2, 3)
                size[2] *= (0.2, 3.0)[index % 2]
                corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * size
                faces = [(0, 1, 3), (0, 3, 2), (4, 6, 7), (4, 7, 5), (0, 4, 5), (0, 5, 1)]
                faces += [(2, 3, 7), (2, 7, 6), (0, 2, 6), (0, 6, 4), (1, 5, 7), (1, 7, 3)]
                return Mesh(corners, np.array(faces, dtype=np.int64), None)
    ''',
    "teachers/toy_grey.py": '''
        """One convolution, never trained."""

        from typing import Literal

        import torch

        from pointlift.contracts.teacher_blocks import TeacherSettings
        from pointlift.teachers.preprocessing import Preprocessing
        from pointlift.teachers.teacher import Teacher, TeacherOutput


        class Settings(TeacherSettings):
            """Nothing to set."""

            kind: Literal["toy_grey"]


        def build(settings, weights=None):
            return Grey()


        class Grey(Teacher):
            width, nonnegative = 4, True

            def __init__(self):
                super().__init__(Preprocessing(16, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)))
                torch.manual_seed(0)
                self.layer = torch.nn.Conv2d(3, self.width, 8, stride=8)
                self.freeze()

            def _encode(self, pixels, tokens):
                return TeacherOutput(torch.relu(self.layer(pixels)).mean(dim=(2, 3)), None)
    ''',
    "students/toy_linear.py": '''
        """One layer per point."""

        from typing import Literal

        import torch

        from pointlift.contracts.blocks import StudentSettings
        from pointlift.operators.student_output import StudentOutput


        class Settings(StudentSettings):
            """Its width."""

            kind: Literal["toy_linear"]
            width: int = 8


        def build(settings):
            return ToyLinear(settings)


        class ToyLinear(torch.nn.Module):
            def __init__(self, settings):
                super().__init__()
                self.width, self.layer = settings.width, torch.nn.Linear(3, settings.width)

            def forward(self, points):
                tokens = torch.relu(self.layer(points))
                index = torch.arange(points.shape[1]).expand(points.shape[:2])
                return StudentOutput(tokens.amax(dim=1), tokens, points, index, {})
    ''',
    "distillation/toy_match.py": '''
        """The embedding predicts the mean target."""

        from typing import Literal

        import torch

        from pointlift.contracts.blocks import MethodSettings


        class Settings(MethodSettings):
            """Nothing to set."""

            kind: Literal["toy_match"]


        def build(settings, student, targets):
            return Match(student.width, len(targets.mean))


        class Match(torch.nn.Module):
            def __init__(self, student_width, target_width):
                super().__init__()
                self.head = torch.nn.Linear(student_width, target_width)

            def forward(self, output, batch):
                return {"match_loss": (self.head(output.embedding) - batch["target"].mean(dim=1)).abs().mean()}
    ''',
    "tasks/toy_norm.py": '''
        """How long embeddings are."""

        from typing import Literal

        import numpy as np

        from pointlift.contracts.blocks import TaskSettings
        from pointlift.contracts.metrics import Value
        from pointlift.tasks.judgement import Judgement


        class Settings(TaskSettings):
            """Nothing to set."""

            kind: Literal["toy_norm"]


        def build(settings):
            return Norm()


        class Norm:
            def evaluate(self, shapes):
                test = shapes.rows("test")
                length = np.linalg.norm(shapes.values[test], axis=1)
                ids = tuple(shapes.ids[row] for row in test)
                values = (Value(metric="norm", value=float(length.mean())),)
                return Judgement(values, ids, len(shapes.rows("train")), {"norm": tuple(length.tolist())})
    ''',
}


BLOCKS = """
datasets:
  boxes: {kind: toy_boxes, protocol: toy/boxes, series: task, num_points: 16}
  more_boxes: {kind: toy_boxes, protocol: toy/boxes, series: more, num_points: 16}
rigs:
  two: {kind: mesh, cameras: {num_views: 2}, image_size: 16}
teachers:
  grey: {kind: toy_grey}
students:
  linear: {kind: toy_linear}
methods:
  match: {kind: toy_match}
tasks:
  norm: {kind: toy_norm, dataset: boxes}
runs:
  untaught: {student: linear}
  taught:
    student: linear
    method: match
    arm: mcd
    teacher: grey
    rig: two
    dataset: more_boxes
    recipe: {epochs: 1, batch_size: 4, learning_rate: 0.01}
suites:
  toy: {runs: [untaught, taught], tasks: [norm], seeds: [0]}
suite: toy
"""


def test_new_members_touch_no_existing_file(checkout):
    before = {path: path.read_bytes() for path in checkout.folder.rglob("*") if path.is_file()}
    for name, text in MEMBERS.items():
        path = checkout.folder / "workflow_scripts" / "pointlift" / name
        assert not path.exists()
        path.write_text(textwrap.dedent(text).lstrip(), encoding="utf-8")
        assert len(path.read_text().splitlines()) < 60
    (checkout.folder / "toy.yaml").write_text(BLOCKS, encoding="utf-8")
    checkout.snakemake("--configfile", "toy.yaml", suite="toy")
    summary = pd.read_csv(checkout.folder / "results/report/toy/summary.csv")
    assert set(summary["run"]) == {"untaught", "taught"}
    assert set(summary["method"]) == {"supervised", "toy_match"}
    assert (summary["value"] > 0).all()
    assert all(path.read_bytes() == content for path, content in before.items())
