"""All adapter experts and their one backbone as a single SavedModel."""

from collections.abc import Iterable
from collections.abc import Sequence
from pathlib import Path

import keras
import tensorflow as tf

from keras_experts.models import heads
from keras_experts.models.backbone import BitResNet
from keras_experts.models.bit_weights import named_variables
from keras_experts.saved_models.handles import BASELINE
from keras_experts.saved_models.loading import attribute_of
from keras_experts.saved_models.writing import IMAGES
from keras_experts.saved_models.writing import reusable_object
from keras_experts.saved_models.writing import write_module

STORAGES = ("float32", "float16")
# Python numbers go to the first trace that takes them: int32 would cut them.
INDEX_DTYPES = (tf.int64, tf.int32)
KERNEL_RANK = 3  # of adapters; convolutions have one more


class BankFunctions:
    """The traced functions that every callable of the module calls.

    The network is traced once, in two parts: the root, which is the same for
    all experts, and the blocks. Both are called by one function, since each
    trace that calls a function lists all its variables (14 kB for an R50).

    Args:
        bank: `BitResNet` with a bank.
        names: list of str. Names of the experts, in their order.
        storage: str. "float32", or "float16" for kernels of half the size;
            the network computes in float32 in either case.
    """

    def __init__(
        self, bank: BitResNet, names: Sequence[str], storage: str = "float32"
    ):
        self.names = list(names)
        self.variables = [
            tf.Variable(_stored(variable.value, storage), name=name)
            for name, variable in named_variables(bank).items()
        ]
        self._mapping = list(zip(bank.variables, self.variables, strict=True))
        images, index = bank.input["images"], bank.input["expert_index"]
        root_map = bank.output["root"]
        to_range = heads.to_range()
        root = keras.Model(images, root_map)
        blocks = keras.Model([root_map, index], bank.output["pre_logits"])
        index_spec = tf.TensorSpec((None,), tf.int32)
        any_expert = tf.TensorSpec(None, tf.int64)
        map_spec = tf.TensorSpec(root_map.shape, tf.float32)

        @tf.function(input_signature=[IMAGES])
        def apply_root(images):
            with self._weights():
                return root(to_range(images))

        @tf.function(input_signature=[map_spec, index_spec])
        def apply_blocks(root_map, index):
            with self._weights():
                return blocks([root_map, index])

        @tf.function(input_signature=[IMAGES, any_expert])
        def apply(images, expert):
            is_valid = self._is_valid(expert, tf.shape(images)[0])
            index = tf.where(is_valid, tf.reshape(expert, [-1]), -1)
            index = tf.cast(index, tf.int32)
            features = apply_blocks(apply_root(images), index)
            # XLA drops assertions, and must not use another expert instead.
            return tf.where(is_valid[:, None], features, float("nan"))

        self._apply_root, self._apply_blocks = apply_root, apply_blocks
        self._apply = apply

    def features(self, images, expert) -> tf.Tensor:
        """Computes features `(batch, channels)`.

        Args:
            images: float tensor `(batch, height, width, 3)`, values in [0, 1].
            expert: int32 or int64 tensor, scalar, `(1,)` or `(batch,)`. The
                index -1 is the baseline.
        """
        return self._apply(images, tf.cast(expert, tf.int64))

    def _is_valid(self, expert, batch) -> tf.Tensor:
        """Checks an index of any rank; returns bool `(expert's size,)`."""
        size = tf.size(expert)
        has_shape = (tf.rank(expert) < 2) & ((size == 1) | (size == batch))
        flat = tf.reshape(expert, [-1])
        in_range = (flat >= -1) & (flat < len(self.names))
        with tf.control_dependencies(
            [
                tf.debugging.Assert(
                    has_shape,
                    [
                        "`expert` must be a scalar or have shape (batch,). "
                        "Received: shape",
                        tf.shape(expert),
                    ],
                ),
                tf.debugging.Assert(
                    tf.reduce_all(in_range),
                    [
                        "`expert` must hold integers in "
                        f"[-1, {len(self.names)}). Received:",
                        expert,
                    ],
                ),
            ]
        ):
            return in_range & has_shape

    def index_of(self, names) -> tf.Tensor:
        """Looks up the indices of expert names; refuses unknown names."""
        known = tf.constant([BASELINE, *self.names])
        is_same = names[..., None] == known  # (*names, 1 + experts)
        check = tf.debugging.Assert(
            tf.reduce_all(tf.reduce_any(is_same, axis=-1)),
            [
                "`expert_name` must hold names of experts of the bank. "
                "Received:",
                names,
            ],
        )
        with tf.control_dependencies([check]):
            return tf.argmax(is_same, axis=-1, output_type=tf.int32) - 1

    def all_features(self, images) -> tf.Tensor:
        """Computes the features of all experts `(batch, experts, channels)`."""
        root_map = self._apply_root(images)
        features = tf.map_fn(
            lambda index: self._apply_blocks(root_map, index[None]),
            tf.range(len(self.names)),
            fn_output_signature=tf.float32,
            parallel_iterations=1,  # the memory of one expert
        )
        return tf.transpose(features, (1, 0, 2))

    def _weights(self):
        return keras.StatelessScope(
            state_mapping=[
                (variable, tf.cast(stored, variable.dtype))
                for variable, stored in self._mapping
            ]
        )


