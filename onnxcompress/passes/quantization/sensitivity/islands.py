"""Islands: the tensors that stay float because the outputs lose too much with them in integers.

Greedy, by what each brings for what it costs. With the squared errors e_t of the single tensors (see `ranking`), which
nearly add up, and the static time of a placement (see `prices`), the next island is the tensor with the greatest

    (share of the summed error that its placement is rid of) / (share of the integer model's time that it costs)

as long as that ratio is worth it. After each island the whole, without the islands chosen so far, is run once: the
search stops where the outputs are near enough, and of the islands found only those stay up to which the error fell (on
few samples it is noisy: an island that leaves more than before is passed, and dropped with those after it unless a
later one makes up for it). A tensor whose placement costs no time at all (an integer kernel that is
slower than float between float neighbours) is worth any gain.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from onnxcompress.passes.quantization.placement.place import place
from onnxcompress.passes.quantization.placement.plan import Plan, Request
from onnxcompress.passes.quantization.sensitivity.prices import Pricing

NEAR = 0.001
"""Squared relative error (30 dB) at which nothing more is looked for."""

_WORTH = 2.0  # least share of the error for a share of the time
_LEAST = 0.03  # least share of the error at all
_MOST_TIME = 0.25  # of the integer model's time, for all islands together
_NEARLY = 1.1  # errors closer than this count as one: they come from two dozen samples
_LOOKED_AT = 12  # worst tensors weighed for each island


@dataclass(frozen=True)
class Island:
    """One tensor that stays float.

    Attributes:
        root: The tensor (the leader of those that share its scale).
        alone: Squared relative error of the outputs with it alone in integers.
        time: What it costs, a share of the integer model's time; negative where it saves some.
        left: Squared relative error of the whole with this island and those before it.
    """

    root: str
    alone: float
    time: float
    left: float


@dataclass(frozen=True)
class Step:
    """A weighed placement."""

    root: str
    plan: Plan
    gain: float
    time: float


Whole = Callable[[Sequence[str]], float]


class Search:
    """The greedy search.

    Args:
        request: What the first placement answers.
        plan: That placement, with every tensor in integers.
        errors: Squared relative error by leading tensor.
        rest: Squared relative error of what cannot become an island (the weights).
        whole: Error of the whole with these leading tensors in integers.
    """

    def __init__(self, request: Request, plan: Plan, errors: Mapping[str, float], rest: float, whole: Whole) -> None:
        self._request, self._whole_plan, self._errors, self._rest = request, plan, errors, rest
        self._whole, self._groups, self._pricing = whole, plan.members(), Pricing(request)
        self.time = self._pricing.time(plan)

    def run(self, count: int | None, evaluations: int, error: float) -> list[Island]:
        """The islands, in the order they were chosen.

        Args:
            count: How many; None for what is worth it.
            evaluations: Most calls of `whole`.
            error: Error of the whole without islands.
        """
        found: list[Island] = []
        before = error
        plan, spent = self._whole_plan, 0.0
        for _ in range(evaluations if count is None else count):
            if count is None and error <= NEAR:
                break
            step = self._best(plan, [island.root for island in found], spent, forced=count is not None)
            if step is None:
                break
            plan, spent = step.plan, spent + step.time
            error = self._whole(self.active(plan))
            found.append(Island(step.root, self._errors[step.root], step.time, error))
        return found if count is not None else _down_to_the_best(found, before)

    def active(self, plan: Plan) -> list[str]:
        """Leading tensors of the first placement of which a member still has its pair."""
        return list(dict.fromkeys(self._whole_plan.root(name) for name in plan.pairs))

    def names(self, roots: Sequence[str]) -> tuple[str, ...]:
        """All tensors that stay float with `roots`."""
        return tuple(name for root in roots for name in self._groups[root])

    def _best(self, plan: Plan, chosen: list[str], spent: float, *, forced: bool) -> Step | None:
        active = self.active(plan)
        total = sum(self._errors[name] for name in active) + self._rest
        worst = sorted((n for n in active if n not in chosen), key=lambda n: (-self._errors[n], n))[:_LOOKED_AT]
        if forced:
            return self._step(plan, chosen, worst[0], total) if worst else None
        steps = [self._step(plan, chosen, root, total) for root in worst]
        steps = [s for s in steps if s.gain >= _LEAST and s.gain >= _WORTH * s.time and spent + s.time <= _MOST_TIME]
        return max(steps, key=lambda s: (s.gain / max(s.time, 1e-3), s.gain), default=None)

    def _step(self, plan: Plan, chosen: list[str], root: str, total: float) -> Step:
        islands = (*self._request.islands, *self.names([*chosen, root]))
        after = place(replace(self._request, islands=islands))
        still = set(self.active(after))
        gain = sum(self._errors[name] for name in self.active(plan) if name not in still)
        time = (self._pricing.time(after) - self._pricing.time(plan)) / max(self.time, 1e-9)
        return Step(root, after, gain / total if total else 0.0, time)


def _down_to_the_best(found: list[Island], before: float) -> list[Island]:
    """The shortest beginning whose error is nearly the least of all."""
    least = min([before, *(island.left for island in found)])
    if before <= _NEARLY * least:
        return []
    return found[: 1 + next(i for i, island in enumerate(found) if island.left <= _NEARLY * least)]
