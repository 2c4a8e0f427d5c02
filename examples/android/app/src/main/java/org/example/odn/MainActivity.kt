package org.example.odn

import android.graphics.Bitmap
import android.graphics.BitmapFactory
import android.net.Uri
import android.os.Bundle
import android.widget.Button
import android.widget.LinearLayout
import android.widget.TextView
import androidx.activity.ComponentActivity
import androidx.activity.result.PickVisualMediaRequest
import androidx.activity.result.contract.ActivityResultContracts.PickVisualMedia

class MainActivity : ComponentActivity() {
    private lateinit var classifier: PhotoClassifier
    private lateinit var answer: TextView

    private val pick = registerForActivityResult(PickVisualMedia()) { uri -> uri?.let { show(read(it)) } }

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        classifier = PhotoClassifier(this)
        answer = TextView(this).apply {
            setText(R.string.draw)
            textSize = 20f
        }
        val drawing = DrawingView(this) { show(it) }
        val choose = Button(this).apply {
            setText(R.string.choose)
            setOnClickListener { pick.launch(PickVisualMediaRequest(PickVisualMedia.ImageOnly)) }
        }
        val clear = Button(this).apply {
            setText(R.string.clear)
            setOnClickListener { drawing.clear() }
        }
        setContentView(
            LinearLayout(this).apply {
                orientation = LinearLayout.VERTICAL
                fitsSystemWindows = true
                listOf(answer, choose, clear, drawing).forEach { addView(it) }
            },
        )
    }

    override fun onDestroy() {
        classifier.close()
        super.onDestroy()
    }

    private fun show(bitmap: Bitmap) {
        answer.text = classifier.classify(bitmap).joinToString("\n") { (label, score) -> "%s  %.1f %%".format(label, 100 * score) }
    }

    private fun read(uri: Uri): Bitmap =
        contentResolver.openInputStream(uri).use { BitmapFactory.decodeStream(it) }.copy(Bitmap.Config.ARGB_8888, false)
}
