package org.example.odn

import android.content.Context
import android.graphics.Bitmap
import android.graphics.Color
import java.nio.ByteBuffer
import org.tensorflow.lite.Interpreter

/**
 * The same without MediaPipe: `assets/model.tflite`, the int8 file of one channel that a microcontroller runs too, in
 * the plain LiteRT interpreter.
 */
class LiteRtClassifier(context: Context) : AutoCloseable {
    private val labels = context.assets.open("labels.txt").bufferedReader().readLines()
    private val interpreter = Interpreter(
        context.assets.open("model.tflite").readBytes().let { bytes ->
            ByteBuffer.allocateDirect(bytes.size).apply { put(bytes); rewind() }
        },
    )

    /** The most probable class and its probability. */
    fun classify(bitmap: Bitmap): Pair<String, Float> {
        val (_, height, width, _) = interpreter.getInputTensor(0).shape()
        val small = Bitmap.createScaledBitmap(bitmap, width, height, true)
        val input = ByteBuffer.allocateDirect(height * width)
        for (y in 0 until height) {
            for (x in 0 until width) {
                val color = small.getPixel(x, y)
                val grey = (299 * Color.red(color) + 587 * Color.green(color) + 114 * Color.blue(color)) / 1000
                input.put((grey - 128).toByte())
            }
        }
        input.rewind()
        val output = Array(1) { ByteArray(labels.size) }
        interpreter.run(input, output)
        val best = output[0].indices.maxBy { output[0][it] }
        val quantization = interpreter.getOutputTensor(0).quantizationParams()
        return labels[best] to quantization.scale * (output[0][best] - quantization.zeroPoint)
    }

    override fun close() = interpreter.close()
}
