package org.example.odn

import android.content.Context
import android.graphics.Bitmap
import android.graphics.Color
import java.nio.ByteBuffer
import org.tensorflow.lite.Interpreter

/**
 * The same without MediaPipe: `assets/model.tflite`, the int8 file of one channel or three that a microcontroller runs
 * too, in the plain LiteRT interpreter, and `assets/labels.txt`.
 */
class LiteRtClassifier(context: Context) : AutoCloseable {
    private val labels = context.assets.open("labels.txt").bufferedReader().use { it.readLines() }
    private val interpreter = Interpreter(
        context.assets.open("model.tflite").use { it.readBytes() }.let { bytes ->
            ByteBuffer.allocateDirect(bytes.size).apply {
                put(bytes)
                rewind()
            }
        },
    )
    private val shape = interpreter.getInputTensor(0).shape() // batch, height, width, channels
    private val classes = interpreter.getOutputTensor(0).shape().last()

    init {
        require(shape[3] == 1 || shape[3] == 3) { "model.tflite takes ${shape[3]} channels" }
        require(labels.size == classes) { "labels.txt has ${labels.size} lines, model.tflite $classes classes" }
    }

    /** The most probable class and its probability. [bitmap] must be ARGB_8888. */
    fun classify(bitmap: Bitmap): Pair<String, Float> {
        val (_, height, width, channels) = shape
        val small = Bitmap.createScaledBitmap(bitmap, width, height, true)
        val input = ByteBuffer.allocateDirect(height * width * channels)
        for (y in 0 until height) {
            for (x in 0 until width) {
                for (value in values(small.getPixel(x, y), channels)) input.put((value - 128).toByte())
            }
        }
        input.rewind()
        val output = Array(1) { ByteArray(classes) }
        interpreter.run(input, output)
        val best = (0 until classes).maxByOrNull { output[0][it] } ?: error("model.tflite has no classes")
        val quantization = interpreter.getOutputTensor(0).quantizationParams()
        return labels[best] to quantization.scale * (output[0][best] - quantization.zeroPoint)
    }

    /** The numbers 0..255 of a pixel: red, green and blue, or the grey that training made of them. */
    private fun values(color: Int, channels: Int): List<Int> {
        val colors = listOf(Color.red(color), Color.green(color), Color.blue(color))
        if (channels == 3) return colors
        return listOf((299 * colors[0] + 587 * colors[1] + 114 * colors[2] + 500) / 1000)
    }

    override fun close() = interpreter.close()
}
