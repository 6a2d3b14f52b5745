"""A checkpoint that is none, or lacks a part, is one sentence, and leaves the arguments of a call alone."""

import pytest
import torch

from benchmarks.running.carried import arguments_in, checkpoint, with_carried
from models.base import OF_A_FIT, VERSION, read_checkpoint
from models.errors import UserError

# torch.load takes a text for a program of pickle: of these it raises KeyError, IndexError, struct.error and others.
TEXTS = ["hello there", "a", "junk", "This is not the file that it should be.\n", "]", "<html>", "h\n", ""]
WEIGHTS = {"state_dict": {"x": torch.ones(1)}}
WHOLE = WEIGHTS | {VERSION: "2.6.0", "optimizer_states": [], "lr_schedulers": []}


@pytest.mark.parametrize("text", TEXTS)
def test_a_text_is_no_checkpoint_in_one_sentence(text, tmp_path):
    path = tmp_path / "fit.ckpt"
    path.write_text(text)
    line = ["-c", "a.yaml", f"--ckpt_path={path}"]
    assert with_carried(line) == line
    with pytest.raises(UserError, match=r"^'.*fit\.ckpt' is not a readable checkpoint \([^\n]+\): name another one"):
        read_checkpoint(path)


@pytest.mark.parametrize("given", [None, [1], "text", {}, {1: 2}])
@pytest.mark.parametrize(
    "more", [{}, {"released": "a.tar"}, {"released": "a.tar", "model_class": "models.dagan.DaGAN"}]
)
def test_arguments_of_another_kind_are_none(given, more, tmp_path):
    torch.save(WHOLE | more | {"hyper_parameters": given}, tmp_path / "fit.ckpt")
    line = [f"--ckpt_path={tmp_path / 'fit.ckpt'}"]
    assert with_carried(line) == line
    assert arguments_in(checkpoint(tmp_path / "fit.ckpt")) == {}


LACKING = {
    "it lacks 'state_dict'": {name: part for name, part in WHOLE.items() if name != "state_dict"},
    "it lacks 'hyper_parameters'": WHOLE | {"released": "a.tar"},
    "it lacks 'model_class'": WHOLE | {"released": "a.tar", "hyper_parameters": {}},
    "its hyper_parameters is a list": WHOLE | {"hyper_parameters": []},
    "its contract is a NoneType": WHOLE | {"contract": None},
    "its state_dict is a list": WHOLE | {"state_dict": []},
    "its state_dict holds something else": WHOLE | {"state_dict": {"x": 1}},
    "its optimizer_states is a dict": WHOLE | {"optimizer_states": {}},
    **{f"it lacks '{part}'": {name: held for name, held in WHOLE.items() if name != part} for part in OF_A_FIT},
    "it holds a list": [1],
}


@pytest.mark.parametrize("sentence", LACKING)
def test_what_a_checkpoint_lacks_is_named(sentence, tmp_path):
    torch.save(LACKING[sentence], tmp_path / "fit.ckpt")
    with pytest.raises(UserError, match=rf"fit\.ckpt' is not a readable checkpoint \({sentence}.*\): fit anew\.$"):
        read_checkpoint(tmp_path / "fit.ckpt", "fit anew.", OF_A_FIT)


def test_weights_alone_are_enough_where_no_more_is_asked(tmp_path):
    torch.save(WEIGHTS, tmp_path / "fit.ckpt")
    assert read_checkpoint(tmp_path / "fit.ckpt")["state_dict"] == WEIGHTS["state_dict"]
