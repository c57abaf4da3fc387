"""Any reusable SavedModel as a layer of a Keras 3 model."""

import inspect

import keras

from keras_experts.saved_models.loading import load_module
from keras_experts.saved_models.loading import load_signature


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
            files, or runs Python. It is not saved with the layer.

    Call arguments:
        inputs: what the module takes; images are float tensors
            `(batch, height, width, 3)`, values in [0, 1]. Half precision is
            cast to float32, which modules take.
        training: bool. Passed to the module only where the layer is
            trainable and the module takes it, as hub.KerasLayer does.

    Returns:
        What the module gives, such as features `(batch, channels)`, in the
        layer's compute dtype.

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
        super().__init__(trainable=trainable, autocast=False, **kwargs)
        self.handle = str(handle)
        self.arguments = dict(arguments or {})
        self.output_key = output_key
        self.signature = signature
        self._module = load_module(self.handle, trust, signature is None)
        self._function = self._module
        if signature is not None:
            self._function = load_signature(
                self._module, signature, self.handle
            )
        self._has_training = signature is None and (
            "training" in inspect.signature(self._module.__call__).parameters
        )
        trainable_ids = {
            id(variable)
            for variable in getattr(self._module, "trainable_variables", ())
        }
        for variable in getattr(self._module, "variables", ()):
            self._adopt(variable, id(variable) in trainable_ids)
        if trainable and not self.trainable_variables:
            raise ValueError(
                "A module to train must have trainable variables. "
                f"Received: {self.handle} with none."
            )
        self.built = True

    @property
    def regularization_losses(self) -> list:
        """The module's functions of nothing to regularisation losses."""
        losses = getattr(self._module, "regularization_losses", None)
        return list(losses or ())

    def _adopt(self, variable, trainable: bool) -> None:
        """Makes a variable of the module a weight of the layer."""
        name = variable.name.partition(":")[0].replace("/", "_")
        weight = keras.Variable(
            initializer=variable,
            trainable=trainable,
            dtype=variable.dtype.name,
            name=name,
        )
        weight._value = variable
        self._track_variable(weight)

    def call(self, inputs, training=None):
        arguments = dict(self.arguments)
        if self.trainable and self._has_training:
            arguments["training"] = bool(training)
        inputs = keras.tree.map_structure(_to_float32, inputs)
        outputs = self._function(inputs, **arguments)
        if self.trainable:
            for loss in self.regularization_losses:
                self.add_loss(loss())
        if self.output_key is not None:
            outputs = outputs[self.output_key]
        return keras.tree.map_structure(self._to_compute_dtype, outputs)

    def _to_compute_dtype(self, output):
        if keras.backend.is_float_dtype(output.dtype):
            return keras.ops.cast(output, self.compute_dtype)
        return output

    def get_config(self):
        return {
            **super().get_config(),
            "handle": self.handle,
            "arguments": self.arguments,
            "output_key": self.output_key,
            "signature": self.signature,
        }


def _to_float32(tensor):
    if keras.backend.is_float_dtype(
        keras.backend.standardize_dtype(tensor.dtype)
    ):
        return keras.ops.cast(tensor, "float32")
    return tensor
