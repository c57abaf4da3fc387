"""Trains the upstream stages under JAX, for a GPU without TensorFlow.

    KERAS_BACKEND=jax python benchmarks/device_upstream.py --data device \
        --workdir run --stages baseline adapter full

Reads what `device_data.py` packed and leaves a run folder, as the commands
train_baseline and train_experts do: `keras-experts export` takes it. Images
stay on the GPU; a hundred steps are one program (lax.scan). What is finished
is not trained again. `--pack DIR` puts the results in archives of at most
`--pack_mib`, to bring them home. Recipes are our choice.
"""

import argparse
import dataclasses
import functools
import os
import tarfile
import time
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "jax")

import jax
import jax.numpy as jnp
import keras
import numpy as np
from PIL import Image

from keras_experts import files
from keras_experts.models import bit_resnet
from keras_experts.models import heads
from keras_experts.models import run_folder
from keras_experts.models.bit_weights import fingerprint
from keras_experts.saved_models.upstream_labels import label_prior
from keras_experts.training.schedules import cosine_schedule

CHUNK = 100  # steps of one program
MOMENTUM = 0.9


@dataclasses.dataclass
class Recipe:
    """How long and how fast something is trained."""

    steps: int
    rate: float
    batch: int = 128
    decay: float = 5e-4
    warmup: int = 20


class Data:
    """The packed set, its images on the accelerator."""

    def __init__(self, folder: Path, loss: str):
        self.about = files.read_json(folder / "upstream.json")
        self.arrays = dict(np.load(folder / "upstream.npz"))
        self.loss = loss
        self.outputs = self.about["outputs"][loss]
        train, test = self.about["images"]
        pixels = read_sheet(
            folder / "images.webp", train + test, self.about["image_size"]
        )
        self.train = jnp.asarray(pixels[:train])
        self.test = jnp.asarray(pixels[train:])
        bits = np.unpackbits(self.arrays[f"{loss}_targets"], axis=1)
        self.targets = jnp.asarray(bits[:, : len(self.outputs)])

    def prior(self, place: int) -> np.ndarray:
        """Gives the prior of a slice; -1 is all of the data."""
        return self.arrays[f"{self.loss}_priors"][place + 1]


def read_sheet(path: Path, number: int, side: int) -> np.ndarray:
    """Cuts the images out of a sheet: uint8 `(number, side, side, 3)`."""
    Image.MAX_IMAGE_PIXELS = None
    whole = np.asarray(Image.open(path).convert("RGB"))
    across = whole.shape[0] // side
    grid = whole.reshape(across, side, across, side, 3).swapaxes(1, 2)
    return grid.reshape(-1, side, side, 3)[:number]


def augment(key: jax.Array, images: jax.Array) -> jax.Array:
    """Crops, stretches, mirrors and changes contrast and light at random.

    Args:
        key: of the random numbers.
        images: float32 `(batch, side, side, 3)`, values in [0, 1].
    """
    number, side = images.shape[:2]
    keys = jax.random.split(key, 6)
    area = jax.random.uniform(keys[0], (number,), minval=0.35, maxval=1.0)
    ratio = jnp.exp(
        jax.random.uniform(keys[1], (number,), minval=-0.3, maxval=0.3)
    )
    sizes = jnp.clip(
        jnp.sqrt(area)[:, None] * jnp.stack([ratio**0.5, ratio**-0.5], 1), 0, 1
    )
    starts = (1 - sizes) * jax.random.uniform(keys[2], (number, 2))
    rows = stretching(starts[:, 0], sizes[:, 0], side)
    columns = stretching(starts[:, 1], sizes[:, 1], side)
    mirrored = jax.random.bernoulli(keys[3], 0.5, (number, 1, 1))
    columns = jnp.where(mirrored, columns[:, ::-1], columns)
    images = jnp.einsum("bih,bhwc,bjw->bijc", rows, images, columns)
    contrast = jax.random.uniform(keys[4], (number, 1, 1, 1), minval=0.7)
    light = jax.random.uniform(
        keys[5], (number, 1, 1, 1), minval=-0.15, maxval=0.15
    )
    mean = images.mean((1, 2, 3), keepdims=True)
    return jnp.clip((images - mean) * (contrast + 0.15) + mean + light, 0, 1)


