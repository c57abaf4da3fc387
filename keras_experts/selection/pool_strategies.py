"""Strategies that look at a pool as a whole, at hardly any forward pass."""

import abc
import dataclasses
import functools
from typing import ClassVar

import numpy as np

from keras_experts import config
from keras_experts.console import say
from keras_experts.data.streams import stream_seed
from keras_experts.hierarchy import Hierarchy
from keras_experts.saved_models import handles
from keras_experts.saved_models import references
from keras_experts.saved_models.upstream_labels import read_head
from keras_experts.saved_models.upstream_labels import read_label_prior
from keras_experts.selection.modules import Candidate
from keras_experts.selection.name_matching import images_below
from keras_experts.selection.name_matching import match_names
from keras_experts.selection.name_matching import name_score
from keras_experts.selection.statistics import Score
from keras_experts.selection.statistics import mean_score
from keras_experts.selection.strategies import Evidence
from keras_experts.selection.upstream_strategies import domain_log_probabilities
from keras_experts.selection.upstream_strategies import label_divergence
from keras_experts.selection.upstream_strategies import task_distribution


class PoolStrategy(abc.ABC):
    """Scores the candidates of a pool together.

    Attributes:
        title: str. What the score is.
        is_share: bool. Whether it is a share of examples.
    """

    title: ClassVar[str]
    is_share: ClassVar[bool] = False

    @abc.abstractmethod
    def scores(self, evidence: Evidence) -> dict[str, Score]:
        """Scores by handle; what cannot be scored is left out by name.

        Raises:
            ValueError: if the pool has not what the strategy needs.
        """


@config.register
@dataclasses.dataclass(frozen=True)
class Random(PoolStrategy):
    """Any expert, each as likely as the others, drawn anew for each task.

    Attributes:
        seed: int.
    """

    title = "a random number"
    seed: int = 0

    def scores(self, evidence):
        rng = np.random.default_rng(stream_seed(self.seed, evidence.task.name))
        experts = [c for c in evidence.candidates if not c.is_baseline]
        return {
            candidate.handle: Score(float(value))
            for candidate, value in zip(
                experts, rng.random(len(experts)), strict=True
            )
        }


@config.register
@dataclasses.dataclass(frozen=True)
class Baseline(PoolStrategy):
    """The baseline, whatever the task."""

    title = "being the baseline"

    def scores(self, evidence):
        _baseline(evidence)
        return {
            candidate.handle: Score(float(candidate.is_baseline))
            for candidate in evidence.candidates
        }


@config.register
@dataclasses.dataclass(frozen=True)
class DomainAdaptive(PoolStrategy):
    """The network that was fine-tuned upstream for this very task.

    Of domain adaptive transfer (section 6.6), to compare with: the stage calls
    it dat_TASK.
    """

    title = "being fine-tuned upstream for the task"

    def scores(self, evidence):
        name = f"dat_{evidence.task.name}"
        scores = {
            candidate.handle: Score(float(domain_of(candidate) == name))
            for candidate in evidence.candidates
        }
        if not any(score.value for score in scores.values()):
            raise ValueError(
                "Domain adaptive transfer needs a module made for the task "
                f"(stages/cifar100_dat.gin). Received: a pool without {name}."
            )
        return scores


@config.register
@dataclasses.dataclass(frozen=True)
class DomainPrediction(PoolStrategy):
    """Logarithm of the geometric mean of an expert's predicted probability.

    The expert prediction network is the collection's (section 5 of the
    paper). It says nothing of the baseline.
    """

    title = "mean log probability of the prediction network"

    def scores(self, evidence):
        if not evidence.networks:
            raise ValueError(
                "Domain prediction needs a collection with an expert "
                "prediction network (train_epn before export). "
                "Received: a pool without one."
            )
        found: dict[str, np.ndarray] = {}
        for network in evidence.networks:
            rows = handles.read_metadata(network.handle)["experts"]
            probabilities = evidence.features.get(network, evidence.indices)
            columns = domain_log_probabilities(probabilities).T
            for row, column in zip(rows, columns, strict=True):
                found.setdefault(row["name"], column)
        scores = {}
        for candidate in evidence.candidates:
            name = domain_of(candidate)
            if name in found:
                scores[candidate.handle] = mean_score(found[name])
            elif not candidate.is_baseline:
                evidence.leave_out(
                    candidate, "The prediction network does not know it."
                )
        return scores


