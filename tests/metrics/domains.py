"""Arguments outside the documented domain of every public function of the metrics."""

import numpy as np
import torch

from metrics import windows
from metrics.frozen import Frozen

NAN, INF = float("nan"), float("inf")
PICTURE, SMALL = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 6, 6)
LARGE = torch.rand(2, 3, 176, 176)
DEPTH = torch.rand(2, 1, 8, 8) + 0.5
ALL = torch.ones(2, 1, 8, 8, dtype=torch.bool)
CAMERA = torch.eye(3).expand(2, 3, 3)
POINTS = torch.rand(2, 68, 2)
FEATURES = np.random.default_rng(0).normal(size=(20, 3))
GROUPS = np.arange(20) // 4
TURN = torch.eye(3).expand(2, 3, 3)
MESH = torch.rand(2, 9, 3)
WEIGHTS = windows.gaussian(5, 1.5)
BOX = torch.tensor([0.0, 0, 2, 2])
ROW = np.arange(8.0)


def set_to(values, bad, place=(0, 0, 0)):
    """A copy with one value replaced."""
    changed = values.clone()
    changed[place] = bad
    return changed


PAIRS = [  # of pictures: other shapes, ranges, types and values that are no numbers
    lambda f, x: f(x, x[:1]),
    lambda f, x: f(x[0], x[0]),
    lambda f, x: f(x[:, :1], x[:, :1]),
    lambda f, x: f(x * 255, x),
    lambda f, x: f(x, 2 * x - 1.5),
    lambda f, x: f((x * 255).byte(), x),
    lambda f, x: f(set_to(x, NAN), x),
    lambda f, x: f(x, set_to(x, INF)),
    lambda f, x: f(x, x, mask=torch.ones(len(x), 1, *x.shape[2:])),
    lambda f, x: f(x, x, mask=torch.ones(len(x), 1, 3, 3, dtype=torch.bool)),
]
MAPS = [  # of depth maps inside a mask
    lambda f: f(-DEPTH, DEPTH, ALL),
    lambda f: f(set_to(DEPTH, 0.0), DEPTH, ALL),
    lambda f: f(set_to(DEPTH, NAN), DEPTH, ALL),
    lambda f: f(set_to(DEPTH, INF), DEPTH, ALL),
    lambda f: f(DEPTH, set_to(DEPTH, 0.0), ALL),
    lambda f: f(DEPTH, -DEPTH, ALL),
    lambda f: f(DEPTH, set_to(DEPTH, INF), ALL),
    lambda f: f(DEPTH[:, 0], DEPTH[:, 0], ALL[:, 0]),
    lambda f: f(DEPTH, DEPTH[:1], ALL),
    lambda f: f(DEPTH, DEPTH, ALL.float()),
    lambda f: f(DEPTH, DEPTH, ALL[..., :4]),
    lambda f: f((DEPTH * 1000).int(), DEPTH, ALL),
]
ROWS = [lambda f: f([1.0, NAN]), lambda f: f(np.ones((3, 3))), lambda f: f([INF] * 8)]
SETS = [
    lambda f: f(FEATURES, FEATURES[:, :2]),
    lambda f: f(FEATURES[:1], FEATURES),
    lambda f: f(FEATURES[0], FEATURES),
    lambda f: f(np.where(FEATURES > 2, NAN, FEATURES) * [NAN, 1, 1], FEATURES),
]
GREY = [
    lambda f: f(PICTURE * 255, 0),
    lambda f: f(PICTURE[0] * 255, 8),
    lambda f: f(set_to(PICTURE, NAN), 8),
    lambda f: f(PICTURE * 300 - 20, 8),
]
WINDOWED = [
    lambda f: f(PICTURE, PICTURE[:1], WEIGHTS),
    lambda f: f(PICTURE[..., :3], PICTURE[..., :3], WEIGHTS),
    lambda f: f(PICTURE.byte(), PICTURE.byte(), WEIGHTS),
]


def landmarks(f):
    return f(POINTS, POINTS[:1])


def vectors(layout):
    """Bad pairs of batches of a layout."""
    good = torch.rand(layout)
    return [
        lambda f: f(good, good[:1]),
        lambda f: f(good[0], good[0]),
        lambda f: f(set_to(good, NAN, (0,) * good.ndim), good),
        lambda f: f(good, set_to(good, INF, (0,) * good.ndim)),
        lambda f: f(good.int(), good.int()),
    ]


def of_pictures(pictures):
    return [lambda f, bad=bad: bad(f, pictures) for bad in PAIRS]


def with_groups(bads):
    return [lambda f, bad=bad: bad(lambda x, y: f(x, y, GROUPS[: len(x)], GROUPS[: len(y)])) for bad in bads]


