"""Trajectory Distribution Matching: the losses of the student and of its critic.

Luo et al. 2025 (arXiv 2503.06674). From a state of the student's own path, one evaluation gives its
clean estimate and the next state; that state is noised anew to a level between the two. There the
critic learns what the student draws, and the student is moved along (teacher with guidance -
critic), which matches the distributions of the two trajectories. `turbo` makes the paths.
"""

from dataclasses import dataclass

import torch
from diffusers import Krea2Transformer2DModel
from torch import Tensor

from inference.training import flow, loop, recorded

# The critic's loss is weighted by the signal-to-noise ratio, but no more than this.
SNR_MAX = 5.0
PSEUDO_HUBER = 1e-3


@dataclass(frozen=True)
class Matching:
    """The three networks. Captions are (states, mask, empty states, empty mask)."""

    student: Krea2Transformer2DModel
    critic: Krea2Transformer2DModel
    teacher: Krea2Transformer2DModel
    guidance: float

    def predict(self, x: Tensor, t: Tensor, states: Tensor, mask: Tensor, place: Tensor) -> Tensor:
        """The student's velocity (B, N, C), without gradients."""
        with torch.no_grad():
            return velocity_of(self.student, x, t, (states, mask), place)

    def critic_loss(
        self,
        start: Tensor,
        reached: Tensor,
        times: Tensor,
        fresh: Tensor,
        place: Tensor,
        *caption: Tensor,
    ) -> Tensor:
        """Teach the critic the student's clean estimates from re-noised states of its path."""
        now, following, share = times
        velocity = (reached - start) / _column(following - now)
        clean = start - _column(now) * velocity
        tau, noisy = renoise(reached, (now, following), share, fresh)
        told = velocity_of(self.critic, noisy, tau, (caption[0], caption[1]), place)
        guess = noisy - _column(tau) * told
        weight = (((1 - tau) / tau) ** 2).clamp(max=SNR_MAX)
        loss = (weight * ((guess - clean) ** 2).mean(dim=(1, 2))).mean()
        recorded.clear_gradients(self.critic.parameters())
        torch.autograd.backward(loss)
        return loss.detach()

    def student_loss(
        self, start: Tensor, times: Tensor, fresh: Tensor, place: Tensor, *caption: Tensor
    ) -> Tensor:
        """Move the student's clean estimate from the critic's towards the guided teacher's."""
        now, following, share = times
        right, empty = (caption[0], caption[1]), (caption[2], caption[3])
        velocity = velocity_of(self.student, start, now, right, place)
        clean = start - _column(now) * velocity
        with torch.no_grad():
            reached = start + _column(following - now) * velocity
            tau, noisy = renoise(reached, (now, following), share, fresh)
            told = flow.guided(
                velocity_of(self.teacher, noisy, tau, right, place),
                velocity_of(self.teacher, noisy, tau, empty, place),
                self.guidance,
            )
            teacher = noisy - _column(tau) * told
            critic = noisy - _column(tau) * velocity_of(self.critic, noisy, tau, right, place)
            goal = clean + teacher - critic
            scale = (clean - teacher).abs().mean(dim=(1, 2), keepdim=True).clamp(min=1e-4)
        huber = ((clean - goal) ** 2 + PSEUDO_HUBER**2).sqrt() - PSEUDO_HUBER
        loss = (huber / scale).mean()
        recorded.clear_gradients(self.student.parameters())
        torch.autograd.backward(loss)
        return loss.detach()


def velocity_of(
    net: Krea2Transformer2DModel,
    x: Tensor,
    t: Tensor,
    caption: tuple[Tensor, Tensor],
    place: Tensor,
) -> Tensor:
    """A network's velocity (B, N, C) in fp32 at times t (B,)."""
    with loop.half_precision(x.device):
        out: Tensor = net(
            hidden_states=x,
            encoder_hidden_states=caption[0],
            timestep=t,
            position_ids=place,
            encoder_attention_mask=caption[1],
            return_dict=False,
        )[0]
    return out.float()


def renoise(
    x: Tensor, between: tuple[Tensor, Tensor], share: Tensor, fresh: Tensor
) -> tuple[Tensor, Tensor]:
    """Carry states at the lower of two levels forward to a level tau between them.

    x_tau = a x + b e with a = (1 - tau) / (1 - s), b^2 = tau^2 - a^2 s^2, s the lower level and
    `fresh` the noise e.
    """
    now, following = between
    # tau = 1 would leave no signal at all, tau = s no noise to remove.
    tau = following + (now - following) * share.clamp(0.02, 0.98)
    a = (1 - tau) / (1 - following)
    b = (tau**2 - (a * following) ** 2).clamp(min=0).sqrt()
    return tau, _column(a) * x + _column(b) * fresh


def _column(values: Tensor) -> Tensor:
    return values[:, None, None]
