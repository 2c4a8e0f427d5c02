"""A network -> a `.tflite` file that answers as the network does."""
