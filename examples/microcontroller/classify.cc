#include "classify.h"

#include <algorithm>

#include "model.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_log.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace tflite {
namespace micro {}  // where TFLite Micro has its classes since October 2026; before, they were in tflite itself
}  // namespace tflite
using namespace tflite;
using namespace tflite::micro;

namespace {

alignas(16) std::uint8_t arena[odn_model::kArenaBytes];

using Resolver = MicroMutableOpResolver<5>;

bool AddOperators(Resolver& resolver) {
  return resolver.AddConv2D() == kTfLiteOk && resolver.AddAdd() == kTfLiteOk && resolver.AddMean() == kTfLiteOk &&
         resolver.AddFullyConnected() == kTfLiteOk && resolver.AddSoftmax() == kTfLiteOk;
}

// The interpreter, ready to run; null where it cannot be.
MicroInterpreter* Prepare() {
  static Resolver resolver;
  if (!AddOperators(resolver)) {
    MicroPrintf("The operators could not be registered.");
    return nullptr;
  }
  static MicroInterpreter interpreter(GetModel(odn_model::kModel), resolver, arena, sizeof(arena));
  if (interpreter.AllocateTensors() != kTfLiteOk) {
    MicroPrintf("The model does not fit the arena of %d bytes, or has another operator: see above.",
                static_cast<int>(sizeof(arena)));
    return nullptr;
  }
  return &interpreter;
}

}  // namespace

int Classify(const std::uint8_t* pixels, std::int8_t* scores) {
  static MicroInterpreter* const interpreter = Prepare();
  if (interpreter == nullptr) return -1;
  std::transform(pixels, pixels + odn_model::kImageBytes, interpreter->input(0)->data.int8,
                 [](std::uint8_t pixel) { return static_cast<std::int8_t>(pixel - 128); });
  if (interpreter->Invoke() != kTfLiteOk) {
    MicroPrintf("The model could not be run.");
    return -1;
  }
  const std::int8_t* output = interpreter->output(0)->data.int8;
  std::copy(output, output + odn_model::kNumClasses, scores);
  return static_cast<int>(std::max_element(scores, scores + odn_model::kNumClasses) - scores);
}
