package org.example.odn

import android.content.ContentResolver
import android.graphics.Bitmap
import android.graphics.ImageDecoder
import android.net.Uri
import java.io.IOException

private const val ENOUGH = 512 // pixels of the shorter side: more than any network here takes

/**
 * The picture at [uri], upright as its EXIF orientation says (training turns photos upright too), and decoded at a
 * fraction of its size where it is large.
 *
 * @throws IOException where it cannot be read.
 */
fun readPicture(resolver: ContentResolver, uri: Uri): Bitmap {
    val picture = ImageDecoder.decodeBitmap(ImageDecoder.createSource(resolver, uri)) { decoder, info, _ ->
        decoder.allocator = ImageDecoder.ALLOCATOR_SOFTWARE // pixels that a program can read
        decoder.setTargetSampleSize(maxOf(1, minOf(info.size.width, info.size.height) / ENOUGH))
    }
    if (picture.config == Bitmap.Config.ARGB_8888) return picture
    return picture.copy(Bitmap.Config.ARGB_8888, false) ?: throw IOException("its colours are not known")
}
