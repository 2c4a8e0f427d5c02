package org.example.odn

import android.content.Context
import android.graphics.Bitmap
import com.google.mediapipe.framework.image.BitmapImageBuilder
import com.google.mediapipe.tasks.core.BaseOptions
import com.google.mediapipe.tasks.vision.core.RunningMode
import com.google.mediapipe.tasks.vision.imageclassifier.ImageClassifier

/** `assets/android.tflite` in MediaPipe, which stretches the picture to its shape and reads the labels from the file. */
class PhotoClassifier(context: Context) : AutoCloseable {
    private val classifier = ImageClassifier.createFromOptions(
        context,
        ImageClassifier.ImageClassifierOptions.builder()
            .setBaseOptions(BaseOptions.builder().setModelAssetPath("android.tflite").build())
            .setRunningMode(RunningMode.IMAGE)
            .setMaxResults(3)
            .build(),
    )

    /**
     * The most probable classes and their probabilities; none where MediaPipe gives none. [bitmap] must be ARGB_8888.
     */
    fun classify(bitmap: Bitmap): List<Pair<String, Float>> {
        val result = classifier.classify(BitmapImageBuilder(bitmap).build())
        val categories = result?.classificationResult()?.classifications()?.firstOrNull()?.categories().orEmpty()
        return categories.map { category ->
            val name = category.categoryName().orEmpty().ifEmpty { category.index().toString() } // a file without labels
            name to category.score()
        }
    }

    override fun close() = classifier.close()
}
