"""The Inception network of FID: TensorFlow's graph of 2015-12-05, under the parameter names of pytorch-fid's file."""

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.models import inception as published

CLASSES, SIDE = 1008, 299


class _A(published.InceptionA):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([*self._forward(x)[:-1], self.branch_pool(_average(x))], 1)


class _C(published.InceptionC):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([*self._forward(x)[:-1], self.branch_pool(_average(x))], 1)


class _E(published.InceptionE):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([*self._forward(x)[:-1], self.branch_pool(_average(x))], 1)


class _Last(published.InceptionE):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([*self._forward(x)[:-1], self.branch_pool(F.max_pool2d(x, 3, 1, 1))], 1)


class InceptionTF2015(published.Inception3):
    """torchvision's Inception v3 but for what the 2015 graph has otherwise.

    It has 1008 classes, averages leave out the padding, and the pooling of the last block takes the maximum. The
    networks of torchvision's own weights and of this graph are different: no FID comes from the former.

    Reference: Szegedy et al., Rethinking the Inception Architecture for Computer Vision, CVPR 2016; Heusel et al., GANs
    Trained by a Two Time-Scale Update Rule, NeurIPS 2017 (its use).
    """

    def __init__(self) -> None:
        blocks = [published.BasicConv2d, _A, published.InceptionB, _C, published.InceptionD, _E, published.InceptionAux]
        super().__init__(CLASSES, aux_logits=False, inception_blocks=blocks, init_weights=False)
        self.Mixed_7c = _Last(2048)
        self.dropout = torch.nn.Dropout(0.0)

    def forward(self, grey_levels: Tensor) -> Tensor:
        """The pool3 features ``B 2048`` of pictures ``B 3 299 299`` in grey levels, 0 to 255.

        Raises:
            ValueError: If they have another size.
        """
        if grey_levels.shape[1:] != (3, SIDE, SIDE):
            raise ValueError(
                f"Inception takes pictures B 3 {SIDE} {SIDE}, not {tuple(grey_levels.shape)}; resize them."
            )
        return self.pool3((grey_levels - 128) / 128)

    def pool3(self, x: Tensor) -> Tensor:
        """The features ``B 2048`` of what is already brought to about [-1, 1]."""
        for name, stage in self.named_children():
            if name == "avgpool":
                break
            x = stage(x)
        return x.mean((2, 3))


def _average(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
