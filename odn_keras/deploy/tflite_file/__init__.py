"""What a `.tflite` file says, read and written."""
