"""Small datasets in the layout of the real ones, for tests."""

import numpy as np

from pointlift.datasets.princeton import FIRST_NUMBER, PART_NAMES, PER_CLASS

TETRAHEDRON = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 3.0]])
TETRAHEDRON_FACES = np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])


def off_text(vertices=TETRAHEDRON, faces=TETRAHEDRON_FACES):
    lines = ["OFF", f"{len(vertices)} {len(faces)} 0"]
    lines += [" ".join(repr(float(x)) for x in vertex) for vertex in vertices]
    lines += [" ".join(str(i) for i in [len(face), *face]) for face in faces]
    return "\n".join(lines) + "\n"


def write_folder(root):
    for name, stretch in (("chair", 1.0), ("table", 2.0)):
        for split, count in (("train", 3), ("test", 2)):
            for index in range(count):
                path = root / name / split / f"{name}_{index}.off"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(off_text(TETRAHEDRON * [stretch, 1.0, 1.0 + index]))


def write_princeton(root):
    for name, first in FIRST_NUMBER.items():
        parts = [part.split("/")[1] for part in PART_NAMES if part.startswith(f"{name}/")]
        for number in range(first, first + PER_CLASS):
            path = root / "lpsb" / name / f"{number}.off"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(off_text(TETRAHEDRON * number))
            path.with_name(f"{number}_labels.txt").write_text(f"{parts[0]}\n1 3 \n{parts[1]}\n2 4 \n")


def write_psb(root):
    folder = root / "psb"
    folder.mkdir(parents=True)
    classes = {
        "train": "PSB 1\n4 5\n\nthing 0 0\n\nvase thing 2\n0\n1\n\nhead thing 2\n2\n3\n\nonly thing 1\n4\n",
        "test": "PSB 1\n4 4\n\nthing 0 0\n\nvase thing 1\n5\n\nhead thing 2\n6\n7\n\nalone thing 1\n8\n",
    }
    for split, text in classes.items():
        (folder / f"{split}.cla").write_text(text)
    for number in range(9):
        (folder / f"m{number}.off").write_text(off_text())
