"""Strategies that score a candidate by its features of the task's images."""

import abc
import dataclasses
from collections.abc import Callable
from typing import ClassVar

import numpy as np

from keras_experts import config
from keras_experts.checks import check_at_least
from keras_experts.data.tasks import Task
from keras_experts.saved_models.upstream_labels import read_head
from keras_experts.selection import proxies
from keras_experts.selection import transferability
from keras_experts.selection.features import Features
from keras_experts.selection.modules import Candidate
from keras_experts.selection.neighbors import METRICS
from keras_experts.selection.neighbors import most_neighbors
from keras_experts.selection.neighbors import nearest_neighbors
from keras_experts.selection.statistics import Score
from keras_experts.selection.statistics import mean_score
from keras_experts.selection.votes import vote

# Neighbours that vote where there are few examples, and how their weight falls.
EARLY_NEIGHBORS, EARLY_DECAY = 60, 0.9


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What strategies know of a task and a pool.

    Attributes:
        task: Task. Its training images are what candidates are scored on.
        groups: int array `(n,)`. Equal for images that are exact copies.
        indices: int array `(n,)`. Where the images are in `features`.
        features: Features of the pool.
        candidates: list of Candidate.
        networks: list of Candidate. The pool's expert prediction networks.
        leave_out: function of a candidate and the reason.
    """

    task: Task
    groups: np.ndarray
    indices: np.ndarray
    features: Features
    candidates: list[Candidate]
    networks: list[Candidate]
    leave_out: Callable[[Candidate, str], None]

    @property
    def labels(self) -> np.ndarray:
        """Labels of the task's images, int `(n,)`."""
        return self.task.train.labels

    @property
    def class_names(self) -> list[str]:
        """Name of each label."""
        return self.task.class_names


class FeatureStrategy(abc.ABC):
    """Scores each candidate by its own features alone.

    Attributes:
        title: str. What the score is.
        is_share: bool. Whether it is a share of examples.
    """

    title: ClassVar[str]
    is_share: ClassVar[bool] = True

    @abc.abstractmethod
    def score(
        self,
        features: np.ndarray,
        labels: np.ndarray,
        candidate: Candidate,
        groups: np.ndarray | None = None,
    ) -> Score:
        """Scores a candidate.

        Args:
            features: float32 array `(n, channels)`.
            labels: int array `(n,)`.
            candidate: Candidate whose features these are.
            groups: int array `(n,)`. Equal for exact copies, none of which
                may help another one to its label. By default there are none.

        Raises:
            ValueError: if it cannot be scored.
        """

    def early_value(
        self,
        features: np.ndarray,
        labels: np.ndarray,
        candidate: Candidate,
        groups: np.ndarray | None = None,
    ) -> float:
        """Returns what races within a budget compare on a few examples.

        It may vary less than the score, which it stands for.

        Args:
            features: as in `score`, and so are the others.
        """
        return self.score(features, labels, candidate, groups).value


@config.register
@dataclasses.dataclass(frozen=True)
class Knn(FeatureStrategy):
    """Leave-one-out accuracy of the nearest neighbours (section 5).

    Attributes:
        k: int. Neighbours that vote.
        metric: str. "euclidean" or "cosine".
    """

    title = "leave-one-out accuracy of the nearest neighbour"
    k: int = 1
    metric: str = "euclidean"

    def __post_init__(self):
        check_at_least(k=(self.k, 1))
        if self.metric not in METRICS:
            raise ValueError(
                f"`Knn.metric` must be one of {', '.join(METRICS)}. "
                f"Received: {self.metric!r}."
            )

    def score(self, features, labels, candidate, groups=None):
        votes = vote(features, labels, self.k, self.metric, groups)
        return mean_score(votes.correct(), votes, groups)

    def early_value(self, features, labels, candidate, groups=None):
        """Returns the weighted fraction of right votes of many neighbors.

        On few examples the nearest neighbor alone is a noisy estimate. So many
        vote, each with 0.9 times the weight of the next nearer one. On six
        real tasks the correlation with accuracy on 1,000 images rose from 0.23
        to 0.42 at 100 images, and from 0.43 to 0.55 at 250.
        """
        number = min(most_neighbors(len(labels), groups), EARLY_NEIGHBORS)
        neighbors = nearest_neighbors(features, number, self.metric, groups)
        weights = EARLY_DECAY ** np.arange(number)
        right = labels[neighbors] == labels[:, None]  # (n, number)
        return float((right @ weights).mean() / weights.sum())


@dataclasses.dataclass(frozen=True)
class CrossValidated(FeatureStrategy):
    """Cross-validated accuracy of a classifier (section 5, other proxies).

    Attributes:
        folds: int.
        seed: int. Of the folds, and of what the classifier draws.
    """

    correct: ClassVar[Callable]
    folds: int = 5
    seed: int = 0

    def score(self, features, labels, candidate, groups=None):
        correct = self.correct(
            features, labels, self.seed, self.folds, groups=groups
        )
        return mean_score(correct, groups=groups)


@config.register
@dataclasses.dataclass(frozen=True)
class Logistic(CrossValidated):
    """Cross-validated accuracy of logistic regression."""

    title = "cross-validated accuracy of logistic regression"
    correct = staticmethod(proxies.logistic_correct)


@config.register
@dataclasses.dataclass(frozen=True)
class Svm(CrossValidated):
    """Cross-validated accuracy of a linear support vector machine."""

    title = "cross-validated accuracy of a linear SVM"
    correct = staticmethod(proxies.svm_correct)


@config.register
@dataclasses.dataclass(frozen=True)
class Tree(CrossValidated):
    """Cross-validated accuracy of a decision tree."""

    title = "cross-validated accuracy of a decision tree"
    correct = staticmethod(proxies.tree_correct)


@config.register
@dataclasses.dataclass(frozen=True)
class LogMe(FeatureStrategy):
    """Logarithm of maximum evidence (You et al., ICML 2021)."""

    title = "LogME"
    is_share = False

    def score(self, features, labels, candidate, groups=None):
        return Score(transferability.log_maximum_evidence(features, labels))


@config.register
@dataclasses.dataclass(frozen=True)
class HScore(FeatureStrategy):
    """Regularised H-score (Ibrahim et al., 2021)."""

    title = "regularised H-score"
    is_share = False

    def score(self, features, labels, candidate, groups=None):
        return Score(transferability.h_score(features, labels))


@config.register
@dataclasses.dataclass(frozen=True)
class Leep(FeatureStrategy):
    """Log expected empirical prediction (Nguyen et al., ICML 2020).

    The upstream predictions come from the head of the candidate's bank or
    collection, which adapters share with the baseline.
    """

    title = "LEEP"
    is_share = False

    def score(self, features, labels, candidate, groups=None):
        head = None if candidate.head is None else read_head(candidate.head)
        if head is None:
            raise ValueError(
                "LEEP needs the upstream head of a module. "
                f"Received: {candidate.handle}, which has none."
            )
        probabilities = head.probabilities(features)
        # Sigmoids are no distribution over upstream's labels yet.
        probabilities /= probabilities.sum(axis=1, keepdims=True)
        return Score(transferability.leep(probabilities, labels))
