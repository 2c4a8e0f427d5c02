#include "route.h"

#include <algorithm>

#include "routing.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_log.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace tflite {
namespace micro {}  // see classify.cc
}  // namespace tflite
using namespace tflite;
using namespace tflite::micro;

#ifdef CMSIS_NN
#define ARENA_BYTES kArenaBytesCmsisNn
#else
#define ARENA_BYTES kArenaBytes
#endif

namespace {

MicroInterpreter* interpreters[odn_routing::kStages];

bool IsInt8(const TfLiteTensor* tensor, std::size_t bytes) {
  return tensor != nullptr && tensor->type == kTfLiteInt8 && tensor->bytes == bytes;
}

// Whether the interpreter of a stage, counted from 0, is ready to run.
bool Ready(MicroInterpreter* interpreter, int stage) {
  if (interpreter->AllocateTensors() != kTfLiteOk) {
    MicroPrintf("Stage %d does not fit its arena, or has another operator: see above.", stage + 1);
    return false;
  }
  if (!IsInt8(interpreter->input(0), odn_routing::kInputBytes[stage]) ||
      !IsInt8(interpreter->output(0), odn_routing::kNumClasses)) {
    MicroPrintf("The tensors are not the model's: is TF_LITE_STATIC_MEMORY defined here as for TFLite Micro?");
    return false;
  }
  interpreters[stage] = interpreter;
  return true;
}

#define ADDED_FOR_ANY_TYPE(Method) && resolver.Add##Method() == kTfLiteOk
#define ADDED_FOR_INT8(Method, NAME) && resolver.Add##Method(Register_##NAME##_INT8()) == kTfLiteOk
#define PREPARE(name, NAME)                                                                               \
  {                                                                                                       \
    alignas(16) static std::uint8_t arena[odn_##name::ARENA_BYTES];                                       \
    static MicroMutableOpResolver<odn_##name::kNumOperators> resolver;                                    \
    if (!(true ODN_##NAME##_OPERATORS(ADDED_FOR_ANY_TYPE, ADDED_FOR_INT8))) return false;                 \
    static MicroInterpreter interpreter(GetModel(odn_##name::kModel), resolver, arena, sizeof(arena));    \
    if (!Ready(&interpreter, stage++)) return false;                                                      \
  }

// Each stage has an arena of its own, so that it is prepared once.
bool Prepare() {
  int stage = 0;
  ODN_ROUTING_STAGES(PREPARE)
  return true;
}

}  // namespace

int Route(const std::uint8_t* pixels, std::int8_t* scores, int* stages) {
  static const bool ready = Prepare();
  if (!ready) return -1;
  std::transform(pixels, pixels + odn_routing::kInputBytes[0], interpreters[0]->input(0)->data.int8,
                 [](std::uint8_t pixel) { return static_cast<std::int8_t>(pixel - 128); });
  for (int stage = 0; stage < odn_routing::kStages; ++stage) {
    MicroInterpreter* const interpreter = interpreters[stage];
    if (interpreter->Invoke() != kTfLiteOk) {
      MicroPrintf("Stage %d could not be run.", stage + 1);
      return -1;
    }
    const std::int8_t* output = interpreter->output(0)->data.int8;
    const std::int8_t* const best = std::max_element(output, output + odn_routing::kNumClasses);
    if (*best >= odn_routing::kThresholds[stage]) {  // at the last stage all are
      std::copy(output, output + odn_routing::kNumClasses, scores);
      *stages = stage + 1;
      return static_cast<int>(best - output);
    }
    const std::int8_t* features = interpreter->output(1)->data.int8;
    std::copy(features, features + odn_routing::kInputBytes[stage + 1], interpreters[stage + 1]->input(0)->data.int8);
  }
  return -1;
}