@config.register
@dataclasses.dataclass(frozen=True)
class LabelMatching(PoolStrategy):
    """Less the divergence of the task's predicted labels from an expert's.

    The baseline predicts upstream's labels of the task's images; KL(task ||
    prior) is taken to the label prior of each expert (section 5).
    """

    title = "-KL of the task's predicted labels to the expert's"

    def scores(self, evidence):
        baseline = _baseline(evidence)
        head = None if baseline.head is None else read_head(baseline.head)
        upstream = read_label_prior(baseline.handle)
        if head is None or upstream is None:
            raise ValueError(
                "Label matching needs a baseline with its upstream head and "
                f"label prior. Received: {baseline.handle}, without."
            )
        features = evidence.features.get(baseline, evidence.indices)
        # One row, which is the same for all experts.
        predicted = task_distribution(head.probabilities(features), head.loss)
        scores = {}
        for candidate in evidence.candidates:
            prior = None
            try:
                if candidate.function is None:
                    prior = read_label_prior(candidate.handle)
            except (OSError, ValueError) as error:
                evidence.leave_out(candidate, str(error))
                continue
            if prior is None or prior.shape != upstream.shape:
                evidence.leave_out(candidate, "It has no label prior.")
                continue
            divergence = label_divergence(
                predicted[None], head.loss, prior, upstream
            )
            scores[candidate.handle] = Score(-divergence)
        return scores


@config.register
@dataclasses.dataclass(frozen=True)
class NameMatching(PoolStrategy):
    """How well an expert's part of the hierarchy holds the task's classes.

    The names of the classes are looked up in the hierarchy: no image is
    needed.

    Attributes:
        hierarchy: str. As `choose_experts` takes it: "wordnet:DIR" or a file.
    """

    title = "log ratio of the class names' probability to the baseline's"
    hierarchy: str | None = None

    def scores(self, evidence):
        if self.hierarchy is None:
            raise ValueError(
                "Name matching needs a hierarchy (--hierarchy wordnet:DIR or "
                "an is-a file). Received: none."
            )
        hierarchy = Hierarchy.read(self.hierarchy)
        baseline = _baseline(evidence)
        nodes = match_names(
            evidence.class_names, hierarchy, _images_below(baseline, hierarchy)
        )
        unknown = [name for name, node in nodes.items() if node is None]
        if unknown:
            say(f"Not in the hierarchy: {', '.join(unknown)}")
        if len(unknown) == len(nodes):
            raise ValueError(
                "Name matching needs class names that the hierarchy knows. "
                f"Received: {', '.join(nodes)}."
            )
        counts = np.bincount(
            evidence.labels, minlength=len(evidence.class_names)
        )
        places = [nodes[name] for name in evidence.class_names]
        total = told_of(baseline).get("num_images")
        if not total:
            raise ValueError(
                "Name matching needs a baseline that tells its number of "
                f"images. Received: {baseline.handle}."
            )
        scores = {}
        for candidate in evidence.candidates:
            try:
                told = told_of(candidate)
            except (OSError, ValueError) as error:
                evidence.leave_out(candidate, str(error))
                continue
            if candidate.is_baseline:
                scores[candidate.handle] = Score(0.0)
            elif told.get("synset") not in hierarchy.parents:
                evidence.leave_out(candidate, "The hierarchy lacks its node.")
            elif not told.get("num_images"):
                evidence.leave_out(candidate, "It tells no number of images.")
            else:
                value = name_score(
                    places,
                    counts / counts.sum(),
                    told["synset"],
                    told["num_images"] / total,
                    hierarchy,
                )
                scores[candidate.handle] = Score(value)
        return scores


def _images_below(
    baseline: Candidate, hierarchy: Hierarchy
) -> dict[str, float] | None:
    """Gives the upstream's images at or under each node, where they are told.

    A name may mean several things: it is the one that upstream has images of.
    """
    head = None if baseline.head is None else read_head(baseline.head)
    prior = None if head is None else read_label_prior(baseline.handle)
    if prior is None:
        return None
    return images_below(head.labels, prior, head.loss, hierarchy)


def told_of(candidate: Candidate) -> dict:
    """Gives what a module tells of its training, of a bank's expert too."""
    if candidate.function is not None:
        return {}
    module, part = references.split(candidate.handle)
    if part is None or candidate.is_baseline:
        # A bank tells of its baseline what a baseline does.
        return handles.read_metadata(module)
    path = handles.resolve(module) / handles.METADATA_FILE
    written = path.stat().st_ctime_ns if path.exists() else None
    return _experts_of(module, written).get(part, {})


@functools.lru_cache(maxsize=8)
def _experts_of(bank: str, written_ns: int | None) -> dict[str, dict]:
    """Gives what a bank tells of each of its experts, hundreds perhaps."""
    rows = handles.read_metadata(bank).get("experts", ())
    return {row["name"]: row for row in rows}


def domain_of(candidate: Candidate) -> str | None:
    """Gives the name of an expert's domain, or None."""
    told = told_of(candidate)
    return told.get("domain", told.get("name"))


def _baseline(evidence: Evidence) -> Candidate:
    found = [c for c in evidence.candidates if c.is_baseline]
    if not found:
        raise ValueError(
            "The strategy needs a pool with a baseline. "
            "Received: a pool without one."
        )
    return found[0]
