// Classify of ../classify.h, run by LiteRT: the same model.cc, tried on a computer.
#include "../classify.h"

#include <algorithm>
#include <cstdio>

#include "litert.h"
#include "model.h"

namespace {

alignas(kLiteRtHostMemoryAlignment) std::int8_t input[odn_model::kImageBytes];
alignas(kLiteRtHostMemoryAlignment) std::int8_t output[odn_model::kNumClasses];

LiteRtCompiledModel compiled;
LiteRtTensorBuffer input_buffer, output_buffer;

bool Prepare() {
  const LiteRtEnvOption environment_options[] = {
      {kLiteRtEnvOptionAutoRegisterAccelerators, {kLiteRtAnyTypeInt, kLiteRtHwAcceleratorCpu}},
      {kLiteRtEnvOptionMinLoggerSeverity, {kLiteRtAnyTypeInt, kLiteRtLogSeverityError}},
  };
  LiteRtEnvironment environment;
  LiteRtModel model;
  LiteRtOptions options;
  LiteRtSubgraph graph;
  LiteRtTensor tensor;
  LiteRtRankedTensorType type;
  const bool ready =
      LiteRtCreateEnvironment(2, environment_options, &environment) == 0 &&
      LiteRtCreateModelFromBuffer(environment, odn_model::kModel, odn_model::kModelBytes, &model) == 0 &&
      LiteRtCreateOptions(&options) == 0 &&
      LiteRtSetOptionsHardwareAccelerators(options, kLiteRtHwAcceleratorCpu) == 0 &&
      LiteRtCreateCompiledModel(environment, model, options, &compiled) == 0 &&
      LiteRtGetModelSubgraph(model, 0, &graph) == 0 &&
      LiteRtGetSubgraphInput(graph, 0, &tensor) == 0 && LiteRtGetRankedTensorType(tensor, &type) == 0 &&
      LiteRtCreateTensorBufferFromHostMemory(&type, input, sizeof(input), nullptr, &input_buffer) == 0 &&
      LiteRtGetSubgraphOutput(graph, 0, &tensor) == 0 && LiteRtGetRankedTensorType(tensor, &type) == 0 &&
      LiteRtCreateTensorBufferFromHostMemory(&type, output, sizeof(output), nullptr, &output_buffer) == 0;
  if (!ready) std::fprintf(stderr, "LiteRT could not load the model\n");
  return ready;
}

}  // namespace

int Classify(const std::uint8_t* pixels, std::int8_t* scores) {
  static const bool ready = Prepare();
  if (!ready) return -1;
  std::transform(pixels, pixels + odn_model::kImageBytes, input,
                 [](std::uint8_t pixel) { return static_cast<std::int8_t>(pixel - 128); });
  if (LiteRtRunCompiledModel(compiled, 0, 1, &input_buffer, 1, &output_buffer) != 0) {
    std::fprintf(stderr, "LiteRT could not run the model\n");
    return -1;
  }
  std::copy(output, output + odn_model::kNumClasses, scores);
  return static_cast<int>(std::max_element(scores, scores + odn_model::kNumClasses) - scores);
}

std::size_t ArenaBytesUsed() { return 0; }  // LiteRT has none