def stretching(start: jax.Array, size: jax.Array, side: int) -> jax.Array:
    """Gives bilinear weights, `(batch, side, side)`, of parts of an axis."""
    out = (jnp.arange(side) + 0.5) / side
    places = side * (start[:, None] + size[:, None] * out) - 0.5
    weights = jnp.maximum(0, 1 - jnp.abs(places[:, :, None] - jnp.arange(side)))
    return weights / weights.sum(-1, keepdims=True)


class Training:
    """Trains one network's trainable variables, as often as wanted."""

    def __init__(self, model: keras.Model, data: Data):
        self.model = model
        self.data = data
        self.initial = [jnp.asarray(v.value) for v in model.variables]
        self._run = jax.jit(self._steps, donate_argnums=0, static_argnums=5)

    def fit(self, recipe: Recipe, images: np.ndarray, seed: int) -> dict:
        """Trains from the initial weights on some images."""
        model = self.model
        for variable, value in zip(model.variables, self.initial, strict=True):
            variable.assign(value)
        rates = cosine_schedule(recipe.steps, recipe.rate, recipe.warmup)
        order = batches(images, recipe, seed)
        weights = [jnp.array(v.value) for v in model.trainable_variables]
        state = (weights, [jnp.zeros_like(w) for w in weights])
        frozen = [v.value for v in model.non_trainable_variables]
        started = time.monotonic()
        for first in range(0, recipe.steps, CHUNK):
            part = slice(first, first + CHUNK)
            key = jax.random.fold_in(jax.random.key(seed), first)
            state, losses = self._run(
                state,
                frozen,
                (self.data.train, self.data.targets),
                (order[part], rates[part]),
                key,
                recipe.decay,
            )
            losses.block_until_ready()
            if first in (CHUNK, 50 * CHUNK):
                rate = first / (time.monotonic() - started)
                print(f"{rate:.1f} steps/s, compiling included", flush=True)
        final = float(losses[-1])
        if not np.isfinite(final):
            raise FloatingPointError("The loss became NaN.")
        seconds = time.monotonic() - started
        variables = model.trainable_variables
        for variable, value in zip(variables, state[0], strict=True):
            variable.assign(value)
        speed = recipe.steps * recipe.batch / seconds
        return {
            "num_steps": recipe.steps,
            "batch_size": recipe.batch,
            "final_loss": final,
            "images_per_second": round(speed, 2),
            "input_images_per_second": None,
            "seconds": round(seconds, 1),
        }

    def _steps(self, state, frozen, data, plan, key, decay):
        # Data are an argument: as a constant they would be compiled in.
        all_images, all_targets = data
        order, rates = plan

        def step(state, inputs):
            weights, velocities = state
            indices, rate, number = inputs
            images = all_images[indices].astype(jnp.float32) / 255
            images = augment(jax.random.fold_in(key, number), images)
            targets = all_targets[indices].astype(jnp.float32)
            loss, gradients = jax.value_and_grad(self._loss)(
                weights, frozen, images, targets
            )
            velocities = [
                MOMENTUM * v + g + decay * w
                for v, g, w in zip(velocities, gradients, weights, strict=True)
            ]
            weights = [
                w - rate * v for w, v in zip(weights, velocities, strict=True)
            ]
            return (weights, velocities), loss

        numbers = jnp.arange(len(order))
        return jax.lax.scan(step, state, (order, rates, numbers))

    def _loss(self, weights, frozen, images, targets):
        logits, _ = self.model.stateless_call(
            weights, frozen, images, training=True
        )
        if self.data.loss == "softmax":
            losses = -(targets * jax.nn.log_softmax(logits)).sum(-1)
        else:
            losses = jnp.maximum(logits, 0) - logits * targets
            losses += jnp.log1p(jnp.exp(-jnp.abs(logits)))
            losses = losses.sum(-1)
        return losses.mean()


