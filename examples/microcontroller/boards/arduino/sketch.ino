// Answers the images that `python -m odn_keras.evaluate --runtime=serial` sends over the board's USB port.
#include <TensorFlowLite.h>  // of the library, by which Arduino finds it

#include "serve.h"

namespace {

bool Read(std::uint8_t* byte) {
  while (Serial.available() == 0) yield();
  *byte = static_cast<std::uint8_t>(Serial.read());
  return true;
}

void Write(const std::uint8_t* bytes, std::size_t count) { Serial.write(bytes, count); }

std::uint32_t Microseconds() { return micros(); }

}  // namespace

void setup() { Serial.begin(115200); }

void loop() { Serve({Read, Write, Microseconds}); }
