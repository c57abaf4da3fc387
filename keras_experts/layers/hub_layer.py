"""Any reusable SavedModel as a layer of a Keras 3 model."""

import inspect

import keras

from keras_experts.saved_models import load_module


@keras.saving.register_keras_serializable(package="keras_experts")
class HubLayer(keras.layers.Layer):
    """Runs a TensorFlow Hub module inside a Keras 3 model.

    `hub.KerasLayer` is a layer of tf_keras and cannot be part of a Keras 3
    model. The module's variables become the layer's weights, so they are
    fine-tuned, saved and loaded with the model. Needs the TensorFlow backend.

    Args:
        handle: str. Path of a SavedModel, or a TensorFlow Hub handle (URL).
        trainable: bool. Whether fine-tuning moves the module's trainable
            variables.
        arguments: dict. More keyword arguments of the module, or None.
        output_key: str. The entry to return where the module gives a dict, or
            None for all it gives.

    Call arguments:
        inputs: what the module takes; images are float tensors
            `(batch, height, width, 3)`, values in [0, 1].
        training: bool. Passed to the module only where the layer is
            trainable and the module takes it, as hub.KerasLayer does.

    Returns:
        What the module gives, such as features `(batch, channels)`.

    References:
        https://www.tensorflow.org/hub/reusable_saved_models
    """

    def __init__(
        self,
        handle: str,
        trainable: bool = False,
        arguments: dict | None = None,
        output_key: str | None = None,
        **kwargs,
    ):
        if keras.backend.backend() != "tensorflow":
            raise RuntimeError(
                "HubLayer needs Keras' TensorFlow backend. "
                f"Received: {keras.backend.backend()}."
            )
        super().__init__(trainable=trainable, **kwargs)
        self.handle = str(handle)
        self.arguments = dict(arguments or {})
        self.output_key = output_key
        self._module = load_module(self.handle)
        signature = inspect.signature(self._module.__call__)
        self._has_training = "training" in signature.parameters
        trainable_ids = {
            id(variable)
            for variable in getattr(self._module, "trainable_variables", ())
        }
        for variable in getattr(self._module, "variables", ()):
            self._adopt(variable, id(variable) in trainable_ids)
        self.built = True

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
        outputs = self._module(inputs, **arguments)
        for penalty in self._penalties():
            self.add_loss(penalty())
        if self.output_key is not None:
            outputs = outputs[self.output_key]
        return outputs

    def _penalties(self):
        if not self.trainable:
            return ()
        return getattr(self._module, "regularization_losses", None) or ()

    def get_config(self):
        return {
            **super().get_config(),
            "handle": self.handle,
            "arguments": self.arguments,
            "output_key": self.output_key,
        }
