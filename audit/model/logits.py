"""The model's own distribution at a few steps, and how its logits move: what sums over a vocabulary are taken from.

A chunk at a time, float32, with as few arrays of [steps, vocabulary] as can be. Knows steps, not sequences.
"""

from __future__ import annotations

import torch
from torch import Tensor

from audit.model.derivatives import Way, push_each
from audit.model.tail import Tail


class LogitSteps:
    """The distributions p [c, v] that final states [c, d] lead to."""

    def __init__(self, tail: Tail, way: Way, states_cd: Tensor) -> None:
        self._tail, self._way, self._states_cd = tail, way, states_cd
        self._weight_vd = tail.weight_vd
        if self._weight_vd is not None and self._weight_vd.dtype is not states_cd.dtype:
            # It is widened where it is used, and only there.
            self._weight_vd = None
        with torch.no_grad():
            logits_cv = tail(states_cd).float()
            self._log_cv = logits_cv.sub_(logits_cv.logsumexp(dim=-1, keepdim=True))
        self._p_cv = self._log_cv.exp()

    def log_likelihood(self, tokens_c: Tensor) -> Tensor:
        """Return log p of tokens, nats."""
        return self._log_cv.gather(1, tokens_c[:, None])[:, 0]

    def entropy(self) -> tuple[Tensor, Tensor]:
        """Return the entropy, nats, and the variance of −log p."""
        # Where a token is impossible its log is infinite, and its share nothing.
        weighted_cv = (self._p_cv * self._log_cv).nan_to_num_(nan=0.0)
        entropy_c = -weighted_cv.sum(dim=-1)
        second_c = weighted_cv.mul_(self._log_cv).nan_to_num_(nan=0.0).sum(dim=-1)
        return entropy_c, (second_c - entropy_c.square()).clamp_(min=0.0)

    def push(self, moved_cd: Tensor) -> Tensor:
        """Return how the logits move when the states do: u [c, v]."""
        with torch.no_grad():
            if self._weight_vd is not None:
                return torch.nn.functional.linear(moved_cd, self._weight_vd).float()
            return push_each(self._way, self._tail, self._states_cd, moved_cd).float()

    def weigh(self, u_cv: Tensor, tokens_c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return u of tokens less its mean under p, its variance and its mean square; uses up `u_cv`."""
        own_c = u_cv.gather(1, tokens_c[:, None])[:, 0]
        mean_c = (self._p_cv * u_cv).sum(dim=-1)
        u_cv -= mean_c[:, None]
        variance_c = u_cv.square_().mul_(self._p_cv).sum(dim=-1)
        return own_c - mean_c, variance_c, variance_c + mean_c.square()

    def draw(self, numbers_c: Tensor) -> Tensor:
        """Draw a token of each distribution with numbers from 0 to 1."""
        cumulated_cv = self._p_cv.cumsum(dim=-1)
        # The last sum is 1 but for rounding.
        wanted_c = numbers_c.to(cumulated_cv) * cumulated_cv[:, -1]
        drawn_c1 = torch.searchsorted(cumulated_cv, wanted_c[:, None])
        return drawn_c1[:, 0].clamp_(max=self._p_cv.shape[1] - 1)

    def pull(self, tokens_c: Tensor, drawn_c: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradient of log p by the states, of tokens and of drawn tokens; the distributions are used up."""
        weight_vd = self._weight_vd
        if weight_vd is not None:
            mean_cd = self._p_cv.to(weight_vd.dtype) @ weight_vd
            return weight_vd[tokens_c] - mean_cd, weight_vd[drawn_c] - mean_cd
        every = torch.arange(len(tokens_c), device=self._p_cv.device)
        states_cd = self._states_cd.clone().requires_grad_()
        with torch.enable_grad():
            logits_cv = self._tail(states_cd)
        pulled = []
        for chosen_c in (tokens_c, drawn_c):
            cotangent_cv = -self._p_cv
            cotangent_cv[every, chosen_c] += 1.0
            (gradient_cd,) = torch.autograd.grad(
                logits_cv, states_cd, cotangent_cv.to(logits_cv.dtype), retain_graph=chosen_c is tokens_c
            )
            pulled.append(gradient_cd)
        return pulled[0], pulled[1]
