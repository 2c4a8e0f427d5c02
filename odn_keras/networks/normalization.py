"""Keras's BatchNormalization at the speed of TensorFlow's fused kernel."""

import keras


class BatchNormalization(keras.layers.BatchNormalization):
    """Keras's layer, which on TensorFlow computes in one fused kernel what Keras composes of many.

    The same outputs, gradients and moving statistics up to rounding, and the same layer wherever it is saved: a file
    names Keras's own. On other backends nothing is changed. `benchmarks.normalization` measures what it brings.
    """

    def call(self, inputs, training=None, mask=None):
        """Normalizes the input, and updates the moving statistics in training."""
        if keras.backend.backend() != "tensorflow" or mask is not None or inputs.dtype == "float64":
            return super().call(inputs, training=training, mask=mask)
        import tensorflow as tf

        statistics_of_batch = bool(training and self.trainable)
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=self.gamma,
            offset=self.beta,
            mean=tf.zeros([0]) if statistics_of_batch else self.moving_mean,
            variance=tf.zeros([0]) if statistics_of_batch else self.moving_variance,
            epsilon=self.epsilon,
            is_training=statistics_of_batch,
        )
        if statistics_of_batch:
            count = tf.cast(tf.size(inputs) // inputs.shape[-1], variance.dtype)
            variance *= (count - 1) / count  # the kernel's is that of a sample, Keras's that of the batch
            self.moving_mean.assign(self.moving_mean * self.momentum + mean * (1 - self.momentum))
            self.moving_variance.assign(self.moving_variance * self.momentum + variance * (1 - self.momentum))
        return outputs


# By these names Keras saves the layer, and finds its own when it loads one.
BatchNormalization.__module__ = "keras.layers"
