import json
import sys

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from models.dagan import DaGAN, export
from models.dagan.keypoints import AffineKeypoints
from models.dagan.onnx_graphs import FRAME, SOURCE, FrameGraph, SourceGraph, export_onnx
from models.errors import UserError
from models.tasks import Context
from tests.models.smallest_dagan import SMALL_SPADE, SMALLEST, TINY

WAYS = {
    "DaGAN": ([], {}),
    "FOMM": (["variants/dagan/fomm.yaml"], {}),
    "SPADE": (["variants/dagan/spade.yaml"], {"generator": SMALLEST["generator"] | SMALL_SPADE}),
    "released": (["variants/dagan/released.yaml"], {}),
    "of offsets alone": ([], {"keypoints": SMALLEST["keypoints"] | {"jacobian": False}}),
}


@pytest.fixture(params=WAYS)
def model(request, dagan):
    files, changes = WAYS[request.param]
    model = dagan(TINY, *files, **SMALLEST | changes).eval()
    for parameter in model.parameters():
        parameter.data += 0.05 * torch.randn_like(parameter)  # the gate of the attention starts at 0
    return model


def inputs(frames=2):
    torch.manual_seed(2)
    return torch.rand(1, 3, 64, 64), torch.rand(1, frames, 3, 64, 64)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"hyper_parameters": None}, "its hyper_parameters is a NoneType"),
        ({"hyper_parameters": [1]}, "its hyper_parameters is a list"),
        ({"hyper_parameters": {"image_size": 64}}, "missing"),
        ({}, "it lacks 'pytorch-lightning_version'"),
    ],
)
def test_a_checkpoint_without_its_arguments_is_one_sentence(content, told, tmp_path):
    version = {"pytorch-lightning_version": "2.6.0"} if content else {}
    torch.save({"state_dict": {}} | version | content, tmp_path / "fit.ckpt")
    with pytest.raises(SystemExit, match=rf"^error: '.*fit\.ckpt' is not a readable checkpoint .*{told}[^\n]*$"):
        export.main(["--ckpt", str(tmp_path / "fit.ckpt"), "--out", str(tmp_path / "out")])
    assert not (tmp_path / "out").exists()


def checkpoint(model, path):
    held = {"state_dict": model.state_dict(), "pytorch-lightning_version": "2.6.0"}
    model.on_save_checkpoint(held)
    torch.save(held, path)
    return path


def test_a_folder_builds_the_model_again(model, tmp_path):
    model.save_pretrained(tmp_path)
    again = DaGAN.from_pretrained(tmp_path)
    assert not again.training
    assert again.given == model.given
    torch.testing.assert_close(again.reenact(*inputs(), Context()), model.reenact(*inputs(), Context()), atol=0, rtol=0)


def test_a_checkpoint_builds_the_model_again_and_the_file_holds_the_configuration(model, tmp_path, capsys):
    path = checkpoint(model, tmp_path / "fit.ckpt")
    export.main(["--ckpt", str(path), "--out", str(tmp_path / "out")])
    assert "model.safetensors" in capsys.readouterr().out
    with safe_open(tmp_path / "out" / "model.safetensors", "pt") as file:
        inside = file.metadata()
    assert json.loads(inside["configuration"]) == model.given
    again = DaGAN.read(tmp_path / "out" / "model.safetensors")
    torch.testing.assert_close(again.reenact(*inputs(), Context()), model.reenact(*inputs(), Context()), atol=0, rtol=0)


def test_what_is_no_folder_is_asked_of_the_hub(dagan, tmp_path, monkeypatch):
    model = dagan(TINY, **SMALLEST).eval()
    model.save_pretrained(tmp_path)
    asked = []

    def download(repo_id, filename, **options):
        asked.append((repo_id, filename))
        return str(tmp_path / filename)

    monkeypatch.setattr("models.published.hf_hub_download", download)
    monkeypatch.setattr("huggingface_hub.hub_mixin.hf_hub_download", lambda **o: download(o["repo_id"], o["filename"]))
    again = DaGAN.from_pretrained("somebody/dagan")
    assert ("somebody/dagan", "model.safetensors") in asked
    torch.testing.assert_close(again.reenact(*inputs(), Context()), model.reenact(*inputs(), Context()), atol=0, rtol=0)


def test_files_that_are_not_of_this_model_are_one_sentence(dagan, tmp_path):
    dagan(TINY, **SMALLEST).save_pretrained(tmp_path / "whole")
    whole = tmp_path / "whole" / "model.safetensors"
    with pytest.raises(UserError, match="readable file of safetensors"):
        DaGAN.from_pretrained(tmp_path)
    save_file(load_file(whole), tmp_path / "model.safetensors")
    with pytest.raises(UserError, match=r"holds weights without a configuration, not models\.dagan\.DaGAN"):
        DaGAN.from_pretrained(tmp_path)
    with safe_open(whole, "pt") as file:
        inside = file.metadata()
    save_file({"generator.final.bias": torch.zeros(3)}, tmp_path / "model.safetensors", inside)
    with pytest.raises(UserError, match="not a readable file of this model"):
        DaGAN.from_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(whole.read_bytes()[:1000])
    with pytest.raises(UserError, match="readable file of safetensors"):
        DaGAN.from_pretrained(tmp_path)


def test_a_checkpoint_without_arguments_is_not_exported(dagan, tmp_path):
    path = checkpoint(dagan(TINY, **SMALLEST), tmp_path / "fit.ckpt")
    held = torch.load(path, weights_only=True)
    del held["hyper_parameters"]
    torch.save(held, path)
    with pytest.raises(SystemExit, match=r"does not hold its arguments; .* or that benchmarks\.released made"):
        export.main(["--ckpt", str(path), "--out", str(tmp_path / "out")])


