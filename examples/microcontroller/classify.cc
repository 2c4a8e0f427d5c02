#include "classify.h"

#include <algorithm>

#include "model.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_log.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/schema/schema_generated.h"

namespace tflite {
namespace micro {}  // where newer versions of TFLite Micro have their classes; older ones have them in tflite itself
}  // namespace tflite
using namespace tflite;
using namespace tflite::micro;

// The size of the arena, unless the project sets another. CMSIS_NN is TFLite Micro's own macro: the project defines it
// for these files where the library has these kernels, or the int8 registrations below bring in all the others too.
// TFLite Micro's library for Arduino has them, and asks for Arduino's own macro instead.
#ifndef ODN_ARENA_BYTES
#if defined(CMSIS_NN) || defined(ARDUINO)
#define ODN_ARENA_BYTES odn_model::kArenaBytesCmsisNn
#else
#define ODN_ARENA_BYTES odn_model::kArenaBytes
#endif
#endif

namespace {

alignas(16) std::uint8_t arena[ODN_ARENA_BYTES];

using Resolver = MicroMutableOpResolver<odn_model::kNumOperators>;

#define ADDED_FOR_ANY_TYPE(Method) && resolver.Add##Method() == kTfLiteOk
#define ADDED_FOR_INT8(Method, NAME) && resolver.Add##Method(Register_##NAME##_INT8()) == kTfLiteOk

bool AddOperators(Resolver& resolver) { return true ODN_MODEL_OPERATORS(ADDED_FOR_ANY_TYPE, ADDED_FOR_INT8); }

bool IsInt8(const TfLiteTensor* tensor, std::size_t bytes) {
  return tensor != nullptr && tensor->type == kTfLiteInt8 && tensor->bytes == bytes;
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
  if (!IsInt8(interpreter.input(0), odn_model::kImageBytes) ||
      !IsInt8(interpreter.output(0), odn_model::kNumClasses)) {
    MicroPrintf("The tensors are not the model's: was TFLite Micro compiled %s TF_LITE_STATIC_MEMORY, unlike this?",
#ifdef TF_LITE_STATIC_MEMORY
                "without"
#else
                "with"
#endif
    );
    return nullptr;
  }
  return &interpreter;
}

MicroInterpreter* Interpreter() {
  static MicroInterpreter* const interpreter = Prepare();
  return interpreter;
}

}  // namespace

int Classify(const std::uint8_t* pixels, std::int8_t* scores) {
  MicroInterpreter* const interpreter = Interpreter();
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

std::size_t ArenaBytesUsed() {
  const MicroInterpreter* const interpreter = Interpreter();
  return interpreter == nullptr ? 0 : interpreter->arena_used_bytes();
}
