"""A subject of a dozen vertices, and batches of it, for tests of the avatar models."""

import torch

from models.tasks.avatar import AvatarFrames, Cameras, Keypoints, Pictures, Subject

SIZE, TEXTURE, GRID = 24, 64, 4
SMALLEST = {
    "appearance": {
        "latent": 6, "vertices": 16, "faces": 18, "cameras": 3, "encoder": [4, 4, 4, 4], "decoder": [4, 4, 4],
        "features": 8, "view_features": 4,
    },
    "features": 8,
    "headset": {"channels": [4, 4], "pool": [2, 2]},
    "keypoints": {"number": 4, "blocks": 1},
    "flow": {"layers": 2, "hidden": 8, "context": 4},
    "fitting": {name: {"steps": 4} for name in ("headset", "keypoints", "frontal")},
}  # fmt: skip
# LiP-Flow's models, by their overlays.
MODELS = {
    "dam": ["dam"], "enc": ["enc"], "reg": ["reg"], "kl": ["kl"], "flow": [],
    "enc-kpt": ["enc", "keypoints"], "reg-kpt": ["reg", "keypoints"], "kl-kpt": ["kl", "keypoints"],
    "flow-kpt": ["keypoints"], "no cycle": ["no_cycle"], "exact": ["exact_cycle"], "decode P": ["decode_prior"],
    "entropy": ["entropy"],
}  # fmt: skip


def subject():
    """A bent sheet of 4 x 4 vertices."""
    y, x = torch.meshgrid(torch.linspace(-0.1, 0.1, GRID), torch.linspace(-0.1, 0.1, GRID), indexing="ij")
    mean = torch.stack([x, y, 3 * x**2], -1).view(-1, 3)
    corner = torch.arange(GRID * GRID).view(GRID, GRID)
    a, b, c, d = (part.reshape(-1) for part in (corner[:-1, :-1], corner[:-1, 1:], corner[1:, :-1], corner[1:, 1:]))
    faces = torch.cat([torch.stack([a, b, c], 1), torch.stack([b, d, c], 1)])
    uv = (mean[:, :2] + 0.1) / 0.2
    texture = torch.nn.functional.interpolate(torch.rand(1, 3, 5, 5), size=TEXTURE, mode="bilinear")[0] * 0.5 + 0.25
    keypoints = torch.tensor([0, 5, 10, 15])
    flat = 30 * mean[keypoints, :2] / 1.0 / SIZE + 0.5
    return Subject(faces, uv[faces], mean, 0.01, texture, 0.1, keypoints, flat, 0.02, ("left", "middle", "right"))


def cameras(batch, yaws, size, number=None):
    poses = []
    for yaw in yaws:
        c, s = torch.cos(torch.tensor(yaw)), torch.sin(torch.tensor(yaw))
        poses.append(torch.stack([torch.stack([c, c * 0, s]), torch.tensor([0.0, 1, 0]), torch.stack([-s, c * 0, c])]))
    count, (height, width) = len(yaws), size
    centre = torch.tensor([[1.5 * width, 0, (width - 1) / 2], [0, 1.5 * height, (height - 1) / 2], [0, 0, 1]])
    return Cameras(
        centre.expand(batch, count, 3, 3).clone(),
        torch.stack(poses).expand(batch, count, 3, 3).clone(),
        torch.tensor([0, 0, 0.5]).expand(batch, count, 3).clone(),
        size,
        torch.full((batch, count), -1) if number is None else torch.tensor(number).expand(batch, count).clone(),
    )


def batch(size=2, views=1, seed=1, target="dome"):
    torch.manual_seed(seed)
    known = subject()
    yaws = [-0.5, 0.0, 0.5][:views] if views > 1 else [0.2]
    seen = cameras(size, yaws, (SIZE, SIZE), list(range(views)))
    vertices = known.vertex_mean + 0.01 * torch.randn(size, *known.vertex_mean.shape)
    pictures = Pictures(torch.rand(size, views, 3, SIZE, SIZE), torch.ones(size, views, 1, SIZE, SIZE), seen)
    mask = (torch.rand(size, 3, 1, 16, 16) > 0.2).float()
    headset = Pictures(torch.rand(size, 3, 1, 16, 16) * mask, mask, cameras(size, [-0.6, 0.0, 0.6], (16, 16)))
    points = torch.rand(size, 4, 2) * (SIZE - 1)
    return AvatarFrames(
        task="avatar",
        target=target,
        texture=torch.rand(size, 3, TEXTURE, TEXTURE),
        view_texture=torch.rand(size, 3, TEXTURE, TEXTURE),
        vertices=vertices,
        truth=vertices,
        views=pictures,
        headset=headset,
        keypoints=Keypoints(points, torch.ones(size, 4, dtype=torch.bool), cameras(size, [0.0], (SIZE, SIZE))),
        frontal=Pictures(pictures.image[:, :1], pictures.mask[:, :1], cameras(size, [0.0], (SIZE, SIZE), [0])),
        video_id=[f"toy-segment{i}" for i in range(size)],
        frame=list(range(size)),
        sample_id=[f"toy-segment{i}/{i:06d}" for i in range(size)],
        view_names=["left", "middle", "right"][:views],
        vertex_std=0.01,
        random_start=False,
        likelihood=True,
    )
