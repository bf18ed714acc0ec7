"""One distillation from beginning to end: compare, repair, train, keep what is better, write back."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np

from onnxcompress.data import DataSource
from onnxcompress.distill import taps as tapping
from onnxcompress.distill.adoption import Adopted, adopt
from onnxcompress.distill.augment import Light
from onnxcompress.distill.batches import Batches, class_ids, parts_of, runs_of
from onnxcompress.distill.bridge import bridge_for
from onnxcompress.distill.checkpoint import Checkpoint, fingerprint, named_when_stopped
from onnxcompress.distill.checks import gather, same_weights, start_checks
from onnxcompress.distill.choosing import choose
from onnxcompress.distill.comparison import compare, tensor_names
from onnxcompress.distill.cotraining import tutor_of
from onnxcompress.distill.course import Habits, Training
from onnxcompress.distill.device import computing, device_for
from onnxcompress.distill.distributed import World, world
from onnxcompress.distill.job import Job
from onnxcompress.distill.label_checks import check_class_ids
from onnxcompress.distill.losses.recipe import labels_alone
from onnxcompress.distill.measure import Examiner
from onnxcompress.distill.memory import memory_told
from onnxcompress.distill.objective import Objective
from onnxcompress.distill.optimization import Chosen
from onnxcompress.distill.outcome import figures, judge_findings, start_findings, untrained
from onnxcompress.distill.pairing import parse_pairs
from onnxcompress.distill.rate_trial import SHARE, find_rate
from onnxcompress.distill.repair import Moments, Point, TeacherMoments, find_points, repair
from onnxcompress.distill.revive import Revival
from onnxcompress.distill.schedule import Pace
from onnxcompress.distill.selection import fixed_nodes, keep_still, select_weights
from onnxcompress.distill.split import hold_out
from onnxcompress.distill.teacher import Teacher
from onnxcompress.distill.torch_teacher import open_teacher
from onnxcompress.distill.trainer import Trainer, restore, snapshot
from onnxcompress.distill.verdict import Verdict
from onnxcompress.distill.working_copy import parts
from onnxcompress.distill.write_back import write_back
from onnxcompress.report import Finding

# Samples on which tensors are compared before training, and that set the units of the loss.
_PROBE = 256
# The last judgement may take this much longer than the first.
_RESERVE = 1.5
# Steps where neither steps nor a budget were asked for.
STEPS = 300
# Fewer samples in one run say too little about a channel's mean and spread.
_FOR_MOMENTS = 8
_AT_ONCE = 4


def distill(job: Job) -> list[Finding]:
    """Train `job.student` in place.

    Returns:
        What was done, with figures.

    Raises:
        ModelError: Where student and teacher do not fit, or a node has no torch form.
        DataError: Where the samples do not fit.
        UsageError: Where an option does not fit the model.
        ResourceError: Where memory is not enough.
    """
    pairs, hints = job.settings, parse_pairs(job.settings.hint, "--hint", same=True)
    inputs, outputs = parse_pairs(pairs.map_teacher, "--map-teacher"), parse_pairs(pairs.pair, "--pair")
    student, teacher = parts(job.student, job.teacher, job.settings.until, outputs)
    adopted = adopt(student, teacher, inputs, outputs, hints)
    job = replace(job, teacher=adopted.teacher)
    device = device_for(job.settings.device)
    kept, told = named_when_stopped(job.settings.resume), memory_told(job.settings.batch_size)
    with kept, computing(job.runtime.threads, device), told, world() as processes:
        return _Distillation(job, processes, adopted).run()


def _kinds(texts: tuple[str, ...]) -> dict[str, str]:
    return parse_pairs(texts, "--kind", form="OUTPUT=classes or OUTPUT=values")


class _Distillation:
    """The stages, and what they share."""

    def __init__(self, job: Job, processes: World, adopted: Adopted) -> None:
        self.job, self.world, self.settings = job, processes, job.settings
        self.began = time.perf_counter()
        self.bridge = bridge_for(job.student, self.settings)
        self.start = snapshot(self.bridge)
        self.findings = [*self.bridge.findings, *adopted.findings]
        self.split = hold_out(job.data, job.held_out, seed=job.settings.seed)
        self.train = self.split.train
        self.findings += self.split.findings()
        count = min(len(self.train), _PROBE)
        probed = np.random.Generator(np.random.PCG64(job.settings.seed)).permutation(len(self.train))[:count]
        self.probed = np.sort(probed)
        self.probe = parts_of(job.student, self.train, self.probed, job.settings.batch_size)
        feeds = self.probe[0].feeds
        labels, kinds = self.probe[0].labels is not None, _kinds(job.settings.kind)
        sizes = self.bridge.specialise(feeds).sizes
        self.pair = compare(self.bridge.model, adopted, sizes, feeds, job.runtime, kinds=kinds, labels=labels)

    def run(self) -> list[Finding]:
        """Repair, train, judge, write."""
        pair, settings = self.pair, self.settings
        student, probe = self.job.student, self.probe[0]
        objective, told = choose(student, self.job.teacher, pair, probe, self.bridge, settings)
        terms, self.findings = objective.weights, [*self.findings, *told]
        if "ce" in terms:
            self._check_labels(self.train)
        backend = settings.teacher_backend
        teacher = open_teacher(backend, self.job.teacher, objective.names, pair.taps, self.job.runtime)
        evidence = gather(self.probe, pair.answers, teacher, self.train, self.probed)
        self.findings += start_checks(self.job.student, self.job.teacher, evidence, terms)
        measuring = self.split.judge, self.split.guide
        labels = labels_alone(terms) and all(class_ids(part.labels([0])) is not None for part in measuring)
        if labels:
            self._check_labels(*measuring)
        judge = self._examiner(measuring[0], teacher, labels=labels)
        guide = judge if measuring[0] is measuring[1] else self._examiner(measuring[1], teacher, labels=labels)
        clock, verdict = time.perf_counter(), Verdict(self.job, judge, pair.answers)
        before = self.world.agree(verdict.before(self.bridge))
        self.judging = time.perf_counter() - clock
        self.findings += start_findings(before)
        done = same_weights(self.job.student, self.job.teacher) or before.close(settings.close)
        if settings.steps == 0 or (done and not labels):
            return [*self.findings, untrained(before, asked=settings.steps == 0)]
        chosen = select_weights(self.job, self.bridge)
        keep_still(self.bridge, chosen)
        self.bridge.hold(fixed_nodes(self.job.student, self.job.scope, self.bridge))
        self._repair(guide, chosen)
        close = 1.0 if labels else settings.close
        training, rate = self._train(objective, teacher, guide, chosen, close)
        after = self.world.agree(verdict.after(self.bridge, self.start))
        better = after.better_than(before)
        write = better or (settings.accept_worse and after.finite)
        changed = write_back(self.job.student, self.bridge, self.start) if write else []
        seconds = round(time.perf_counter() - self.began, 2)
        numbers = {**figures(before, after), "rate": rate, "loss": ",".join(f"{n}:{w:g}" for n, w in terms.items())}
        numbers |= {"steps": training.steps, "samples": len(self.train), "held_out": len(self.split.judge)}
        numbers |= {"seconds": seconds, "weights": len(changed), "aim": "labels" if labels else "teacher"}
        return [*self.findings, *judge_findings(training, numbers, better=better, written=bool(changed))]

    def _check_labels(self, *sources: DataSource) -> None:
        sizes = self.bridge.specialise(self.probe[0].feeds).sizes
        for source in sources:
            check_class_ids(source, self.pair.answers, sizes)

    def _examiner(self, source: DataSource, teacher: Teacher, *, labels: bool) -> Examiner:
        answers, power, batch = self.pair.answers, self.pair.power, self.settings.batch_size
        return Examiner(self.job.student, source, answers, teacher, power, labels=labels, batch=batch)

    def _repair(self, guide: Examiner, chosen: Chosen) -> None:
        """Re-normalise the layers that may move; kept only where it brings the student closer."""
        known = tensor_names(self.job.teacher)
        points = [p for p in find_points(self.bridge, [p for _, p in chosen]) if p.name in known]
        if not (self.settings.repair and points):
            return
        feeds = self._many()
        if max((len(a) for a in feeds.values() if a.ndim), default=0) < _FOR_MOMENTS:
            return
        moments = self._teacher_moments(points)
        before, saved = guide.measure(self.bridge), snapshot(self.bridge)
        moved = repair(self.bridge, self.bridge.specialise(feeds), feeds, moments, points)
        after = guide.measure(self.bridge)
        if not after.better_than(before):
            restore(self.bridge, saved)
        elif moved:
            message = f"{moved} layers got the teacher's mean and spread back before training"
            self.findings.append(
                Finding("DISTILL-REPAIRED", message, numbers={"layers": moved, **figures(before, after)})
            )

    def _many(self) -> dict[str, np.ndarray]:
        """Probed samples in one run, four steps' worth: a pass without gradients holds few tensors at once."""
        some = self.probed[: max(_AT_ONCE * self.settings.batch_size, _FOR_MOMENTS)]
        return next(runs_of(self.job.student, self.train, some, of=len(some))).feeds

    def _teacher_moments(self, points: list[Point]) -> dict[str, Moments]:
        """Those of the teacher, cut to the student's channels, where the two fit."""
        names = [point.name for point in points]
        teacher, found = Teacher(self.job.teacher, names, (), self.job.runtime), TeacherMoments(points)
        for run in self.probe:
            arrays, sizes = teacher.arrays(run.feeds), self.bridge.specialise(run.feeds).sizes
            shapes = {n: a.shape for n, a in arrays.items()}
            views = [t for n in names for t in tapping.match(self.job.student, [n], sizes, shapes)]
            found.add({view.name: view.teacher_view(arrays[view.name]) for view in views})
        return found.result()

    def _train(
        self, objective: Objective, teacher: Teacher, guide: Examiner, chosen: Chosen, close: float
    ) -> tuple[Training, float]:
        settings, seat = self.settings, self.world
        batches = Batches(
            self.job.student,
            self.train,
            settings.batch_size,
            seed=settings.seed,
            rank=seat.rank,
            world=seat.size,
            augment=Light(settings.seed) if settings.augment == "light" else None,
        )
        habits = Habits(settings.bn == "update", settings.optimizer, settings.ema, settings.patience, close)
        runtime, labels = self.job.runtime, "ce" in objective.weights
        tutor = tutor_of(self.job.teacher, objective.names, self.pair, settings, runtime, seat, labels=labels)
        revival = Revival(self.bridge, self._many(), chosen) if settings.bn == "revive" else None
        chosen = chosen if revival is None else [*chosen, *revival.chosen(chosen)]
        trainer = Trainer(self.bridge, tutor or teacher, objective, batches, chosen, habits, seat, revival)
        trainer.set_units(self.probe)
        keeper = self._keeper()
        saved = None if keeper is None else keeper.load()
        if saved is not None:
            rate, step = float(saved["rate"]), int(saved["course"]["training"]["steps"])
            message = f"training went on at step {step}, from the checkpoint in {settings.resume}"
            self.findings.append(Finding("DISTILL-RESUMED", message, numbers={"step": step}))
        else:
            rate = settings.rate
            if rate is None:
                rate = find_rate(trainer, self.job.student, self.probe, self._pace(SHARE))
        trainer.follower = tutor
        training = trainer.train(self._pace(), rate, guide, self._told, keeper)
        self.findings += [] if tutor is None else [tutor.finding()]
        if revival is not None:
            self.findings.append(revival.finding())
            revival.fold()
        if training.sparse:
            message = f"{training.sparse} sparse weights kept their zeros"
            self.findings.append(Finding("DISTILL-SPARSE", message, numbers={"weights": training.sparse}))
        return training, rate

    def _keeper(self) -> Checkpoint | None:
        """Where the run is saved, where that was asked for."""
        folder = self.settings.resume
        if folder is None:
            return None
        return Checkpoint(folder, fingerprint(self.job, self.world.size), self.world)

    def _pace(self, part: float = 1.0) -> Pace:
        """What steps and time are left, or a part of them."""
        settings = self.settings
        steps = settings.steps if settings.steps is not None else None if settings.budget else STEPS
        seconds = None
        if settings.budget is not None:
            spent = time.perf_counter() - self.began
            seconds = self.world.agree(max(part * (settings.budget - spent - _RESERVE * self.judging), 1e-9))
        return Pace(None if steps is None else max(1, round(part * steps)), seconds)

    def _told(self, training: Training, total: int) -> None:
        agreement = f", {100 * training.best.agreement:.1f} % equal" if training.best.agreement is not None else ""
        self.job.progress(f"distill (loss {training.loss:.3f}{agreement})", training.steps, total)