def with_camera(bads):
    return [lambda f, bad=bad: bad(lambda *maps: f(*maps, CAMERA)) for bad in bads]


SWITCHES = [lambda f: f(torch.ones(2, 3), torch.ones(2, 4)), lambda f: f(torch.full((2, 3), 0.5), torch.ones(2, 3))]
PIXELS = torch.ones(2, 1, 16, 16, dtype=torch.bool)
MASKS = [
    lambda f: f(ALL, ALL[:1]),
    lambda f: f(DEPTH * 9, ALL),
    lambda f: f(ALL[0], ALL[0]),
    lambda f: f(set_to(DEPTH, NAN) / 2, ALL),
    lambda f: f(ALL.byte(), ALL),
]
UNFITTED = [bad for bad in MAPS[2:]]  # any affine scale will do for what is still to be aligned
BAD = {
    "actions.aucon": SWITCHES,
    "actions.bscon": SWITCHES,
    "actions.cohen_kappa": SWITCHES,
    "alignment.affine_align": [lambda f: f(DEPTH, "height", DEPTH, ALL)]
    + [lambda f, bad=bad: bad(lambda p, d, m: f(p, "depth", d, m)) for bad in UNFITTED],
    "alignment.check_depths": [lambda f, bad=bad: bad(lambda *maps: f("A map", *maps)) for bad in UNFITTED],
    "alignment.check_space": [lambda f: f("log")],
    "alignment.depth_range": [lambda f: f(-DEPTH, ALL), lambda f: f(DEPTH, ALL.float()), lambda f: f(DEPTH, ALL[:1])],
    "alignment.in_space": [lambda f: f(DEPTH, DEPTH, ALL, "log")]
    + [lambda f, bad=bad: bad(lambda *maps: f(*maps, "unit")) for bad in UNFITTED],
    "alignment.masked_mean": [lambda f: f(DEPTH, ALL.float()), lambda f: f(DEPTH, ALL[..., :4])],
    "backbones.load_backbone": [lambda f: f("resnet")],
    "backbones.similarity": [
        lambda f: f(np.zeros((5, 2)), np.ones((5, 2))),
        lambda f: f(np.eye(2), np.ones((3, 2))),
        lambda f: f(np.array([[0, NAN], [1, 1]]), np.eye(2)),
    ],
    "base.check_finite": [lambda f: f("x", torch.tensor([NAN])), lambda f: f("x", torch.tensor([1]))],
    "base.check_mask": [lambda f: f(ALL, PICTURE), lambda f: f(ALL.float(), DEPTH)],
    "base.check_pair": [lambda f, bad=bad: bad(lambda x, y: f("B L 2", x, y)) for bad in vectors((2, 5, 2))],
    "depth.abs_rel": MAPS,
    "depth.delta": [*MAPS, lambda f: f(DEPTH, DEPTH, ALL, 1.0), lambda f: f(DEPTH, DEPTH, ALL, NAN)],
    "depth.normal_error": [
        *with_camera(MAPS),
        lambda f: f(DEPTH, DEPTH, ALL, CAMERA[0]),
        lambda f: f(DEPTH, DEPTH, ALL, CAMERA * 0),
        lambda f: f(DEPTH, DEPTH, ALL, CAMERA * NAN),
        lambda f: f(DEPTH[..., :2], DEPTH[..., :2], ALL[..., :2], CAMERA),
    ],
    "depth.rmse": MAPS,
    "distribution.frechet_distance": [*SETS, lambda f: f(FEATURES, FEATURES, 2)],
    "distribution.frechet_infinity": [
        *SETS,
        lambda f: f(FEATURES, FEATURES[:16]),
        lambda f: f(FEATURES, FEATURES, 0, 1),
    ],
    "distribution.frechet_jackknife": [*with_groups(SETS), lambda f: f(FEATURES, FEATURES, GROUPS, GROUPS[:5])],
    "distribution.frechet_parts": [*SETS, lambda f: f(FEATURES, FEATURES, -1)],
    "distribution.kernel_distance": SETS,
    "distribution.kernel_jackknife": [*with_groups(SETS), lambda f: f(FEATURES, FEATURES, GROUPS * 0, GROUPS * 0)],
    "face.aed_squared": vectors((2, 5)),
    "face.akd_l1": [*vectors((2, 68, 2)), lambda f: f(MESH, MESH)],
    "face.akd_l2": [*vectors((2, 68, 2)), lambda f: f(MESH, MESH)],
    "pose.angle_rmse_degrees": [*vectors((2, 3)), lambda f: f(torch.ones(2, 4), torch.ones(2, 4))],
    "editing_regions.box_ssim": [
        *(lambda f, bad=bad: bad(lambda x, y, mask=PIXELS: f(x, y, mask), PICTURE) for bad in PAIRS),
        lambda f: f(SMALL, SMALL, torch.ones(2, 1, 6, 6, dtype=torch.bool)),
    ],
    "editing_regions.filled": [
        lambda f, bad=bad: bad(lambda x, y, mask=PIXELS: f(x, y, mask), PICTURE) for bad in PAIRS
    ],
    "editing_regions.outside_of": [
        lambda f: f(ALL[0]),
        lambda f: f(DEPTH * 9),
        lambda f: f(set_to(DEPTH, NAN) / 2),
        lambda f: f(ALL.byte()),
        lambda f: f(ALL, -1),
    ],
    "editing_regions.outside_ssim": [
        *(lambda f, bad=bad: bad(lambda x, y, mask=PIXELS: f(x, y, mask), PICTURE) for bad in PAIRS),
        lambda f: f(SMALL, SMALL, torch.ones(2, 1, 6, 6, dtype=torch.bool)),
    ],
    "editing_regions.shares_of": [lambda f: f(ALL[0]), lambda f: f(DEPTH * 9), lambda f: f(ALL.byte())],
    "editing_masks.average_precision": MASKS,
    "editing_masks.best_iou": MASKS,
    "editing_masks.grid_mask": [lambda f: f(DEPTH * 9), lambda f: f(ALL[0]), lambda f: f(ALL, 3), lambda f: f(ALL, 0)],
    "editing_proxy.edit_direction": [
        *(lambda f, bad=bad: bad(lambda x, y: f(x, y, y)) for bad in vectors((2, 5))),
        lambda f: f(POINTS[:, 0], POINTS[:, 0], POINTS[:, 0] * NAN),
    ],
    "editing_proxy.harmonic_mean": [
        lambda f: f(torch.rand(3)),
        lambda f: f(torch.rand(3, 0)),
        lambda f: f(2 + torch.rand(3, 2)),
        lambda f: f(-torch.rand(3, 2)),
        lambda f: f(torch.full((3, 2), INF)),
        lambda f: f(torch.ones(3, 2, dtype=torch.int64)),
    ],
    "face.cosine_similarity": vectors((2, 5)),
    "pose.euler_degrees": [
        lambda f: f(TURN[0]),
        lambda f: f(TURN * 2),
        lambda f: f(torch.rand(2, 3)),
        lambda f: f(TURN, "ABC"),
        lambda f: f(TURN * NAN),
    ],
    "face.expression_error": vectors((2, 5)),
    "face.identity_distance": vectors((2, 5)),
    "face.inter_ocular": [lambda f: f(torch.rand(2, 98, 2)), lambda f: f(POINTS[0]), lambda f: f(set_to(POINTS, NAN))],
    "face.nme": [
        *vectors((2, 68, 2)),
        lambda f: f(torch.rand(2, 98, 2), torch.rand(2, 98, 2)),
        lambda f: f(POINTS[:, :5], POINTS[:, :5]),
    ],
    "pose.prmse_degrees": [lambda f: f(TURN, TURN * 2), lambda f: f(TURN, TURN[:1]), lambda f: f(TURN, TURN, "xx")],
    "face_analysers.as_pixels": [lambda f: f(PICTURE[0]), lambda f: f(PICTURE * 9), lambda f: f(set_to(PICTURE, NAN))],
    "face_analysers.load_analyser": [lambda f: f("resnet")],
    "face_analysis.area": [lambda f: f(BOX[:2])],
    "face_analysis.iou": [lambda f: f(BOX, BOX[:2]), lambda f: f(BOX[:2], BOX)],
    "face_analysis.paired": [lambda f: f([], [], 2.0), lambda f: f([], [], NAN)],
    "face_analysis.pictures_sha1": [lambda f: f(PICTURE[0]), lambda f: f(PICTURE * 9), lambda f: f(PICTURE * NAN)],
    "geometry.check_rotation": [
        lambda f: f("x", TURN * 2),
        lambda f: f("x", -TURN),
        lambda f: f("x", torch.rand(2, 3)),
    ],
    "geometry.geodesic_degrees": [lambda f: f(TURN, TURN[:1]), lambda f: f(TURN, 2 * TURN), lambda f: f(MESH, MESH)],
    "geometry.procrustes": [*vectors((2, 9, 3)), lambda f: f(POINTS, POINTS)],
    "geometry.standardised_vertex_error": [
        *[lambda f, bad=bad: bad(lambda x, y: f(x, y, 1.0)) for bad in vectors((2, 9, 3))],
        lambda f: f(MESH, MESH, 0.0),
        lambda f: f(MESH, MESH, NAN),
    ],
    "geometry.umeyama": [*vectors((2, 9, 3)), lambda f: f(MESH[0], MESH[0])],
    "geometry.vertex_error": [*vectors((2, 9, 3)), lambda f: f(MESH, MESH, "affine")],
    "geometry.vertex_spread": [lambda f: f(POINTS), lambda f: f(MESH[0]), lambda f: f(MESH * NAN)],
    "image.l1": of_pictures(PICTURE),
    "image.ms_ssim": [
        *of_pictures(LARGE),
        lambda f: f(PICTURE, PICTURE),
        lambda f: f(LARGE, LARGE, convention="skimage"),
    ],
    "image.pooled_psnr": [lambda f: f(torch.tensor([NAN])), lambda f: f(torch.tensor([-INF])), lambda f: f(MESH)],
    "image.psnr": of_pictures(PICTURE),
    "image.ssim": [
        *of_pictures(PICTURE),
        lambda f: f(SMALL, SMALL),
        lambda f: f(PICTURE, PICTURE, convention="wang"),
    ],
    "mask.iou": [
        lambda f: f(ALL, ALL[:1]),
        lambda f: f(DEPTH * 9, DEPTH * 9),
        lambda f: f(ALL[0], ALL[0]),
        lambda f: f(set_to(DEPTH, NAN) / 2, ALL),
        lambda f: f(ALL, ALL, 0.0),
        lambda f: f(ALL, ALL, 1.5),
    ],
    "mask.overlap": [lambda f: f(ALL, ALL[:1]), lambda f: f(ALL.byte(), ALL), lambda f: f(ALL, ALL, NAN)],
    "perceptual.lpips": [lambda f: f(LARGE, LARGE, "resnet")],
    "perceptual.make_network": [lambda f: f("resnet")],
    "perceptual.network_lpips": [
        lambda f, bad=bad: bad(lambda x, y: f(x, y, Frozen(torch.nn.Identity())), LARGE) for bad in PAIRS[:8]
    ]
    + [lambda f: f(PICTURE, PICTURE, Frozen(torch.nn.Identity()))],
    "perceptual.pretrained_network": [lambda f: f("resnet")],
    "pictures.as_saved": [lambda f: f(PICTURE.byte()), lambda f: f(set_to(PICTURE, NAN))],
    "pictures.check_range": [lambda f: f("x", PICTURE * 9), lambda f: f("x", PICTURE.byte())],
    "pictures.check_rgb": [
        lambda f: f("x", PICTURE[0]),
        lambda f: f("x", PICTURE, True),
        lambda f: f("x", PICTURE - 1),
    ],
    "pictures.checked_pair": of_pictures(PICTURE)[:8],
    "pictures.masked_mean": [lambda f: f(PICTURE[0], None), lambda f: f(PICTURE, ALL)],
    "proxyedit.fitted": [lambda f: f(PICTURE[0]), lambda f: f(DEPTH)],
    "procface.resized": [lambda f: f(PICTURE[0]), lambda f: f(DEPTH)],
    "proxy.pooled": [lambda f: f(torch.rand(2, 3)), lambda f: f(torch.rand(2, 0, 3))],
    "resize.antialiased_bilinear": GREY,
    "resize.clip_bilinear": [
        lambda f: f(PICTURE, 8),
        lambda f: f(PICTURE[None], 0),
        lambda f: f(PICTURE[None] * 300, 8),
    ],
    "resize.pil_bicubic": GREY,
    "resize.resize": [
        lambda f: f(PICTURE, 8, "nearest"),
        *[lambda f, bad=bad: bad(lambda x, size: f(x, size, "tf1-bilinear")) for bad in GREY],
    ],
    "resize.tf1_bilinear": GREY,
    "crossed.crossed": [
        lambda f: f([[ROW, ROW * NAN]]),
        lambda f: f([ROW]),
        lambda f: f([[ROW], [ROW[:7]]]),
    ],
    "crossed.pseudo_values": [
        lambda f: f([1.0], [ROW, ROW]),
        lambda f: f([NAN], [ROW]),
        lambda f: f([1.0], [ROW * NAN]),
    ],
    "crossed.smallest_separable": [
        lambda f: f(NAN, 4.0, 0.05),
        lambda f: f(-1.0, 4.0, 0.05),
        lambda f: f(1.0, 4.0, 0.0),
    ],
    "statistics.bootstrap_interval": ROWS,
    "windows.check_fit": WINDOWED,
    "windows.gaussian": [lambda f: f(0, 1.5), lambda f: f(5, 0.0), lambda f: f(5, NAN)],
    "windows.plain_similarity_maps": WINDOWED,
    "windows.similarity_maps": WINDOWED,
    "windows.uniform": [lambda f: f(0)],
    "windows_numba.similarity_maps": [
        lambda f, bad=bad: bad(lambda x, y, w: f(x, y, w, 1.0, 1e-4, 9e-4)) for bad in WINDOWED
    ],
}
