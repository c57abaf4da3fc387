"""The files that stand beside a module's metadata, in `assets.extra`."""

import contextlib
import dataclasses
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from keras_experts import files
from keras_experts.saved_models import handles
from keras_experts.saved_models.upstream_labels import HEAD_FILE
from keras_experts.saved_models.upstream_labels import PRIOR_FILE
from keras_experts.saved_models.upstream_labels import PRIORS_FILE
from keras_experts.saved_models.upstream_labels import Head
from keras_experts.saved_models.upstream_labels import digest_name
from keras_experts.saved_models.upstream_labels import save_head

FILES = (handles.SAMPLES_FILE, HEAD_FILE, PRIOR_FILE, PRIORS_FILE)


@dataclasses.dataclass(frozen=True)
class Extras:
    """What a module holds besides its graph and its weights.

    Attributes:
        samples: Path. A strip of its images, or None.
        head: Head. The upstream head on its features, or None.
        label_prior: float32 array `(outputs,)`, or None.
        label_priors: float32 array `(1 + experts, outputs)`, of a bank, or
            None.
    """

    samples: Path | None = None
    head: Head | None = None
    label_prior: np.ndarray | None = None
    label_priors: np.ndarray | None = None

    @contextlib.contextmanager
    def written(self, near: Path) -> Iterator[list[Path]]:
        """Gives the files, which are gone after the block.

        Args:
            near: folder on a disk with room for them.
        """
        with files.temporary_folder(near) as folder:
            if self.samples is not None:
                samples = Path(folder, handles.SAMPLES_FILE.name)
                shutil.copyfile(self.samples, samples)
            if self.head is not None:
                save_head(self.head, Path(folder, HEAD_FILE.name))
            for file, prior in (
                (PRIOR_FILE, self.label_prior),
                (PRIORS_FILE, self.label_priors),
            ):
                if prior is not None:
                    values = np.asarray(prior, np.float32)
                    np.save(Path(folder, file.name), values)
            yield sorted(Path(folder).iterdir())

    def describe(self, metadata: dict, paths: list[Path]) -> dict:
        """Gives the metadata with what tells of the files, and of no others.

        By their digests a version differs from one with other files.

        Args:
            metadata: dict. Of the module, or of one it was made from.
            paths: of `written`.
        """
        told = {digest_name(path): files.checksum(path) for path in paths}
        if self.head is not None:
            told["loss"] = self.head.loss
        own = {"loss", *map(digest_name, FILES)}
        kept = {key: metadata[key] for key in metadata if key not in own}
        return {**kept, **told}
