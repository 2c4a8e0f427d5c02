// Not TFLite Micro's headers: no package brings those. What examples/microcontroller uses of them, declared again so
// that it compiles here and runs on the TFLite Micro inside the tflite-micro wheel (x86-64, the pinned version).
// With -DTFLM_CLASSES_IN_TFLITE the classes are where older versions have them; that is only compiled.
#ifndef TFLITE_MICRO_ABI_H_
#define TFLITE_MICRO_ABI_H_

#include <cstddef>
#include <cstdint>
#include <cstring>

void MicroPrintf(const char* format, ...);

namespace tflite {

struct Model;
struct Operator;
enum BuiltinOperator : std::int32_t {
  BuiltinOperator_ADD = 0,
  BuiltinOperator_AVERAGE_POOL_2D = 1,
  BuiltinOperator_CONV_2D = 3,
  BuiltinOperator_DEPTHWISE_CONV_2D = 4,
  BuiltinOperator_FULLY_CONNECTED = 9,
  BuiltinOperator_RESHAPE = 22,
  BuiltinOperator_SOFTMAX = 25,
  BuiltinOperator_MEAN = 40,
};

// A flatbuffer begins with the offset of its root table.
inline const Model* GetModel(const void* buffer) {
  std::uint32_t offset;
  std::memcpy(&offset, buffer, sizeof(offset));
  return reinterpret_cast<const Model*>(static_cast<const char*>(buffer) + offset);
}

#ifndef TFLM_CLASSES_IN_TFLITE
namespace micro {
#endif

void InitializeTarget();

enum TfLiteStatus { kTfLiteOk = 0, kTfLiteError = 1 };
enum TfLiteType { kTfLiteFloat32 = 1, kTfLiteInt8 = 9 };

// As with TF_LITE_STATIC_MEMORY, which the wheel is compiled with; with -DTFLM_OTHER_MEMORY the fields lie elsewhere.
struct TfLiteTensor {
#ifdef TFLM_OTHER_MEMORY
  void* other;
#endif
  struct {
    int type;
    void* params;
  } quantization;
  struct {
    float scale;
    std::int32_t zero_point;
  } params;
  union {
    std::int8_t* int8;
    std::uint8_t* uint8;
  } data;
  void* dims;
  std::size_t bytes;
  TfLiteType type;
};

struct TFLMRegistration {
  void* functions[5];
  std::int32_t builtin_code;
  const char* custom_name;
};

class BuiltinDataAllocator;
typedef TfLiteStatus (*ParseFunction)(const Operator*, BuiltinDataAllocator*, void**);
TfLiteStatus ParseAdd(const Operator*, BuiltinDataAllocator*, void**);
TfLiteStatus ParseConv2D(const Operator*, BuiltinDataAllocator*, void**);
TfLiteStatus ParseFullyConnected(const Operator*, BuiltinDataAllocator*, void**);
TfLiteStatus ParseReducer(const Operator*, BuiltinDataAllocator*, void**);
TfLiteStatus ParseSoftmax(const Operator*, BuiltinDataAllocator*, void**);
TfLiteStatus ParseDepthwiseConv2D(const Operator*, BuiltinDataAllocator*, void**);
TfLiteStatus ParsePool(const Operator*, BuiltinDataAllocator*, void**);
TfLiteStatus ParseReshape(const Operator*, BuiltinDataAllocator*, void**);
TFLMRegistration Register_ADD();
TFLMRegistration Register_AVERAGE_POOL_2D();
TFLMRegistration Register_CONV_2D();
TFLMRegistration Register_DEPTHWISE_CONV_2D();
TFLMRegistration Register_FULLY_CONNECTED();
TFLMRegistration Register_MEAN();
TFLMRegistration Register_RESHAPE();
TFLMRegistration Register_SOFTMAX();
// Where the library has no kernels for int8 alone, as here, its headers take the others.
inline TFLMRegistration Register_ADD_INT8() { return Register_ADD(); }
inline TFLMRegistration Register_AVERAGE_POOL_2D_INT8() { return Register_AVERAGE_POOL_2D(); }
inline TFLMRegistration Register_CONV_2D_INT8() { return Register_CONV_2D(); }
inline TFLMRegistration Register_DEPTHWISE_CONV_2D_INT8() { return Register_DEPTHWISE_CONV_2D(); }
inline TFLMRegistration Register_FULLY_CONNECTED_INT8() { return Register_FULLY_CONNECTED(); }
inline TFLMRegistration Register_SOFTMAX_INT8() { return Register_SOFTMAX(); }

class MicroOpResolver {
 public:
  virtual const TFLMRegistration* FindOp(BuiltinOperator) const = 0;
  virtual const TFLMRegistration* FindOp(const char*) const = 0;
  virtual ParseFunction GetOpDataParser(BuiltinOperator) const = 0;
  virtual ~MicroOpResolver() {}
};

template <unsigned int capacity>
class MicroMutableOpResolver : public MicroOpResolver {
 public:
  const TFLMRegistration* FindOp(BuiltinOperator op) const override {
    for (unsigned int i = 0; i < size_; ++i) {
      if (registrations_[i].builtin_code == op) return &registrations_[i];
    }
    return nullptr;
  }
  const TFLMRegistration* FindOp(const char*) const override { return nullptr; }
  ParseFunction GetOpDataParser(BuiltinOperator op) const override {
    for (unsigned int i = 0; i < size_; ++i) {
      if (registrations_[i].builtin_code == op) return parsers_[i];
    }
    return nullptr;
  }

