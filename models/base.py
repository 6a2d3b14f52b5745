"""The base of every system: an image size, one test path, and whether a fit is needed."""

from typing import Any, ClassVar

from lightning import LightningModule
from torch import Tensor

from models.tasks import Batch, DepthEstimate, perform


class PortraitModule(LightningModule):
    """A method of the suite.

    A system implements ``training_step`` and the methods of its tasks (`models.tasks`); testing and prediction are
    the same path for all, so that no method is scored by its own code.

    Args:
        image_size: Side of the square images in pixels; the command line takes it from the data.
    """

    needs_fit: ClassVar[bool] = True
    is_oracle: ClassVar[bool] = False

    def __init__(self, image_size: int) -> None:
        super().__init__()
        self.image_size = image_size

    def test_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Tensor | DepthEstimate:
        """Performs the task that the batch names; the Evaluator callback scores what is returned."""
        return perform(self, batch)

    def predict_step(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> Any:  # noqa: ANN401
        """Performs the task that the batch names."""
        return perform(self, batch)
