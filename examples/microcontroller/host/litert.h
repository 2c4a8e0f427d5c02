// The part of LiteRT's C interface that classify.cc uses, as of ai-edge-litert 2.3: the wheel brings the library
// (libLiteRt.so) but no headers. Handles are opaque; a status of 0 is success.
#ifndef LITERT_H_
#define LITERT_H_

#include <cstddef>
#include <cstdint>

extern "C" {

typedef int LiteRtStatus;
typedef struct LiteRtEnvironmentT* LiteRtEnvironment;
typedef struct LiteRtModelT* LiteRtModel;
typedef struct LiteRtSubgraphT* LiteRtSubgraph;
typedef struct LiteRtTensorT* LiteRtTensor;
typedef struct LiteRtOptionsT* LiteRtOptions;
typedef struct LiteRtCompiledModelT* LiteRtCompiledModel;
typedef struct LiteRtTensorBufferT* LiteRtTensorBuffer;

enum { kLiteRtHwAcceleratorCpu = 1 };
enum { kLiteRtLogSeverityError = 3 };
enum { kLiteRtHostMemoryAlignment = 64 };

enum { kLiteRtAnyTypeInt = 2 };
struct LiteRtAny {
  std::int32_t type;
  std::int64_t int_value;
};

enum { kLiteRtEnvOptionAutoRegisterAccelerators = 24, kLiteRtEnvOptionMinLoggerSeverity = 25 };
struct LiteRtEnvOption {
  std::int32_t tag;
  LiteRtAny value;
};

// Element type and shape of a tensor: filled by LiteRtGetRankedTensorType, and only passed on here.
struct LiteRtRankedTensorType {
  std::int32_t element_type;
  std::uint32_t rank_and_flags;
  std::int32_t dimensions[8];
  std::uint32_t strides[8];
};

LiteRtStatus LiteRtCreateEnvironment(int num_options, const LiteRtEnvOption* options,
                                     LiteRtEnvironment* environment);
LiteRtStatus LiteRtCreateModelFromBuffer(LiteRtEnvironment environment, const void* bytes, std::size_t size,
                                         LiteRtModel* model);
LiteRtStatus LiteRtCreateOptions(LiteRtOptions* options);
LiteRtStatus LiteRtSetOptionsHardwareAccelerators(LiteRtOptions options, int accelerators);
LiteRtStatus LiteRtCreateCompiledModel(LiteRtEnvironment environment, LiteRtModel model, LiteRtOptions options,
                                       LiteRtCompiledModel* compiled);
LiteRtStatus LiteRtGetModelSubgraph(LiteRtModel model, std::size_t index, LiteRtSubgraph* subgraph);
LiteRtStatus LiteRtGetSubgraphInput(LiteRtSubgraph subgraph, std::size_t index, LiteRtTensor* tensor);
LiteRtStatus LiteRtGetSubgraphOutput(LiteRtSubgraph subgraph, std::size_t index, LiteRtTensor* tensor);
LiteRtStatus LiteRtGetRankedTensorType(LiteRtTensor tensor, LiteRtRankedTensorType* type);
LiteRtStatus LiteRtCreateTensorBufferFromHostMemory(const LiteRtRankedTensorType* type, void* memory, std::size_t size,
                                                    void (*deallocator)(void*), LiteRtTensorBuffer* buffer);
LiteRtStatus LiteRtRunCompiledModel(LiteRtCompiledModel compiled, std::size_t signature_index, std::size_t num_inputs,
                                    LiteRtTensorBuffer* inputs, std::size_t num_outputs, LiteRtTensorBuffer* outputs);

}  // extern "C"

#endif  // LITERT_H_