  using R = TFLMRegistration;
  TfLiteStatus AddAdd(const R& r = Register_ADD()) { return Add(BuiltinOperator_ADD, r, ParseAdd); }
  TfLiteStatus AddAveragePool2D(const R& r = Register_AVERAGE_POOL_2D()) {
    return Add(BuiltinOperator_AVERAGE_POOL_2D, r, ParsePool);
  }
  TfLiteStatus AddConv2D(const R& r = Register_CONV_2D()) { return Add(BuiltinOperator_CONV_2D, r, ParseConv2D); }
  TfLiteStatus AddDepthwiseConv2D(const R& r = Register_DEPTHWISE_CONV_2D()) {
    return Add(BuiltinOperator_DEPTHWISE_CONV_2D, r, ParseDepthwiseConv2D);
  }
  TfLiteStatus AddFullyConnected(const R& r = Register_FULLY_CONNECTED()) {
    return Add(BuiltinOperator_FULLY_CONNECTED, r, ParseFullyConnected);
  }
  TfLiteStatus AddMean() { return Add(BuiltinOperator_MEAN, Register_MEAN(), ParseReducer); }
  TfLiteStatus AddReshape() { return Add(BuiltinOperator_RESHAPE, Register_RESHAPE(), ParseReshape); }
  TfLiteStatus AddSoftmax(const R& r = Register_SOFTMAX()) { return Add(BuiltinOperator_SOFTMAX, r, ParseSoftmax); }

 private:
  TfLiteStatus Add(BuiltinOperator op, TFLMRegistration registration, ParseFunction parser) {
    if (size_ == capacity) return kTfLiteError;
    registration.builtin_code = op;
    registrations_[size_] = registration;
    parsers_[size_++] = parser;
    return kTfLiteOk;
  }
  TFLMRegistration registrations_[capacity];
  ParseFunction parsers_[capacity];
  unsigned int size_ = 0;
};

class MicroResourceVariables;
class MicroProfilerInterface;

class MicroAllocator {
 public:
  std::size_t used_bytes() const;
};

class MicroInterpreter {
 public:
  MicroInterpreter(const Model*, const MicroOpResolver&, std::uint8_t* arena, std::size_t arena_bytes,
                   MicroResourceVariables* = nullptr, MicroProfilerInterface* = nullptr, bool preserve_all = false);
  ~MicroInterpreter();
  TfLiteStatus AllocateTensors();
  TfLiteStatus Invoke();
  TfLiteTensor* input(std::size_t index);
  TfLiteTensor* output(std::size_t index);
  std::size_t arena_used_bytes() const { return allocator_->used_bytes(); }

 private:
  const void* before_[3];
  MicroAllocator* allocator_;
  alignas(16) char members_[4096];  // more than the others take
};

#ifndef TFLM_CLASSES_IN_TFLITE
}  // namespace micro
using micro::kTfLiteOk;
#endif

}  // namespace tflite

using tflite::kTfLiteOk;

#endif  // TFLITE_MICRO_ABI_H_
