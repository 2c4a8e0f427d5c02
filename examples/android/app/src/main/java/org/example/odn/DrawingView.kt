package org.example.odn

import android.content.Context
import android.graphics.Bitmap
import android.graphics.Canvas
import android.graphics.Color
import android.graphics.Paint
import android.graphics.Path
import android.view.MotionEvent
import android.view.View

/** A black square to draw on with a white pen. */
class DrawingView(context: Context, private val onDrawn: (Bitmap) -> Unit) : View(context) {
    private val path = Path()
    private val pen = Paint(Paint.ANTI_ALIAS_FLAG).apply {
        color = Color.WHITE
        style = Paint.Style.STROKE
        strokeCap = Paint.Cap.ROUND
        strokeJoin = Paint.Join.ROUND
    }

    fun clear() {
        path.reset()
        invalidate()
    }

    override fun onMeasure(width: Int, height: Int) = super.onMeasure(width, width)

    override fun onDraw(canvas: Canvas) {
        canvas.drawColor(Color.BLACK)
        pen.strokeWidth = width / 14f
        canvas.drawPath(path, pen)
    }

    override fun onTouchEvent(event: MotionEvent): Boolean {
        when (event.action) {
            MotionEvent.ACTION_DOWN -> path.moveTo(event.x, event.y)
            MotionEvent.ACTION_MOVE -> path.lineTo(event.x, event.y)
            MotionEvent.ACTION_UP -> onDrawn(picture())
        }
        invalidate()
        return true
    }

    private fun picture(): Bitmap =
        Bitmap.createBitmap(width, height, Bitmap.Config.ARGB_8888).also { draw(Canvas(it)) }
}
