"""Small sets of meshes in the layout of ModelNet and of ShapeNetCore, for tests."""

from layouts import TETRAHEDRON, off_text

#: A box with corners -1, -2, -3 to 1, 2, 3 in quads, with all that ShapeNet's files say beside the geometry.
BOX_OBJ = """# a comment
mtllib model_normalized.mtl
o box
v -1 -2 -3
v 1 -2 -3
v 1 2 -3
v -1 2 -3
v -1 -2 3
v 1 -2 3
v 1 2 3
v -1 2 3
vt 0 0
vt 1 0
vt 1 1
vt 0 1
vn 0 0 -1
vn 0 0 1
g below
usemtl wood
f 1/1/1 4/2/1 3/3/1 2/4/1
f 5/1/2 6/2/2 7/3/2 8/4/2
g around
usemtl metal
s 1
f 1//1 2//1 6//1 5//1
f 2 3 7 6
f 3/1 4/2 8/3 7/4
f -8 -4 -1 -5
"""
MODELNET = {
    "train": ["airplane_0001", "bathtub_0106", "tv_stand_0267"],
    "test": ["xbox_0104", "bathtub_0107"],
}
MODELS = {
    "train": ["02691156/1a2b", "03001627/u6028f63e-4111-4412", "04379243/ff00"],
    "test": ["03001627/9", "02747177/abc"],
}


def write_modelnet(root, name="ModelNet40", train=MODELNET["train"], test=MODELNET["test"]):
    """Tetrahedra of height 3 and a width that grows from file to file; every other header runs into its counts."""
    folder = root / name
    for split, ids in (("train", train), ("test", test)):
        for number, shape_id in enumerate(ids):
            path = folder / shape_id.rpartition("_")[0] / split / f"{shape_id}.off"
            path.parent.mkdir(parents=True, exist_ok=True)
            text = off_text(TETRAHEDRON * [1.0 + number, 1.0, 1.0])
            path.write_text(text.replace("OFF\n", "OFF", 1) if number % 2 else text)
    return folder


def write_shapenet(root):
    """Boxes, with materials that are not to be opened, and the lists beside their folder."""
    for split, ids in MODELS.items():
        (root / f"{split}.txt").write_text("".join(f"{shape_id.replace('/', '-', 1)}.npy\n" for shape_id in ids))
        for shape_id in ids:
            path = root / "ShapeNetCore.v2" / shape_id / "models" / "model_normalized.obj"
            path.parent.mkdir(parents=True)
            path.write_text(BOX_OBJ)
            path.with_suffix(".mtl").write_text("newmtl wood\nmap_Kd ../images/texture0.jpg\n")
    return root / "ShapeNetCore.v2"
