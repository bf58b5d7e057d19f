"""SVFR: conditions in, restored clip out (SVFR paper section 4; EDM sampling in windows)."""

from __future__ import annotations

from collections import OrderedDict, deque
from hashlib import blake2b
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np
import torch

from facerestore.errors import ResourceError
from facerestore.models.codec import hole_latents
from facerestore.models.device import ON_CPU
from facerestore.models.network import Conditions
from facerestore.models.restorer import condition, holes_of, resized
from facerestore.models.sampling import (
    crop_size,
    doubted,
    euler_step,
    film_forwards,
    multistep,
    scalings,
    schedule_for,
)
from facerestore.models.windows import triangle

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from torch import Tensor

    from facerestore.frames import Bytes, FaceClip, Floats, Reference, Tasks
    from facerestore.models.checkpoint import ModelConfig
    from facerestore.models.codec import Codec
    from facerestore.models.device import Plan
    from facerestore.models.identity import Identity
    from facerestore.models.network import Network
    from facerestore.models.sampling import Schedule

GOOD = "some faces are good as they are: the model changed nothing there"
IDENTITY_FRAMES = 32  # looked at together
REMEMBERED = 512  # frames whose latents are kept for the next clip, 64 KiB each at 512 px


class SVFR:
    """One latent video diffusion model for every mix of tasks, told which by its task vector.

    network:  see `Network`, on the device, with weights in `dtype`; where `autocast` is set the
              weights are float32 and only the computing is in `dtype`
    plans:    how to use the device, largest first; `place` brings the networks there
    notes:    what the user should know of the run so far
    Latents, noise and steps are in `exactness` (float32; float64 for checks).
    """

    def __init__(
        self,
        network: Network,
        codec: Codec,
        config: ModelConfig,
        *,
        identity: Identity | None = None,
        device: torch.device,
        dtype: torch.dtype,
        autocast: bool = True,
        exactness: torch.dtype = torch.float32,
        mode: str = "exact",
        steps: int | None = None,
        plans: Sequence[Plan] = (ON_CPU,),
        place: Callable[[Plan], None] = lambda plan: None,
    ) -> None:
        self.network, self.codec, self.config, self.identity = network, codec, config, identity
        self.device, self.dtype, self.autocast = device, dtype, autocast
        self.exactness, self.mode, self.steps = exactness, mode, steps
        self.stored = exactness if autocast else dtype  # what the network takes
        self.plan, *self.smaller = plans
        self.place = place
        self.notes: list[str] = []
        self.window, self.chunk = config.window, config.chunk
        self.cost, self.lanes = 0, 1
        self.has_identity, self.self_reference = identity is not None, config.self_reference
        self._latents: OrderedDict[bytes, Tensor] = OrderedDict()

    def close(self) -> None:
        """Nothing to give back but memory."""

    def side(self, tasks: Tasks, face: float) -> int:
        """Of the square crops for these tasks, in pixels; face: side of the square in the film."""
        return crop_size(self.config, tasks, face=face)

    def forwards(self, n_frames: int, tasks: Tasks) -> int:
        """Frame-forwards for `n_frames` of a new person, the first clip for the reference too."""
        return film_forwards(self.config, n_frames, tasks, mode=self.mode, steps=self.steps)

    def vectors(self, pictures: Bytes, landmarks: Floats) -> Floats | None:
        """Unit vectors float64 [F, 512] of who it is, None without an identity network."""
        if self.identity is None:
            return None
        found = []
        for start in range(0, len(pictures), IDENTITY_FRAMES):
            part = slice(start, start + IDENTITY_FRAMES)
            faces = self.identity.look(list(pictures[part]), list(landmarks[part]))
            found.append(self.identity.vectors(faces).double().cpu().numpy())
        return np.concatenate(found)

    @torch.inference_mode()
    def restore(
        self,
        clip: FaceClip,
        tasks: Tasks,
        reference: Reference | None,
        *,
        seed: int,
        on_step: Callable[[], None] = lambda: None,
    ) -> Bytes:
        """Restored frames, uint8 RGB [F, S, S, 3].

        on_step: called for each window that went through the network
        Raises ValueError for crops of other sizes than those of the model.
        """
        size, large = self.config.size, self.config.large
        if clip.frames.shape[1] not in (size, large):
            more = f" or {large} px" if large else ""
            raise ValueError(f"expected {size} px{more} crops, got {clip.frames.shape[1]}")
        while True:
            try:
                return self._restored(clip, tasks, reference, seed, on_step)
            except torch.OutOfMemoryError:
                if not self.smaller:
                    raise ResourceError(
                        f"the memory of {self.device} is too small even with {self.plan.name}; "
                        "use another --device or --model mini"
                    ) from None
            self._step_down()

    def _step_down(self) -> None:
        """Go on with the next smaller plan."""
        self.notes.append(
            f"{self.device} ran out of memory with {self.plan.name}: "
            f"went on with {self.smaller[0].name}"
        )
        self.plan, *self.smaller = self.smaller
        self._latents.clear()
        torch.cuda.empty_cache()
        self.place(self.plan)

    def _restored(
        self,
        clip: FaceClip,
        tasks: Tasks,
        reference: Reference | None,
        seed: int,
        on_step: Callable[[], None],
    ) -> Bytes:
        conditions = self.conditions(clip, tasks, reference)
        schedule = schedule_for(
            self.config, mode=self.mode, steps=self.steps, reference=reference is not None
        )
        noise = self._noise(conditions.degraded.shape, seed)
        latents = deque(self.trajectory(conditions, noise, schedule, on_step), maxlen=1).pop()
        if self.config.doubt:
            latents = doubted(latents, conditions.degraded, self.config.doubt, conditions.holes)
            if torch.equal(latents, conditions.degraded):
                self.notes.append(GOOD)
        pixels = (self.codec.decode(latents, together=self.plan.decode_frames) + 1) * 127.5
        return pixels.round_().clamp_(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()

    def conditions(self, clip: FaceClip, tasks: Tasks, reference: Reference | None) -> Conditions:
        """The clip and the reference as the network sees them."""
        degraded = self._encoded(condition(clip, tasks, filled=self.config.fills_holes))
        holes = None
        if self.config.fills_holes:
            holes = hole_latents(torch.from_numpy(holes_of(clip, tasks))).to(degraded)
        if reference is None:
            return Conditions(degraded, None, None, tasks.vector, holes)
        tokens = None
        if self.identity is not None and reference.landmarks is not None:
            faces = self.identity.look([reference.image], [reference.landmarks])
            # converted here, once: the network keeps what it makes of this very tensor
            tokens = self.identity.tokens(faces).to(self.stored)
        known = self._encoded(resized(reference.image, clip.frames.shape[1])[None])
        return Conditions(degraded, known, tokens, tasks.vector, holes)

    def trajectory(
        self,
        conditions: Conditions,
        noise: Tensor,
        schedule: Schedule,
        on_step: Callable[[], None] = lambda: None,
    ) -> Iterator[Tensor]:
        """The clean latents [F, C, h, w] at the end; before them what each step starts from.

        noise: unit variance [F, C, h, w]
        What steps start from is in the sampler's own scale and, for models of the residual, the
        difference from the degraded latents.
        """
        scale, sigmas = self.config.latent_scale, schedule.sigmas.to(self.exactness)
        base = conditions.degraded if self.config.residual else torch.zeros_like(noise)
        x = scale * (conditions.degraded - base) + sigmas[0] * noise
        before = None
        for step, guidance in enumerate(schedule.guidance):
            yield x
            windows = schedule.windows(len(x), step)
            answer = self.predict(x, sigmas[step], conditions, windows, guidance, on_step)
            skip, out, *_ = scalings(sigmas[step])
            denoised = skip * x + out * answer
            if schedule.second_order:
                x = multistep(x, denoised, before, sigmas, step)
            else:
                x = euler_step(x, denoised, sigmas[step], sigmas[step + 1])
            before = denoised
        yield base + x / scale

    def predict(
        self,
        x: Tensor,
        sigma: Tensor,
        conditions: Conditions,
        windows: Sequence[Sequence[int]],
        guidance: float,
        on_step: Callable[[], None] = lambda: None,
    ) -> Tensor:
        """What the network answers at noise level sigma, [F, C, h, w], joined over the windows.

        Overlapping windows are averaged with triangular weights. Guidance is u + s (c - u), where u
        knows neither reference nor tokens; without a reference both are the same, so one is made.
        """
        plain = conditions.known is None and conditions.tokens is None
        shares = {True: 1.0} if plain else {True: 1 - guidance, False: guidance}
        branches = [blank for blank, share in shares.items() if share]
        jobs = [(frames, blank) for blank in branches for frames in windows]
        total = torch.zeros_like(x)
        weights = torch.zeros(len(x), 1, 1, 1, dtype=x.dtype, device=x.device)
        jobs.sort(key=lambda job: (len(job[0]), not job[1]))  # of one length, blank ones first
        for _, group in groupby(jobs, key=lambda job: len(job[0])):
            alike = list(group)
            for start in range(0, len(alike), self.plan.batch):
                batch = alike[start : start + self.plan.batch]
                answers = self.answers(x, sigma, conditions, batch)
                for (frames, blank), answer in zip(batch, answers, strict=True):
                    at = torch.tensor(frames, device=x.device)
                    weight = torch.tensor(triangle(len(frames)), dtype=x.dtype, device=x.device)
                    share = shares[blank] * weight[:, None, None, None]
                    total.index_add_(0, at, share * answer)
                    weights.index_add_(0, at, share.expand(-1, 1, 1, 1))
                    on_step()
        return total / weights

    def answers(
        self,
        x: Tensor,
        sigma: Tensor,
        conditions: Conditions,
        batch: Sequence[tuple[Sequence[int], bool]],
    ) -> Tensor:
        """[B, f, C, h, w]: the network's answers for windows of f frames, blank ones first."""
        into, noise = (s.to(x.device) for s in scalings(sigma)[2:])
        nothing = torch.zeros_like(conditions.degraded[:1])
        known = nothing if conditions.known is None else conditions.known
        samples = []
        for frames, blank in batch:
            at = torch.tensor(frames, device=x.device)
            reference = (nothing if blank else known).expand(len(at), -1, -1, -1)
            holes = () if conditions.holes is None else (conditions.holes[at],)
            samples.append(torch.cat([into * x[at], conditions.degraded[at], reference, *holes], 1))
        sample = torch.stack(samples)
        count = sum(blank for _, blank in batch)
        gamma = torch.tensor([conditions.gamma], device=x.device).expand(len(batch), -1)
        tokens = conditions.tokens if count < len(batch) else None
        if not self.autocast:
            sample = sample.to(self.dtype)
        mixed = self.autocast and self.dtype.itemsize == 2
        with torch.autocast(self.device.type, self.dtype, enabled=mixed):
            answer = self.network(sample, noise, tokens, count, gamma)
        self.cost += sample.shape[0] * sample.shape[1]
        return answer.to(x.dtype)

    def _noise(self, shape: torch.Size, seed: int) -> Tensor:
        """Drawn on the CPU so that every device starts from the same numbers."""
        generator = torch.Generator().manual_seed(seed)
        drawn = shape[1:] if self.config.shared_noise else shape
        noise = torch.randn(drawn, generator=generator).expand(shape)
        return noise.to(self.device, self.exactness)

    def _encoded(self, pictures: Bytes) -> Tensor:
        """uint8 RGB [F, S, S, 3] -> latents [F, C, h, w]; a frame seen lately is not encoded again.

        A person's first window is restored twice and chunks of a shot overlap.
        """
        keys = [blake2b(picture.tobytes(), digest_size=16).digest() for picture in pictures]
        found = zip(keys, pictures, strict=True)
        new = {key: picture for key, picture in found if key not in self._latents}
        if new:
            pixels = torch.from_numpy(np.stack(list(new.values()))).to(self.device)
            pixels = pixels.permute(0, 3, 1, 2).to(self.exactness) / 127.5 - 1
            self._latents.update(zip(new, self.codec.encode(pixels), strict=True))
        result = torch.stack([self._latents[key] for key in keys])
        while len(self._latents) > REMEMBERED:
            self._latents.popitem(last=False)
        return result