def write_bank(
    directory: str | Path,
    bank: BitResNet,
    names: Sequence[str],
    metadata: dict,
    storage: str = "float32",
    extras: Iterable[Path] = (),
) -> None:
    """Writes a bank as one reusable SavedModel, whole or not at all.

    Its root takes `(inputs, training=False, expert=-1)`, where `expert` is a
    scalar or has shape `(batch,)`, or a dict of `images` and `expert`. Each
    expert also has a callable `experts_NAME`. The signatures are
    `serving_default` (the baseline), `by_index`, `by_name` and `all_experts`.

    An index outside `[-1, num_experts)`, or of another shape, is an error.
    XLA has no errors of this kind: in a function that it compiles, such an
    index gives features of NaN.

    Args:
        directory: folder to make; must be new or empty.
        bank: `BitResNet` with a bank.
        names: list of str. Distinct names of the experts, in their order.
        metadata: dict. Metadata that `read_metadata` returns; JSON.
        storage: str. One of `STORAGES`. A module in float16 is half as large,
            with features within 1e-3 (of an image's, in Euclidean norm), and
            not trainable: half precision loses small updates.
        extras: list of Path. Files, as in `write_module`.

    Raises:
        FileExistsError: If the folder is not empty.
        ValueError: If two names are equal, or `storage` is unknown.
    """
    _check(bank, names, storage)
    functions = BankFunctions(bank, names, storage)
    variables = functions.variables
    trainable = variables if storage == "float32" else []

    def call(inputs, training=False, expert=-1):
        if isinstance(inputs, dict):
            return functions.features(inputs["images"], inputs["expert"])
        return functions.features(inputs, expert)

    traces = []
    for training in (False, True):
        for dtype in INDEX_DTYPES:
            # Of unknown rank, one trace takes numbers, scalars and vectors.
            any_expert = tf.TensorSpec(None, dtype, "expert")
            pair = {"images": IMAGES, "expert": any_expert}
            keywords = {"training": training, "expert": any_expert}
            traces.append(((IMAGES,), keywords))
            traces.append(((pair,), {"training": training}))
    root = reusable_object(call, traces, variables, trainable)
    for index, name in enumerate([BASELINE, *names], start=-1):
        setattr(
            root,
            attribute_of(name),
            _expert_object(functions, index, trainable),
        )
    write_module(directory, root, _signatures(functions), metadata, extras)


def round_to_storage(network: BitResNet, storage: str) -> None:
    """Rounds a network's weights as those of a bank are when it is written.

    Args:
        network: `BitResNet`.
        storage: str. As in `write_bank`.
    """
    _check_storage(storage)
    for variable in network.variables:
        stored = _stored(variable.value, storage)
        variable.assign(tf.cast(stored, variable.dtype))


def _stored(value: tf.Tensor, storage: str) -> tf.Tensor:
    # Of norms, scales and offsets are small, and rounding them costs most.
    is_kernel = value.shape.rank >= KERNEL_RANK
    return tf.cast(value, storage) if is_kernel else value


def _expert_object(functions: BankFunctions, index: int, trainable):
    # Without `training`, which changes nothing: half the traces.
    def call(inputs):
        return functions.features(inputs, tf.constant(index))

    traces = [((IMAGES,), {})]
    return reusable_object(call, traces, functions.variables, trainable)


def _signatures(functions: BankFunctions) -> dict:
    def traced(function, *specs):
        return tf.function(function, input_signature=[IMAGES, *specs])

    def default(inputs):
        return {"features": functions.features(inputs, tf.constant(-1))}

    def by_index(inputs, expert):
        return {"features": functions.features(inputs, expert)}

    def by_name(inputs, expert_name):
        index = functions.index_of(expert_name)
        return {"features": functions.features(inputs, index)}

    def all_experts(inputs):
        return {"features": functions.all_features(inputs)}

    return {
        "serving_default": traced(default),
        "by_index": traced(by_index, tf.TensorSpec(None, tf.int64, "expert")),
        "by_name": traced(
            by_name, tf.TensorSpec(None, tf.string, "expert_name")
        ),
        "all_experts": traced(all_experts),
    }


def _check_storage(storage: str) -> None:
    if storage not in STORAGES:
        raise ValueError(
            f"`storage` must be one of {STORAGES}. Received: {storage!r}."
        )


def _check(bank: BitResNet, names: Sequence[str], storage: str) -> None:
    _check_storage(storage)
    if len(names) != bank.num_experts:
        raise ValueError(
            "A bank must have a name for each expert. "
            f"Received: {len(names)} names, {bank.num_experts} experts."
        )
    attributes = [attribute_of(name) for name in (BASELINE, *names)]
    if len(set(attributes)) != len(attributes):
        raise ValueError(
            f"Names of a bank must differ from each other and {BASELINE!r}. "
            f"Received: {list(names)}."
        )