def test_a_folder_that_cannot_be_written_is_one_sentence(dagan, tmp_path):
    path = checkpoint(dagan(TINY, **SMALLEST), tmp_path / "fit.ckpt")
    (tmp_path / "file").write_text("mine")
    told = {"/sys/e": "^error: '/sys/e' cannot be written", str(tmp_path / "file"): "^error: A file is in the way of"}
    for folder, sentence in told.items():
        with pytest.raises(SystemExit, match=sentence):
            export.main(["--ckpt", str(path), "--out", folder])


def test_graphs_without_their_package_are_one_sentence(dagan, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    path = checkpoint(dagan(TINY, **SMALLEST), tmp_path / "fit.ckpt")
    with pytest.raises(SystemExit, match=r"pip install 'portrait-bench\[onnx\]'"):
        export.main(["--ckpt", str(path), "--out", str(tmp_path / "out"), "--onnx"])


def test_a_full_disk_is_one_sentence(dagan, tmp_path, small_disk):
    path = checkpoint(dagan(TINY, **SMALLEST), tmp_path / "fit.ckpt")
    line = ["--ckpt", str(path), "--out"]
    export.main([*line, str(tmp_path / "whole")])
    sizes = {file.name: file.stat().st_size for file in (tmp_path / "whole").iterdir()}
    for room in (1, sizes["model.safetensors"] // 2, sizes["model.safetensors"] - 1):
        with pytest.raises(SystemExit, match=r"^error: The disk of .* is full[^\n]*$"), small_disk(room):
            export.main([*line, str(tmp_path / "out")])
        assert not list((tmp_path / "out").iterdir())


def test_a_full_disk_under_graphs_is_one_sentence(dagan, tmp_path, small_disk):
    pytest.importorskip("onnx", reason="the exporter needs it: pip install 'portrait-bench[onnx]'")
    model = dagan(TINY, **SMALLEST).eval()
    export_onnx(model, tmp_path)
    size = (tmp_path / SOURCE).stat().st_size
    for room in (1, size // 2, size - 1):
        with pytest.raises(UserError, match=r"^The disk of .* is full[^\n]*$"), small_disk(room):
            export_onnx(model, tmp_path / "out")
        assert not list((tmp_path / "out").iterdir())


def frames_of(source_graph, frame_graph, names, motion):
    """A clip drawn by two graphs, as a program without torch would."""
    source, driving = inputs(3)
    of_source = dict(zip(names, source_graph(source), strict=True))
    start = of_source if motion == "absolute" else dict(zip(names, source_graph(driving[:, 0]), strict=True))
    first = [start[name] for name in names if name in ("value", "jacobian")]
    frames = [frame_graph(source, driving[:, i], torch.ones(()), *of_source.values(), *first) for i in range(3)]
    return torch.stack(frames, 1)


def expected(model, motion):
    source, driving = inputs(3)
    return model.reenact(source, driving, Context(motion, driving[:, 0]))


@pytest.mark.parametrize("motion", ["absolute", "relative"])
def test_the_graphs_parts_draw_what_the_model_draws(model, motion):
    whole, frame = SourceGraph(model), FrameGraph(model)
    drawn = frames_of(whole, frame, frame.names, motion)
    torch.testing.assert_close(drawn, expected(model, motion), atol=2e-5, rtol=0)


def test_a_scale_makes_relative_motion_larger(dagan):
    model = dagan(TINY, **SMALLEST).eval()
    source, driving = inputs(1)
    whole, frame = SourceGraph(model), FrameGraph(model)
    of_source, start = whole(source), whole(source.flip(-1))
    here, first = (AffineKeypoints(*points[-2:]) for points in (of_source, start))
    drawn = frame(source, driving[:, 0], torch.tensor(2.0), *of_source, *first)
    there = model.find_keypoints(driving[:, 0], model.disparity(driving[:, 0]))
    moved = here.value + 2 * (there.value - first.value)
    jacobian = there.jacobian @ torch.inverse(first.jacobian) @ here.jacobian
    code = model.generator.encode(source, model.disparity(source))
    picture = model.generator(code, here, AffineKeypoints(moved, jacobian))
    torch.testing.assert_close(drawn, picture, atol=2e-5, rtol=0)


@pytest.mark.parametrize("motion", ["absolute", "relative"])
def test_onnxruntime_draws_what_the_model_draws(model, motion, tmp_path):
    pytest.importorskip("onnx", reason="the exporter needs it: pip install 'portrait-bench[onnx]'")
    onnxruntime = pytest.importorskip("onnxruntime", reason="it runs the graphs: pip install 'portrait-bench[onnx]'")
    export.main(["--ckpt", str(checkpoint(model, tmp_path / "a.ckpt")), "--out", str(tmp_path), "--onnx"])
    sessions = [onnxruntime.InferenceSession(tmp_path / name) for name in (SOURCE, FRAME)]

    def called(session):
        names = [each.name for each in session.get_inputs()]

        def call(*tensors):
            fed = {name: tensor.numpy() for name, tensor in zip(names, tensors, strict=True)}
            found = [torch.from_numpy(array) for array in session.run(None, fed)]
            return found if session is sessions[0] else found[0]

        return call

    with torch.no_grad():
        drawn = frames_of(called(sessions[0]), called(sessions[1]), FrameGraph(model).names, motion)
        torch.testing.assert_close(drawn, expected(model, motion), atol=5e-5, rtol=0)
    onnx = pytest.importorskip("onnx")
    assert [each.version for each in onnx.load(tmp_path / FRAME).opset_import if not each.domain] == [16]
