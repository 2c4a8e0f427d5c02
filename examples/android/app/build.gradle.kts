plugins {
    id("com.android.application")  // of version 9, which compiles Kotlin itself
}

android {
    namespace = "org.example.odn"
    compileSdk = 36

    defaultConfig {
        applicationId = "org.example.odn"
        minSdk = 28  // ImageDecoder
        targetSdk = 36  // which Google Play wants since August 2026
        versionCode = 1
        versionName = "1.0"
    }
    androidResources { noCompress += "tflite" }
    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_17
        targetCompatibility = JavaVersion.VERSION_17
    }
}

dependencies {
    implementation("androidx.activity:activity-ktx:1.10.1")
    implementation("androidx.core:core-ktx:1.16.0")  // FileProvider
    implementation("com.google.mediapipe:tasks-vision:0.10.29")
    implementation("com.google.ai.edge.litert:litert:1.4.0")  // for LiteRtClassifier only
}