def batches(images: np.ndarray, recipe: Recipe, seed: int) -> np.ndarray:
    """Gives int32 `(steps, batch)`: passes over images, each in new order."""
    rng = np.random.default_rng(seed)
    wanted = recipe.steps * recipe.batch
    passes = -(-wanted // len(images))
    order = np.concatenate([rng.permutation(images) for _ in range(passes)])
    return order[:wanted].reshape(recipe.steps, recipe.batch).astype(np.int32)


def outputs_of(model: keras.Model, images: jax.Array) -> np.ndarray:
    """Runs a network over uint8 images, 500 at a time."""

    @jax.jit
    def run(weights, frozen, batch):
        images = batch.astype(jnp.float32) / 255
        return model.stateless_call(weights, frozen, images, training=False)[0]

    weights = [v.value for v in model.trainable_variables]
    frozen = [v.value for v in model.non_trainable_variables]
    parts = [
        np.asarray(run(weights, frozen, images[i : i + 500]))
        for i in range(0, len(images), 500)
    ]
    return np.concatenate(parts)


def hits(model: keras.Model, data: Data) -> np.ndarray:
    """Tells which test images' classes a network gets right, bool."""
    logits = outputs_of(model, data.test)[:, : len(data.about["classes"])]
    return logits.argmax(1) == data.arrays["test_classes"]


def train_baseline(data: Data, workdir: Path, network: dict, recipe: Recipe):
    """Trains the baseline on all images."""
    keras.utils.set_random_seed(0)
    backbone = bit_resnet(**network)
    model = heads.add_head(heads.image_features(backbone), len(data.outputs))
    figures = Training(model, data).fit(recipe, np.arange(len(data.train)), 0)
    directory = workdir / "baseline"
    run_folder.save_label_prior(data.prior(-1), directory)
    run_folder.save_model(model, directory)
    about = data.about
    metadata = {
        "name": "baseline",
        "kind": "baseline",
        "dataset": about["dataset"],
        "loss": data.loss,
        "classes": about["classes"],
        "class_names": about["class_names"],
        "outputs": data.outputs,
        "hierarchy": about["hierarchy"],
        "image_size": about["image_size"],
        "parameters": backbone.count_params(),
        "num_images": len(data.train),
        "top1": float(hits(model, data).mean()),
        **figures,
        "settings": {"device": True, **dataclasses.asdict(recipe), **network},
    }
    files.write_json(directory / "metadata.json", metadata)
    print(f"baseline top-1 {metadata['top1']:.4f}", figures, flush=True)


def train_experts(
    data: Data,
    workdir: Path,
    kind: str,
    parts: list[tuple[str, str | None, np.ndarray, np.ndarray, np.ndarray]],
    recipe: Recipe,
):
    """Trains experts of one kind on the baseline, one after another."""
    classifier, _ = run_folder.load_baseline(workdir)
    baseline = heads.backbone_of(classifier)
    before = hits(classifier, data)
    model = classifier
    if kind == "adapter":
        model = heads.with_adapters(classifier)
    settings = {"device": True, "baseline": fingerprint(baseline)}
    training = Training(model, data)
    for name, synset, train, test, prior in parts:
        directory = workdir / "experts" / kind / name
        if run_folder.is_finished(directory):
            continue
        figures = training.fit(recipe, train, seed=len(train))
        right = hits(model, data)[test]
        run_folder.save_label_prior(prior, directory)
        if kind == "adapter":
            run_folder.save_adapters(heads.backbone_of(model), directory)
        else:
            run_folder.save_model(model, directory)
        classes = data.targets[train][:, : len(data.about["classes"])]
        metadata = {
            "name": name,
            "kind": kind,
            "dataset": data.about["dataset"],
            "synset": synset,
            "num_images": len(train),
            "num_classes": int(classes.any(0).sum()),
            "image_size": data.about["image_size"],
            "bottleneck_ratio": 0.5,
            "slice_top1": float(right.mean()),
            "slice_top1_baseline": float(before[test].mean()),
            **figures,
            "settings": {
                **settings,
                "kind": kind,
                **dataclasses.asdict(recipe),
            },
        }
        files.write_json(directory / "metadata.json", metadata)
        print(
            f"{kind} {name} {len(train)} images: "
            f"{metadata['slice_top1_baseline']:.3f} -> "
            f"{metadata['slice_top1']:.3f}",
            f"{figures['seconds']} s",
            flush=True,
        )


def slices(data: Data, which: str, number: int | None) -> list:
    """Gives experts on nodes ("label") or on random images ("random")."""
    rows = list(enumerate(data.about["slices"]))
    chosen = [r for r in rows if (r[1][1] is None) == (which == "random")]
    return [
        (
            name,
            synset,
            data.arrays[f"train{place}"],
            data.arrays[f"test{place}"],
            data.prior(place),
        )
        for place, (name, synset) in chosen[:number]
    ]


def clusters(data: Data, workdir: Path, number: int) -> list:
    """Gives experts on clusters of the baseline's features."""
    from sklearn.cluster import MiniBatchKMeans

    classifier, _ = run_folder.load_baseline(workdir)
    features = classifier.get_layer(heads.FEATURES_NAME)
    means = MiniBatchKMeans(number, random_state=0, n_init=3, batch_size=4096)
    train = means.fit_predict(outputs_of(features, data.train))
    test = means.predict(outputs_of(features, data.test))
    targets = np.asarray(data.targets, np.float64)
    everything = targets.mean(0)
    found = []
    for cluster in range(number):
        inside = np.flatnonzero(train == cluster)
        if len(inside) >= 128:
            prior = label_prior(targets[inside].mean(0), everything)
            name = f"cluster_{cluster:03d}"
            held_out = np.flatnonzero(test == cluster)
            found.append((name, None, inside, held_out, prior))
    return found


def pack(workdir: Path, output: Path, most: int) -> None:
    """Puts the results into archives of at most so many bytes."""
    parts: list[list[Path]] = [[]]
    size = 0
    for path in sorted(p for p in workdir.rglob("*") if p.is_file()):
        length = path.stat().st_size + 2048
        if size + length > most and parts[-1]:
            parts.append([])
            size = 0
        parts[-1].append(path)
        size += length
    for number, paths in enumerate(parts):
        with tarfile.open(
            output / f"run-{number:02d}.tar.gz", "w:gz"
        ) as archive:
            for path in paths:
                archive.add(path, path.relative_to(workdir))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--stages", nargs="+", default=["baseline"])
    parser.add_argument("--loss", default="softmax")
    parser.add_argument("--preset", default="r26x0.5_small")
    parser.add_argument("--width", type=float, default=0.25)
    parser.add_argument("--steps", type=int, default=20_000)
    parser.add_argument("--expert_steps", type=int, default=1000)
    parser.add_argument("--expert_rates", type=float, nargs=2, metavar="R")
    parser.add_argument(
        "--num_full", type=int, default=12, help="also of random ones"
    )
    parser.add_argument("--num_clusters", type=int, default=16)
    parser.add_argument("--pack", type=Path)
    parser.add_argument("--pack_mib", type=float, default=15)
    options = parser.parse_args()
    started = time.monotonic()
    data = Data(options.data, options.loss)
    print(f"read in {time.monotonic() - started:.1f} s", jax.devices())
    adapter_rate, full_rate = options.expert_rates or (0.05, 0.02)
    warmup = min(20, options.expert_steps // 2)
    adapter = Recipe(options.expert_steps, adapter_rate, warmup=warmup)
    full = Recipe(options.expert_steps, full_rate, warmup=warmup)
    network = {"preset": options.preset, "width": options.width}
    whole = Recipe(options.steps, 0.1, warmup=options.steps // 20)
    train = functools.partial(train_experts, data, options.workdir)
    ways = {
        "baseline": lambda: train_baseline(
            data, options.workdir, network, whole
        ),
        "adapter": lambda: train(
            "adapter", slices(data, "label", None), adapter
        ),
        "full": lambda: train(
            "full", slices(data, "label", options.num_full), full
        ),
        "random": lambda: train(
            "adapter", slices(data, "random", options.num_full), adapter
        ),
        "clusters": lambda: train(
            "adapter",
            clusters(data, options.workdir, options.num_clusters),
            adapter,
        ),
    }
    for stage in options.stages:
        ways[stage]()
        print(f"{stage} done at {time.monotonic() - started:.0f} s", flush=True)
        if options.pack:
            options.pack.mkdir(parents=True, exist_ok=True)
            pack(options.workdir, options.pack, int(options.pack_mib * 2**20))


if __name__ == "__main__":
    main()
