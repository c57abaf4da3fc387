"""Any reusable SavedModel as a layer of a Keras 3 model."""

import inspect

import keras
import numpy as np
from keras.src.saving.serialization_lib import in_safe_mode


@keras.saving.register_keras_serializable(package="keras_experts")
class HubLayer(keras.layers.Layer):
    """Runs a TensorFlow Hub module inside a Keras 3 model.

    `hub.KerasLayer` is a layer of tf_keras and cannot be part of a Keras 3
    model. The module's variables become the layer's weights, so they are
    fine-tuned, saved and loaded with the model. A model that was saved finds
    its module by the handle again: in the same folder, or, offline too, in
    tensorflow_hub's cache (`TFHUB_CACHE_DIR`). Make it in the scope of a
    tf.distribute strategy, as any layer. Needs the TensorFlow backend.

    Args:
        handle: str. Path of a SavedModel, or a TensorFlow Hub handle (URL);
            `MODULE#name` is one expert of a bank.
        trainable: bool. Whether fine-tuning moves the module's trainable
            variables.
        arguments: dict. More keyword arguments of the module, such as
            `{"expert": 3}` of a bank, or None.
        output_key: str. The entry to return where the module gives a dict, or
            None for all it gives.
        signature: str. The signature to call instead of the module itself,
            or None. Signatures cannot be trained.
        trust: bool. Whether to load a module whose graph reads or writes
            files, or runs Python. It is not saved with the layer: such a
            model is loaded with `keras.saving.load_model(path,
            safe_mode=False)`.

    Call arguments:
        inputs: the inputs of the module; images are float tensors
            `(batch, height, width, 3)`, values in [0, 1]. Floats are cast to
            the type of the module's inputs. A dict may also hold plain
            numbers and lists, such as `{"images": images, "expert": 3}`.
        training: bool. Passed to a module that has this argument, as False
            unless the layer is trainable, as in `hub.KerasLayer`.

    Returns:
        The outputs of the module, such as features `(batch, channels)`, in
        the layer's compute dtype. A bank refuses an invalid index of an
        expert, but where XLA compiles the layer, its features are NaN.

    Raises:
        FileNotFoundError: if there is no such module.
        PermissionError: if the module must be trusted and is not.
        ValueError: if it does not load, has no such signature, or nothing to
            train.

    References:
        https://www.tensorflow.org/hub/reusable_saved_models
    """

    def __init__(
        self,
        handle: str,
        trainable: bool = False,
        arguments: dict | None = None,
        output_key: str | None = None,
        signature: str | None = None,
        trust: bool = False,
        **kwargs,
    ):
        if keras.backend.backend() != "tensorflow":
            raise RuntimeError(
                "HubLayer needs Keras' TensorFlow backend. "
                f"Received: {keras.backend.backend()}."
            )
        if trainable and signature is not None:
            raise ValueError(
                "A signature cannot be trained. "
                f"Received: trainable=True and signature={signature!r}."
            )
        # Imports TensorFlow, which the other layers do not need.
        from keras_experts.saved_models import loading

        super().__init__(trainable=trainable, autocast=False, **kwargs)
        # XLA compiles a loaded function's gradients anew after each update.
        self.supports_jit = False
        self.handle = str(handle)
        self.arguments = dict(arguments or {})
        self.output_key = output_key
        self.signature = signature
        self._module = loading.load_module(
            self.handle, trust, signature is None
        )
        self._function = self._module
        if signature is not None:
            self._function = loading.load_signature(
                self._module, signature, self.handle
            )
        self._has_training = signature is None and (
            "training" in inspect.signature(self._module.__call__).parameters
        )
        self._input_specs = loading.input_specs(self._function.__call__)
        trainable_variables = _listed(self._module, "trainable_variables")
        # A variable may be listed more than once.
        unique = {
            id(variable): variable
            for variable in (
                *trainable_variables,
                *_listed(self._module, "variables"),
            )
        }
        trained = {id(v) for v in trainable_variables if signature is None}
        for identity, variable in unique.items():
            self._adopt(variable, identity in trained)
        if trainable and not self.trainable_variables:
            raise ValueError(
                "A module to train must have trainable variables. "
                f"Received: {self.handle} with none."
            )
        losses = _listed(self._module, "regularization_losses")
        if losses and self._trainable_variables:
            # Keras adds a weight's own once, and while it is trained.
            self._trainable_variables[0].regularizer = _Penalty(losses)
        self.built = True

    def _adopt(self, variable, trainable: bool) -> None:
        """Adds a variable of the module to the weights of the layer."""
        name = variable.name.partition(":")[0].replace("/", "_")
        weight = keras.Variable(
            initializer=variable,
            trainable=trainable,
            dtype=variable.dtype.name,
            name=name,
        )
        weight._value = variable
        self._track_variable(weight)

    def __call__(self, inputs, **kwargs):
        # Keras refuses plain numbers, such as a bank's index, beside tensors.
        if isinstance(inputs, dict):
            inputs = {
                key: value if hasattr(value, "dtype") else np.asarray(value)
                for key, value in inputs.items()
            }
        return super().__call__(inputs, **kwargs)

    def call(self, inputs, training=None):
        from keras_experts.saved_models.loading import cast_floats

        arguments = dict(self.arguments)
        if self._has_training:
            arguments["training"] = self.trainable and bool(training)
        inputs = cast_floats(inputs, self._input_specs)
        outputs = self._pick(self._function(inputs, **arguments))
        return keras.tree.map_structure(self._to_compute_dtype, outputs)

    def _pick(self, outputs):
        if self.output_key is None:
            single = self.signature is not None and len(outputs) == 1
            return next(iter(outputs.values())) if single else outputs
        if not isinstance(outputs, dict) or self.output_key not in outputs:
            found = sorted(outputs) if isinstance(outputs, dict) else "a tensor"
            raise ValueError(
                "`output_key` must be a key of the module's outputs. "
                f"Received: {self.output_key!r} for {found} of {self.handle}."
            )
        return outputs[self.output_key]

    def _to_compute_dtype(self, output):
        if output is not None and keras.backend.is_float_dtype(output.dtype):
            return keras.ops.cast(output, self.compute_dtype)
        return output

    def compute_output_spec(self, inputs, training=None):
        return keras.Operation.compute_output_spec(
            self, inputs, training=training
        )

    def compute_output_shape(self, input_shape):
        from keras_experts.saved_models.loading import fitting_specs

        inputs = keras.tree.map_shape_structure(keras.KerasTensor, input_shape)
        specs = fitting_specs(inputs, self._input_specs)
        if specs:
            inputs = keras.tree.map_structure(
                lambda tensor, spec: keras.KerasTensor(
                    tensor.shape, spec.dtype.name
                ),
                inputs,
                specs[0],
            )
        outputs = self.compute_output_spec(inputs)
        return keras.tree.map_structure(lambda output: output.shape, outputs)

    def get_config(self):
        # Unfrozen with its model, a layer may have nothing to train.
        trainable = self.trainable and bool(self._trainable_variables)
        return {
            **super().get_config(),
            "trainable": trainable,
            "handle": self.handle,
            "arguments": self.arguments,
            "output_key": self.output_key,
            "signature": self.signature,
        }

    @classmethod
    def from_config(cls, config):
        # Whoever loads a file with safe_mode=False trusts all that is in it.
        trust = in_safe_mode() is False
        return super().from_config({**config, "trust": trust})


def _listed(module, attribute: str) -> list:
    """Returns what a module lists, without gaps: some modules list None."""
    listed = getattr(module, attribute, None) or ()
    return [item for item in listed if item is not None]


class _Penalty(keras.regularizers.Regularizer):
    """The regularization losses of a module, functions without arguments."""

    def __init__(self, losses):
        self.losses = list(losses)

    def __call__(self, _):
        return keras.ops.sum(keras.ops.stack([loss() for loss in self.losses]))
