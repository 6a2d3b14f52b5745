"""LiP-Flow: codec avatars driven by a headset or keypoints, through priors learnt by a flow (Aksan et al., 2022)."""

from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor

from models.base import PortraitModule, check_finite
from models.errors import UserError
from models.lipflow import fitting, losses
from models.lipflow.encoders import (
    HeadsetConfig,
    HeadsetEncoder,
    InferenceEncoder,
    KeypointEncoder,
    KeypointEncoderConfig,
)
from models.lipflow.fitting import FittingConfig, Schedule
from models.lipflow.flow import ConditionalFlow, FlowConfig
from models.lipflow.latent import Gaussian, standard_like
from models.lipflow.losses import CycleConfig, LiPFlowLossConfig
from models.lipflow.networks import AppearanceConfig, AppearanceModel
from models.lipflow.optimisation import LiPFlowOptimiserConfig
from models.lipflow.standardise import StandardSubject
from models.lipflow.variants import VARIANTS, VariantName
from models.optimisation import length_of_fit
from models.rendering.visibility import Backend
from models.tasks.avatar import (
    AvatarEstimate,
    AvatarFrames,
    Cameras,
    FitReport,
    Keypoints,
    Observation,
    Pictures,
    Subject,
    observation,
)


class LiPFlow(PortraitModule):
    """The Deep Appearance Model and the four ways of driving it that the paper compares (LiP-Flow, Fig. 4).

    Args:
        image_size: Shorter side of the pictures in pixels.
        variant: ``dam`` (a), ``enc`` (b), ``reg`` (c), ``lip_kl`` (d) or ``lip_flow`` (e).
        drive: What P reads: ``headset`` or ``keypoints``; ``none`` for ``dam``, which has no P.
        appearance: The Deep Appearance Model.
        features: Dimensions of P's representation h.
        headset: The headset encoder.
        keypoints: The keypoint encoder.
        prior_log_sigma_start: What P's log standard deviations start from.
        prior_log_sigma_range: What they are kept in.
        flow: The flow of ``lip_flow``.
        cycle: Through which code its decoder is trained.
        decode_prior: Whether its decoder is trained on samples of P, too (Table 5).
        loss: Weights of the losses.
        fitting: Fitting at inference time.
        optimiser: Adam.
        rasteriser: Backend of the visibility; all give the same result.
    """

    def __init__(
        self,
        image_size: int,
        variant: VariantName,
        drive: Literal["headset", "keypoints", "none"],
        appearance: AppearanceConfig,
        features: int,
        headset: HeadsetConfig,
        keypoints: KeypointEncoderConfig,
        prior_log_sigma_start: float,
        prior_log_sigma_range: tuple[float, float],
        flow: FlowConfig,
        cycle: CycleConfig,
        decode_prior: bool,
        loss: LiPFlowLossConfig,
        fitting: FittingConfig,
        optimiser: LiPFlowOptimiserConfig,
        rasteriser: Backend = "auto",
    ) -> None:
        super().__init__(image_size)
        design = VARIANTS[variant]
        if design.is_driven == (drive == "none"):
            raise UserError(f"The variant '{variant}' with drive '{drive}': 'dam' takes 'none', the others a signal.")
        self.variant, self.design, self.drive, self.appearance = variant, design, drive, appearance
        self.cycle, self.decode_prior, self.loss = cycle, decode_prior, loss
        self.fitting, self.optimiser = fitting, optimiser
        self.subject = StandardSubject(appearance, keypoints.number, rasteriser)
        self.avatar = AppearanceModel(appearance)
        if not design.encodes:
            del self.avatar.encoder  # P takes its place
        self.avatar.requires_grad_(design.learns_avatar)
        self.prior: InferenceEncoder | None = None
        if drive != "none":
            reader = HeadsetEncoder(headset, features) if drive == "headset" else KeypointEncoder(keypoints, features)
            start, span = prior_log_sigma_start, prior_log_sigma_range
            self.prior = InferenceEncoder(reader, features, appearance.latent, start, span)
        self.flow = ConditionalFlow(appearance.latent, features, flow) if design.has_flow else None
        self.likelihood_weight: float | None = None

    def training_step(self, batch: AvatarFrames, batch_idx: int) -> Tensor:
        """The losses of one batch of frames, each seen from one camera (eqs. 2 to 4, 7 and 9).

        Raises:
            UserError: If the loss is not finite.
        """
        frames = observation(batch)
        q = self.encode(frames) if self.design.encodes else None
        latent, codes = self.latent_objective(q, *self.drive_prior(frames))
        parts = {"latent": self.loss.latent * latent.mean()}
        if codes:
            parts |= self.reconstruction_losses(torch.cat(codes), batch)
        loss = torch.stack(list(parts.values())).sum()
        check_finite(loss)
        self.log_dict({f"train/{name}": value.detach() for name, value in parts.items()}, prog_bar=True)
        return loss

    def latent_objective(self, q: Gaussian | None, h: Tensor | None, p: Gaussian | None) -> tuple[Tensor, list[Tensor]]:
        """The latent objective ``B`` of a variant, and the codes ``B D`` that its decoder is trained on (Fig. 4)."""
        if self.flow is None:
            return self.design.objective(q, p)
        assert h is not None
        assert q is not None
        assert p is not None
        condition = self.flow.condition(h)
        nll, codes = self.design.objective(q, p, self.flow, condition, self.cycle, self.decode_prior)
        self.log("train/log_sigma_q", q.log_sigma.detach().mean())
        self.log("train/log_sigma_p", p.log_sigma.detach().mean())
        return (nll - q.entropy() if self.loss.entropy else nll), codes

    def reconstruction_losses(self, codes: Tensor, batch: AvatarFrames) -> dict[str, Tensor]:
        """Picture, mesh and texture of codes against the truth, standardised and weighted (eq. 3).

        Codes are ``B D``, or ``kB D``: several for each frame, the batch k times over, drawn in one pass.
        """
        times = len(codes) // len(batch.vertices)
        views, weight = batch.views, self.loss
        cameras = views.cameras.repeat(times)
        vertices, textures = self.decode(codes, cameras)
        made = vertices, textures, self.subject.draw(vertices, textures, cameras)
        vertices, textures, drawn = (part.unflatten(0, (times, -1)) for part in made)  # the truth stands for each time
        parts = {
            "image": weight.image * losses.masked_square(drawn, views.image, views.mask) / self.subject.texture_std**2,
            "vertices": weight.vertices * (vertices - self.subject.vertices(batch.vertices)).square().mean(),
        }
        if weight.texture:
            truth = batch.view_texture
            assert truth is not None
            error = losses.masked_square(textures[:, :, 0], self.subject.texture(truth), (truth != 0).float())
            parts["texture"] = weight.texture * error
        return parts

    def validation_step(self, batch: AvatarFrames, batch_idx: int) -> None:
        """The picture and mesh errors of the mean codes."""
        frames = observation(batch)
        with torch.no_grad():
            parts = self.reconstruction_losses(self.mean_codes(frames), batch)
        errors = {f"val/{name}": value for name, value in parts.items()}
        self.log_dict(errors, batch_size=len(batch.vertices), sync_dist=True)

    def fit(self, frames: Observation) -> AvatarEstimate:
        """Makes the avatar of B frames from what is seen of them (section 4).

        From the dome's data the mean code of Q is decoded; so is P's from the driving signal by ``enc`` and ``reg``
        (Tables 2 and 3). Otherwise a code is fitted to the target.
        """
        # Testing runs in inference mode, whose tensors cannot be differentiated: the fit works on copies outside of it.
        with torch.inference_mode(False), torch.no_grad():
            frames = frames.repeat(1)
            if self._decodes_directly(frames.target):
                return self._drawn(self.mean_codes(frames), frames.cameras)
            weight = self._weight() if frames.likelihood else 0.0
            start, fitted = self.fit_codes(frames, torch.full_like(frames.cameras.K[:, 0, 0, 0], weight))
            first = self._drawn(start, frames.cameras).renders
            report = FitReport(fitted.start, fitted.end, fitted.converged, fitted.diverged, first, weight)
            return self._drawn(fitted.codes, frames.cameras, report)

    def fit_codes(self, frames: Observation, weights: Tensor) -> tuple[Tensor, fitting.Fitted]:
        """Fits codes to the target, with the likelihood's weight of each frame ``B``; also the start codes (eq. 10)."""
        start, nll = self.inference_prior(frames)
        if frames.random_start:
            assert frames.seeds is not None
            start = fitting.random_codes(frames.seeds, start)
        schedule, residual = self.residual(frames)

        def objective(codes: Tensor) -> Tensor:
            return residual(codes) + weights * nll(codes)

        with torch.enable_grad(), fitting.frozen(self):
            return start, fitting.minimise(objective, start, schedule, self.fitting.tolerance, f"fit {frames.target}")

    def inference_prior(self, frames: Observation) -> tuple[Tensor, fitting.Objective]:
        """The start code ``B D`` in Q's space, and the negative log-likelihood of codes per dimension (eq. 12)."""
        h, p = self.drive_prior(frames)
        if p is None or not self.design.held_to_p:
            standard = standard_like(frames.cameras.K.new_zeros(len(frames.cameras.K), self.appearance.latent))
            return standard.mean, standard.nll
        if self.flow is None:
            return p.mean, p.nll
        assert h is not None
        condition = self.flow.condition(h)
        return self.flow.inverse(p.mean, condition), partial(
            losses.likelihood, flow=self.flow, condition=condition, p=p
        )

    def residual(self, frames: Observation) -> tuple[Schedule, fitting.Objective]:
        """The steps for a target, and the error of codes ``B D`` against it, ``B`` (eq. 11).

        Raises:
            UserError: If the target is not there.
        """
        target = getattr(frames, frames.target)
        if target is None:
            raise UserError(f"The data has no {frames.target} to fit to; name another with data.init_args.test.drive.")
        error = self._keypoint_error if frames.target == "keypoints" else self._picture_error
        return getattr(self.fitting, frames.target), partial(error, target=target)

    def choose_weight(self, batch: AvatarFrames) -> float:
        """The likelihood's weight whose fits of validation frames have the least squared error.

        That is the picture's and the mesh's together, each in units of its variance in the training set.
        """
        views, grid = batch.views, self.fitting.weights
        with torch.inference_mode(False), torch.no_grad():
            frames = observation(batch).repeat(len(grid))
            weights = frames.cameras.K.new_tensor(grid).repeat_interleave(len(views.image))
            _, fitted = self.fit_codes(frames, weights)
            made = self._drawn(fitted.codes, frames.cameras)
            truth = self.subject.vertices(batch.truth).repeat(len(grid), 1, 1)
            error = fitting.picture_error(made.renders, views.repeat(len(grid)), self.subject.texture_std)
            error = error + (self.subject.vertices(made.vertices) - truth).square().mean((1, 2))
        return grid[int(error.view(len(grid), -1).mean(1).argmin())]

    def encode(self, frames: Observation) -> Gaussian:
        """The codes of Q from texture and vertices (eq. 1)."""
        assert frames.texture is not None
        assert frames.vertices is not None
        return self.avatar.encoder(self.subject.texture(frames.texture), self.subject.vertices(frames.vertices))

    def drive_prior(self, frames: Observation) -> tuple[Tensor | None, Gaussian | None]:
        """P's representation h and its codes (eq. 6); None of a model without P."""
        return (None, None) if self.prior is None else self.prior(frames)

    def mean_codes(self, frames: Observation) -> Tensor:
        """The mean code ``B D``, of Q from the dome's data, of P where it stands for Q or drives directly."""
        if frames.target == "dome" and self.design.encodes:
            return self.encode(frames).mean
        _, p = self.drive_prior(frames)
        assert p is not None
        return p.mean

    def decode(self, codes: Tensor, cameras: Cameras) -> tuple[Tensor, Tensor]:
        """Standardised vertices ``B V 3`` and colour-corrected textures ``B N 3 T T`` of codes ``B D``."""
        vertices, textures = self.avatar.decoder(codes, cameras.view)
        return vertices, self.avatar.colour(textures, cameras.number)

    def set_subject(self, subject: Subject) -> None:
        """Takes the subject's topology and statistics, which the checkpoint then holds.

        Raises:
            UserError: If the subject's sizes are not those of the model.
        """
        self.subject.set_subject(subject)
        if self.prior is not None and isinstance(self.prior.encoder, KeypointEncoder):
            self.prior.encoder.set_subject(subject)

    def setup(self, stage: str) -> None:
        """Takes the subject from the data at the start of a fit; a test has it in its checkpoint."""
        subject = getattr(getattr(self.trainer, "datamodule", None), "subject", None)
        if stage == "fit" and subject is not None:
            self.set_subject(subject)

    def on_test_start(self) -> None:
        """Chooses the likelihood's weight on validation frames, where the test fits; all processes take the first's."""
        batch = getattr(getattr(self.trainer, "datamodule", None), "tuning_batch", None)
        if batch is not None and batch.likelihood and not self._decodes_directly(batch.target):
            chosen = self.choose_weight(self.transfer_batch_to_device(batch, self.device, 0))
            self.likelihood_weight = self.trainer.strategy.broadcast(chosen)

    def on_predict_start(self) -> None:
        """Chooses the likelihood's weight, as for a test."""
        self.on_test_start()

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - Lightning's own union
        """One Adam over all that learns; the colour correction keeps moments of its own in it, as every number does."""
        avatar = [parameter for parameter in self.avatar.parameters() if parameter.requires_grad]
        prior = [parameter for part in (self.prior, self.flow) if part is not None for parameter in part.parameters()]
        by_epochs, to_the_end = self.optimiser.decay != 1, self.optimiser.final_lr is not None
        optimiser, schedule = self.optimiser.build(avatar, prior, *length_of_fit(self.trainer, by_epochs, to_the_end))
        return [optimiser], [{"scheduler": schedule, "interval": "step"}]

    def notes(self) -> dict[str, str]:
        """The likelihood's weight that validation chose, if it did."""
        return {} if self.likelihood_weight is None else {"likelihood weight": f"{self.likelihood_weight:g}"}

    def _decodes_directly(self, target: str) -> bool:
        return target == "dome" or (self.design.decodes_directly and target == self.drive)

    def _weight(self) -> float:
        grid = self.fitting.weights
        return grid[len(grid) // 2] if self.likelihood_weight is None else self.likelihood_weight

    def _keypoint_error(self, codes: Tensor, target: Keypoints) -> Tensor:
        points = self.subject.keypoints(self.avatar.decoder.geometry(codes))
        return fitting.keypoint_error(points, target, self.subject.keypoint_std)

    def _picture_error(self, codes: Tensor, target: Pictures) -> Tensor:
        drawn = self._draw_codes(codes, target.cameras)
        if target.image.shape[2] == 1:
            drawn = fitting.as_headset(drawn, target, self.fitting)
        return fitting.picture_error(drawn, target, self.subject.texture_std)

    def _draw_codes(self, codes: Tensor, cameras: Cameras) -> Tensor:
        return self.subject.draw(*self.decode(codes, cameras), cameras)

    def _drawn(self, codes: Tensor, cameras: Cameras, report: FitReport | None = None) -> AvatarEstimate:
        vertices, textures = self.decode(codes, cameras)
        renders = self.subject.draw(vertices, textures, cameras).clamp(0, 1)
        return AvatarEstimate(self.subject.metres(vertices), renders, report)
