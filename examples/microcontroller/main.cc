#include <cstdint>

#include "classify.h"
#include "model.h"
#include "tensorflow/lite/micro/micro_log.h"
#include "tensorflow/lite/micro/system_setup.h"

namespace tflite {
namespace micro {}  // see classify.cc
}  // namespace tflite
using namespace tflite;
using namespace tflite::micro;

// The board's own: waits for the next image, scaled and cropped to kHeight x kWidth; false where there is none.
bool ReadImage(std::uint8_t* pixels);

int main() {
  InitializeTarget();
  static std::uint8_t pixels[odn_model::kImageBytes];
  static std::int8_t scores[odn_model::kNumClasses];
  while (ReadImage(pixels)) {
    const int best = Classify(pixels, scores);
    if (best < 0) return 1;
    MicroPrintf("%s (%d)", Answer(best, scores), scores[best]);
  }
  return 0;
}
