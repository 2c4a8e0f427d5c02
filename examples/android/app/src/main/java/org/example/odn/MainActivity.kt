package org.example.odn

import android.content.ActivityNotFoundException
import android.graphics.Bitmap
import android.net.Uri
import android.os.Bundle
import android.widget.Button
import android.widget.LinearLayout
import android.widget.TextView
import androidx.activity.ComponentActivity
import androidx.activity.result.PickVisualMediaRequest
import androidx.activity.result.contract.ActivityResultContracts.PickVisualMedia
import androidx.activity.result.contract.ActivityResultContracts.TakePicture
import androidx.core.content.FileProvider
import java.io.File
import java.io.IOException
import java.util.concurrent.Executors

class MainActivity : ComponentActivity() {
    private val worker = Executors.newSingleThreadExecutor() // the screen does not wait for decoding and the network
    private var classifier: PhotoClassifier? = null // the worker's own
    private lateinit var answer: TextView

    private val pick = registerForActivityResult(PickVisualMedia()) { uri -> uri?.let { show { read(it) } } }
    private val take = registerForActivityResult(TakePicture()) { taken -> if (taken) show { read(photo()) } }

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        answer = TextView(this).apply {
            setText(R.string.draw)
            textSize = 20f
        }
        val drawing = DrawingView(this) { drawn -> show { drawn } }
        setContentView(
            LinearLayout(this).apply {
                orientation = LinearLayout.VERTICAL
                fitsSystemWindows = true
                addView(answer)
                addView(button(R.string.take) { takePhoto() })
                addView(button(R.string.choose) { pick.launch(PickVisualMediaRequest(PickVisualMedia.ImageOnly)) })
                addView(button(R.string.clear) { drawing.clear() })
                addView(drawing)
            },
        )
    }

    override fun onDestroy() {
        worker.execute { classifier?.close() }
        worker.shutdown()
        super.onDestroy()
    }

    private fun button(text: Int, onClick: () -> Unit) = Button(this).apply {
        setText(text)
        setOnClickListener { onClick() }
    }

    private fun takePhoto() {
        try {
            take.launch(photo())
        } catch (missing: ActivityNotFoundException) {
            answer.setText(R.string.no_camera)
        }
    }

    /** Where the camera app writes its photo, and this app reads it. */
    private fun photo(): Uri = FileProvider.getUriForFile(this, "$packageName.photos", File(cacheDir, "photo.jpg"))

    private fun read(uri: Uri): Bitmap = readPicture(contentResolver, uri)

    private fun show(picture: () -> Bitmap) = worker.execute {
        val text = describe(picture)
        runOnUiThread { answer.text = text }
    }

    private fun describe(picture: () -> Bitmap): String = try {
        val network = classifier ?: PhotoClassifier(this).also { classifier = it }
        network.classify(picture())
            .joinToString("\n") { (label, score) -> "%s  %.1f %%".format(label, 100 * score) }
            .ifEmpty { getString(R.string.nothing) }
    } catch (error: IOException) {
        getString(R.string.unreadable, error.message)
    } catch (error: RuntimeException) { // MediaPipe's own, such as for a file that is missing
        getString(R.string.unusable, error.message)
    }
}
